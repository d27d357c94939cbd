"""The field's operations: compiled kernels, and a plain torch version that they are tested against.

In: arrays of rays, samples, table rows and weights.
Out: colours, densities, gradients and updated parameters.
Read first: ``backend.py``.
"""
