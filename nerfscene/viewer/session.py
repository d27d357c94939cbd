"""One browser tab: its camera, and the thread that keeps a picture of the scene behind it.

While the camera moves, the tab draws splats by itself, or the scene is rendered at the size that holds the
frame rate. At rest the scene is rendered in full, in tiles from the middle outwards. A move of the camera
cancels the tile that is being rendered.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.field.footprint import Photos, pixel_samples
from nerfscene.field.rendering import Renderer, looking, new_cancel, render_part
from nerfscene.films.light import exposed
from nerfscene.films.paths import look_at
from nerfscene.types import Array, Camera, Frame, Intrinsics, View
from nerfscene.viewer.pace import Pace, tiles_from_centre
from nerfscene.viewer.pictures import MODES, Picture
from nerfscene.viewer.splats import Splats, add_hidden, packed
from nerfscene.viewer.stage import Shot
from nerfscene.viewer.still import Look, Still, developed, fill_coarsely, lens_of, still_of

log = logging.getLogger(__name__)
REST = 0.2  # seconds without a move after which the camera counts as at rest
MOVING_FPS = 15.0  # the frame rate aimed at while the camera moves
SHOW_EVERY = 0.35  # seconds between the pictures sent while one at rest is refined
SENDING = 0.5  # seconds after which splats that were sent are drawn; until then pictures are rendered
PICK_SIDE = 5  # pixels along the sides of the patch whose depth a click measures


class Session:
    """Renders for one client until ``close``; every public method may be called from any thread."""

    def __init__(self, client: Any, renderer: Renderer, look: Look, photos: Photos | None = None) -> None:
        """photos: what pixel_samples needs to average a picture at rest down; None: one ray a pixel."""
        self.client = client
        self.look = look
        self.pace = Pace()
        self.finished = 0  # completed pictures at rest, for tests and benchmarks
        self.seconds_at_rest = 0.0  # how long the last of them took
        self.moving_frames = 0
        self.pictures = 0  # pictures sent, of any kind
        self._photos = photos
        self._renderer = renderer
        self._crop = renderer.crop
        self._backdrop, self._own_background = renderer.backdrop, renderer.background
        self._world_from_page = np.eye(4)
        self._cancel = new_cancel(renderer)
        self._wake = threading.Condition()
        self._version, self._done = 1, 0  # the version that the tab should show, and the one it shows
        self._again = False  # the scene changed while a picture was being rendered
        self._whole: tuple[Shot, Frame] | None = None  # the last complete picture at rest, and its camera
        self._last_error = ""  # the text of the last error that the tab was told
        self._moved = 0.0  # when the camera last moved, by time.monotonic
        self._shot: Shot | None = None
        self._photo: tuple[View, Shot] | None = None  # the photo that the camera stands at, and the camera
        self._splats: Any = None  # viser's handle, hidden while the camera rests
        self._given: Splats | None = None  # splats to draw
        self._waiting: Splats | None = None  # the same, while the tab has not been sent them
        self._sent_at: float | None = None  # when it was sent the latest ones, by time.monotonic
        self._blurred = np.zeros(
            (6, 8, 3), np.uint8
        )  # the last picture, 8×6 pixels: the background until the next one is ready
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="nerfscene-view", daemon=True)
        self._thread.start()

    @property
    def renderer(self) -> Renderer:
        """What renders the tab's pictures."""
        return self._renderer

    @property
    def busy(self) -> bool:
        """Whether a picture is being made."""
        return self._shot is not None and self._done != self._version

    # --- changes from other threads ---------------------------------------------------------------

    def move(self, shot: Shot) -> None:
        """Sets the tab's camera."""
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
        """Changes fields of ``look``."""
        with self._wake:
            before, self.look = self.look, replace(self.look, **changes)
            if self._given is not None and before.exposure != self.look.exposure:
                self._send_anew()
            self._change()

    def set_crop(self, crop: Array | None) -> None:
        """Shows only what is in a box, world_from_box (4, 4), or everything (None)."""
        with self._wake:
            self._crop = crop
            self._change()

    def set_trained(self, backdrop: NDArray[np.float32] | None, gain: float) -> None:
        """Sets what training has found at its end: the backdrop and the gain, see rendering.Renderer."""
        with self._wake:
            self._backdrop = backdrop
            self._renderer = looking(self._renderer, self._renderer.background, self._crop, backdrop, gain)
            self._change()

    def set_world(self, world_from_page: Array) -> None:
        """Sets the world (4, 4) in whose axes and units normals and depths are shown."""
        with self._wake:
            self._world_from_page = world_from_page
            self._change()

    def pick(self, origin: Array, direction: Array) -> Array | None:
        """The point (3,) where a ray meets something mostly opaque; None if it doesn't.

        origin, direction: (3,), in the page's coordinates.
        """
        shot = self._shot
        if shot is None:
            return None
        pose = look_at(origin, origin + direction, np.array([0.0, 0.0, 1.0]))
        f = shot.height / 2 / math.tan(shot.fov / 2)
        lens = Intrinsics(PICK_SIDE, PICK_SIDE, f, f, PICK_SIDE / 2, PICK_SIDE / 2)
        frame = render_part(self._with(self.look), Camera(lens, pose), (0, PICK_SIDE, 0, PICK_SIDE))
        hit = (frame.accumulation > 0.5) & (frame.depth > 0)
        return origin + float(np.median(frame.depth[hit])) * pose[:3, 2] if hit.any() else None

    def refresh(self) -> None:
        """Makes a new picture because the scene changed; one that is being rendered is finished first."""
        with self._wake:
            if self._done == self._version:
                self._change()
            else:  # training may change the scene faster than a picture can be finished
                self._again = True

    def stand_at(self, view: View, shot: Shot) -> None:
        """Notes that the camera stands where a photo was taken, to compare them until it moves on."""
        with self._wake:
            self._photo = (view, shot)
            self._change()

    def show_splats(self, splats: Splats) -> None:
        """Gives the tab the splats that it draws while the camera moves, instead of earlier ones.

        They are sent when the camera first moves. viser's page draws a new group of splats once, in the wrong
        place, even if it is to be hidden. Software WebGL takes seconds for that, like a veil over the first
        picture. So a new tab gets one invisible splat, and the real ones replace it.
        """
        with self._wake:
            self._given = splats if len(splats.centers) else None
            if self._splats is None:
                self._splats = add_hidden(self.client.scene)
            self._send_anew()

    def _send_anew(self) -> None:
        """Has the tab's splats sent, again if it has some that are out of date."""
        self._waiting = self._given
        if self._sent_at is not None:
            self._splats.visible, self._sent_at = False, None

    def _splats_ready(self) -> bool:
        """Whether the tab has splats to draw; sends them if it hasn't."""
        with self._wake:
            if self._waiting is not None and self._splats is not None:
                bright = exposed(self._waiting.rgbs, self.look.exposure)
                self._splats.buffer = packed(replace(self._waiting, rgbs=bright))
                self._waiting = None
                self._sent_at = time.monotonic()
            return self._sent_at is not None and time.monotonic() - self._sent_at > SENDING

    def close(self) -> None:
        """Stops the thread."""
        with self._wake:
            self._closed = True
            self._change()

    def wait(self, seconds: float) -> None:
        """Waits for the thread to end after ``close``, at most this many seconds."""
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
            except Exception as error:  # the viewer must go on whatever it is
                self._done = version
                if str(error) != self._last_error:  # the same message at every move would bury the page
                    log.exception("a picture could not be rendered")
                    self._tell(error)
                    self._last_error = str(error)

    def _tell(self, error: Exception) -> None:
        try:
            self.client.add_notification(
                "This picture could not be rendered", str(error), color="red", auto_close_seconds=8.0
            )
        except Exception:  # the tab may have been closed meanwhile
            log.debug("the tab is gone", exc_info=True)

    def _stale(self, version: int) -> bool:
        return self._version != version or self._closed

    def _moving(self, version: int, shot: Shot, look: Look) -> None:
        if look.splats and look.mode == MODES[0] and self._splats_ready():
            if not self._splats.visible:
                self._splats.visible = True
                # Behind the splats only a blur of the last picture: its camera was elsewhere.
                self.client.scene.set_background_image(self._blurred, format="png")
            self._wait_for_rest()
            return
        self._hide_splats()
        width, height = self.pace.moving_size(*self._full_size(shot, look), MOVING_FPS)
        camera = Camera(lens_of(shot, width, height), shot.world_from_cam)
        began = time.perf_counter()
        # The next move doesn't cancel this: at this size it ends sooner than its successor would.
        frame = render_part(self._with(look), camera, (0, height, 0, width))
        self.pace.note(width * height, time.perf_counter() - began)
        picture = developed(frame, look, camera, self._world_from_page)
        self.client.scene.set_background_image(picture, format="jpeg", jpeg_quality=70)
        self.moving_frames += 1
        self.pictures += 1
        if not self._stale(version):
            self._wait_for_rest()

    def _wait_for_rest(self) -> None:
        """Waits until the camera moves again or has been still for REST seconds."""
        with self._wake:
            version = self._version
            while not self._closed and self._version == version:
                left = REST - (time.monotonic() - self._moved)
                if left <= 0:
                    return
                self._wake.wait(left)

    def _at_rest(self, version: int, shot: Shot, look: Look) -> None:
        """Renders the picture in full: one ray a pixel first, then more if the photos have more detail."""
        began = time.perf_counter()
        width, height = self._full_size(shot, look)
        standing_at = self._photo
        view = standing_at[0] if standing_at is not None else None
        still = still_of(shot, look, (width, height), view, began)
        renderer = self._with(look)
        earlier = self._whole
        if earlier is not None and earlier[0] is shot and earlier[1].depth.shape == (height, width):
            still.frame = earlier[1]
        # A slow picture starts from an earlier or a coarse one, so that its tiles replace something.
        slow = width * height / self.pace.pixels_per_second > SHOW_EVERY
        if slow and not still.frame.accumulation.any():
            fill_coarsely(still.frame, renderer, still.camera)
            if self._stale(version):
                return
            if self.pictures == 0:  # a new page gets something to look at as soon as possible
                self._publish(developed(still.frame, look, still.camera, self._world_from_page), 70)
        if not self._fill(still, renderer, version, 1):
            return
        self.seconds_at_rest = time.perf_counter() - began
        self._whole = shot, still.frame
        self._last_error = ""  # a picture was completed, so a later error is worth telling again
        # More rays a pixel average out the fine grain that a small window would show as noise.
        samples = pixel_samples(self._photos, renderer, still.camera) if self._photos is not None else 1
        if samples > 1 and not self._fill(still, renderer, version, samples):
            return
        with self._wake:
            self._done = version
            self.finished += 1
            if self._again:
                self._again = False
                self._change()

    def _fill(self, still: Still, renderer: Renderer, version: int, samples: int) -> bool:
        """Renders tile after tile with samples² rays a pixel, and sends the picture now and then.

        False if something changed meanwhile, so that the picture is out of date.
        """
        height, width = still.frame.depth.shape
        tiles = tiles_from_centre(width, height)
        for i, tile in enumerate(tiles):
            start = time.perf_counter()
            part = render_part(renderer, still.camera, tile, self._cancel, samples)
            if self._stale(version):
                return False
            rays = (tile[1] - tile[0]) * (tile[3] - tile[2]) * samples**2
            self.pace.note(rays, time.perf_counter() - start)
            rows, columns = slice(tile[0], tile[1]), slice(tile[2], tile[3])
            still.frame.rgb[rows, columns] = part.rgb
            still.frame.depth[rows, columns] = part.depth
            still.frame.accumulation[rows, columns] = part.accumulation
            last = i == len(tiles) - 1
            if last or time.perf_counter() - still.shown > SHOW_EVERY:
                self._publish(still.picture(self._world_from_page), 92 if last else 75)
                still.shown = time.perf_counter()
        return True

    def _publish(self, picture: Picture, quality: int) -> None:
        self.pictures += 1
        self._blurred = np.asarray(Image.fromarray(picture).resize((8, 6), Image.Resampling.BOX))
        self.client.scene.set_background_image(picture, format="jpeg", jpeg_quality=quality)
        self._hide_splats()

    def _hide_splats(self) -> None:
        if self._splats is not None and self._splats.visible:
            self._splats.visible = False

    def _full_size(self, shot: Shot, look: Look) -> tuple[int, int]:
        """(width, height) of a picture at rest: the window's, limited by ``look.longest``."""
        width, height = max(shot.width, 1), max(shot.height, 1)
        scale = min(1.0, look.longest / max(width, height))
        return max(round(width * scale), 1), max(round(height * scale), 1)

    def behind(self, look: Look) -> tuple[tuple[float, float, float], NDArray[np.float32] | None]:
        """(colour, backdrop) behind the scene; no backdrop if the visitor chose another background colour.

        Someone who chooses a colour wants to see it, not a guess at what may lie behind the scene.
        """
        own = np.allclose(look.background, self._own_background, atol=1 / 255)  # the page rounds colours
        return look.background, self._backdrop if own else None

    def _with(self, look: Look) -> Renderer:
        """The renderer with the tab's background and crop."""
        background, backdrop = self.behind(look)
        wanted = (background, self._crop, backdrop)
        now = self._renderer
        if now.background != wanted[0] or now.crop is not wanted[1] or now.backdrop is not wanted[2]:
            self._renderer = looking(now, *wanted)
        return self._renderer


def _same_place(a: Shot, b: Shot) -> bool:
    """Whether two cameras stand at the same place and look the same way, up to rounding."""
    turned = a.world_from_cam[:3, :3].T @ b.world_from_cam[:3, :3]
    near = np.linalg.norm(a.world_from_cam[:3, 3] - b.world_from_cam[:3, 3])
    return bool(near < 1e-3 * (1 + np.abs(a.world_from_cam[:3, 3]).max()) and turned.trace() > 3 - 1e-4)
