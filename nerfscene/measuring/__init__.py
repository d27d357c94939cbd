"""How good a scene is: figures, pictures and advice.

In: a ``Scene`` and its held-out photos.
Out: PSNR, SSIM and FLIP, a contact sheet, report.html.
Read first: ``evaluate.py``.
"""
