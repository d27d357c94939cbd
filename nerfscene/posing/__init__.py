"""Where each photo was taken, found by COLMAP through pycolmap.

In: a ``types.Capture``, or cameras that came without points.
Out: a ``types.PosedCapture`` with sparse points and a report of how they were found.
Read first: ``poses.py``.
"""
