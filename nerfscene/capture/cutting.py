"""Cuts panoramas into the six faces of a cube: perspective views of 90°, each with the same lens.

``<folder>/NAME-front.jpg`` … hold the faces, ``<folder>/masks`` the masks of those that need one, and
``<folder>/done.json`` says what they were cut from, so that a second call is fast.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.cameras.cube import FACES, face_of, face_rays, face_size
from nerfscene.capture.folder import short_names
from nerfscene.capture.panoramas import Panorama, find_panoramas
from nerfscene.capture.photos import StageListener, carries_alpha, read_mask, read_pixels, silent
from nerfscene.capture.work_folder import read_done, replacing, write_done
from nerfscene.loading import loading
from nerfscene.types import Array, Capture, Intrinsics, LeftOut, Photo, PosedCapture, View

Floats = NDArray[np.float32]

VERSION = 1  # of the way of cutting; with another one, the faces are cut again
QUALITY = 95  # of the JPEGs
BORDER = 3  # pixels added around a panorama, for interpolation across its edges
FEWEST = 0.02  # a face of which less can be used is left out
ROWS = 256  # of a face, cut at once, which bounds memory
# px, side of a face: panoramas with more detail are shrunk before, because training uses at most 1600 pixels,
# and a panorama of 12,000 pixels would take half a minute.
LARGEST = 2048


def cut(panoramas: Sequence[Panorama], folder: Path, progress: StageListener = silent) -> list[list[Photo]]:
    """The faces of each panorama, in the order of ``cube.FACES``, as photos in ``folder``.

    A face is left out if hardly anything of it can be used: because the panorama doesn't show it, or its mask
    or transparency excludes it. Parts of the others that can't be used are masked.
    Raises NerfsceneError when a panorama or its mask can't be read.
    """
    names = _names(panoramas)
    made_from = {"version": VERSION, "panoramas": [_made_from(p) for p in panoramas]}
    if read_done(folder) != json.loads(json.dumps(made_from)):
        stage = f"cutting {len(panoramas)} panorama{'s' * (len(panoramas) > 1)} into perspective views"
        with replacing(folder) as partial:
            (partial / "masks").mkdir(parents=True)
            for i, panorama in enumerate(panoramas):
                progress(stage, i / len(panoramas))
                _cut_one(panorama, partial, names[i])
            progress(stage, 1.0)
            write_done(partial, made_from)
    return [_faces(panorama, folder, name) for panorama, name in zip(panoramas, names, strict=True)]


def cut_photos(capture: Capture, folder: Path, progress: StageListener = silent) -> Capture:
    """The capture with those photos that are panoramas replaced by their faces, in ``folder``.

    A warning says so. Raises NerfsceneError as ``cut`` and ``panoramas.find_panoramas`` do.
    """
    panoramas, doubts = find_panoramas(capture.photos, progress)
    if doubts:
        capture = replace(capture, warnings=capture.warnings + doubts)
    if not panoramas:
        return capture
    faces = dict(zip((p.photo.path for p in panoramas), cut(panoramas, folder, progress), strict=True))
    photos = tuple(p for photo in capture.photos for p in faces.get(photo.path, [photo]))
    return replace(
        capture,
        photos=photos,
        left_out=capture.left_out + _hidden(panoramas, list(faces.values())),
        warnings=(*capture.warnings, _in_words(len(panoramas), len(capture.photos))),
    )


def cut_views(posed: PosedCapture, folder: Path, progress: StageListener = silent) -> PosedCapture:
    """The capture with its equirectangular views replaced by the faces of their panoramas, in ``folder``.

    A warning says so. The points that a panorama shows are shared out among its faces. Raises NerfsceneError
    when a panorama or its mask can't be read.
    """
    whole = [view for view in posed.views if view.intrinsics.lens == "equirectangular"]
    if not whole:
        return posed
    photos = [
        Photo(v.path, v.intrinsics.width, v.intrinsics.height, None, v.mask, v.mask_turns) for v in whole
    ]
    panoramas = [Panorama(photo) for photo in photos]
    found = cut(panoramas, folder, progress)
    faces = iter(found)
    views: list[View] = []
    for view in posed.views:
        ordinary = view.intrinsics.lens != "equirectangular"
        views += [view] if ordinary else _face_views(view, posed.points, next(faces))
    return replace(
        posed,
        views=tuple(views),
        left_out=posed.left_out + _hidden(panoramas, found),
        has_alpha=carries_alpha([view.path for view in views]),
        warnings=(*posed.warnings, _in_words(len(whole), len(posed.views))),
    )


def _face_views(view: View, points: Array, faces: Sequence[Photo]) -> list[View]:
    """The views of a panorama's faces. points: (n, 3), the capture's."""
    shown_by = face_of(view.world_from_cam, points[view.seen])
    views = []
    for photo in faces:
        side, pose = photo.width, view.world_from_cam.copy()
        pose[:3, :3] = pose[:3, :3] @ FACES[photo.face]
        views.append(
            replace(
                view,
                path=photo.path,
                intrinsics=Intrinsics(side, side, side / 2, side / 2, side / 2, side / 2),
                world_from_cam=pose,
                mask=photo.mask,
                mask_turns=0,
                seen=view.seen[shown_by == list(FACES).index(photo.face)],
                panorama=view.path,
                face=photo.face,
            )
        )
    return views


def _hidden(panoramas: Sequence[Panorama], faces: Sequence[Sequence[Photo]]) -> tuple[LeftOut, ...]:
    """The panoramas of which nothing can be used. faces: of each."""
    names = short_names([panorama.photo.path for panorama in panoramas])
    return tuple(
        LeftOut(name, "is masked as a whole") for name, left in zip(names, faces, strict=True) if not left
    )


def _in_words(panoramas: int, photos: int) -> str:
    """What was done, for the user. photos: how many were given."""
    which = f"all {photos} photos are" if panoramas == photos else f"{panoramas} of {photos} photos are"
    return (
        f"{which} panoramas (360° × 180°): each was cut into perspective views of 90°, as of the faces of a "
        "cube, and its views stay together."
    )


def _faces(panorama: Panorama, folder: Path, name: str) -> list[Photo]:
    """The faces of one panorama that are on disk."""
    size = face_size(_at_working_size(panorama).full_width)
    found = []
    for face in FACES:
        path, mask = folder / f"{name}-{face}.jpg", folder / "masks" / f"{name}-{face}.png"
        if path.is_file():
            masked = mask if mask.is_file() else None
            found.append(Photo(path, size, size, size / 2, masked, 0, panorama.photo.path, face))
    return found


def _names(panoramas: Sequence[Panorama]) -> list[str]:
    """A name for the faces of each panorama: its own without the suffix, as long as all differ."""
    short = [Path(name) for name in short_names([p.photo.path for p in panoramas])]
    stems = ["-".join(name.with_suffix("").parts) for name in short]
    alone = len({stem.lower() for stem in stems}) == len(stems)
    return stems if alone else [f"{i:05d}-{stem}" for i, stem in enumerate(stems)]


def _made_from(panorama: Panorama) -> dict[str, object]:
    """What the faces of a panorama depend on."""
    content: dict[str, object] = asdict(panorama)
    photo = panorama.photo
    files = [p for p in (photo.path, photo.mask) if p is not None]
    stats = [(str(p), p.stat()) for p in files]
    content["photo"] = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
    content["mask_turns"] = photo.mask_turns
    return content


def _at_working_size(panorama: Panorama) -> Panorama:
    """The panorama with the size in pixels at which it is read."""
    photo = panorama.photo
    scale = min(1.0, LARGEST / face_size(panorama.full_width))
    width, height = max(round(photo.width * scale), 1), max(round(photo.height * scale), 1)
    return replace(panorama, photo=replace(photo, width=width, height=height))


def _cut_one(panorama: Panorama, folder: Path, name: str) -> None:
    """Writes the faces of a panorama, and the masks of those that are only partly usable, into ``folder``."""
    panorama = _at_working_size(panorama)
    photo = panorama.photo
    pixels = read_pixels(photo.path, photo.width, photo.height)
    usable = None
    if photo.mask is not None:
        usable = read_mask(photo.mask, photo.width, photo.height, photo.mask_turns)
    if pixels.shape[2] == 4:  # holes that stitching left, not empty space
        opaque = pixels[..., 3] >= 128
        usable = opaque if usable is None else usable & opaque
    size = face_size(panorama.full_width)
    around = _with_border(pixels[..., :3], wraps=panorama.right - panorama.left > 0.9999)
    for face in FACES:
        colours = np.zeros((size, size, 3), np.uint8)
        used = np.zeros((size, size), bool)
        for start in range(0, size, ROWS):
            rows = slice(start, min(start + ROWS, size))
            x, y, used[rows] = _in_picture(panorama, face_rays(face, size, rows))
            colours[rows] = _interpolated(around, x, y)
            if usable is not None:
                row = np.clip(y.astype(int), 0, photo.height - 1)
                used[rows] &= usable[row, np.clip(x.astype(int), 0, photo.width - 1)]
        if used.mean() < FEWEST:
            continue
        Image.fromarray(colours).save(folder / f"{name}-{face}.jpg", quality=QUALITY, subsampling=0)
        if not used.all():
            Image.fromarray(used.astype(np.uint8) * 255).save(folder / "masks" / f"{name}-{face}.png")


def _in_picture(panorama: Panorama, rays: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Where the panorama's picture shows directions (…, 3): x and y in its pixels, and whether it does.

    What it doesn't show is moved to its edge.
    """
    with loading():
        import torch  # imported here because it takes seconds; its functions use all cores

    r = torch.from_numpy(rays)
    longitude = torch.atan2(r[..., 0], r[..., 2])
    latitude = torch.atan2(-r[..., 1], torch.hypot(r[..., 0], r[..., 2]))
    x = (longitude / (2 * torch.pi) + 0.5 - panorama.left) % 1.0 / (panorama.right - panorama.left)
    y = (0.5 - latitude / torch.pi - panorama.top) / (panorama.bottom - panorama.top)
    shown = (x <= 1) & (y >= 0) & (y <= 1)
    x, y = x.clamp(0, 1) * panorama.photo.width, y.clamp(0, 1) * panorama.photo.height
    return x.numpy(), y.numpy(), shown.numpy()


def _with_border(pixels: NDArray[np.uint8], wraps: bool) -> Floats:
    """The picture (h, w, 3) with BORDER pixels more on each side: (3, h + 2 BORDER, w + 2 BORDER).

    wraps: whether it goes all the way round, so that beyond an edge the other side follows, and beyond a pole
    the opposite longitude; otherwise the outermost pixels are repeated.
    """
    sides = ((0, 0), (BORDER, BORDER), (0, 0))
    if wraps:
        half = pixels.shape[1] // 2
        above = np.roll(pixels[:BORDER][::-1], half, axis=1)
        below = np.roll(pixels[-BORDER:][::-1], half, axis=1)
        padded = np.pad(np.concatenate([above, pixels, below]), sides, mode="wrap")
    else:
        padded = np.pad(pixels, ((BORDER, BORDER), *sides[1:]), mode="edge")
    return np.ascontiguousarray(padded.transpose(2, 0, 1), np.float32)


def _interpolated(around: Floats, x: Floats, y: Floats) -> NDArray[np.uint8]:
    """The colours (…, 3) at x, y in pixels of the picture that ``around`` adds a border to.

    Bicubic, because a bilinear mean would blur detail at the same scale.
    """
    with loading():
        import torch
        from torch.nn.functional import grid_sample

    height, width = around.shape[1:]
    grid = np.stack([(x + BORDER) / width * 2 - 1, (y + BORDER) / height * 2 - 1], -1)
    picture = torch.from_numpy(around)[None]
    found = grid_sample(picture, torch.from_numpy(grid)[None], mode="bicubic", align_corners=False)
    return found[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
