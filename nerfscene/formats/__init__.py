"""Cameras that other programs exported.

In: a folder or file that COLMAP, nerfstudio, a phone app or a photogrammetry program wrote.
Out: a ``types.PosedCapture``.
Read first: ``readers.py``.
"""
