"""The camera path drawn in the page: handles to drag keyframes by, and a line along the path."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from nerfscene.viewer import keyframes
from nerfscene.viewer.keyframes import Keyframe, Plan
from nerfscene.viewer.stage import quaternion, triple

GREEN = (90, 200, 120)
SIZE = 0.08  # of a keyframe's handle, as a share of the stage's distance
NEAR = 0.15  # of the stage's distance: handles this near to the camera are hidden


class PathMarks:
    """Draws a plan in a tab's scene; ``dragged(index, handle)`` is called while a handle is dragged.

    distance: from the page's first camera to the subject, which sets the size of the handles.
    """

    def __init__(self, client: Any, distance: float, dragged: Callable[[int, Any], None]) -> None:
        self.client, self.distance, self.dragged = client, distance, dragged
        self._frustums: list[Any] = []
        self._handles: list[Any] = []
        self._line: Any = None
        self._hidden: list[bool] = []  # of each keyframe
        self._lock = threading.RLock()  # the camera moves while keyframes are added

    def draw(self, plan: Plan, hide_all: bool) -> None:
        """Draws a plan instead of the last one; ``hide_all`` as in ``hide_near``."""
        with self._lock:
            self._draw(plan, hide_all)

    def _draw(self, plan: Plan, hide_all: bool) -> None:
        self._hidden = []  # until the new handles are there
        for mark in (*self._frustums, *self._handles, *([self._line] if self._line is not None else [])):
            mark.remove()
        self._frustums, self._handles, self._line = [], [], None
        for i, keyframe in enumerate(plan.keyframes):
            self._add(i, keyframe, plan.width / plan.height)
        self._hidden = [False] * len(plan.keyframes)
        self.hide_near(plan, hide_all)
        if len(plan.keyframes) > 1:
            path = keyframes.cameras(plan, 20 * len(plan.keyframes))
            points = np.stack([c.world_from_cam[:3, 3] for c in path.cameras])
            self._line = self.client.scene.add_line_segments(
                "/path/way",
                np.stack([points[:-1], points[1:]], 1).astype(np.float32),
                GREEN,
                thickness=3.0,
                thickness_units="screen",
            )

    def _add(self, index: int, keyframe: Keyframe, aspect: float) -> None:
        size = SIZE * self.distance
        handle = self.client.scene.add_transform_controls(
            f"/path/{index}",
            scale=size,
            disable_sliders=True,
            depth_test=False,
            wxyz=quaternion(keyframe.world_from_cam),
            position=triple(keyframe.world_from_cam[:3, 3]),
        )
        handle.on_update(lambda _: self.dragged(index, handle))
        frustum = self.client.scene.add_camera_frustum(
            f"/path/{index}/camera",
            fov=float(np.radians(keyframe.fov)),
            aspect=aspect,
            scale=size,
            color=GREEN,
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
