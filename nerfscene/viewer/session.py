"""One browser tab: its camera, and the thread that keeps a picture of the scene behind it.

While the camera moves the tab draws splats by itself, or the scene is rendered at the size that holds the
frame rate; at rest it is rendered whole, in tiles from the middle outwards. A move stops a tile under way.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.cameras.algebra import pose_in_scene, similarity_scale
from nerfscene.capture.folder import photo_size, read_pixels
from nerfscene.errors import NerfsceneError
from nerfscene.field.footprint import Photos, pixel_samples
from nerfscene.field.rendering import Renderer, looking, new_cancel, render_part
from nerfscene.film.camera_path import look_at
from nerfscene.types import Array, Camera, Frame, Intrinsics, View
from nerfscene.viewer.pace import Pace, tiles_from_centre
from nerfscene.viewer.pictures import MODES, Picture, develop, error_map, fitted, wiped
from nerfscene.viewer.proxy import Splats
from nerfscene.viewer.stage import Shot

log = logging.getLogger(__name__)
REST = 0.2  # seconds without a move: the camera is at rest
MOVING_FPS = 15.0  # aimed at while it moves
SHOW_EVERY = 0.35  # seconds between pictures sent while one at rest is refined
PICKED = 5  # pixels a side of the patch whose depth a click asks for
COMPARE = ("no", "wipe", "error")


@dataclass(frozen=True)
class Look:
    """What a tab wants to see; every change of it makes a new picture.

    mode: one of pictures.MODES; longest: the picture's longer side at most, pixels; splats: drawn while
    moving; compare, share: with the photo that the camera stands at, and how far the wipe is open.
    """

    mode: str = MODES[0]
    longest: int = 1280
    splats: bool = True
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    compare: str = COMPARE[0]
    share: float = 0.5


def lens_of(shot: Shot, width: int, height: int) -> Intrinsics:
    """The ideal lens of a tab's camera on a picture of this size."""
    f = height / 2 / math.tan(shot.fov / 2)
    return Intrinsics(width, height, f, f, width / 2, height / 2)


class Session:
    """Renders for one client until ``close``; every public method may be called from any thread."""

    def __init__(self, client: Any, renderer: Renderer, look: Look, photos: Photos | None = None) -> None:
        """``photos``: whose detail a picture at rest is averaged down from; None: one ray a pixel."""
        self.client = client
        self.look = look
        self.pace = Pace()
        self.finished = 0  # pictures at rest that were completed, for tests and figures
        self.seconds_at_rest = 0.0  # what the last of them took
        self.moving_frames = 0
        self.pictures = 0  # sent, of any kind
        self._photos = photos
        self._renderer = renderer
        self._crop = renderer.crop
        self._backdrop, self._own_background = renderer.backdrop, renderer.background
        self._world_from_page = np.eye(4)
        self._cancel = new_cancel(renderer)
        self._wake = threading.Condition()
        self._version, self._done = 1, 0
        self._again = False  # the scene changed while a picture was under way
        self._whole: tuple[Shot, Frame] | None = None  # the last picture at rest, and where from
        self._told = ""  # the error last told
        self._moved = 0.0
        self._shot: Shot | None = None
        self._photo: tuple[View, Shot] | None = None  # the photo stood at, and the camera that did
        self._splats: Any = None
        self._haze = np.zeros((6, 8, 3), np.uint8)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="nerfscene-view", daemon=True)
        self._thread.start()

    # --- told from outside ------------------------------------------------------------------------

    def move(self, shot: Shot) -> None:
        """The camera is here now."""
        with self._wake:
            before = self._shot
            same = before is not None and np.allclose(before.world_from_cam, shot.world_from_cam, atol=1e-7)
            if same and before is not None and (before.fov, before.width, before.height) == (
                shot.fov, shot.width, shot.height,
            ):  # fmt: skip
                return
            self._shot = shot
            if self._photo is not None and not _same_place(self._photo[1], shot):
                self._photo = None
            if before is not None:
                self._moved = time.monotonic()
            self._change()

    def set_look(self, **changes: Any) -> None:
        """Changes some of what is wanted."""
        with self._wake:
            self.look = replace(self.look, **changes)
            self._change()

    def set_crop(self, crop: Array | None) -> None:
        """Shows what is in a box alone (world_from_box), or everything."""
        with self._wake:
            self._crop = crop
            self._change()

    def set_backdrop(self, backdrop: NDArray[np.float32] | None) -> None:
        """What shows behind the scene became known."""
        with self._wake:
            self._backdrop = backdrop
            self._change()

    def set_world(self, world_from_page: Array) -> None:
        """In whose axes and units normals and depths are shown."""
        with self._wake:
            self._world_from_page = world_from_page
            self._change()

    def pick(self, origin: Array, direction: Array) -> Array | None:
        """Where a ray (3,), (3,) meets something that is mostly opaque; None where it doesn't."""
        shot = self._shot
        if shot is None:
            return None
        pose = look_at(origin, origin + direction, np.array([0.0, 0.0, 1.0]))
        f = shot.height / 2 / math.tan(shot.fov / 2)
        lens = Intrinsics(PICKED, PICKED, f, f, PICKED / 2, PICKED / 2)
        frame = render_part(self._with(self.look), Camera(lens, pose), (0, PICKED, 0, PICKED))
        met = (frame.accumulation > 0.5) & (frame.depth > 0)
        return origin + float(np.median(frame.depth[met])) * pose[:3, 2] if met.any() else None

    def refresh(self) -> None:
        """The scene itself changed: a new picture is made, once the one under way is whole."""
        with self._wake:
            if self._done == self._version:
                self._change()
            else:  # a training that changes it faster than it can be rendered would leave it in pieces
                self._again = True

    def stand_at(self, view: View, shot: Shot) -> None:
        """The camera was put where a photo was taken; it may be compared until the camera moves on."""
        with self._wake:
            self._photo = (view, shot)
            self._change()

    def show_splats(self, splats: Splats) -> None:
        """Gives the tab what it draws by itself while the camera moves, in place of what it had."""
        before, self._splats = self._splats, None
        if before is not None:
            before.remove()
        if len(splats.centers):
            self._splats = self.client.scene.add_gaussian_splats(
                "/splats", splats.centers, splats.covariances, splats.rgbs, splats.opacities, visible=False
            )

    def close(self) -> None:
        """Stops the thread; the tab is gone."""
        with self._wake:
            self._closed = True
            self._change()

    def wait(self, seconds: float) -> None:
        """Until the thread has ended, after ``close``."""
        self._thread.join(seconds)

    def _change(self) -> None:
        self._version += 1
        self._cancel.set()
        self._wake.notify_all()

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._closed and (self._done == self._version or self._shot is None):
                    self._wake.wait()
                if self._closed:
                    return
                version, shot, look = self._version, self._shot, self.look
                rests = time.monotonic() - self._moved > REST
                self._cancel.clear()
            assert shot is not None
            try:
                if rests:
                    self._at_rest(version, shot, look)
                else:
                    self._moving(version, shot, look)
            except Exception as error:  # whatever it is, the viewer goes on
                self._done = version
                if str(error) != self._told:  # the same again at every move would bury the page
                    log.exception("a picture could not be rendered")
                    self._tell(error)
                    self._told = str(error)

    def _tell(self, error: Exception) -> None:
        try:
            self.client.add_notification(
                "This picture could not be rendered", str(error), color="red", auto_close_seconds=8.0
            )
        except Exception:  # the tab may have gone meanwhile
            log.debug("nobody to tell", exc_info=True)

    def _stale(self, version: int) -> bool:
        return self._version != version or self._closed

    def _moving(self, version: int, shot: Shot, look: Look) -> None:
        if look.splats and self._splats is not None and look.mode == MODES[0]:
            if not self._splats.visible:
                self._splats.visible = True
                # Behind them only a haze of the last picture, which is of another place by now.
                self.client.scene.set_background_image(self._haze, format="png")
            self._wait_for_rest()
            return
        self._hide_splats()
        width, height = self.pace.moving_size(*self._full_size(shot, look), MOVING_FPS)
        camera = Camera(lens_of(shot, width, height), shot.world_from_cam)
        began = time.perf_counter()
        # Not cancelled by the next move: at this size it is done sooner than its successor would be.
        frame = render_part(self._with(look), camera, (0, height, 0, width))
        self.pace.note(width * height, time.perf_counter() - began)
        picture = self._develop(frame, look.mode, camera)
        self.client.scene.set_background_image(picture, format="jpeg", jpeg_quality=70)
        self.moving_frames += 1
        self.pictures += 1
        if not self._stale(version):
            self._wait_for_rest()

    def _wait_for_rest(self) -> None:
        """Until the camera moves again or has been still for long enough."""
        with self._wake:
            version = self._version
            while not self._closed and self._version == version:
                left = REST - (time.monotonic() - self._moved)
                if left <= 0:
                    return
                self._wake.wait(left)

    def _at_rest(self, version: int, shot: Shot, look: Look) -> None:
        width, height = self._full_size(shot, look)
        lens, where, photo = lens_of(shot, width, height), (0, height, 0, width), None
        gain = np.ones(3, np.float32)  # a photo is compared with what it should show at its own exposure
        if self._photo is not None and look.compare != "no":
            lens, where = fitted(self._photo[0].intrinsics, width, height)
            photo = load_photo(self._photo[0])
            gain = np.exp(np.asarray(self._photo[0].exposure, np.float32))
        camera = Camera(lens, shot.world_from_cam)
        renderer = self._with(look)
        began = time.perf_counter()
        shown = began
        if (
            self._whole is not None
            and self._whole[0] is shot
            and self._whole[1].depth.shape == (height, width)
        ):
            whole = self._whole[1]
        else:
            whole = Frame(
                np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32),
                np.zeros((height, width), np.float32),
            )  # fmt: skip
        # What takes long starts from an earlier or a coarse picture, so that tiles replace something.
        if not whole.accumulation.any() and width * height / self.pace.pixels_per_second > SHOW_EVERY:
            self._coarse(renderer, camera, whole)
            if self._stale(version):
                return
            if self.pictures == 0:  # a page that has nothing yet gets something to look at
                self._publish(self._develop(whole, look.mode, camera), 70)

        def fill(samples: int) -> bool:
            """Renders tile after tile, shown as they come; False when the camera moved on meanwhile."""
            nonlocal shown
            for i, rect in enumerate(tiles := tiles_from_centre(width, height)):
                start = time.perf_counter()
                part = render_part(renderer, camera, rect, self._cancel, samples)
                if self._stale(version):
                    return False
                rays = (rect[1] - rect[0]) * (rect[3] - rect[2]) * samples**2
                self.pace.note(rays, time.perf_counter() - start)
                rows, columns = slice(rect[0], rect[1]), slice(rect[2], rect[3])
                whole.rgb[rows, columns] = part.rgb
                whole.depth[rows, columns] = part.depth
                whole.accumulation[rows, columns] = part.accumulation
                last = i == len(tiles) - 1
                if last or time.perf_counter() - shown > SHOW_EVERY:
                    picture = self._develop(replace(whole, rgb=gain * whole.rgb), look.mode, camera)
                    if photo is not None and look.compare == "wipe":
                        picture = wiped(picture, photo, where, look.share)
                    elif photo is not None:
                        picture = error_map(picture, photo, where)
                    self._publish(picture, 92 if last else 75)
                    shown = time.perf_counter()
            return True

        if not fill(1):
            return
        self.seconds_at_rest = time.perf_counter() - began
        self._whole = shot, whole
        self._told = ""  # a whole picture came through: what fails from here on is news
        # Once there is something to look at, the fine grain that a small window would pick apart.
        samples = pixel_samples(self._photos, renderer, camera) if self._photos is not None else 1
        if samples > 1 and not fill(samples):
            return
        with self._wake:
            self._done = version
            self.finished += 1
            if self._again:
                self._again = False
                self._change()

    def _coarse(self, renderer: Renderer, camera: Camera, whole: Frame) -> None:
        """Fills a frame with a picture of an eighth of its size."""
        k = camera.intrinsics
        width, height = max(k.width // 8, 1), max(k.height // 8, 1)
        sx, sy = width / k.width, height / k.height
        small = replace(k, width=width, height=height, fx=k.fx * sx, fy=k.fy * sy, cx=k.cx * sx, cy=k.cy * sy)
        frame = render_part(renderer, Camera(small, camera.world_from_cam), (0, height, 0, width))
        rows = np.minimum(np.arange(k.height) * height // k.height, height - 1)[:, None]
        columns = np.minimum(np.arange(k.width) * width // k.width, width - 1)[None, :]
        whole.rgb[:] = frame.rgb[rows, columns]
        whole.depth[:] = frame.depth[rows, columns]
        whole.accumulation[:] = frame.accumulation[rows, columns]

    def _develop(self, frame: Frame, mode: str, camera: Camera) -> Picture:
        world_from_page = self._world_from_page
        pose = pose_in_scene(world_from_page, camera.world_from_cam)
        return develop(frame, mode, camera.intrinsics, pose, similarity_scale(world_from_page))

    def _publish(self, picture: Picture, quality: int) -> None:
        self.pictures += 1
        self._haze = np.asarray(Image.fromarray(picture).resize((8, 6), Image.Resampling.BOX))
        self.client.scene.set_background_image(picture, format="jpeg", jpeg_quality=quality)
        self._hide_splats()

    def _hide_splats(self) -> None:
        if self._splats is not None and self._splats.visible:
            self._splats.visible = False

    def _full_size(self, shot: Shot, look: Look) -> tuple[int, int]:
        """The picture at rest: as large as the window, but for what the tab allows."""
        width, height = max(shot.width, 1), max(shot.height, 1)
        scale = min(1.0, look.longest / max(width, height))
        return max(round(width * scale), 1), max(round(height * scale), 1)

    def behind(self, look: Look) -> tuple[tuple[float, float, float], NDArray[np.float32] | None]:
        """What shows where the scene has nothing: a colour, and the backdrop unless another was chosen.

        Who chooses a colour wants to see that, and no guess at what may lie behind.
        """
        own = np.allclose(look.background, self._own_background, atol=1 / 255)  # a page rounds it
        return look.background, self._backdrop if own else None

    def _with(self, look: Look) -> Renderer:
        background, backdrop = self.behind(look)
        wanted = (background, self._crop, backdrop)
        now = self._renderer
        if now.background != wanted[0] or now.crop is not wanted[1] or now.backdrop is not wanted[2]:
            self._renderer = looking(now, *wanted)
        return self._renderer


def _same_place(a: Shot, b: Shot) -> bool:
    turned = a.world_from_cam[:3, :3].T @ b.world_from_cam[:3, :3]
    near = np.linalg.norm(a.world_from_cam[:3, 3] - b.world_from_cam[:3, 3])
    return bool(near < 1e-3 * (1 + np.abs(a.world_from_cam[:3, 3]).max()) and turned.trace() > 3 - 1e-4)


def load_photo(view: View) -> Picture | None:
    """A photo as a person sees it, on the lens's size; None where it can't be read any more."""
    try:
        pixels = read_pixels(view.path, *photo_size(view.path))
    except NerfsceneError:
        return None
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        pixels = ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return pixels
