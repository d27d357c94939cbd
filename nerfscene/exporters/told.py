"""What an exporter tells while it works, and what it asks for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nerfscene.errors import NerfsceneError


@dataclass(frozen=True)
class Told:
    """Where an exporter's messages go.

    progress: called with the stage in words and the fraction of it that is done, 0 to 1. It cancels the
    export by raising; the exporter leaves nothing half-written then.
    warn: called with a sentence about what was left out or may surprise.
    noted: called like progress where there is something to say beside it, which is its third argument; None:
    progress is called instead.
    """

    progress: Callable[[str, float], None] = lambda stage, fraction: None
    warn: Callable[[str], None] = lambda message: None
    noted: Callable[[str, float, str], None] | None = None

    def note(self, stage: str, fraction: float, text: str) -> None:
        """Tells progress with something to say beside it."""
        if self.noted is None:
            self.progress(stage, fraction)
        else:
            self.noted(stage, fraction, text)


def needed(module: str, extra: str, purpose: str) -> Any:
    """The optional module of this name, imported.

    extra: nerfscene's extra that installs it. purpose: what it is for, such as "unwrapping a mesh".
    Raises NerfsceneError if it isn't installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NerfsceneError(
            f"{purpose} needs the package {module.partition('.')[0]}: pip install 'nerfscene[{extra}]'"
        ) from error
