"""How work in the background ends: with what it made, or with the reason why there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import viser

from nerfscene.errors import NerfsceneError

log = logging.getLogger(__name__)
Made = TypeVar("Made")


class Cancelled(Exception):
    """Raised within the work once it is no longer wanted."""


def send(client: viser.ClientHandle, file: Path, again: str) -> None:
    """Has a tab download what was made. again: what to do if it is gone.

    Raises NerfsceneError if the file can't be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise NerfsceneError(f"{file.name} is gone from the folder for temporary files; {again}") from error
    client.send_file_download(file.name, content, save_immediately=True)


def outcome(work: Callable[[], Made], failed: str) -> tuple[Made | None, str]:
    """What ``work`` returns and "", or None and the reason; it raises nothing.

    failed: the sentence to log with the traceback of an error that is not for users.
    """
    try:
        return work(), ""
    except Cancelled:
        return None, "cancelled"
    except (NerfsceneError, OSError) as error:
        return None, str(error)
    except Exception as error:  # whatever it is, the tab's buttons must work again
        log.exception(failed)
        return None, str(error) or type(error).__name__
