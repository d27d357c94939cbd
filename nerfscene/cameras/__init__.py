"""Camera geometry and lens models in plain numpy, used by every later stage.

In: poses (4×4 matrices), intrinsics (``types.Intrinsics``) and posed captures.
Out: transformed and scaled cameras, and the placement of a capture in scene coordinates.
Read first: ``algebra.py``.
"""
