"""What a person gives, made into photos that can be used.

In: a folder of photos, an archive, a video.
Out: a ``types.Capture``: readable, sharp photos in order, and what was left out.
Read first: ``folder.py``.
"""
