"""Moves a tab's camera along its path: at the film's own speed, or to where the scrub handle is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import vertical_fov
from nerfscene.films.paths import CameraPath
from nerfscene.viewer import keyframes
from nerfscene.viewer.edits import Edits
from nerfscene.viewer.film_outline import page_aspect, page_fov
from nerfscene.viewer.stage import Shot, Stage, put_camera, shot_of

PLAYING_FPS = 24
TOLD_EVERY = 0.25  # seconds between two moves of the scrub handle while the path plays
HELD = 0.6  # seconds that the last frame stays
SHOWN_FRAMES, PLAYED_FRAMES = 1000, 20_000  # of a path in the page, at most, however long its film


class Player:
    """Plays the plan of ``edits`` in a tab, and then gives the visitor their own camera back."""

    def __init__(self, stage: Stage, client: Any, edits: Edits) -> None:
        self.stage, self.client, self.edits = stage, client, edits
        self.playing = threading.Event()
        self.moved: Callable[[], None] = lambda: None  # called when playing begins or ends
        self._before: Shot | None = None  # the visitor's own camera, while the path has moved it
        self._put: Any = None  # where the path has put it
        self._thread: threading.Thread | None = None

    def add(self) -> None:
        """Adds the controls to the tab that is open."""
        gui, edits = self.client.gui, self.edits
        self.scrub = gui.add_slider(
            "Moment (s)", 0.0, edits.plan.seconds, 0.01, 0.0, hint="Drag it to see the film at that moment."
        )
        self.scrub.on_update(edits.by_visitor(lambda _: self._scrubbed()))
        self.play = gui.add_button("Play", hint="Plays the path at the film's own speed.")
        self.play.on_click(edits.by_visitor(lambda _: self.toggle()))
        self.back = gui.add_button("Back to my view", visible=False, color="gray")
        self.back.on_click(edits.by_visitor(lambda _: self.leave()))
        edits.shows.append(self._show)

    def _show(self) -> None:
        if self.scrub.max != self.edits.plan.seconds:
            with self.client.atomic():
                if self.scrub.value > self.edits.plan.seconds:
                    self.scrub.value = self.edits.plan.seconds
                self.scrub.max = self.edits.plan.seconds

    def go_to(self, world_from_cam: Any, fov: float) -> None:
        """Moves the tab's camera so that the film's frame spans ``fov``, vertical, radians."""
        plan = self.edits.plan
        across = page_aspect(shot_of(self.client.camera))
        put_camera(self.client, self.stage, world_from_cam, page_fov(fov, across, plan.width / plan.height))

    def _leave_own_view(self) -> None:
        """Remembers the visitor's own camera, unless it is the path that has put it where it is."""
        shot = shot_of(self.client.camera)
        if self._put is None or not np.allclose(shot.world_from_cam, self._put, atol=1e-3):
            self._before = shot
        self.back.visible = True

    def leave(self) -> None:
        """Stops playing, and moves the camera back to where the visitor had it."""
        self.stop()
        before, self._before, self._put = self._before, None, None
        self.back.visible = False
        if before is not None:
            put_camera(self.client, self.stage, before.world_from_cam, before.fov)

    def _at(self, path: CameraPath, share: float) -> None:
        """Moves the tab's camera to a share (0…1) of the path's time."""
        shot = path.cameras[min(int(share * len(path.cameras)), len(path.cameras) - 1)]
        self.go_to(shot.world_from_cam, vertical_fov(shot.intrinsics))
        self._put = shot.world_from_cam

    def _scrubbed(self) -> None:
        plan = self.edits.plan
        path = keyframes.cameras(plan, min(plan.n_frames, SHOWN_FRAMES))
        self.stop()
        self._leave_own_view()
        self._at(path, self.scrub.value / plan.seconds)

    def toggle(self) -> None:
        """Plays from the scrub handle on, or from the start if that is at the end; or stops.

        Raises NerfsceneError for a path without keyframes.
        """
        if self.playing.is_set():
            self.stop()
            return
        plan = self.edits.plan
        path = keyframes.cameras(plan, min(plan.n_frames, PLAYED_FRAMES))
        self._leave_own_view()
        begin = self.scrub.value if self.scrub.value < plan.seconds - 1 / plan.fps else 0.0
        self.playing.set()
        self.play.label = "Stop"
        self.moved()
        args = path, plan.seconds, begin
        self._thread = threading.Thread(target=self._run, args=args, name="nerfscene-play", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops playing."""
        self.playing.clear()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(10)

    def _run(self, path: CameraPath, seconds: float, begin: float) -> None:
        began, told = time.monotonic() - begin, 0.0
        try:
            while self.playing.is_set():
                now = time.monotonic()
                share = (now - began) / seconds
                over = share >= 1 and not path.loop
                # However slow the machine is, playing ends on the film's last frame.
                share = 1.0 if over else share % 1.0
                self._at(path, share)
                if over or now - told > TOLD_EVERY:
                    self.scrub.value, told = min(share * seconds, self.scrub.max), now
                if over:
                    time.sleep(HELD)
                    break
                time.sleep(1 / PLAYING_FPS)
        finally:
            self.playing.clear()
            self.play.label = "Play"
            self.leave()
            self.moved()
