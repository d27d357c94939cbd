"""A job as its process sees it, and how it ends."""

from __future__ import annotations

import errno
import re
import sqlite3
from dataclasses import dataclass, field
from typing import Any, Literal

from nerfscene.scene.atomic import FULL
from nerfscene.serve.jobs import Job
from nerfscene.serve.line import Line
from nerfscene.serve.scenes import Places, SceneRow
from nerfscene.serve.shop import Shop

LONGEST_MESSAGE = 2000  # letters
# What messages say of commands, and what is said of that here.
INSTEAD = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"(,? or|,? and|[;:,])? ?(choose|give) another( folder| file| one)?( for the scene)? with -o\b", ""),
        (r"\b(start|train (it|the scene)|train) again with --overwrite\b", "train it again from its photos"),
        (r"--overwrite starts again", "training again starts"),
        (r" (-o|--output)\b( [^\s,;:.]\S*)?", ""),
        (r"--no-([a-z][a-z-]*)", r"“\1” turned off"),
        (r"--([a-z][a-z-]*)", r"“\1”"),
        (r"(?<![\w:/.~])~?/(?:[^\s/:;,()]+/)+([^\s/:;,()]+)", r"\1"),  # a file of the server: its name alone
    )
)


@dataclass(frozen=True)
class Task:
    """at: the scene's files; line: to the server."""

    shop: Shop
    job: Job
    scene: SceneRow
    at: Places
    line: Line

    @property
    def threads(self) -> int:
        """CPU threads to use, 0 for all."""
        return self.shop.config.threads


@dataclass(frozen=True)
class Ended:
    """How a job ended. result: what it made; files: paths below the scene's home, see ``facts``."""

    state: Literal["done", "stopped"] = "done"
    result: dict[str, Any] = field(default_factory=dict)


def for_owner(task: Task, message: str) -> str:
    """A sentence without where the server keeps its files, and without options of commands.

    There is no other folder to choose on a page; its settings are called as those of the API.
    """
    for folder in (task.at.photos, task.at.scene):
        message = message.replace(f"{folder}/", "")
    message = message.replace(str(task.at.photos), "the upload").replace(str(task.at.scene), "the scene")
    message = message.replace(f"{task.at.home}/", "").replace(f"{task.shop.data}/", "")
    for pattern, instead in INSTEAD:
        message = pattern.sub(instead, message)
    return re.sub(r"\s+", " ", message).strip()[:LONGEST_MESSAGE]


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that the disk is full."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, OSError) and error.errno in (*FULL, errno.ENOSPC):
            return True
        if isinstance(error, sqlite3.OperationalError) and "is full" in str(error):
            return True
        if "the disk is full" in str(error) or "No space left on device" in str(error):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def safe_name(title: str) -> str:
    """A file's name, without its ending, for a title."""
    kept = re.sub(r"[^\w .,()+-]", " ", title.replace("/", " "))
    return " ".join(kept.split()).strip(" .")[:80].strip(" .") or "scene"
