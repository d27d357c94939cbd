"""Camera paths and the films made along them.

In: a ``Scene`` and a camera path, which is a preset or a file.
Out: a video file, or numbered pictures.
Read first: ``filming.py``.
"""
