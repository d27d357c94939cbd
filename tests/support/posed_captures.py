"""What a reader makes of a posed capture: the capture, or one sentence that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from nerfscene.errors import NerfsceneError
from nerfscene.formats.readers import find_posed
from nerfscene.types import PosedCapture


def found(path: Path, images: Path | None = None) -> PosedCapture:
    """The posed capture in a folder or file, which must have one."""
    posed = find_posed(path, images)
    assert posed is not None
    return posed


def error_of(path: Path) -> str:
    """The sentence that a capture is refused with: it says where, in one line that is not too long."""
    with pytest.raises(NerfsceneError) as caught:
        find_posed(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600 and str(path) in message
    return message
