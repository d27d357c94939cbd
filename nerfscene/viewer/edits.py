"""The plan that a tab edits, and the controls that show it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from nerfscene.viewer.keyframes import Editor, Plan
from nerfscene.viewer.stage import Say, guarded

DRAG_PAUSE = 1.0  # seconds after which a drag counts as a new one


class Edits:
    """One tab's editor, shared by its panels; ``say(title, body, color)`` shows a notification in the tab.

    shows: called after each change, to set controls to the plan. changed: called with each new plan.
    owner: whether the tab is the owner's.
    selected: the number of the selected keyframe, from 0; None if there is none.
    """

    def __init__(self, editor: Editor, say: Say, owner: bool = False) -> None:
        self.editor, self.say, self.owner = editor, say, owner
        self.lock = threading.RLock()  # held by every callback, because viser runs them in many threads
        self.shows: list[Callable[[], None]] = []
        self.changed: Callable[[Plan], None] = lambda plan: None
        self.selected: int | None = None
        self._known: dict[int, Any] = {}  # of controls, by their ids: the value that the plan has taken over
        self._dragged: tuple[object, float] = (None, 0.0)  # what was last dragged, and when

    @property
    def plan(self) -> Plan:
        """The plan as it is now."""
        return self.editor.plan

    def by_visitor(self, work: Callable[[Any], None]) -> Callable[[Any], None]:
        """A callback for what the visitor does with a control, and not for what the program sets it to.

        A NerfsceneError is shown in the tab, and the controls go back to what the plan says.
        """

        def heard(event: Any) -> None:
            self._known[id(event.target)] = event.target.value
            work(event)

        checked = guarded(self.say, heard, self.lock, self.show)
        return lambda event: checked(event) if event.client_id is not None else None

    def apply(self, plan: Plan, select: int | None = None, drag: object = None) -> None:
        """Changes the plan, and selects a keyframe if one is given.

        drag: what is being dragged. A drag is many small changes, which ``undo`` takes back together.
        """
        with self.lock:
            now = time.monotonic()
            if drag is not None and drag == self._dragged[0] and now - self._dragged[1] < DRAG_PAUSE:
                self.editor.plan = plan
            else:
                self.editor.apply(plan)
            self._dragged = drag, now
            self._select(self.selected if select is None else select)
            self.show()
            self.changed(plan)

    def undo(self) -> None:
        """Takes the last change back, if there is one."""
        with self.lock:
            if self.editor.undo():
                self._select(self.selected)
                self.show()
                self.changed(self.plan)

    def select(self, index: int) -> None:
        """Selects a keyframe."""
        with self.lock:
            self._select(index)
            self.show()

    def show(self) -> None:
        """Sets all controls to the plan."""
        with self.lock:
            for show in self.shows:
                show()

    def _select(self, index: int | None) -> None:
        n = len(self.plan.keyframes)
        self.selected = None if not n else min(max(index or 0, 0), n - 1)

    def put(self, handle: Any, value: Any) -> None:
        """Sets a control, unless the visitor has just changed it, which the plan will hear of next."""
        if self._known.get(id(handle), handle.value) == handle.value:
            if handle.value != value:
                handle.value = value
            self._known[id(handle)] = handle.value

    def put_options(self, handle: Any, options: tuple[str, ...]) -> None:
        """Gives a dropdown other choices; ``put`` is to follow, because it may have lost its value."""
        if tuple(handle.options) != options:
            handle.options = options
            self._known[id(handle)] = handle.value
