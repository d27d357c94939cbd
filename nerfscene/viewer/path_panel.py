"""A tab's controls for the camera path and the film along it."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import vertical_fov
from nerfscene.errors import NerfsceneError
from nerfscene.film import paths
from nerfscene.film.filming import film_size, world_points
from nerfscene.types import Array
from nerfscene.viewer import keyframes
from nerfscene.viewer.films import FilmJob
from nerfscene.viewer.frame import film_fov, frame_html, page_aspect, page_fov
from nerfscene.viewer.keyframes import EASINGS, Editor, Keyframe, Plan
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import (
    PATH_FILE,
    Say,
    Stage,
    guarded,
    pose_of,
    put_camera,
    quaternion,
    shot_of,
    triple,
)

PRESETS = ("orbit", "spiral", "dolly", "through the photos")


class PathPanel:
    """Keyframes to make, drag and play, and the film; ``say(title, body, color)`` tells the tab.

    The film has what the session's pictures show: its crop and what is behind.
    """

    def __init__(self, stage: Stage, session: Session, say: Say) -> None:
        self.stage, self.session, self.client, self.say = stage, session, session.client, say
        width, height = film_size(stage.scene, None, None)
        self.editor = Editor(Plan(width=width, height=height))
        self.job: FilmJob | None = None
        self.film: bytes | None = None
        self._playing = threading.Event()
        self._last_drag = 0.0
        self._marks: list[Any] = []
        self._filling = False  # while values are set from here, not by a person
        self._near: list[bool] = []  # which keyframes' handles are hidden, for the camera stands in them
        self.client.camera.on_update(lambda _: self._hide_near())
        self._frame = self.client.gui.add_html(frame_html(self.aspect), visible=False)

    def close(self) -> None:
        """The tab is gone, or the viewer is."""
        self._playing.clear()
        if self.job is not None:
            self.job.cancel()
            self.job.wait(10)

    # --- the path ---------------------------------------------------------------------------------

    def add_path(self) -> None:
        """The path's controls, into the tab that is open."""
        gui, plan = self.client.gui, self.editor.plan
        gui.add_button("Add a keyframe here (K)").on_click(guarded(self.say, lambda _: self.add_keyframe()))
        self.selected = gui.add_dropdown("Keyframe", ("none",))
        self.selected.on_update(lambda _: self._selected())
        acts = gui.add_button_group("With it", ("Go to", "Set here", "Up", "Down", "Delete"))
        acts.on_click(guarded(self.say, lambda _: self._act(acts.value)))
        self.key_fov = gui.add_slider("Its field of view", 10.0, 110.0, 0.5, 50.0)
        self.key_fov.on_update(lambda _: self._change_key(fov=float(self.key_fov.value)))
        self.key_time = gui.add_number("Its time, s", 1.0, min=0.05, max=600.0, step=0.05)
        self.key_time.on_update(lambda _: self._change_key(time=float(self.key_time.value)))
        self.key_roll = gui.add_slider("Roll it", -45.0, 45.0, 1.0, 0.0)
        self.key_roll.on_update(lambda _: self._roll_key())
        self._rolled = 0.0
        more = gui.add_button_group("Path", ("Undo", "Clear", "Save", "Load"))
        more.on_click(guarded(self.say, lambda _: self._whole(more.value)))
        self.preset = gui.add_dropdown("Start from", ("—", *PRESETS))
        self.preset.on_update(guarded(self.say, lambda _: self._start_from()))
        self.loop = gui.add_checkbox("Loop", plan.loop)
        self.even = gui.add_checkbox("Constant speed", plan.constant_speed)
        self.easing = gui.add_dropdown("Ease in and out", EASINGS, initial_value=plan.easing)
        self.seconds = gui.add_number("Seconds", plan.seconds, min=0.1, max=600.0, step=0.1)
        self.fps = gui.add_number("Frames a second", plan.fps, min=1.0, max=120.0, step=1.0)
        self.framed = gui.add_checkbox("Show the film's frame", False)
        self.framed.on_update(lambda _: self._show_frame())
        self.width = gui.add_number("Width", plan.width, min=16, max=8192, step=2)
        self.height = gui.add_number("Height", plan.height, min=16, max=8192, step=2)
        for handle in (self.loop, self.even, self.easing, self.seconds, self.fps, self.width, self.height):
            handle.on_update(lambda _: self._read_settings())
        self.scrub = gui.add_slider("Scrub", 0.0, 1.0, 0.001, 0.0)
        self.scrub.on_update(guarded(self.say, lambda _: self._scrub()))
        self.play = gui.add_button("Play")
        self.play.on_click(guarded(self.say, lambda _: self._play()))

    def keyframe_here(self) -> Keyframe:
        """What the film's frame shows of the page as a keyframe."""
        shot = shot_of(self.client.camera)
        return Keyframe(
            shot.world_from_cam, float(np.degrees(film_fov(shot.fov, page_aspect(shot), self.aspect)))
        )

    @property
    def aspect(self) -> float:
        """The film's width by its height."""
        return self.editor.plan.width / self.editor.plan.height

    def _go_to(self, world_from_cam: Array, fov: float) -> None:
        """The tab's camera there, with a film's vertical field of view (radians) just filling the frame."""
        across = page_aspect(shot_of(self.client.camera))
        put_camera(self.client, self.stage, world_from_cam, page_fov(fov, across, self.aspect))

    def _show_frame(self) -> None:
        self._frame.content, self._frame.visible = frame_html(self.aspect), self.framed.value

    def add_keyframe(self) -> None:
        """After the selected one, or at the end."""
        index = self._index()
        self.editor.apply(keyframes.added(self.editor.plan, self.keyframe_here(), index))
        self._show_plan(len(self.editor.plan.keyframes) - 1 if index is None else index + 1)
        if len(self.editor.plan.keyframes) == 1:  # from now on it matters what the film will show
            self.framed.value = True
            self._show_frame()

    def _index(self) -> int | None:
        name = self.selected.value
        return int(name.split()[0]) - 1 if name != "none" else None

    def _act(self, what: str) -> None:
        index, plan = self._index(), self.editor.plan
        if index is None:
            raise NerfsceneError("there is no keyframe yet; add one first")
        if what == "Go to":
            k = plan.keyframes[index]
            self._go_to(k.world_from_cam, float(np.radians(k.fov)))
            return
        if what == "Set here":
            here = self.keyframe_here()
            self.editor.apply(
                keyframes.changed(plan, index, world_from_cam=here.world_from_cam, fov=here.fov)
            )
        elif what == "Delete":
            self.editor.apply(keyframes.removed(plan, index))
            index = min(index, len(self.editor.plan.keyframes) - 1)
        else:
            to = min(max(index + (-1 if what == "Up" else 1), 0), len(plan.keyframes) - 1)
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
        pose = keyframes.rolled(self.editor.plan.keyframes[index].world_from_cam, turn)
        self.editor.apply(keyframes.changed(self.editor.plan, index, world_from_cam=pose))
        self._draw()

    def _whole(self, what: str) -> None:
        if what == "Undo":
            self.editor.undo()
        elif what == "Clear":
            self.editor.apply(replace(self.editor.plan, keyframes=()))
        else:
            if self.stage.folder is None:
                raise NerfsceneError("this scene has no folder to keep paths in; save the scene first")
            file, world_from_page = self.stage.folder / PATH_FILE, self.stage.world.world_from_page
            if what == "Save":
                keyframes.save(keyframes.transformed(self.editor.plan, world_from_page), file)
                self.say("Saved", f"{file}: nerfscene render and nerfstudio read it")
                return
            page_from_world = np.asarray(np.linalg.inv(world_from_page), np.float64)
            self.editor.apply(keyframes.transformed(keyframes.load(file), page_from_world))
        self._show_plan(0)

    def _start_from(self) -> None:
        name = self.preset.value
        if name == "—" or self._filling:
            return
        plan, scene = self.editor.plan, self.stage.scene
        if name == "dolly":
            home = self.stage.world.home
            near = home.copy()
            near[:3, 3] += 0.4 * self.stage.distance * near[:3, 2]
            fov = float(np.degrees(self.stage.fov))
            new = replace(plan, keyframes=(Keyframe(home, fov), Keyframe(near, fov)), loop=False)
        else:
            kind = "walkthrough" if name == "through the photos" else name
            path = paths.preset(
                kind,
                scene.views,
                plan.n_frames,
                plan.width,
                plan.height,
                world_points(scene),
                self.stage.world.up,
            )
            made = keyframes.from_path(path)
            new = replace(plan, keyframes=made.keyframes, loop=made.loop)
        self.editor.apply(new)
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

    def _show_plan(self, index: int | None = None) -> None:
        """The controls follow the plan."""
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
        self._selected()
        self._draw()

    def _selected(self) -> None:
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
        """Keyframes as handles that can be dragged, and the way between them as a line."""
        for mark in self._marks:
            mark.remove()
        self._marks = []
        plan, size = self.editor.plan, 0.08 * self.stage.distance
        for i, k in enumerate(plan.keyframes):
            place: dict[str, Any] = dict(
                wxyz=quaternion(k.world_from_cam), position=triple(k.world_from_cam[:3, 3])
            )
            handle = self.client.scene.add_transform_controls(
                f"/path/{i}", scale=size, disable_sliders=True, depth_test=False, **place
            )
            handle.on_update(lambda _, i=i, handle=handle: self._dragged(i, handle))
            frustum = self.client.scene.add_camera_frustum(
                f"/path/{i}/camera",
                fov=float(np.radians(k.fov)),
                aspect=plan.width / plan.height,
                scale=size,
                color=(90, 200, 120),
            )
            self._marks += [frustum, handle]
        self._near = [False] * len(plan.keyframes)
        self._hide_near()
        if len(plan.keyframes) > 1:
            way = keyframes.cameras(plan, 20 * len(plan.keyframes))
            at = np.stack([c.world_from_cam[:3, 3] for c in way.cameras])
            line = self.client.scene.add_line_segments(
                "/path/way",
                np.stack([at[:-1], at[1:]], 1).astype(np.float32),
                (90, 200, 120),
                thickness=3.0,
                thickness_units="screen",
            )
            self._marks.append(line)

    def _hide_near(self) -> None:
        """A camera that stands in a keyframe, or follows the path, would look at its handles from inside."""
        here, limit = np.array(self.client.camera.position), 0.15 * self.stage.distance
        for i, k in enumerate(self.editor.plan.keyframes[: len(self._near)]):
            near = self._playing.is_set() or float(np.linalg.norm(k.world_from_cam[:3, 3] - here)) < limit
            if near != self._near[i]:
                self._near[i] = near
                self._marks[2 * i].visible = self._marks[2 * i + 1].visible = not near

    def _dragged(self, index: int, handle: Any) -> None:
        plan = self.editor.plan
        if index >= len(plan.keyframes):
            return
        pose = pose_of(handle)
        # A drag is many small updates: only its first makes a step to undo.
        changed = keyframes.changed(plan, index, world_from_cam=pose)
        now = time.monotonic()
        if now - self._last_drag > 1.0:
            self.editor.apply(changed)
        else:
            self.editor.plan = changed
        self._last_drag = now

    def _camera_at(self, share: float) -> None:
        way = keyframes.cameras(self.editor.plan)
        shot = way.cameras[min(int(share * len(way.cameras)), len(way.cameras) - 1)]
        self._go_to(shot.world_from_cam, vertical_fov(shot.intrinsics))

    def _scrub(self) -> None:
        if not self._filling and not self._playing.is_set():
            self._camera_at(self.scrub.value)

    def _play(self) -> None:
        if self._playing.is_set():
            self._playing.clear()
            return
        plan = self.editor.plan
        way = keyframes.cameras(plan)
        self._playing.set()
        self.play.label = "Stop"

        def run() -> None:
            began = time.monotonic()
            while self._playing.is_set():
                share = (time.monotonic() - began) / plan.seconds
                over = share >= 1 and not plan.loop
                # However slow the machine is, playing ends on the film's last frame.
                shot = way.cameras[-1 if over else int(share % 1.0 * len(way.cameras))]
                self._go_to(shot.world_from_cam, vertical_fov(shot.intrinsics))
                if over:
                    break
                time.sleep(1 / 24)
            self._playing.clear()
            self.play.label = "Play"

        threading.Thread(target=run, name="nerfscene-play", daemon=True).start()

    # --- films ------------------------------------------------------------------------------------

    def add_film(self) -> None:
        """The film's controls, into the tab that is open."""
        gui = self.client.gui
        gui.add_markdown("The film follows the path, at the size and time set there.")
        self.start_film = gui.add_button("Render the film")
        self.start_film.on_click(guarded(self.say, lambda _: self.render_film()))
        self.bar = gui.add_progress_bar(0.0, visible=False)
        self.stop_film = gui.add_button("Cancel", visible=False)
        self.stop_film.on_click(lambda _: self.job.cancel() if self.job else None)
        self.download = gui.add_button("Download film.mp4", visible=False)
        self.download.on_click(lambda _: self._download())

    def render_film(self) -> None:
        """Starts the film in the background."""
        keyframes.cameras(self.editor.plan, 2)  # says what is missing before anything starts
        self.start_film.disabled, self.bar.visible, self.stop_film.visible = True, True, True
        self.download.visible = False
        self.bar.value = 0.0

        def progress(share: float) -> None:
            self.bar.value = 100 * share

        def done(film: bytes | None, why: str) -> None:
            self.film = film
            with contextlib.suppress(Exception):  # the tab may have gone meanwhile
                self.start_film.disabled, self.bar.visible, self.stop_film.visible = False, False, False
                self.download.visible = film is not None
                if film is None:
                    self.say("No film", why, "red")
                else:
                    self.say("The film is ready", f"{len(film) / 1e6:.1f} MB")

        background, backdrop = self.session.behind(self.session.look)
        crop = self.stage.crop.page_from_box
        scene = replace(self.stage.scene, crop=crop, background=background, backdrop=backdrop)
        self.job = FilmJob(scene, self.editor.plan, self.stage.backend, progress, done)

    def _download(self) -> None:
        if self.film is not None:
            self.client.send_file_download("film.mp4", self.film, save_immediately=True)
