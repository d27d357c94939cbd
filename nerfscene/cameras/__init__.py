"""Camera geometry and lens models, in plain numpy: what every later stage computes with.

In: poses and intrinsics (``types.Intrinsics``, 4×4 matrices).
Out: transformed, scaled and placed cameras.
Read first: ``algebra.py``.
"""
