"""Estimates where each photo was taken (its pose) and its lens, with COLMAP through pycolmap.

In: a ``types.Capture``, or a ``types.PosedCapture`` whose cameras came without points.
Out: a ``types.PosedCapture`` with sparse points and a report of how the poses were found.
Read first: ``poses.py``.
"""
