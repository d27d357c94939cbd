"""A tab's controls for the world: which way is up, the origin, the scale, by clicking on what is seen."""

from __future__ import annotations

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
    """Points to click, and what they make of the world; ``say(title, body, color)`` tells the tab."""

    def __init__(self, stage: Stage, client: Any, session: Session, say: Say) -> None:
        self.stage, self.client, self.session, self.say = stage, client, session, say
        self.picking: str | None = None
        self._picked: list[Array] = []
        self._marks: list[Any] = []
        self._before: list[tuple[Array, Array]] = []
        self._listening: Any = None

    def add(self) -> None:
        """The controls, into the folder that is open."""
        gui = self.client.gui
        gui.add_markdown("Set by clicking in the scene; saved with it, for films and exports too.")
        self.buttons = {}
        for what in WANTED:
            if what == SCALE:
                self.apart = gui.add_number("Their distance", 1.0, min=1e-6, step=0.001)
            button = gui.add_button(what)
            button.on_click(lambda _, what=what: self.ask(what))
            self.buttons[what] = button
        gui.add_button("Undo").on_click(guarded(self.say, lambda _: self.undo()))

    def ask(self, what: str) -> None:
        """Waits for clicks; the same button again gives it up."""
        again = self.picking == what
        self._stop()
        if again:
            return
        self.picking = what
        self.buttons[what].label = "Give up"
        self.say(what, ASKED[what])

        def clicked(event: Any) -> None:
            self.picked(np.array(event.ray_origin, float), np.array(event.ray_direction, float))

        self._listening = guarded(self.say, clicked)
        self.client.scene.on_click()(self._listening)

    def picked(self, origin: Array, direction: Array) -> None:
        """A click, as a ray of the page. Raises NerfsceneError where the points can't be used."""
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
        what, points = self.picking, np.stack(self._picked)
        self._stop()
        above = pose_of(self.client.camera)[:3, 3]
        stage = self.stage
        now, up = stage.world.world_from_page, stage.world.up
        world_points = points @ now[:3, :3].T + now[:3, 3]
        world_up = now[:3, :3] @ up
        if what == FLOOR:
            new = world.on_floor(world_points, now[:3, :3] @ above + now[:3, 3])
        elif what == ORIGIN:
            new = world.at_origin(world_points[0], world_up)
        else:
            new = world.to_scale(world_points, float(self.apart.value), world_up)
        new_from_page = new @ now
        new_up = new_from_page[2, :3] / np.linalg.norm(new_from_page[2, :3])
        self._set(new_from_page, new_up)
        self._before.append((now, up))
        self.say("Done", f"{what.lower()}: the world is set" + (", and saved" if stage.folder else ""))

    def undo(self) -> None:
        """Back to the world before."""
        if not self._before:
            raise NerfsceneError("nothing was set here that could be undone")
        self._set(*self._before[-1])
        self._before.pop()

    def _set(self, new_from_page: Array, up: Array) -> None:
        set_world(self.stage, new_from_page, up)

    def _stop(self) -> None:
        if self.picking is not None:
            self.buttons[self.picking].label = self.picking
            self.client.scene.remove_click_callback(self._listening)
        for mark in self._marks:
            mark.remove()
        self.picking, self._picked, self._marks = None, [], []
