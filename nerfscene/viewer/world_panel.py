"""A tab's controls for the world's up direction, origin and scale, set by clicking points in the scene."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.scene import world
from nerfscene.types import Array
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import Say, Stage, guarded, pose_of, set_world, triple

FLOOR, ORIGIN, SCALE = "Three points on the floor", "The origin", "Two points, that far apart"
WANTED = {FLOOR: 3, ORIGIN: 1, SCALE: 2}
ASKED = {
    FLOOR: "Click three points on the floor, spread out. The first becomes the origin.",
    ORIGIN: "Click the point that becomes the origin.",
    SCALE: "Click two points whose distance you know.",
}


class WorldPanel:
    """Sets the world from clicked points; ``say(title, body, color)`` shows a notification in the tab."""

    def __init__(self, stage: Stage, client: Any, session: Session, say: Say) -> None:
        self.stage, self.client, self.session, self.say = stage, client, session, say
        self.picking: str | None = None
        self._picked: list[Array] = []
        self._marks: list[Any] = []
        self._before: list[tuple[Array, Array]] = []  # (world_from_page, up), to undo to
        self._listening: Any = None
        self._lock = threading.RLock()  # clicks may come in several threads

    def add(self) -> None:
        """Adds the controls to the folder that is open."""
        gui, say = self.client.gui, self.say
        gui.add_markdown(
            "Click points in the scene to set its world. It is saved with the scene and applies to films too."
        )
        self.buttons = {}
        for task in WANTED:
            if task == SCALE:
                self.distance = gui.add_number("Distance", 1.0, min=1e-6, step=0.001)
            button = gui.add_button(task)
            button.on_click(guarded(say, lambda _, task=task: self.ask(task), self._lock))  # type: ignore[misc]
            self.buttons[task] = button
        gui.add_button("Undo").on_click(guarded(say, lambda _: self.undo(), self._lock))

    def ask(self, task: str) -> None:
        """Waits for the clicks of a task; a second click on its button cancels it."""
        again = self.picking == task
        self._stop()
        if again:
            return
        self.picking = task
        self.buttons[task].label = "Cancel"
        self.say(task, ASKED[task])

        def clicked(event: Any) -> None:
            self.picked(np.array(event.ray_origin, float), np.array(event.ray_direction, float))

        self._listening = guarded(self.say, clicked, self._lock)
        self.client.scene.on_click()(self._listening)

    def picked(self, origin: Array, direction: Array) -> None:
        """Handles a click, given as a ray in the page: origin, direction (3,).

        Raises NerfsceneError when nothing was hit or the points can't be used.
        """
        if self.picking is None:
            return
        point = self.session.pick(origin, direction)
        if point is None:
            raise NerfsceneError("there is nothing solid where you clicked; click on a surface")
        self._picked.append(point)
        mark = self.client.scene.add_icosphere(
            f"/picked/{len(self._picked)}",
            0.006 * float(np.linalg.norm(point - origin)),
            color=(255, 70, 70),
            position=triple(point),
        )
        self._marks.append(mark)
        if len(self._picked) < WANTED[self.picking]:
            return
        task, points = self.picking, np.stack(self._picked)
        self._stop()
        world_from_page, up = self.stage.world.world_from_page, self.stage.world.up
        new_from_page = self._new_world(task, points) @ world_from_page
        new_up = new_from_page[2, :3] / np.linalg.norm(new_from_page[2, :3])
        set_world(self.stage, new_from_page, new_up)
        self._before.append((world_from_page, up))
        saved = ", and saved" if self.stage.folder else ""
        self.say("Done", f"{task.lower()}: the world is set{saved}")

    def _new_world(self, task: str, points: Array) -> Array:
        """new_from_world (4, 4) for a task and its points (n, 3), which are in the page's coordinates."""
        world_from_page = self.stage.world.world_from_page
        rotation, translation = world_from_page[:3, :3], world_from_page[:3, 3]
        in_world = points @ rotation.T + translation
        if task == FLOOR:
            camera = pose_of(self.client.camera)[:3, 3]  # above the floor
            return world.on_floor(in_world, rotation @ camera + translation)
        up = rotation @ self.stage.world.up
        if task == ORIGIN:
            return world.at_origin(in_world[0], up)
        return world.to_scale(in_world, float(self.distance.value), up)

    def undo(self) -> None:
        """Goes back to the world before. Raises NerfsceneError if there is none."""
        if not self._before:
            raise NerfsceneError("there is nothing to undo")
        set_world(self.stage, *self._before[-1])
        self._before.pop()

    def _stop(self) -> None:
        if self.picking is not None:
            self.buttons[self.picking].label = self.picking
            self.client.scene.remove_click_callback(self._listening)
        for mark in self._marks:
            mark.remove()
        self.picking, self._picked, self._marks = None, [], []
