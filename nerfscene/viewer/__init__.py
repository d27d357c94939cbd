"""A scene in the browser. No other wing imports viser.

In: a ``Scene``, trained or still in training.
Out: a web page to look around in, make camera paths and render films.
Read first: ``server.py``.
"""
