"""A small textured room with known truth, and panoramas of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nerfscene.types import Array

HALF = np.array([3.0, 2.4, 1.4])  # of the room's width, depth and height, around the origin; +z is up
DETAIL = ((14, 0.5), (40, 0.3), (90, 0.2))  # cells along a wall, and how strong they are
FROM_CAMERA = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # the room's axes from a level camera's
# Where the panoramas stand, and by how many degrees each is turned to the right.
PLACES = [
    (-1.0, -0.8, 0.1),
    (-0.3, -0.9, 0.0),
    (0.4, -0.7, 0.2),
    (1.0, -0.1, 0.1),
    (0.6, 0.6, 0.0),
    (-0.2, 0.7, 0.1),
]
TURNS = [0.0, 20.0, -30.0, 65.0, 120.0, 10.0]


def poses() -> list[Array]:
    """world_from_cam (4, 4) of the panoramas, OpenCV axes, in the order of PLACES."""
    found = []
    for place, turn in zip(PLACES, np.radians(TURNS), strict=True):
        pose = np.eye(4)
        yaw = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        pose[:3, :3], pose[:3, 3] = FROM_CAMERA @ yaw, place
        found.append(pose)
    return found


def traced(origin: Array, directions: Array, seed: int = 5) -> NDArray[np.uint8]:
    """The colours (…, 3) that are seen from a point in the room in these directions (…, 3)."""
    with np.errstate(divide="ignore"):
        distance = (
            np.where(directions > 0, HALF - origin, -HALF - origin) / directions
        )  # (…, 3), to each wall
    axis = distance.argmin(-1)
    hit = origin + directions * distance.min(-1)[..., None]
    side = np.take_along_axis(directions, axis[..., None], -1)[..., 0] > 0
    colours = np.zeros(directions.shape)
    for wall in range(6):
        on = (axis == wall // 2) & (side == bool(wall % 2))
        across, up = (hit[on][:, i] / HALF[i] * 0.5 + 0.5 for i in range(3) if i != wall // 2)
        colours[on] = _texture(across, up, seed * 10 + wall)
    return (colours * 255).round().astype(np.uint8)


def _texture(u: Array, v: Array, seed: int) -> Array:
    """Smooth random colours (n, 3) in 0…1 at positions (n,) in 0…1."""
    rng = np.random.default_rng(seed)
    total = np.zeros((len(u), 3))
    for cells, strength in DETAIL:
        grid = rng.uniform(0, 1, (cells + 2, cells + 2, 3))
        x, y = np.clip(u, 0, 1) * cells, np.clip(v, 0, 1) * cells
        i, j = x.astype(int), y.astype(int)
        f, g = (x - i)[:, None], (y - j)[:, None]
        left, right = (grid[i + k, j] * (1 - g) + grid[i + k, j + 1] * g for k in (0, 1))
        total += strength * (left * (1 - f) + right * f)
    return total


def panorama_rays(width: int) -> Array:
    """Directions (width / 2, width, 3) in the panorama's own axes, by the formula in types.Intrinsics."""
    longitude = (np.arange(width) + 0.5) / width * 2 * np.pi - np.pi
    latitude = np.pi / 2 - (np.arange(width // 2) + 0.5) / (width // 2) * np.pi
    lon, lat = np.meshgrid(longitude, latitude)
    return np.stack([np.cos(lat) * np.sin(lon), -np.sin(lat), np.cos(lat) * np.cos(lon)], -1)


def panorama(pose: Array, width: int = 512, seed: int = 5) -> NDArray[np.uint8]:
    """The panorama (width / 2, width, 3) that this camera takes in the room; another seed is another room."""
    return traced(pose[:3, 3], panorama_rays(width) @ pose[:3, :3].T, seed)


def photo(pose: Array, width: int, height: int, focal: float) -> NDArray[np.uint8]:
    """The ordinary photo (height, width, 3) that this camera takes in the room."""
    x, y = np.meshgrid(
        (np.arange(width) + 0.5 - width / 2) / focal, (np.arange(height) + 0.5 - height / 2) / focal
    )
    return traced(pose[:3, 3], np.stack([x, y, np.ones_like(x)], -1) @ pose[:3, :3].T)


def write_panoramas(folder: Path, width: int = 512, places: Sequence[int] | None = None) -> list[Path]:
    """Writes panoramas of the room as JPEG, R0000.JPG …; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(len(PLACES)) if places is None else places:
        paths.append(folder / f"R{i:04d}.JPG")
        Image.fromarray(panorama(poses()[i], width)).save(paths[-1], quality=93)
    return paths


def gpano(full: tuple[int, int], part: tuple[int, int], at: tuple[int, int], elements: bool = False) -> bytes:
    """XMP data of a panorama, as cameras and phones write them: sizes (width, height) and (left, top)."""
    values = {
        "ProjectionType": "equirectangular",
        "FullPanoWidthPixels": full[0],
        "FullPanoHeightPixels": full[1],
        "CroppedAreaImageWidthPixels": part[0],
        "CroppedAreaImageHeightPixels": part[1],
        "CroppedAreaLeftPixels": at[0],
        "CroppedAreaTopPixels": at[1],
    }
    space = 'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"'
    if elements:
        inner = "".join(f"<GPano:{name}>{value}</GPano:{name}>\n" for name, value in values.items())
        described = f'<rdf:Description rdf:about="" {space}>{inner}</rdf:Description>'
    else:
        inner = " ".join(f'GPano:{name}="{value}"' for name, value in values.items())
        described = f'<rdf:Description rdf:about="" {space} {inner}/>'
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'{described}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def save_with_xmp(pixels: NDArray[np.uint8], path: Path, xmp: bytes) -> None:
    """Saves a picture with XMP data, as JPEG or PNG by the path's suffix."""
    image = Image.fromarray(pixels)
    if path.suffix.lower() == ".png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(path, pnginfo=info)
    else:
        image.save(path, quality=93, xmp=xmp)
