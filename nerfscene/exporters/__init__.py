"""What leaves the program for others to open: meshes, points, splats, pages. Nothing is written here yet.

In: a ``Scene``.
Out: a file in another program's format.
Read first: ``../scene/folder.py``.

An exporter is one module here with one function that takes a scene and a path; Videos are written
by ``films/``; ``formats/`` only reads.
"""
