"""What leaves the program for others to open: meshes, points, cameras, splats, pages.

In: a ``Scene``.
Out: a file in another program's format.
Read first: ``export.py``.

``export.py`` chooses the writer of a kind: a function that takes a scene, a path, the ``ExportConfig`` and a
``Told``. ``share.py`` writes a page. Films are written by ``films/``; ``formats/`` only reads.
"""
