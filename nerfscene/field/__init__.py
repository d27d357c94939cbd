"""The radiance field and how it is looked at: hash grid, rendering, what training may move.

In: a ``config.FieldConfig``, or arrays read from disk; cameras.
Out: ``types.Frame``: colour, depth and accumulation.
Read first: ``hash_grid.py``.
"""
