"""How work in the background ends: with what it made, or with the reason why there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from nerfscene.errors import NerfsceneError

log = logging.getLogger(__name__)
Made = TypeVar("Made")


class Cancelled(Exception):
    """Raised within the work once it is no longer wanted."""


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
