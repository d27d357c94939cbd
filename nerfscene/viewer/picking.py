"""Asks a tab's visitor to click on something in the picture, and finds the point that shows there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from nerfscene.errors import NerfsceneError
from nerfscene.types import Array
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import Say, guarded


class Picker:
    """Takes one click at a time; ``say(title, body, color)`` shows a notification in the tab."""

    def __init__(self, client: Any, session: Session, say: Say, lock: threading.RLock) -> None:
        self.client, self.session, self.say = client, session, say
        self.picking: Any = None  # the button that was pressed
        self._label = ""
        self._then: Callable[[Array], None] = lambda point: None
        self._listening: Any = None
        self._lock = lock

    def ask(self, button: Any, title: str, body: str, then: Callable[[Array], None]) -> None:
        """Waits for a click, and calls ``then`` with the point (3,), in the page, where it meets the scene.

        button: what the visitor pressed; pressed again, it cancels.
        """
        again = self.picking is button
        self.stop()
        if again:
            return
        self.picking, self._label, self._then = button, button.label, then
        button.label = "Cancel"
        self.say(title, body)

        def clicked(event: Any) -> None:
            self.picked(np.array(event.ray_origin, float), np.array(event.ray_direction, float))

        self._listening = guarded(self.say, clicked, self._lock)
        self.client.scene.on_click()(self._listening)

    def picked(self, origin: Array, direction: Array) -> None:
        """Handles a click, given as a ray in the page: origin, direction (3,).

        Raises NerfsceneError when there is nothing.
        """
        if self.picking is None:
            return
        point = self.session.pick(origin, direction)
        if point is None:
            raise NerfsceneError("there is nothing solid where you clicked; click on a surface")
        then = self._then
        self.stop()
        then(point)

    def stop(self) -> None:
        """Waits for no click any more."""
        if self.picking is not None:
            self.picking.label = self._label
            self.client.scene.remove_click_callback(self._listening)
        self.picking = None
