"""Camera paths and the films made along them.

In: a ``Scene`` and a path: a preset or a file.
Out: numbered pictures, or a video file.
Read first: ``filming.py``.
"""
