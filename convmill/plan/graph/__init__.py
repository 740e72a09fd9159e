"""The Graph: what a Keras model computes, as data, free of Keras and of any target.

Every model that Keras stores as a graph of layers becomes one Graph, compiled or not: what no
operation expresses is ``Opaque``. Which graphs are compiled is told by ``plan/covered.py``.
"""
