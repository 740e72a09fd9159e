"""The benchmark: convmill, Keras, JAX and PyTorch on the same nets, in one interleaved run.

Start it with `python -m benchmarks`; `README.md` beside this file says what is measured and how.
"""
