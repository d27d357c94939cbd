"""From photos with cameras to a scene: the loop around the kernels' step.

In: a ``types.PosedCapture`` and a ``config.TrainConfig``.
Out: a ``Scene`` in its folder.
Read first: ``loop.py``.
"""
