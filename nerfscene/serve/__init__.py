"""A server: photos uploaded from any browser become scenes to step into and to share.

In: photos, videos and zips, sent by people who are logged in.
Out: scene folders, and pages that show them.
Read first: ``app.py``.
"""
