"""The camera path drawn in the page: handles to drag keyframes by, and a line along the path."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from nerfscene.films.tracks import rolled
from nerfscene.viewer import keyframes
from nerfscene.viewer.keyframes import Keyframe, Plan
from nerfscene.viewer.stage import quaternion, triple

GREEN, CHOSEN, SHARP, LOOKED = (90, 200, 120), (255, 200, 60), (230, 90, 80), (90, 150, 240)
SIZE = 0.08  # of a keyframe's handle, as a share of the stage's distance
NEAR = 0.15  # of the stage's distance: handles this near to the camera are hidden
BALL = 0.012  # likewise: of the points that are looked at and in focus


class PathMarks:
    """Draws a plan in a tab's scene; ``dragged(index, handle)`` is called while a handle is dragged.

    distance: from the page's first camera to the subject, which sets the size of the handles.
    """

    def __init__(self, client: Any, distance: float, dragged: Callable[[int, Any], None]) -> None:
        self.client, self.distance, self.dragged = client, distance, dragged
        self._frustums: list[Any] = []
        self._handles: list[Any] = []
        self._line: Any = None
        self._balls: list[Any] = []
        self._hidden: list[bool] = []  # of each keyframe
        self._drawn: tuple[Any, ...] | None = None
        self._still = False  # see left_alone
        self._lock = threading.RLock()  # the camera moves while keyframes are added

    def draw(self, plan: Plan | None, selected: int | None, hide_all: bool) -> None:
        """Draws a plan, or nothing, instead of the last one; ``hide_all`` as in ``hide_near``.

        selected: the number of the keyframe to draw in another colour.
        """
        with self._lock:
            if plan is None:
                wanted: tuple[Any, ...] = ()
            else:
                keys = tuple((id(k.world_from_cam), k.fov, k.roll, k.focus) for k in plan.keyframes)
                way = plan.loop, plan.constant_speed, plan.width / plan.height, plan.look_at, plan.film.focus
                # A plan kept here keeps its poses, so that no other gets their ids.
                wanted = (keys, way, selected)
            if self._drawn is None or wanted != self._drawn[0]:
                self._drawn = wanted, plan
                if self._still and plan is not None:
                    self._draw_way(plan)
                else:
                    self._draw(plan, selected, hide_all)

    def left_alone(self, work: Callable[[], None]) -> None:
        """Does ``work``, during which only the way is drawn anew: a handle being dragged must stay."""
        with self._lock:
            self._still = True
            try:
                work()
            finally:
                self._still = False

    def _draw(self, plan: Plan | None, selected: int | None, hide_all: bool) -> None:
        self._hidden = []  # until the new handles are there
        for mark in (*self._frustums, *self._handles, *self._balls):
            mark.remove()
        self._frustums, self._handles, self._balls = [], [], []
        self._draw_way(plan)
        if plan is None:
            return
        for i, keyframe in enumerate(plan.keyframes):
            self._add(i, keyframe, plan.width / plan.height, CHOSEN if i == selected else GREEN)
        self._hidden = [False] * len(plan.keyframes)
        self.hide_near(plan, hide_all)
        looked = None if plan.look_at is None else plan.look_at.point
        sharp = [(f"focus/{i}", k.focus, SHARP) for i, k in enumerate(plan.keyframes)]
        for name, at, color in (*sharp, ("focus", plan.film.focus, SHARP), ("look", looked, LOOKED)):
            if isinstance(at, tuple):
                size = BALL * self.distance
                ball = self.client.scene.add_icosphere(f"/path/{name}", size, color=color, position=at)
                self._balls.append(ball)

    def _draw_way(self, plan: Plan | None) -> None:
        if self._line is not None:
            self._line.remove()
            self._line = None
        if plan is not None and len(plan.keyframes) > 1:
            path = keyframes.way(plan, 20 * len(plan.keyframes))
            points = np.stack([c.world_from_cam[:3, 3] for c in path.cameras])
            self._line = self.client.scene.add_line_segments(
                "/path/way",
                np.stack([points[:-1], points[1:]], 1).astype(np.float32),
                GREEN,
                thickness=3.0,
                thickness_units="screen",
            )

    def _add(self, index: int, keyframe: Keyframe, aspect: float, color: tuple[int, int, int]) -> None:
        size = SIZE * self.distance
        handle = self.client.scene.add_transform_controls(
            f"/path/{index}",
            scale=size,
            disable_sliders=True,
            depth_test=False,
            wxyz=quaternion(rolled(keyframe.world_from_cam, keyframe.roll)),
            position=triple(keyframe.world_from_cam[:3, 3]),
        )
        handle.on_update(lambda _: self.dragged(index, handle))
        frustum = self.client.scene.add_camera_frustum(
            f"/path/{index}/camera",
            fov=float(np.radians(keyframe.fov)),
            aspect=aspect,
            scale=size,
            color=color,
        )
        self._handles.append(handle)
        self._frustums.append(frustum)

    def hide_near(self, plan: Plan, hide_all: bool) -> None:
        """Hides the handles that the tab's camera stands in, which would fill the picture; shows the others.

        plan: the one drawn, with the handles where they were dragged since. hide_all: hide every handle,
        because the camera follows the path.
        """
        here = np.array(self.client.camera.position)
        with self._lock:
            for i, keyframe in enumerate(plan.keyframes[: len(self._hidden)]):
                away = float(np.linalg.norm(keyframe.world_from_cam[:3, 3] - here))
                hidden = hide_all or away < NEAR * self.distance
                if hidden != self._hidden[i]:
                    self._hidden[i] = hidden
                    self._handles[i].visible = self._frustums[i].visible = not hidden
