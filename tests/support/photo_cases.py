"""Photos as files: pictures of noise, turned by EXIF or not, and what EXIF says of the camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nerfscene.capture.folder import open_capture
from nerfscene.errors import NerfsceneError


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colourful noise (height, width, 3), so that JPEG keeps it nearly as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def write_photos(folder: Path, names: list[str], size: tuple[int, int] = (40, 30)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        Image.fromarray(noise(*size, seed=index)).save(folder / name)


def save_turned(path: Path, shown: NDArray[np.uint8], orientation: int) -> None:
    """Stores a photo so that viewers that obey EXIF's orientation show ``shown``."""
    stored_from_shown = {  # the inverse of what a viewer does
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(stored_from_shown[orientation](shown))
    Image.fromarray(stored).save(path, exif=exif, quality=95)


def message_of(path: Path) -> str:
    with pytest.raises(NerfsceneError) as caught:
        open_capture(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def exif(orientation: int = 1, **tags: float) -> bytes:
    """EXIF with an orientation, and tags of the camera by name."""
    made = Image.Exif()
    made[0x0112] = orientation
    keys = {"equivalent": 0xA405, "focal": 0x920A, "density": 0xA20E, "unit": 0xA210, "across": 0xA002}
    for name, value in tags.items():
        made.get_ifd(0x8769)[keys[name]] = value
    return made.tobytes()
