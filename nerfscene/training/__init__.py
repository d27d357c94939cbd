"""Training: from photos with known cameras to a scene.

In: a ``types.PosedCapture``, a ``config.TrainConfig`` and a ``config.FieldConfig``.
Out: a ``scene.folder.Scene``, also saved in its folder.
Read first: ``loop.py``.
"""
