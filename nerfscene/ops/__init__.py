"""The field's operations, and pictures of Gaussians: compiled kernels, and torch to test them against.

In: arrays of rays, samples, table rows and weights; Gaussians and cameras.
Out: colours, densities, pictures, gradients and updated parameters.
Read first: ``backend.py``.
"""
