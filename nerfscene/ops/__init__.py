"""The field's operations: native kernels, and the plain torch ones that they are tested against.

In: arrays of rays, samples, table rows and weights.
Out: colours, densities, gradients and updated parameters.
Read first: ``backend.py``.
"""
