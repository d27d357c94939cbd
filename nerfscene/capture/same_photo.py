"""Whether a photo can still be the one that a scene was trained on, from its header alone."""

from __future__ import annotations

from nerfscene.capture.masks import same_proportions
from nerfscene.capture.photos import photo_size
from nerfscene.errors import NerfsceneError
from nerfscene.types import View


def size_now(view: View) -> tuple[int, int]:
    """The (width, height) in pixels of a view's photo as it is now, as an image viewer shows it.

    Raises NerfsceneError if the photo is gone, can't be read, or has other proportions than the view: in the
    view's size it would be squeezed, and compared with what it doesn't show.
    """
    k, (width, height) = view.intrinsics, photo_size(view.path)
    if not same_proportions((k.width, k.height), (width, height)):
        raise NerfsceneError(
            f"{view.path} is now {width}×{height} pixels, and the scene was trained on {k.width}×{k.height} "
            "of it, which has other proportions: put the photo back that was trained on"
        )
    return width, height
