"""The radiance field, its rendering, and the refinement of its photos' cameras.

In: a ``config.FieldConfig``, or arrays read from disk; cameras.
Out: a ``RadianceField``, and pictures of it (``types.Frame``: colour, depth and accumulation).
Read first: ``hash_grid.py``.
"""
