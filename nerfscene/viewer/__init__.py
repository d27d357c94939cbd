"""A scene in the browser; the only wing that imports viser.

In: a ``Scene``, or one that is being trained.
Out: a page to look around in, make camera paths and film them.
Read first: ``server.py``.
"""
