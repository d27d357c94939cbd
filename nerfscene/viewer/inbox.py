"""Checks what clients send before viser acts on it, because viser itself takes nearly everything.

A page keeps its widgets within their limits, but any other client with the link can send any message. So
every message passes through here: numbers must be finite, and are brought within the widget's own limits;
choices must be among the widget's; vectors must be finite. What this viewer has no use for is dropped, and so
is everything from a client that didn't come through the gate.
"""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import replace
from typing import Any

import viser
from viser import _messages

from nerfscene.errors import NerfsceneError
from nerfscene.viewer.gate import GUEST, OWNER, ROLE_HEADER

log = logging.getLogger(__name__)
FARTHEST = 1e6  # page units: coordinates beyond are ignored
LEAST_FOV, MOST_FOV = 0.01, 3.1  # radians
LARGEST_WINDOW = 16384  # pixels along a side
LONGEST_TEXT = 1000  # characters
LARGEST_FILE, LARGEST_PART = 32 << 20, 1 << 20  # bytes of a file that is sent, and of a part of it


class Inbox:
    """Checks the messages to a viser server; made before any client connects.

    secret: what the gate puts before the role in ROLE_HEADER. Raises NerfsceneError when this version of
    viser is built differently, so that its messages can't be checked.
    """

    def __init__(self, server: Any, secret: str) -> None:
        self._server, self._secret = server, secret
        self._roles: dict[int, str] = {}
        try:
            self._websockets = server._websock_server
            if not (callable(self._websockets._handle_incoming_message) and
                    isinstance(self._websockets._live_connections, dict)):  # fmt: skip
                raise TypeError
            self._websockets._handle_incoming_message = _dropped  # nothing of ours is shared by all tabs
            self._websockets.on_client_connect(self._attach)
            self._websockets.on_client_disconnect(self._forget)
        except (AttributeError, TypeError) as error:
            raise NerfsceneError(
                "this version of viser takes any message from a visitor, so the page is not served; "
                "install another one: pip install 'viser==1.1.1'"
            ) from error
        # A message that isn't even one ends its connection; viser's traceback would tell nobody anything. Nor
        # would its warnings of such messages, and of tabs that were closed while something was sent to them.
        logging.getLogger("websockets.server").addFilter(_told)
        warnings.filterwarnings("ignore", r"(Queued a \w+ on a closed connection|\[viser\] .* annotation)")

    def role(self, client_id: int) -> str:
        """gate.OWNER or gate.GUEST; "" for a client that didn't come through the gate."""
        return self._roles.get(client_id, "")

    def _attach(self, connection: Any) -> None:
        client_id = int(connection.client_id)
        given = self._websockets._live_connections[client_id].request.headers.get_all(ROLE_HEADER)
        roles = [role for role in (OWNER, GUEST) if given == [f"{self._secret}-{role}"]]
        self._roles[client_id] = roles[0] if roles else ""
        handle = connection._handle_incoming_message

        async def checked(sender: Any, message: Any) -> None:
            safe = self.checked(client_id, message)
            if safe is not None:
                await handle(sender, safe)

        connection._handle_incoming_message = checked

    def _forget(self, connection: Any) -> None:
        self._roles.pop(int(connection.client_id), None)

    def checked(self, client_id: int, message: Any) -> Any:
        """The message with its values in order; None for one to ignore."""
        if not self.role(client_id):
            return None
        try:
            uploads = _messages.FileTransferStartUpload | _messages.FileTransferPart
            if isinstance(message, _messages.GuiUpdateMessage | uploads):
                client = self._server.get_clients().get(client_id)
                check = _upload_s if isinstance(message, uploads) else _widget_s
                return None if client is None else check(client.gui, message)
            return _checked(message)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            log.debug("ignored %s: %s", type(message).__name__, error)
            return None


async def _dropped(client_id: Any, message: Any) -> None:
    """Does nothing with a message."""


def _told(record: logging.LogRecord) -> bool:
    return record.getMessage() != "connection handler failed"


def _widget_s(gui: Any, message: Any) -> Any:
    """A widget's new value, within its limits. Raises ValueError or TypeError if it can't be."""
    handle = gui._gui_input_handle_from_uuid[message.uuid]
    if set(message.updates) != {"value"}:
        raise ValueError("it changes more than the value")
    if getattr(handle, "disabled", False) or not getattr(handle, "visible", True):
        raise ValueError("its widget can't be used now")
    return replace(message, updates={"value": in_limits(handle, message.updates["value"])})


def _upload_s(gui: Any, message: Any) -> Any:
    """A message of a file's upload, by a button for that.

    Raises ValueError, TypeError or KeyError for others.
    """
    if isinstance(message, _messages.FileTransferPart):
        begun = gui._current_file_upload_states[message.transfer_uuid]
        if len(message.content) > LARGEST_PART or message.part_index >= begun["part_count"]:
            raise ValueError("it is no part of the file")
        return message
    handle = gui._gui_input_handle_from_uuid[message.source_component_uuid]
    if not isinstance(handle, viser.GuiUploadButtonHandle) or handle.disabled or not handle.visible:
        raise ValueError("no file can be sent there now")
    number(message.size_bytes, None, None)
    if not 0 <= message.size_bytes <= LARGEST_FILE or not 0 <= message.part_count <= LARGEST_FILE // 1024:
        raise ValueError("the file is too large")
    gui._current_file_upload_states.clear()  # one at a time: what was given up would be held for ever
    return replace(
        message,
        transfer_uuid=text(message.transfer_uuid),
        filename=text(message.filename),
        mime_type=text(message.mime_type),
    )


def in_limits(handle: Any, value: Any) -> Any:
    """A value for a viser widget, brought within its limits. Raises ValueError or TypeError."""
    if isinstance(handle, viser.GuiNumberHandle | viser.GuiSliderHandle):
        return number(value, handle.min, handle.max)
    if isinstance(handle, viser.GuiMultiSliderHandle):
        return _handles(handle, value)
    if isinstance(handle, viser.GuiDropdownHandle | viser.GuiButtonGroupHandle):
        if value not in handle.options:
            raise ValueError(f"{value!r:.100} is none of the choices")
        return value
    if isinstance(handle, viser.GuiCheckboxHandle | viser.GuiButtonHandle):
        if not isinstance(value, bool):
            raise TypeError("it is neither on nor off")
        return value
    if isinstance(handle, viser.GuiRgbHandle):
        red, green, blue = (round(number(v, 0, 255)) for v in value)
        return red, green, blue
    if isinstance(handle, viser.GuiTextHandle):
        return text(value)
    raise TypeError(f"{type(handle).__name__} takes no values")


def _handles(handle: Any, value: Any) -> tuple[float, ...]:
    """Where a multi-slider's handles are: as many as before, in order. Raises ValueError or TypeError."""
    found = tuple(float(number(v, handle.min, handle.max)) for v in value)
    if len(found) != len(handle.value) or list(found) != sorted(found):
        raise ValueError("it isn't so many numbers in order")  # as when a handle was just added
    if handle.fixed_endpoints and found:
        found = (handle.value[0], *found[1:-1], handle.value[-1])
    return found


def number(value: Any, low: float | None, high: float | None) -> float:
    """A finite number between two limits, if there are any. Raises ValueError or TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("it is not a number")
    if not math.isfinite(value):
        raise ValueError("it is not finite")
    value = value if low is None else max(value, low)
    return value if high is None else min(value, high)


def text(value: Any) -> Any:
    """A string of at most LONGEST_TEXT characters. Raises TypeError, ValueError."""
    if not isinstance(value, str):
        raise TypeError("it is not a text")
    if len(value) > LONGEST_TEXT:
        raise ValueError("it is too long")
    return value


def vector(values: Any, length: int, least: float = 0.0) -> Any:
    """Finite numbers up to FARTHEST, as a tuple. Raises ValueError for others or a norm below ``least``."""
    v = tuple(float(number(x, None, None)) for x in values)
    if len(v) != length or max(map(abs, v)) > FARTHEST or math.hypot(*v) < least:
        raise ValueError("it is no such vector")
    return v


def _checked(m: Any) -> Any:
    """A message that is no widget's. Raises ValueError, TypeError or AttributeError for one to ignore."""
    if isinstance(m, _messages.ViewerCameraMessage):
        wxyz = vector(m.wxyz, 4, 1e-3)
        norm = math.hypot(*wxyz)
        return replace(
            m,
            wxyz=tuple(x / norm for x in wxyz),
            position=vector(m.position, 3),
            look_at=vector(m.look_at, 3),
            up_direction=vector(m.up_direction, 3),
            fov=number(m.fov, LEAST_FOV, MOST_FOV),
            near=number(m.near, None, None),
            far=number(m.far, None, None),
            image_height=round(number(m.image_height, 1, LARGEST_WINDOW)),
            image_width=round(number(m.image_width, 1, LARGEST_WINDOW)),
        )
    if isinstance(m, _messages.TransformControlsUpdateMessage):
        return replace(
            m,
            name=text(m.name),
            owner=text(m.owner),
            wxyz=vector(m.wxyz, 4, 1e-3),
            position=vector(m.position, 3),
        )
    if isinstance(m, _messages.TransformControlsDragStartMessage | _messages.TransformControlsDragEndMessage):
        return replace(m, name=text(m.name), owner=text(m.owner))
    if isinstance(m, _messages.ScenePointerMessage):
        if m.event_type != "click":
            raise ValueError("it is no click")
        (at,) = m.screen_pos
        return replace(
            m,
            ray_origin=vector(m.ray_origin, 3),
            ray_direction=vector(m.ray_direction, 3, 1e-6),
            screen_pos=(vector(at, 2),),
            modifier=None if m.modifier is None else text(m.modifier),
        )
    if isinstance(m, _messages.SceneNodeClickMessage):
        return replace(
            m,
            name=text(m.name),
            owner=text(m.owner),
            ray_origin=vector(m.ray_origin, 3),
            ray_direction=vector(m.ray_direction, 3, 1e-6),
            screen_pos=vector(m.screen_pos, 2),
            modifier=None if m.modifier is None else text(m.modifier),
        )
    if isinstance(m, _messages.CommandTriggerMessage):
        return replace(m, uuid=text(m.uuid))
    raise TypeError("this viewer has no use for it")
