"""What a file says of itself: C2PA content credentials, written, shown and checked.

In: a film, picture or export that is complete, and ``Facts`` about it.
Out: the same file with signed credentials in it or in a file beside it; what a file's credentials say.
Read first: ``marking.py``.

Whoever writes files asks ``ready`` before the work, so that a damaged key is told early, and calls ``mark``
for each file after it.
"""
