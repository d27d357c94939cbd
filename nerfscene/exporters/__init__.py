"""What leaves the program for others to open: meshes, points, cameras, splats, pages.

In: a ``Scene``.
Out: a file in another program's format.
Read first: ``placement.py``.

An exporter is one module here, with one function that takes a scene as ``placed``, a path, the
``ExportConfig`` and a ``Told``. Videos are written by ``films/``; ``formats/`` only reads.
"""
