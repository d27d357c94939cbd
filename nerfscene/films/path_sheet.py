"""A contact sheet of camera paths: each one's frames in a row, and the path as seen from above."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import render
from nerfscene.films.filming import film_size, world_points
from nerfscene.films.orbit import subject_of
from nerfscene.films.paths import CameraPath, look_at
from nerfscene.films.presets import PRESETS, preset, suited
from nerfscene.films.video import make_folder_of, to_bytes
from nerfscene.films.walls import clearance_in
from nerfscene.scene.atomic import writing
from nerfscene.scene.folder import Scene
from nerfscene.types import Array, Camera

FRAMES, SIDE = 5, 160  # frames a row, and pixels along the longer side of each
DRAWN = 240  # cameras along a path, of which the picture from above is drawn
MAP, GAP, LABEL = 160, 8, 20  # pixels
PADDING = 12  # pixels round what is drawn from above
MOST_POINTS = 4000  # sparse points that are drawn
PAPER, INK, FAINT, PHOTO, WAY, MARK = (
    (24, 24, 24), (225, 225, 225), (80, 80, 80), (110, 150, 200), (255, 190, 60), (240, 90, 80),
)  # fmt: skip
KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True)
class Row:
    """One path of a sheet: its name, its cameras, or why there are none."""

    name: str
    path: CameraPath | None
    refusal: str = ""


def preset_rows(scene: Scene, backend: str = "auto") -> list[Row]:
    """Every preset for a scene, in small. Raises NerfsceneError for a scene with fewer than two views."""
    width, height = film_size(scene, None, None)
    shrunk = SIDE / max(width, height)
    width, height = max(round(width * shrunk), 1), max(round(height * shrunk), 1)
    points, clear, rows = world_points(scene), clearance_in(scene.renderer(backend)), []
    if len(scene.views) < 2:
        raise NerfsceneError("a camera path needs a scene with at least two posed photos")
    for name in PRESETS:
        try:
            path = preset(name, scene.views, DRAWN, width, height, points, scene.up, clear)
            rows.append(Row(name, path))
        except NerfsceneError as error:
            rows.append(Row(name, None, str(error)))
    return rows


def path_sheet(
    scene: Scene,
    file: Path,
    backend: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Writes one picture (.png, .jpg or .jpeg) of every preset of a scene; returns its rows.

    A row has five frames, from the path's first to its last, and the path from above with the photos' cameras
    (blue), the sparse points (grey), the subject (red cross), and the path (yellow) with a dot where it
    begins. progress is called with (frames rendered, frames in all). Raises NerfsceneError for a scene with
    fewer than two views, or if the file can't be written.
    """
    rows = preset_rows(scene, backend)
    made = [row for row in rows if row.path is not None]
    renderer, done = scene.renderer(backend), 0
    first = made[0].path.cameras[0].intrinsics if made and made[0].path is not None else None
    tall = max(first.height if first else MAP, MAP)
    wide = first.width if first else SIDE
    heights = [LABEL + GAP + (tall if row.path is not None else 2 * LABEL) for row in rows]
    sheet = Image.new(
        "RGB",
        (GAP + FRAMES * (wide + GAP) + MAP + GAP, GAP + sum(heights)),
        PAPER,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    chosen = suited(scene.views)
    plan = _Plan.of(scene, [row.path for row in made if row.path is not None])
    for i, row in enumerate(rows):
        y = GAP + sum(heights[:i])
        label = f"{row.name} (auto)" if row.name == chosen else row.name
        draw.text((GAP, y), label, fill=INK, font=font)
        if row.path is None:
            lines = textwrap.wrap(row.refusal, (FRAMES * (wide + GAP) + MAP) // 8)
            draw.text((GAP, y + LABEL), "\n".join(lines), fill=PHOTO, font=font)
            continue
        for j, camera in enumerate(_shown(row.path)):
            picture = Image.fromarray(to_bytes(render(renderer, camera, 2).rgb))
            sheet.paste(picture, (GAP + j * (wide + GAP), y + LABEL))
            done += 1
            progress(done, FRAMES * len(made))
        sheet.paste(plan.picture(row.path), (GAP + FRAMES * (wide + GAP), y + LABEL))
    make_folder_of(file, "choose another with -o")
    with writing(file) as temporary:
        sheet.save(temporary, format=KINDS[file.suffix.lower()], quality=92)
    return rows


def _shown(path: CameraPath) -> list[Camera]:
    """The cameras of a row: evenly spaced, with the last one of an open path only."""
    last = len(path.cameras) - (0 if path.loop else 1)
    return [path.cameras[i] for i in np.linspace(0, last, FRAMES, endpoint=not path.loop).round().astype(int)]


@dataclass(frozen=True)
class _Plan:
    """The ground plan that all rows share: pixels of places, and the background with photos and points."""

    right: Array
    ahead: Array
    middle: Array
    scale: float
    ground: NDArray[np.uint8]

    @staticmethod
    def of(scene: Scene, paths: list[CameraPath]) -> _Plan:
        """The plan that shows all photos' cameras and paths; the first photo's camera is below the middle."""
        subject = subject_of(scene.views, world_points(scene), scene.up)
        toward = subject.focus - subject.centres[0] if subject.inward else subject.axes[0]
        if not np.linalg.norm(toward) > 0:
            toward = subject.axes[0]
        pose = look_at(np.zeros(3), toward, subject.up)
        right, ahead = pose[:3, 0], np.cross(subject.up, pose[:3, 0])
        photos = np.stack([view.world_from_cam for view in scene.views])
        ways = [np.stack([c.world_from_cam[:3, 3] for c in path.cameras]) for path in paths]
        shown = np.concatenate([photos[:, :3, 3], *ways, *([subject.focus[None]] if subject.inward else [])])
        flat = shown @ np.stack([right, ahead], 1)
        low, high = flat.min(0), flat.max(0)
        extent = max(float((high - low).max()), 1e-9)
        scale = (MAP - 2 * PADDING) / extent
        plan = _Plan(right, ahead, 0.5 * (low + high), scale, np.zeros(0, np.uint8))
        picture = Image.new("RGB", (MAP, MAP), PAPER)
        draw = ImageDraw.Draw(picture)
        points = world_points(scene)
        for x, y in plan.pixels(points[:: len(points) // MOST_POINTS + 1]):
            if 0 <= x < MAP and 0 <= y < MAP:
                draw.point((x, y), FAINT)
        for x, y in plan.pixels(photos[:, :3, 3]):
            draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), PHOTO)
        if subject.inward:
            x, y = plan.pixels(subject.focus[None])[0]
            draw.line((x - 4, y - 4, x + 4, y + 4), MARK, 2)
            draw.line((x - 4, y + 4, x + 4, y - 4), MARK, 2)
        return _Plan(right, ahead, plan.middle, scale, np.asarray(picture))

    def pixels(self, places: Array) -> list[tuple[float, float]]:
        """Where places (n, 3) are on the plan, as (column, row)."""
        flat = (places @ np.stack([self.right, self.ahead], 1) - self.middle) * self.scale
        return [(MAP / 2 + float(x), MAP / 2 - float(y)) for x, y in flat]

    def picture(self, path: CameraPath) -> Image.Image:
        """The plan with a path, and the viewing directions of the row's frames."""
        picture = Image.fromarray(self.ground)
        draw = ImageDraw.Draw(picture)
        places = np.stack([c.world_from_cam[:3, 3] for c in path.cameras])
        line = self.pixels(np.concatenate([places, places[:1]]) if path.loop else places)
        draw.line(line, WAY, 2, joint="curve")
        looks = np.stack([c.world_from_cam[:3, 2] for c in _shown(path)])
        begins = np.stack([c.world_from_cam[:3, 3] for c in _shown(path)])
        ends = begins + looks * 14 / self.scale
        for begin, end in zip(self.pixels(begins), self.pixels(ends), strict=True):
            draw.line((*begin, *end), WAY, 1)
        x, y = line[0]
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), WAY)
        return picture
