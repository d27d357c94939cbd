"""A trained scene, in memory and on disk.

In: a field, the photos' cameras and the figures of the training.
Out: a folder of JSON and safetensors, and a ``Scene`` read from one.
Read first: ``folder.py``.
"""
