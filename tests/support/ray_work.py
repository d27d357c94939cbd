"""What Ray's workers run in tests; they import this module by its name."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from nerfscene.clusters.desk import Line
from nerfscene.clusters.trainings import Training, train_one
from nerfscene.errors import NerfsceneError
from nerfscene.training import loop

SAVE_EVERY = 0.2  # seconds, instead of 25


def train_saving_often(line: Line, training: Training, cpus: int, begun_on: str | None) -> dict[str, Any]:
    """As ``train_one``. Notes each try in a file beside the scene's folder."""
    loop.SAVE_EVERY = SAVE_EVERY
    with training.output.with_suffix(".tries").open("a") as tries:
        tries.write(f"{os.getpid()}\n")
    return train_one(line, training, cpus, begun_on)


def wait_for_word(line: Line, folder: Path) -> str:
    """Reports its process, and goes on until it is stopped."""
    line.say("note", "begun")
    for count in range(10**6):
        (folder / f"{os.getpid()}").write_text(str(count))
        if line.tell(process=os.getpid(), count=count) == "stop":
            raise KeyboardInterrupt
        time.sleep(0.05)
    return "waited"


def answer(line: Line, value: Any) -> Any:
    """Returns or raises what it is given."""
    if isinstance(value, Exception):
        raise value
    return value


def refusal() -> NerfsceneError:
    return NerfsceneError("this can't be used; give another")
