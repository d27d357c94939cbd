"""A tab's controls for one keyframe of the path: when it is reached, and what the camera shows there."""

from __future__ import annotations

from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.viewer import keyframes, timeline
from nerfscene.viewer.edits import Edits
from nerfscene.viewer.film_outline import film_fov, page_aspect
from nerfscene.viewer.keyframes import Keyframe
from nerfscene.viewer.player import Player
from nerfscene.viewer.stage import shot_of

NONE = "none"


class KeyPanel:
    """Shows and changes the selected keyframe of ``edits``."""

    def __init__(self, client: Any, edits: Edits, player: Player) -> None:
        self.client, self.edits, self.player = client, edits, player
        self._rolled = 0.0  # degrees that the roll slider has turned the selected keyframe by

    def add(self) -> None:
        """Adds the controls to the tab that is open."""
        gui, on = self.client.gui, self.edits.by_visitor
        self.selected = gui.add_dropdown("Keyframe", (NONE,))
        self.selected.on_update(on(lambda _: self._choose()))
        actions = gui.add_button_group("Do", ("Go to", "Set here", "Earlier", "Later", "Delete"))
        actions.on_click(on(lambda _: self.act(actions.value)))
        self.time = gui.add_number("Reached at (s)", 0.0, min=0.0, max=timeline.LONGEST, step=0.01)
        self.time.on_update(on(lambda _: self._set_time()))
        self.fov = gui.add_slider("Field of view", 10.0, 110.0, 0.5, 50.0)
        self.fov.on_update(on(lambda _: self._change(fov=float(self.fov.value))))
        self.roll = gui.add_slider("Roll", -45.0, 45.0, 1.0, 0.0)
        self.roll.on_update(on(lambda _: self._roll()))
        self.edits.shows.append(self._show)

    def here(self) -> Keyframe:
        """A keyframe of what the film's frame shows of the page."""
        shot, plan = shot_of(self.client.camera), self.edits.plan
        fov = film_fov(shot.fov, page_aspect(shot), plan.width / plan.height)
        return Keyframe(shot.world_from_cam, float(np.degrees(fov)))

    def _choose(self) -> None:
        if self.selected.value != NONE:
            self.edits.select(int(self.selected.value.split()[0]) - 1)

    def act(self, action: str) -> None:
        """Does one of the actions. Raises NerfsceneError if there is no keyframe."""
        edits, index, plan = self.edits, self.edits.selected, self.edits.plan
        if index is None:
            raise NerfsceneError("there is no keyframe yet; add one first")
        if action == "Go to":
            self.player.stop()
            k = plan.keyframes[index]
            self.player.go_to(k.world_from_cam, float(np.radians(k.fov)))
        elif action == "Set here":
            here = self.here()
            edits.apply(keyframes.changed(plan, index, world_from_cam=here.world_from_cam, fov=here.fov))
        elif action == "Delete":
            edits.apply(keyframes.removed(plan, index))
        else:
            to = min(max(index + (-1 if action == "Earlier" else 1), 0), len(plan.keyframes) - 1)
            edits.apply(keyframes.moved(plan, index, to), to)

    def _change(self, **values: Any) -> None:
        index = self.edits.selected
        if index is not None:
            self.edits.apply(keyframes.changed(self.edits.plan, index, **values), drag=(index, *values))

    def _set_time(self) -> None:
        index = self.edits.selected
        if index is not None:
            self.edits.apply(timeline.moved_in_time(self.edits.plan, index, float(self.time.value)))

    def _roll(self) -> None:
        index = self.edits.selected
        if index is None:
            return
        turn, rolled = self.roll.value - self._rolled, self.roll.value
        pose = keyframes.rolled(self.edits.plan.keyframes[index].world_from_cam, turn)
        self.edits.apply(keyframes.changed(self.edits.plan, index, world_from_cam=pose), drag=(index, "roll"))
        self._rolled = rolled
        self.edits.put(self.roll, rolled)

    def _show(self) -> None:
        plan, index = self.edits.plan, self.edits.selected
        n = len(plan.keyframes)
        names = tuple(f"{i + 1} of {n}" for i in range(n)) or (NONE,)
        if self.selected.options != names:
            self.selected.options = names
        self.edits.put(self.selected, names[index or 0])
        if index is None:
            return
        k = plan.keyframes[index]
        self.edits.put(self.fov, min(max(k.fov, self.fov.min), self.fov.max))
        self.edits.put(self.time, float(np.round(timeline.times_of(plan)[index], 3)))
        self._rolled = 0.0
        self.edits.put(self.roll, 0.0)
