"""A tab's controls: the look, photos, crop and training, and the panels for world, path, film and export."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import Any

import numpy as np

from nerfscene.cameras.algebra import vertical_fov
from nerfscene.capture.folder import short_names
from nerfscene.errors import NerfsceneError
from nerfscene.films.paths import look_at
from nerfscene.scene.folder import save_crop
from nerfscene.viewer.export_panel import ExportPanel
from nerfscene.viewer.film_panel import FilmPanel
from nerfscene.viewer.path_panel import PathPanel
from nerfscene.viewer.pictures import MODES
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import Stage, guarded, keep, pose_of, put_camera, quaternion, shot_at, triple
from nerfscene.viewer.still import COMPARE
from nerfscene.viewer.world_panel import WorldPanel

HELP = """
**Drag** turns, **right-drag** pans, **wheel** moves closer. **W A S D** move, **Q E** move down and up,
**arrows** turn. **F** frames the scene. **1 2 3 4**: colour, depth, accumulation, normals. Click a photo's
frame to go to where it was taken.
"""
KEYFRAME = "**K** adds a keyframe.\n"

LOOKS_ONLY = """
This link only looks: paths, films and exports are yours alone, and nothing is saved with the scene.
"""
MAKES_NOTHING = """
You may look at this scene; only its owner can change it.
"""


class Panels:
    """All controls of one tab. Callbacks run on viser's threads; errors become notifications.

    saves: whether the tab may save into the scene's folder, change what other tabs see, and control the
    training. makes: whether it may make paths, films and exports of its own. Without that it has no controls
    for them, so that no message can reach any.
    """

    def __init__(self, stage: Stage, client: Any, session: Session, saves: bool, makes: bool = True) -> None:
        self.stage, self.client, self.session = stage, client, session
        self.saves, self.makes = saves, makes
        self._lock = threading.RLock()  # held while the crop changes
        self.path = PathPanel(stage, client, session, self.say, saves)
        self.film = FilmPanel(stage, session, self.path.edits, self.path.picker, self.say)
        self.export = ExportPanel(stage, session, self.path.editor, self.say, saves)
        self.world = WorldPanel(stage, client, session, self.say)
        self._frustums: list[Any] = []  # made when first shown
        self._filling = False  # True while the program, not the visitor, sets the controls' values
        gui = client.gui
        tabs = gui.add_tab_group()
        with tabs.add_tab("Look"):
            self._look()
        if makes:
            with tabs.add_tab("Path"):
                self.path.add()
            with tabs.add_tab("Film"):
                self.film.add()
            with tabs.add_tab("Export"):
                self.export.add()
            self.path.edits.show()
            self.path.keeping.restore()
        if stage.training is not None:
            with tabs.add_tab("Training"):
                self._training()
        self._commands()

    def close(self) -> None:
        """Ends what runs in the background, because the tab or the viewer closes."""
        self.path.close()
        self.film.close()
        self.export.close()

    def say(self, title: str, body: str, color: Any = None) -> None:
        """Shows a notification that disappears by itself."""
        with contextlib.suppress(Exception):  # the tab may have been closed meanwhile
            self.client.add_notification(title, body, auto_close_seconds=6.0, color=color)

    def say_for_good(self, title: str, body: str) -> None:
        """Shows a notification that stays until it is closed."""
        with contextlib.suppress(Exception):  # the tab may have been closed meanwhile
            self.client.add_notification(title, body, color="red")

    # --- look and photos --------------------------------------------------------------------------

    def _look(self) -> None:
        gui, look = self.client.gui, self.session.look
        self.mode = gui.add_dropdown("Show", MODES, initial_value=look.mode)
        self.mode.on_update(lambda _: self.session.set_look(mode=self.mode.value))
        self.fov = gui.add_slider("Field of view", 10, 110, 1, round(float(np.degrees(self.stage.fov))))
        self.fov.on_update(lambda _: self._set_fov())
        self.longest = gui.add_slider("Pixels at rest", 256, 2560, 64, look.longest)
        self.longest.on_update(lambda _: self.session.set_look(longest=int(self.longest.value)))
        self.splats = gui.add_checkbox("Splats while moving", look.splats)
        self.splats.on_update(lambda _: self.session.set_look(splats=self.splats.value))
        self.background = gui.add_rgb("Background", tuple(round(255 * c) for c in look.background))
        self.background.on_update(
            lambda _: self.session.set_look(background=tuple(c / 255 for c in self.background.value))
        )
        self.exposure = gui.add_slider(
            "Exposure (stops)",
            -5.0,
            5.0,
            0.1,
            0.0,
            hint="Each stop doubles or halves the light; films have it too.",
        )
        edits = self.path.edits
        self.exposure.on_update(edits.by_visitor(lambda _: self._expose()))
        edits.shows.append(self._show_exposure)
        home = gui.add_button("Frame the scene")
        home.on_click(lambda _: self.go_home())
        with gui.add_folder("Photos"):
            self.show_photos = gui.add_checkbox("Show where they were taken", False)
            self.show_photos.on_update(lambda _: self._show_photos())
            views = self.stage.scene.views
            short = short_names([v.path for v in views])
            names = [
                name + (" (held out)" if v.split == "test" else "")
                for name, v in zip(short, views, strict=True)
            ]
            self.photo = gui.add_dropdown("Go to photo", names)
            self.photo.on_update(lambda _: self.stand_at(names.index(self.photo.value)))
            self.compare = gui.add_dropdown("Compare with photo", COMPARE)
            self.compare.on_update(lambda _: self.session.set_look(compare=self.compare.value))
            self.share = gui.add_slider("Photo ◂ ▸ render", 0.0, 1.0, 0.01, look.share)
            self.share.on_update(lambda _: self.session.set_look(share=self.share.value))
        if self.saves:
            self._crop()
            with gui.add_folder("World", expand_by_default=False):
                self.world.add()
        gui.add_markdown(HELP + (KEYFRAME if self.makes else "") + self._limits())

    def _limits(self) -> str:
        """What this tab can't do, in words."""
        if self.saves:
            return ""
        return LOOKS_ONLY if self.makes else MAKES_NOTHING

    def _crop(self) -> None:
        gui, size = self.client.gui, self.stage.distance
        self._box: Any = None  # the handle in the scene
        with gui.add_folder("Crop", expand_by_default=False):
            self.crop = gui.add_checkbox("Show only a box", self.stage.crop.page_from_box is not None)
            self.crop.on_update(guarded(self.say, lambda _: self._toggle_crop(), self._lock))
            self.crop_size = [
                gui.add_slider(name.capitalize(), 0.01 * size, 3.0 * size, 0.01 * size, 1.0 * size)
                for name in ("width", "depth", "height")
            ]
            for slider in self.crop_size:
                slider.on_update(guarded(self.say, lambda _: self._read_crop(), self._lock))
            save = gui.add_button("Save with the scene")
            save.on_click(guarded(self.say, lambda _: self._save_crop(), self._lock))
        if self.stage.crop.page_from_box is not None:
            self._show_box(self.stage.crop.page_from_box)

    def _toggle_crop(self) -> None:
        if self._filling:
            return
        if self._box is not None:
            self._box.remove()
            self._box = None
        if not self.crop.value:
            self.stage.crop.page_from_box = None
            self.stage.crop.changed()
            return
        box = self.stage.crop.page_from_box
        if box is None:  # a new one: upright, around what the photos look at
            home, up = self.stage.world.home, self.stage.world.up
            right = look_at(self.stage.focus, self.stage.focus + home[:3, 2], up)[:3, 0]
            upright = np.stack([right, np.cross(up, right), up], 1)
            box = np.eye(4)
            box[:3, :3] = upright * [s.value / 2 for s in self.crop_size]
            box[:3, 3] = self.stage.focus
        self._show_box(box)
        self._read_crop()

    def _show_box(self, box: Any) -> None:
        """Adds the handle to drag and turn the box by, and sets the sliders to its size."""
        sizes = np.linalg.norm(box[:3, :3], axis=0)
        pose = box.copy()
        pose[:3, :3] /= sizes
        self._filling = True
        try:
            for slider, size in zip(self.crop_size, sizes, strict=True):
                slider.value = float(min(max(2 * size, slider.min), slider.max))
        finally:
            self._filling = False
        self._box = self.client.scene.add_transform_controls(
            "/crop",
            0.3 * self.stage.distance,
            wxyz=quaternion(pose),
            position=triple(pose[:3, 3]),
            depth_test=False,
        )
        self._box.on_update(guarded(self.say, lambda _: self._read_crop(), self._lock))

    def _read_crop(self) -> None:
        if self._filling or self._box is None:
            return
        box = pose_of(self._box)
        box[:3, :3] = box[:3, :3] * [s.value / 2 for s in self.crop_size]
        self.stage.crop.page_from_box = box
        self.stage.crop.changed()

    def _save_crop(self) -> None:
        folder, box = self.stage.folder, self.stage.crop.page_from_box
        if folder is None:
            raise NerfsceneError("this scene has no folder to keep its crop in; save the scene first")
        crop = None if box is None else self.stage.world.world_from_page @ box
        keep(self.stage, lambda given: replace(given, crop=crop), lambda: save_crop(folder, crop))
        self.say("Saved", "films show only this part")

    def _set_fov(self) -> None:
        self.client.camera.fov = float(np.radians(self.fov.value))

    def _expose(self) -> None:
        """Takes the exposure that the visitor has set, which is the film's too."""
        stops, edits = float(self.exposure.value), self.path.edits
        self.session.set_look(exposure=stops)
        if self.makes:
            plan = edits.plan
            edits.apply(replace(plan, film=replace(plan.film, exposure=stops)), drag=self.exposure)

    def _show_exposure(self) -> None:
        stops = self.path.edits.plan.film.exposure
        self.path.edits.put(self.exposure, stops)
        if self.session.look.exposure != stops:
            self.session.set_look(exposure=stops)

    def go_home(self) -> None:
        """Moves the camera to where the page opened."""
        put_camera(self.client, self.stage, self.stage.world.home, float(np.radians(self.fov.value)))

    def stand_at(self, index: int) -> None:
        """Moves the camera to where a photo was taken; ``index``: of the scene's views."""
        view = self.stage.scene.views[index]
        shot = shot_at(view, self.client.camera)
        put_camera(self.client, self.stage, shot.world_from_cam, shot.fov)
        self.session.stand_at(view, shot)

    def _show_photos(self) -> None:
        if not self._frustums:
            size = 0.06 * self.stage.distance
            for i, view in enumerate(self.stage.scene.views):
                k = view.intrinsics
                frustum = self.client.scene.add_camera_frustum(
                    f"/photos/{i}", fov=vertical_fov(k), aspect=k.width / k.height,
                    scale=size, color=(230, 160, 40) if view.split == "test" else (70, 130, 220),
                    wxyz=quaternion(view.world_from_cam), position=triple(view.world_from_cam[:3, 3]),
                )  # fmt: skip
                frustum.on_click(lambda _, i=i: self.stand_at(i))
                self._frustums.append(frustum)
        for frustum in self._frustums:
            frustum.visible = self.show_photos.value

    def _commands(self) -> None:
        gui = self.client.gui
        for i, mode in enumerate(MODES):
            command = gui.add_command(f"Show {mode}", hotkey=str(i + 1))  # type: ignore[arg-type]
            command.on_trigger(lambda _, mode=mode: self._show(mode))
        gui.add_command("Frame the scene", hotkey="F").on_trigger(lambda _: self.go_home())
        if self.makes:
            add = gui.add_command("Add a keyframe here", hotkey="K")
            add.on_trigger(guarded(self.say, lambda _: self.path.add_keyframe()))

    def _show(self, mode: str) -> None:
        self.mode.value = mode
        self.session.set_look(mode=mode)

    # --- training ---------------------------------------------------------------------------------

    def _training(self) -> None:
        training = self.stage.training
        assert training is not None
        gui = self.client.gui
        self.figures = gui.add_markdown("")
        if self.saves:
            self.pause = gui.add_checkbox("Pause", False)
            self.pause.on_update(lambda _: training.pause(self.pause.value))
            gui.add_button("Save now").on_click(lambda _: training.save())
            gui.add_button("Stop and finish").on_click(lambda _: training.stop())
        self.curves = {
            name: gui.add_uplot(
                data=(np.zeros(1), np.zeros(1)),
                series=({"label": "seconds"}, {"label": label, "stroke": color, "width": 2}),
                scales={"x": {"time": False}},
                aspect=2.0,
            )
            for name, label, color in (("psnr", "PSNR, dB", "#3b82f6"), ("loss", "loss", "#f97316"))
        }
        self.show_training()

    def show_training(self) -> None:
        """Updates the training's figures and curves."""
        training = self.stage.training
        if training is None:
            return
        d = training.figures()
        self.figures.content = d["text"]
        if len(d["seconds"]):
            for name, curve in self.curves.items():
                curve.data = (np.asarray(d["seconds"], float), np.asarray(d[name], float))
