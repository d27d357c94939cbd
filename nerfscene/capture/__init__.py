"""From what the user gives to a list of usable photos.

In: a folder of photos, an archive, or videos.
Out: a ``types.Capture``: readable, sharp photos in order, and what was left out; also the pixels of photos.
Read first: ``folder.py``.
"""
