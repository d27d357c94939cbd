"""A tab's controls for making, editing and playing a camera path."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import vertical_fov
from nerfscene.errors import NerfsceneError
from nerfscene.films.filming import film_size, world_points
from nerfscene.films.paths import CameraPath
from nerfscene.films.presets import PRESETS, preset
from nerfscene.films.tracks import rolled
from nerfscene.scene.output_folder import CAMERA_PATH_FILE
from nerfscene.scene.world import in_world
from nerfscene.types import Array
from nerfscene.viewer import keyframes
from nerfscene.viewer.film_outline import film_fov, frame_html, page_aspect, page_fov
from nerfscene.viewer.keyframes import EASINGS, Editor, Keyframe, Plan
from nerfscene.viewer.path_marks import PathMarks
from nerfscene.viewer.stage import (
    Say,
    Stage,
    guarded,
    pose_of,
    put_camera,
    shot_of,
)

STARTS = {
    "through the photos" if name == "walkthrough" else name: name for name in PRESETS
}  # by what is shown
DRAG_PAUSE = 1.0  # seconds after which a drag counts as a new one
PLAYING_FPS = 24
SHOWN_FRAMES, PLAYED_FRAMES = 1000, 20_000  # of a path in the page, at most, however long its film


class PathPanel:
    """Keyframes to make, drag and play; ``say(title, body, color)`` shows a notification in the tab.

    saves: whether the tab may save paths into the scene's folder.
    """

    def __init__(self, stage: Stage, client: Any, say: Say, saves: bool) -> None:
        self.stage, self.client, self.say, self.saves = stage, client, say, saves
        self._lock = threading.RLock()  # held by every callback, because viser runs them in many threads
        width, height = film_size(stage.scene, None, None)
        self.editor = Editor(Plan(width=width, height=height))
        self._playing = threading.Event()
        self._last_drag = 0.0
        self._marks = PathMarks(client, stage.distance, self._dragged)
        self._filling = False  # True while the program, not the visitor, sets the controls' values
        self._rolled = 0.0  # degrees that the roll slider has turned the selected keyframe by
        client.camera.on_update(lambda _: self._marks.hide_near(self.editor.plan, self._playing.is_set()))
        self._frame = client.gui.add_html(frame_html(self.aspect), visible=False)

    def close(self) -> None:
        """Stops playing."""
        self._playing.clear()

    def _on(self, work: Callable[[Any], None]) -> Callable[[Any], None]:
        return guarded(self.say, work, self._lock)

    # --- controls ---------------------------------------------------------------------------------

    def add(self) -> None:
        """Adds the controls to the tab that is open."""
        gui = self.client.gui
        gui.add_button("Add a keyframe here (K)").on_click(self._on(lambda _: self.add_keyframe()))
        self._add_keyframe_controls()
        edit = gui.add_button_group("Path", ("Undo", "Clear", *(("Save",) if self.saves else ()), "Load"))
        edit.on_click(self._on(lambda _: self._edit_path(edit.value)))
        self.preset = gui.add_dropdown("Start from", ("—", *STARTS))
        self.preset.on_update(self._on(lambda _: self._start_from()))
        self._add_film_settings()
        self.scrub = gui.add_slider("Scrub", 0.0, 1.0, 0.001, 0.0)
        self.scrub.on_update(self._on(lambda _: self._scrub()))
        self.play = gui.add_button("Play")
        self.play.on_click(self._on(lambda _: self._play()))

    def _add_keyframe_controls(self) -> None:
        gui = self.client.gui
        self.selected = gui.add_dropdown("Keyframe", ("none",))
        self.selected.on_update(self._on(lambda _: self._show_selected()))
        actions = gui.add_button_group("Keyframe actions", ("Go to", "Set here", "Up", "Down", "Delete"))
        actions.on_click(self._on(lambda _: self._act(actions.value)))
        self.key_fov = gui.add_slider("Field of view", 10.0, 110.0, 0.5, 50.0)
        self.key_fov.on_update(self._on(lambda _: self._change_key(fov=float(self.key_fov.value))))
        self.key_time = gui.add_number("Time (s)", 1.0, min=0.05, max=600.0, step=0.05)
        self.key_time.on_update(self._on(lambda _: self._change_key(time=float(self.key_time.value))))
        self.key_roll = gui.add_slider("Roll", -45.0, 45.0, 1.0, 0.0)
        self.key_roll.on_update(self._on(lambda _: self._roll_key()))

    def _add_film_settings(self) -> None:
        gui, plan = self.client.gui, self.editor.plan
        self.loop = gui.add_checkbox("Loop", plan.loop)
        self.even = gui.add_checkbox("Constant speed", plan.constant_speed)
        self.easing = gui.add_dropdown("Ease in and out", EASINGS, initial_value=plan.easing)
        self.seconds = gui.add_number("Seconds", plan.seconds, min=0.1, max=600.0, step=0.1)
        self.fps = gui.add_number("Frames per second", plan.fps, min=1.0, max=120.0, step=1.0)
        self.framed = gui.add_checkbox("Show the film's frame", False)
        self.framed.on_update(self._on(lambda _: self._show_frame()))
        self.width = gui.add_number("Width", plan.width, min=16, max=8192, step=2)
        self.height = gui.add_number("Height", plan.height, min=16, max=8192, step=2)
        for handle in (self.loop, self.even, self.easing, self.seconds, self.fps, self.width, self.height):
            handle.on_update(self._on(lambda _: self._read_settings()))

    def keyframe_here(self) -> Keyframe:
        """A keyframe of what the film's frame shows of the page."""
        shot = shot_of(self.client.camera)
        return Keyframe(
            shot.world_from_cam, float(np.degrees(film_fov(shot.fov, page_aspect(shot), self.aspect)))
        )

    @property
    def aspect(self) -> float:
        """The film's width divided by its height."""
        return self.editor.plan.width / self.editor.plan.height

    def _go_to(self, world_from_cam: Array, fov: float) -> None:
        """Moves the tab's camera so that the film's frame spans ``fov``, vertical, radians."""
        across = page_aspect(shot_of(self.client.camera))
        put_camera(self.client, self.stage, world_from_cam, page_fov(fov, across, self.aspect))

    def _show_frame(self) -> None:
        self._frame.content, self._frame.visible = frame_html(self.aspect), self.framed.value

    def add_keyframe(self) -> None:
        """Adds a keyframe at the tab's camera, after the selected one or at the end.

        Raises NerfsceneError if there are as many as there can be.
        """
        with self._lock:
            index = self._index()
            self.editor.apply(keyframes.added(self.editor.plan, self.keyframe_here(), index))
            self._show_plan(len(self.editor.plan.keyframes) - 1 if index is None else index + 1)
            if len(self.editor.plan.keyframes) == 1:
                # From now on the visitor wants to see what the film will show.
                self.framed.value = True
                self._show_frame()

    def _index(self) -> int | None:
        """The number of the selected keyframe, from 0."""
        name = self.selected.value
        return int(name.split()[0]) - 1 if name != "none" else None

    def _act(self, action: str) -> None:
        index, plan = self._index(), self.editor.plan
        if index is None:
            raise NerfsceneError("there is no keyframe yet; add one first")
        if action == "Go to":
            k = plan.keyframes[index]
            self._go_to(k.world_from_cam, float(np.radians(k.fov)))
            return
        if action == "Set here":
            here = self.keyframe_here()
            self.editor.apply(
                keyframes.changed(plan, index, world_from_cam=here.world_from_cam, fov=here.fov)
            )
        elif action == "Delete":
            self.editor.apply(keyframes.removed(plan, index))
            index = min(index, len(self.editor.plan.keyframes) - 1)
        else:
            to = min(max(index + (-1 if action == "Up" else 1), 0), len(plan.keyframes) - 1)
            self.editor.apply(keyframes.moved(plan, index, to))
            index = to
        self._show_plan(index)

    def _change_key(self, **values: Any) -> None:
        index = self._index()
        if self._filling or index is None:
            return
        self.editor.apply(keyframes.changed(self.editor.plan, index, **values))
        self._draw()

    def _roll_key(self) -> None:
        index = self._index()
        if self._filling or index is None:
            return
        turn, self._rolled = self.key_roll.value - self._rolled, self.key_roll.value
        pose = rolled(self.editor.plan.keyframes[index].world_from_cam, turn)
        self.editor.apply(keyframes.changed(self.editor.plan, index, world_from_cam=pose))
        self._draw()

    def _edit_path(self, action: str) -> None:
        if action == "Undo":
            self.editor.undo()
        elif action == "Clear":
            self.editor.apply(replace(self.editor.plan, keyframes=()))
        else:
            if self.stage.folder is None or self.stage.keeper is None:
                raise NerfsceneError("this scene has no folder to keep paths in; save the scene first")
            file, world_from_page = self.stage.folder / CAMERA_PATH_FILE, self.stage.world.world_from_page
            if action == "Save":
                keyframes.check_size(self.editor.plan)
                plan = keyframes.transformed(self.editor.plan, world_from_page)
                self.stage.keeper.saving(lambda: keyframes.save(plan, file))
                self.say("Saved", f"{file}: nerfscene render films it")
                return
            self.stage.keeper.check()
            page_from_world = np.asarray(np.linalg.inv(world_from_page), np.float64)
            scene = in_world(self.stage.scene, world_from_page)
            loaded = keyframes.load(file, scene, lambda text: self.say("About this path", text))
            self.editor.apply(keyframes.transformed(loaded, page_from_world))
        self._show_plan(0)

    def _start_from(self) -> None:
        name = self.preset.value
        if name == "—" or self._filling:
            return
        plan, scene = self.editor.plan, self.stage.scene
        try:
            path = preset(
                STARTS[name],
                scene.views,
                min(plan.n_frames, SHOWN_FRAMES),
                plan.width,
                plan.height,
                world_points(scene),
                self.stage.world.up,
            )
        except NerfsceneError:
            self._show_plan()  # the plan stays, and the choice is made again
            raise
        made = keyframes.from_path(path)
        self.editor.apply(replace(plan, keyframes=made.keyframes, loop=made.loop))
        self._show_plan(0)

    def _read_settings(self) -> None:
        if self._filling:
            return
        self.editor.apply(
            replace(
                self.editor.plan,
                loop=self.loop.value,
                constant_speed=self.even.value,
                easing=self.easing.value,
                seconds=float(self.seconds.value),
                fps=float(self.fps.value),
                width=int(self.width.value) // 2 * 2,
                height=int(self.height.value) // 2 * 2,
            )
        )
        self._show_frame()
        self._draw()
        keyframes.check_size(self.editor.plan)  # says so at once

    def _show_plan(self, index: int | None = None) -> None:
        """Sets the controls to the plan; ``index``: the keyframe to select."""
        plan = self.editor.plan
        self._filling = True
        try:
            names = tuple(f"{i + 1} of {len(plan.keyframes)}" for i in range(len(plan.keyframes))) or (
                "none",
            )
            self.selected.options = names
            if index is not None and 0 <= index < len(names):
                self.selected.value = names[index]
            for handle, value in (
                (self.loop, plan.loop), (self.even, plan.constant_speed), (self.easing, plan.easing),
                (self.seconds, plan.seconds), (self.fps, plan.fps), (self.width, plan.width),
                (self.height, plan.height), (self.preset, "—"),
            ):  # fmt: skip
                if handle.value != value:
                    handle.value = value
        finally:
            self._filling = False
        self._show_frame()
        self._show_selected()
        self._draw()

    def _show_selected(self) -> None:
        """Sets the keyframe's controls to the selected keyframe."""
        index = self._index()
        if index is None or index >= len(self.editor.plan.keyframes):
            return
        k = self.editor.plan.keyframes[index]
        self._filling = True
        try:
            self.key_fov.value, self.key_time.value, self.key_roll.value = k.fov, k.time, 0.0
            self._rolled = 0.0
        finally:
            self._filling = False

    def _draw(self) -> None:
        self._marks.draw(self.editor.plan, hide_all=self._playing.is_set())

    def _dragged(self, index: int, handle: Any) -> None:
        with self._lock:
            self._drag(index, handle)

    def _drag(self, index: int, handle: Any) -> None:
        plan = self.editor.plan
        if index >= len(plan.keyframes):
            return
        pose = pose_of(handle)
        # A drag is many small updates; undo takes them back together.
        changed = keyframes.changed(plan, index, world_from_cam=pose)
        now = time.monotonic()
        if now - self._last_drag > DRAG_PAUSE:
            self.editor.apply(changed)
        else:
            self.editor.plan = changed
        self._last_drag = now

    def _camera_at(self, path: CameraPath, share: float) -> None:
        """Moves the tab's camera to a share (0…1) of the path's time."""
        shot = path.cameras[min(int(share * len(path.cameras)), len(path.cameras) - 1)]
        self._go_to(shot.world_from_cam, vertical_fov(shot.intrinsics))

    def _scrub(self) -> None:
        if not self._filling and not self._playing.is_set():
            plan = self.editor.plan
            n = min(plan.n_frames, SHOWN_FRAMES)
            self._camera_at(keyframes.cameras(plan, n), self.scrub.value)

    def _play(self) -> None:
        if self._playing.is_set():
            self._playing.clear()
            return
        plan = self.editor.plan
        path = keyframes.cameras(plan, min(plan.n_frames, PLAYED_FRAMES))
        self._playing.set()
        self.play.label = "Stop"

        def run() -> None:
            began = time.monotonic()
            try:
                while self._playing.is_set():
                    share = (time.monotonic() - began) / plan.seconds
                    over = share >= 1 and not plan.loop
                    # However slow the machine is, playing ends on the film's last frame.
                    self._camera_at(path, 1.0 if over else share % 1.0)
                    if over:
                        break
                    time.sleep(1 / PLAYING_FPS)
            finally:
                self._playing.clear()
                self.play.label = "Play"

        threading.Thread(target=run, name="nerfscene-play", daemon=True).start()
