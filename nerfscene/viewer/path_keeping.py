"""A tab's controls for undoing, saving and loading its camera path, and what is kept without being asked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.films.own_keyframes import LARGEST, SMALLEST
from nerfscene.films.path_sources import ENDINGS
from nerfscene.films.trained_world import DATAPARSER
from nerfscene.scene.output_folder import CAMERA_PATH_FILE
from nerfscene.scene.world import in_world
from nerfscene.viewer import keyframes, path_files
from nerfscene.viewer.edits import Edits
from nerfscene.viewer.keyframes import Plan
from nerfscene.viewer.stage import Stage
from nerfscene.viewer.timeline import LONGEST, SHORTEST

BESIDE = (DATAPARSER, "transforms.json")  # what says in which coordinates another program's path is
WHOLE = tuple(ending for ending in ENDINGS if ending != ".gltf")  # a .gltf names other files


class PathKeeping:
    """Keeps the plan of ``edits`` with the scene, and restores it; saves: whether this tab may."""

    def __init__(self, stage: Stage, client: Any, edits: Edits, saves: bool) -> None:
        self.stage, self.client, self.edits, self.saves = stage, client, edits, saves
        self._drafts: path_files.DraftWriter | None = None
        self._uploads: tempfile.TemporaryDirectory[str] | None = None
        if saves and stage.folder is not None and stage.keeper is not None:
            self._drafts = path_files.DraftWriter(self._write_draft, self._not_kept)
            edits.changed = self._drafts.put

    def close(self) -> None:
        """Keeps what was edited last."""
        if self._drafts is not None:
            self._drafts.close()
        if self._uploads is not None:
            self._uploads.cleanup()

    def add(self) -> None:
        """Adds the controls to the tab that is open."""
        gui, on = self.client.gui, self.edits.by_visitor
        edit = gui.add_button_group("Path", ("Undo", "Clear", *(("Save",) if self.saves else ()), "Load"))
        edit.on_click(on(lambda _: self.do(edit.value)))
        if self.saves:
            self.upload = gui.add_upload_button(
                "Load a path file",
                color="gray",
                hint="Of nerfscene, nerfstudio, instant-ngp, SuperSplat, splat-transform or Blender.",
            )
            self.upload.on_upload(on(lambda _: self._uploaded()))

    def do(self, action: str) -> None:
        """Undo, Clear, Save or Load. Raises NerfsceneError if it can't be done."""
        edits = self.edits
        if action == "Undo":
            edits.undo()
        elif action == "Clear":
            edits.apply(replace(edits.plan, keyframes=()))
        elif action == "Save":
            file, keeper = self._file(), self.stage.keeper
            assert keeper is not None
            plan = keyframes.transformed(edits.plan, self.stage.world.world_from_page)
            keeper.saving(lambda: path_files.save(plan, file))
            edits.changed(edits.plan)
            edits.say("Saved", f"{file}: nerfscene render films it")
        else:
            file = self._file()
            assert self.stage.keeper is not None
            self.stage.keeper.check()
            self._take(file)

    def _file(self) -> Path:
        if self.stage.folder is None or self.stage.keeper is None:
            raise NerfsceneError("this scene has no folder to keep paths in; save the scene first")
        return self.stage.folder / CAMERA_PATH_FILE

    def _take(self, file: Path, said: Callable[[str], str] = lambda text: text) -> None:
        """Goes on with the path in a file; said: changes what is said about it."""
        world = in_world(self.stage.scene, self.stage.world.world_from_page)
        plan = path_files.load(file, world, lambda text: self.edits.say("About this path", said(text)))
        self.edits.apply(fitting(self._in_page(plan)), 0)

    def _in_page(self, plan: Plan) -> Plan:
        return keyframes.transformed(plan, np.asarray(np.linalg.inv(self.stage.world.world_from_page)))

    def _uploaded(self) -> None:
        """Takes a path's file that the visitor sent, or one that says in which coordinates the next is."""
        sent = self.upload.value
        name = Path(sent.name.replace("\\", "/")).name
        if Path(name).suffix.lower() not in WHOLE:
            raise NerfsceneError(f"{name} is no path that the page takes: choose {', '.join(WHOLE)}")
        if self._uploads is None:
            self._uploads = tempfile.TemporaryDirectory(prefix="nerfscene-path-")
        file = Path(self._uploads.name) / name
        file.write_bytes(sent.content)
        if name in BESIDE:
            self.edits.say("Kept", f"{name} counts for the paths that you load from now on")
            return
        try:
            self._take(file, lambda text: text.replace(str(file), name))
        except NerfsceneError as error:
            raise NerfsceneError(str(error).replace(str(file), name)) from error
        finally:
            file.unlink()

    # --- without being asked ------------------------------------------------------------------------

    def restore(self) -> None:
        """Goes on with the path that was edited last, if there is one."""
        if self.stage.folder is None:
            return
        try:
            world = in_world(self.stage.scene, self.stage.world.world_from_page)
            plan = path_files.kept(self.stage.folder, world, self.saves)
        except NerfsceneError as error:
            self.edits.say("The path could not be restored", str(error), "red")
            return
        if plan is not None:
            self.edits.editor.plan = fitting(self._in_page(plan))
            self.edits.select(0)

    def _write_draft(self, plan: Plan) -> None:
        folder, keeper = self.stage.folder, self.stage.keeper
        assert folder is not None and keeper is not None
        moved = keyframes.transformed(plan, self.stage.world.world_from_page)
        keeper.saving(lambda: path_files.write_draft(moved, folder))

    def _not_kept(self, why: str) -> None:
        self.edits.say("The path is not kept", why, "red")


def fitting(plan: Plan) -> Plan:
    """A plan from a file with what the page's controls can show: even sizes, and usual speeds and lengths."""
    width, height = (min(max(side // 2 * 2, SMALLEST), LARGEST) for side in (plan.width, plan.height))
    fps, seconds = min(max(plan.fps, 1.0), 120.0), min(max(plan.seconds, SHORTEST), LONGEST)
    return replace(plan, width=width, height=height, fps=fps, seconds=seconds)
