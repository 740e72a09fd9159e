"""The one folder that knows the inside of Keras' trainer. A new Keras release is work here alone.

Written against Keras 3.15. The other modules use what Keras documents, and this folder's functions.
"""
