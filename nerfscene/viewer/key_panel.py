"""A tab's controls for one keyframe of the path: when it is reached, and what the camera shows there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.films.through import SUBJECT
from nerfscene.viewer import keyframes, timeline
from nerfscene.viewer.edits import Edits
from nerfscene.viewer.film_outline import film_fov, page_aspect
from nerfscene.viewer.film_settings import Focus
from nerfscene.viewer.key_values import with_value
from nerfscene.viewer.keyframes import Keyframe
from nerfscene.viewer.picking import Picker
from nerfscene.viewer.player import Player
from nerfscene.viewer.stage import shot_of, triple

NONE = "none"
AS_SET, AT_SUBJECT, POINT, DISTANCE = "as elsewhere", "the subject", "a point", "a distance"
SHARP = (AS_SET, AT_SUBJECT, POINT, DISTANCE)
USUAL_APERTURE = 2.8  # once a visitor says what is to be sharp


class KeyPanel:
    """Shows and changes the selected keyframe of ``edits``."""

    def __init__(self, client: Any, edits: Edits, player: Player, picker: Picker) -> None:
        self.client, self.edits, self.player, self.picker = client, edits, player, picker

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
        self.fov.on_update(on(lambda _: self._change("fov", float(self.fov.value))))
        self.roll = gui.add_slider("Roll (°)", -180.0, 180.0, 1.0, 0.0)
        self.roll.on_update(on(lambda _: self._change("roll", float(self.roll.value))))
        self._add_light()
        self.edits.shows.append(self._show)

    def _add_light(self) -> None:
        gui, on = self.client.gui, self.edits.by_visitor
        self.exposed = gui.add_checkbox(
            "Own exposure", False, hint="The exposure changes smoothly from one such keyframe to the next."
        )
        self.exposure = gui.add_slider("Exposure (stops)", -5.0, 5.0, 0.1, 0.0, visible=False)
        for handle in (self.exposed, self.exposure):
            handle.on_update(on(lambda _: self._expose()))
        self.focus = gui.add_dropdown(
            "Sharp here", SHARP, hint="The focus is pulled from one such keyframe to the next."
        )
        self.focus.on_update(on(lambda _: self._focus()))
        self.distance = gui.add_number("Distance", 1.0, min=1e-6, max=1e6, step=0.001, visible=False)
        self.distance.on_update(on(lambda _: self._sharp(float(self.distance.value) / self.unit)))
        self.click = gui.add_button("Focus here on what I click on", color="gray")
        self.click.on_click(on(lambda _: self._ask_focus()))

    @property
    def unit(self) -> float:
        """World units, in which distances are told, in one of the page's, in which the plan is."""
        return self.player.stage.world.unit

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

    def _change(self, name: str, value: Any) -> None:
        index = self.edits.selected
        if index is not None:
            self.edits.apply(with_value(self.edits.plan, index, name, value), drag=(index, name))

    def _expose(self) -> None:
        self._change("exposure", float(self.exposure.value) if self.exposed.value else None)

    def _focus(self) -> None:
        wanted = self.focus.value
        if wanted == POINT:
            self._ask_focus()
        elif wanted == DISTANCE:
            self._sharp(float(self.distance.value) / self.unit)
        else:
            self._sharp({AS_SET: None, AT_SUBJECT: SUBJECT}.get(wanted, wanted))

    def _ask_focus(self) -> None:
        if self.edits.selected is None:
            raise NerfsceneError("there is no keyframe yet; add one first")
        self.picker.ask(
            self.click,
            "Focus",
            "Click on what is to be sharp here.",
            lambda point: self._sharp(triple(point)),
        )

    def _sharp(self, focus: Focus) -> None:
        plan, index = self.edits.plan, self.edits.selected
        if index is None:
            return
        plan = with_value(plan, index, "focus", focus)
        if focus is not None and plan.film.aperture is None and not plan.tracks.aperture:
            plan = replace(plan, film=replace(plan.film, aperture=USUAL_APERTURE))  # else all is sharp
        self.edits.apply(plan, drag=(index, "focus"))

    def _set_time(self) -> None:
        index = self.edits.selected
        if index is not None:
            self.edits.apply(timeline.moved_in_time(self.edits.plan, index, float(self.time.value)))

    def _show(self) -> None:
        plan, index = self.edits.plan, self.edits.selected
        n = len(plan.keyframes)
        names = tuple(f"{i + 1} of {n}" for i in range(n)) or (NONE,)
        self.edits.put_options(self.selected, names)
        self.edits.put(self.selected, names[index or 0])
        if index is None:
            return
        k = plan.keyframes[index]
        self.edits.put(self.fov, min(max(k.fov, self.fov.min), self.fov.max))
        self.edits.put(self.time, float(np.round(timeline.times_of(plan)[index], 3)))
        self.edits.put(self.roll, k.roll)
        self.edits.put(self.exposed, k.exposure is not None)
        if k.exposure is not None:
            self.edits.put(self.exposure, k.exposure)
        self._show_focus(k.focus)
        _show(self.exposure, k.exposure is not None)

    def _show_focus(self, focus: Focus) -> None:
        options: tuple[str, ...] = SHARP
        if isinstance(focus, str):
            value = AT_SUBJECT if focus.strip().lower() == SUBJECT else focus
            options = SHARP if value == AT_SUBJECT else (*SHARP, value)
        else:
            value = AS_SET if focus is None else POINT if isinstance(focus, tuple) else DISTANCE
        self.edits.put_options(self.focus, options)
        self.edits.put(self.focus, value)
        if isinstance(focus, float):
            self.edits.put(self.distance, focus * self.unit)
        _show(self.distance, isinstance(focus, float))


def _show(handle: Any, wanted: bool) -> None:
    if handle.visible != wanted:
        handle.visible = wanted
