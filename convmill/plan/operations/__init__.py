"""From Keras' classes to operations: one table, in a file for each subject.

A function of the table takes a call and what collects parameters, and gives the operation. What a
layer asks for beyond it is the subject of ``beyond.py``; which operations are compiled, that of
``covered.py``.
"""
