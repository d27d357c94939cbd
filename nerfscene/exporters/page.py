"""A page to send: a folder, or one HTML file, that shows a scene in any browser without a server.

viser's own client draws the splats, as its static export writes it. Around it is a page of ours
(``page_parts/``) with the title, a picture while it loads, the camera path and ways to walk. Everything is
in scripts, because a browser lets a page opened from a disk load nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nerfscene.cameras.algebra import scaled
from nerfscene.config import PageConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.folders import filling
from nerfscene.exporters.page_cameras import Place, Staged, opening, picture, playable, staged
from nerfscene.exporters.page_fitting import FEWEST_SPLATS, Fitted, fitted, most_needed, room_for_splats
from nerfscene.exporters.page_recording import PRECISIONS, PageSplats
from nerfscene.exporters.page_text import DATA, INDEX, LICENCE, POSTERS, SIGN, PageText
from nerfscene.exporters.splat_choice import fitted_splats
from nerfscene.exporters.splat_making import Seen, seen_scene, splats_from
from nerfscene.exporters.told import Told
from nerfscene.field.rendering import Renderer, render_heard
from nerfscene.given import size_of
from nerfscene.scene.atomic import remove_leftovers, telling, writing
from nerfscene.scene.output_folder import CAMERA_PATH_FILE
from nerfscene.scene.scene import Scene
from nerfscene.splatting.gaussians import C0, Splats, covariances_of
from nerfscene.types import Camera

SIZES = ((1280, 800), (600, 1000))  # of the posters, pixels, for wide and for tall screens, at most
WIDER = 1.05  # the splats: screens have more pixels than photos, and then gaps between splats would show
LEAST = 320  # pixels along a poster's longer side, whatever the photos are
OWN = (INDEX, LICENCE, *POSTERS, DATA, "index.c2pa")  # a page's entries in its folder; all others stay


def page_of(scene_folder: Path, config: PageConfig) -> PageConfig:
    """The settings with what a scene's folder adds to them: its name as title, and the path saved in it."""
    saved = scene_folder / CAMERA_PATH_FILE
    path = str(saved) if config.path == "auto" and saved.is_file() else config.path
    return replace(config, title=config.title.strip() or scene_folder.resolve().name, path=path)


def write_page(scene: Scene, folder: Path, config: PageConfig, told: Told) -> dict[str, Any]:
    """Writes a page that shows the scene: into ``folder``, or as one file if its name ends in .html.

    Returns {"file", "single", "bytes", "splats", "precision", "path_seconds"}.
    Raises NerfsceneError for a name that can't be used, or a limit too small for any scene.
    """
    single = check_page_name(folder, config.single)
    stage = staged(scene)
    renderer = stage.scene.renderer(config.backend, config.threads)
    told.progress("finding the view", 0.0)
    first = opening(stage, renderer)
    path = playable(scene, stage, config.path, told.warn)
    told.progress("finding the view", 1.0)
    posters = _posters(stage, renderer, first, told)
    photos = scene.figures.photos_posed or len(scene.views)
    title, date = config.title.strip() or "A scene", config.date.strip()
    text = PageText(title, date, photos, first, path, posters, _background(stage.scene))
    page = _fitting(stage, renderer, config, text, single, told)
    told.progress("writing the page", 0.0)
    if single:
        _write_file(folder, page.files[INDEX])
    else:
        _write_folder(folder, page.files)
    told.progress("writing the page", 1.0)
    return {
        "file": str(folder),
        "single": single,
        "bytes": len(page),
        "splats": page.count,
        "precision": page.precision.name,
        "path_seconds": path["seconds"] if path else None,
    }


def check_page_name(folder: Path, single: bool) -> bool:
    """Whether the page is to be one file. Raises NerfsceneError for a name that no page can have."""
    is_file = folder.suffix.lower() in (".html", ".htm")
    if single and not is_file:
        raise NerfsceneError(f"with --single the page is one file; name it like {folder.name or 'page'}.html")
    if is_file and folder.is_dir():
        raise NerfsceneError(f"{folder} is a folder; give the page another name")
    if is_file:
        return True
    if folder.exists() and not folder.is_dir():
        raise NerfsceneError(f"{folder} is a file; give the page's folder another name, or end it in .html")
    if folder.is_dir() and any(folder.iterdir()) and not _is_page(folder):
        raise NerfsceneError(f"{folder} holds something other than a page; choose another folder with -o")
    return False


def _is_page(folder: Path) -> bool:
    try:
        with (folder / INDEX).open("rb") as file:
            return SIGN.encode() in file.read(4096)
    except OSError:
        return False


def _posters(stage: Staged, renderer: Renderer, place: Place, told: Told) -> tuple[bytes, bytes]:
    focal = float(np.median([v.intrinsics.fy for v in stage.scene.views]))

    def one(i: int) -> bytes:
        camera = _no_finer(picture(place, *SIZES[i]), focal)
        return _poster(renderer, camera, lambda done: told.progress("rendering the poster", (i + done) / 2))

    return one(0), one(1)


def _no_finer(camera: Camera, focal: float) -> Camera:
    """A camera with smaller pixels made one with a focal length of ``focal``: photos show no more detail."""
    k = camera.intrinsics
    s = min(max(focal / k.fy, LEAST / max(k.width, k.height)), 1.0)
    return replace(camera, intrinsics=scaled(k, round(k.width * s), round(k.height * s)))


def _poster(renderer: Renderer, camera: Camera, heard: Callable[[float], None]) -> bytes:
    frame = render_heard(renderer, camera, heard)
    out = io.BytesIO()
    pixels = np.round(255 * np.clip(frame.rgb, 0, 1)).astype(np.uint8)
    Image.fromarray(pixels).save(out, "JPEG", quality=82, optimize=True, progressive=True)
    return out.getvalue()


def _background(scene: Scene) -> str:
    """The colour behind all splats, as CSS: that which fitted ones had behind them."""
    plain = np.asarray(scene.background, np.float64)
    if scene.backdrop is not None and scene.crop is None and scene.splats is None:
        plain = scene.backdrop.mean((0, 1)).astype(np.float64)
    return "#" + "".join(f"{round(255 * min(max(float(c), 0), 1)):02x}" for c in plain)


def _fitting(
    stage: Staged, renderer: Renderer, config: PageConfig, text: PageText, single: bool, told: Told
) -> Fitted:
    """The page within the limit; a warning says what that costs."""
    limit = size_of(config.limit)
    assert limit is not None
    most = most_needed(room_for_splats(text, limit, single))
    page = None
    if most >= FEWEST_SPLATS:
        if stage.scene.splats is None:
            seen = seen_scene(stage.scene, renderer, most, told)
            page = fitted(text, lambda count: _splats(seen, count, told), limit, single, told)
        else:
            page = fitted(text, lambda count: _fitted(stage, count), limit, single, told)
    if page is None:
        raise NerfsceneError(f"{config.limit} is too little for a page; give a larger --limit")
    if page.fewer or page.precision != PRECISIONS[0]:
        few = f"at most {page.count:,} splats" if page.fewer else "all splats"
        told.warn(
            f"to stay within {config.limit} the page has {few} in {page.precision.name} precision; a larger "
            "--limit shows more detail"
        )
    return page


def _splats(seen: Seen, count: int, told: Told) -> PageSplats:
    """At most ``count`` splats made of the scene's surfaces."""
    made = splats_from(seen, count, 0, told)
    return _page_splats(replace(made, scales=np.float32(WIDER) * made.scales))


def _fitted(stage: Staged, count: int) -> PageSplats:
    """At most ``count`` of the scene's fitted splats, those that show most."""
    made, plain = (fitted_splats(stage.scene, count, degree) for degree in (1, 0))
    assert made is not None and plain is not None
    harmonics = np.zeros((len(made), 4, 3), np.float32)
    harmonics[:, : made.sh.shape[1]] = made.sh
    return replace(_page_splats(plain), harmonics=harmonics)


def _page_splats(made: Splats) -> PageSplats:
    """Splats of one colour each. Raises NerfsceneError if there are none."""
    if not len(made):
        raise NerfsceneError(
            "no surface was found to make splats of: look at the scene with nerfscene view, and reset the "
            "crop if it leaves nothing"
        )
    colours = np.clip(0.5 + C0 * made.sh[:, 0], 0, 1)
    return PageSplats(made.positions, covariances_of(made), colours, made.opacities)


def _write_file(file: Path, content: bytes) -> None:
    with telling(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(file.parent, file.name)
    with writing(file) as temporary:
        temporary.write_bytes(content)


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Writes the page's files; others that lie in its folder, such as .git or CNAME, stay."""
    with filling(folder, OWN) as new:
        for name, content in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)
