"""Gaussian splats: in memory, on disk, drawn, and fitted to pictures.

In: splats to begin with, and pictures with their cameras.
Out: splats that look like the pictures.
Read first: ``gaussians.py``.

What they are first made of is a field's surfaces: ``exporters/splat_making.py``. What they are fitted to:
``exporters/splat_fitting.py``.
"""
