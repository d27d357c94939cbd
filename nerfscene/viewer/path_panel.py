"""A tab's controls for making, editing and playing a camera path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.films.filming import film_path, film_size, world_points
from nerfscene.films.paths import CameraPath
from nerfscene.films.presets import PRESETS
from nerfscene.films.through import SUBJECT, point_to_look_at
from nerfscene.films.tracks import Tracks, rolled
from nerfscene.types import Array
from nerfscene.viewer import keyframes, path_files, timeline
from nerfscene.viewer.edits import Edits
from nerfscene.viewer.film_outline import frame_html
from nerfscene.viewer.key_panel import KeyPanel
from nerfscene.viewer.key_values import stretched
from nerfscene.viewer.keyframes import EASINGS, Editor, LookAt, Plan
from nerfscene.viewer.path_keeping import PathKeeping
from nerfscene.viewer.path_marks import PathMarks
from nerfscene.viewer.picking import Picker
from nerfscene.viewer.player import SHOWN_FRAMES, Player
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import Say, Stage, pose_of, triple

CHOOSE = "choose a path …"
MOST_HANDLES = 40  # on the timeline: more can't be told apart
SAME_TIME = 2e-3  # seconds
KEYS_LOOK, SUBJECT_LOOK, POINT_LOOK = "where the keyframes look", "at the subject", "at a point"
LOOKS = (KEYS_LOOK, SUBJECT_LOOK, POINT_LOOK)


class PathPanel:
    """Keyframes to make, drag and play; ``say(title, body, color)`` shows a notification in the tab.

    saves: whether the tab may save paths into the scene's folder.
    """

    def __init__(self, stage: Stage, client: Any, session: Session, say: Say, saves: bool) -> None:
        self.stage, self.client, self.session, self.say, self.saves = stage, client, session, say, saves
        width, height = film_size(stage.scene, None, None)
        self.edits = Edits(Editor(Plan(width=width, height=height)), say, saves)
        self.player = Player(stage, client, self.edits)
        self.player.moved = self._draw
        self.picker = Picker(client, session, say, self.edits.lock)
        self.keys = KeyPanel(client, self.edits, self.player, self.picker)
        self.keeping = PathKeeping(stage, client, self.edits, saves)
        self._marks = PathMarks(client, stage.distance, self._dragged)
        client.camera.on_update(
            lambda _: self._marks.hide_near(self.edits.plan, self.player.playing.is_set())
        )
        self._frame = client.gui.add_html(frame_html(self.aspect), visible=False)

    @property
    def editor(self) -> Editor:
        """The plan that is edited."""
        return self.edits.editor

    @property
    def aspect(self) -> float:
        """The film's width divided by its height."""
        return self.edits.plan.width / self.edits.plan.height

    def close(self) -> None:
        """Stops playing, and keeps what was edited last."""
        self.player.stop()
        self.keeping.close()

    # --- controls ---------------------------------------------------------------------------------

    def add(self) -> None:
        """Adds the controls to the tab that is open."""
        gui, on = self.client.gui, self.edits.by_visitor
        self.preset = gui.add_dropdown("Start from", (CHOOSE, *PRESETS))
        self.preset.on_update(on(lambda _: self._start_from()))
        gui.add_button("Add a keyframe here (K)").on_click(on(lambda _: self.add_keyframe()))
        self._add_timeline()
        self.player.add()
        self.keeping.add()
        with gui.add_folder("Keyframe", expand_by_default=False):
            self.keys.add()
        with gui.add_folder("How the camera moves", expand_by_default=False):
            self._add_way()
        with gui.add_folder("From photo to photo", expand_by_default=False):
            self.photos = gui.add_text(
                "Photos", "", hint="Names with commas between, such as 0001.jpg,0017.jpg."
            )
            make = gui.add_button("Make this path", hint="It closes to a loop if Loop is ticked.")
            make.on_click(on(lambda _: self._go_through()))
        self.edits.shows.append(self._show)

    def _add_timeline(self) -> None:
        gui, on, plan = self.client.gui, self.edits.by_visitor, self.edits.plan
        # With both ends fixed; a loop's last handle is its first keyframe again.
        self.times = gui.add_multi_slider(
            "Keyframes in time (s)", 0.0, plan.seconds, timeline.LEAST_STEP, (0.0, plan.seconds),
            fixed_endpoints=True, visible=False,
            hint="Drag a keyframe's handle to reach it earlier or later.",
        )  # fmt: skip
        self.times.on_update(on(lambda _: self._retime()))
        self.seconds = gui.add_number(
            "Seconds", plan.seconds, min=timeline.SHORTEST, max=timeline.LONGEST, step=0.1
        )
        self.fps = gui.add_number("Frames per second", plan.fps, min=1.0, max=120.0, step=0.5)
        for handle in (self.seconds, self.fps):
            handle.on_update(on(lambda _: self._read_settings()))

    def _add_way(self) -> None:
        gui, on, plan = self.client.gui, self.edits.by_visitor, self.edits.plan
        self.loop = gui.add_checkbox("Loop", plan.loop, hint="The film ends where it begins.")
        self.even = gui.add_checkbox(
            "Constant speed", plan.constant_speed, hint="Instead of the keyframes' own times."
        )
        self.easing = gui.add_dropdown("Ease in and out", EASINGS, initial_value=plan.easing)
        for handle in (self.loop, self.even, self.easing):
            handle.on_update(on(lambda _: self._read_settings()))
        self.look = gui.add_dropdown("Look", LOOKS)
        self.look.on_update(on(lambda _: self._look()))
        self.look_click = gui.add_button("Look at what I click on", color="gray")
        self.look_click.on_click(on(lambda _: self._ask_look()))
        self.shown = gui.add_checkbox("Show the path", False, hint="With handles to drag keyframes by.")
        self.shown.on_update(on(lambda _: self._draw()))
        self.framed = gui.add_checkbox("Show the film's frame", False)
        self.framed.on_update(on(lambda _: self._show_frame()))

    # --- what the visitor does ----------------------------------------------------------------------

    def add_keyframe(self) -> None:
        """Adds a keyframe at the tab's camera, after the selected one or at the end.

        Raises NerfsceneError if there are as many as there can be.
        """
        with self.edits.lock:
            plan, index = self.edits.plan, self.edits.selected
            new = keyframes.added(plan, self.keys.here(), index)
            self.shown.value = True
            self.edits.apply(new, 0 if index is None else index + 1)
            if len(new.keyframes) == 1:
                # From now on the visitor wants to see what the film will show.
                self.framed.value = True
                self._show_frame()

    def _start_from(self) -> None:
        if self.preset.value != CHOOSE:
            self._take(self._path(path=self.preset.value))

    def _go_through(self) -> None:
        if not self.photos.value.strip():
            name = self.stage.scene.views[0].path.name
            raise NerfsceneError(f"name two photos or more, with commas between, such as {name}")
        self._take(self._path(through=self.photos.value, loop=self.edits.plan.loop))

    def _path(self, **way: Any) -> CameraPath:
        """The path that the command would film with these settings, as long as the plan's film."""
        plan = self.edits.plan
        fps = min(plan.n_frames, SHOWN_FRAMES) / plan.seconds
        backend: Any = self.stage.backend
        config = RenderConfig(
            width=plan.width, height=plan.height, fps=fps, seconds=plan.seconds, backend=backend, **way
        )
        return film_path(self.stage.scene, config)[0]

    def _take(self, path: CameraPath) -> None:
        """Goes on with keyframes along a path; the film's length and size stay."""
        made = path_files.from_path(path)
        self.shown.value = True
        plan = replace(self.edits.plan, keyframes=made.keyframes, loop=made.loop, tracks=Tracks())
        self.edits.apply(replace(plan, constant_speed=False, easing=EASINGS[0]), 0)

    def _retime(self) -> None:
        plan, times = self.edits.plan, np.array(self.times.value)
        before = timeline.times_of(plan)
        if len(times) != len(before) or np.allclose(times, before, atol=SAME_TIME):
            return  # of several messages, the first has taken the latest values already
        moved = int(np.abs(times - before).argmax())
        self.edits.apply(timeline.with_times(plan, times), moved, drag="times")

    def _read_settings(self) -> None:
        loop, plan = self.loop.value, self.edits.plan
        if loop != plan.loop and plan.keyframes:  # the way back takes as long as the others, on average
            steps = [k.time for k in plan.keyframes[1:]] or [1.0]
            plan = keyframes.changed(plan, 0, time=sum(steps) / len(steps))
        plan = replace(
            plan,
            loop=loop,
            constant_speed=self.even.value,
            easing=self.easing.value,
            fps=float(self.fps.value),
        )
        self.edits.apply(stretched(plan, float(self.seconds.value)))

    def _look(self) -> None:
        if self.look.value == POINT_LOOK:
            if self.edits.plan.look_at is None:
                self._ask_look()
            return
        look = None
        if self.look.value == SUBJECT_LOOK:
            scene, up = self.stage.scene, self.stage.world.up
            renderer = self.session.renderer
            point = point_to_look_at(SUBJECT, scene.views, world_points(scene), up, renderer, "Look")
            look = LookAt(triple(point), triple(up))
        self.edits.apply(replace(self.edits.plan, look_at=look))

    def _ask_look(self) -> None:
        self.picker.ask(
            self.look_click, "Look at a point", "Click on what the camera is to look at.", self._look_here
        )

    def _look_here(self, point: Array) -> None:
        look = LookAt(triple(point), triple(self.stage.world.up))
        self.edits.apply(replace(self.edits.plan, look_at=look))

    def _dragged(self, index: int, handle: Any) -> None:
        with self.edits.lock:
            plan = self.edits.plan
            if index < len(plan.keyframes):
                self._marks.left_alone(lambda: self._move_key(index, pose_of(handle)))

    def _move_key(self, index: int, pose: Array) -> None:
        pose = rolled(pose, -self.edits.plan.keyframes[index].roll)  # the handle has that too
        plan = keyframes.changed(self.edits.plan, index, world_from_cam=pose)
        self.edits.apply(plan, index, drag=("handle", index))

    # --- what is shown ------------------------------------------------------------------------------

    def _show_frame(self) -> None:
        self._frame.content, self._frame.visible = frame_html(self.aspect), self.framed.value

    def _show(self) -> None:
        """Sets the controls to the plan."""
        plan = self.edits.plan
        look = KEYS_LOOK if plan.look_at is None else self._look_in_words(plan.look_at)
        for handle, value in (
            (self.loop, plan.loop), (self.even, plan.constant_speed), (self.easing, plan.easing),
            (self.seconds, plan.seconds), (self.fps, plan.fps), (self.preset, CHOOSE), (self.look, look),
        ):  # fmt: skip
            self.edits.put(handle, value)
        self._show_times()
        self._show_frame()
        self._draw()

    def _look_in_words(self, look: LookAt) -> str:
        return SUBJECT_LOOK if np.allclose(look.point, self.stage.focus, atol=1e-6) else POINT_LOOK

    def _show_times(self) -> None:
        plan, slider = self.edits.plan, self.times
        n = len(plan.keyframes)
        if not 2 <= n <= MOST_HANDLES:
            slider.visible = False
            return
        times = tuple(float(t) for t in np.round(timeline.times_of(plan), 4))
        with self.client.atomic():
            if slider.max != plan.seconds:
                slider.max = plan.seconds
            # While a handle is dragged, the page goes by its own values.
            if len(times) != len(slider.value) or not np.allclose(times, slider.value, atol=SAME_TIME):
                self.edits.put(slider, times)
            slider.visible = True

    def _draw(self) -> None:
        plan = self.edits.plan if self.shown.value else None
        self._marks.draw(plan, self.edits.selected, hide_all=self.player.playing.is_set())
