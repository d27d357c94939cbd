"""Makes the k-th write to the disk fail, and all after it, as on a disk that is full or turned read-only."""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder as scenes

ENDLESS = 1 << 30


class Writes:
    """Counts the writes, and fails from number ``good`` on with ``error``."""

    def __init__(self, good: int, error: int, within: Path) -> None:
        self.good, self.error, self.within, self.count = good, error, within, 0

    def check(self, path: object) -> None:
        """Counts a write to ``path``; raises OSError if it is to fail."""
        if not Path(os.fsdecode(path)).is_relative_to(self.within):  # type: ignore[arg-type]
            return
        self.count += 1
        if self.count > self.good:
            raise OSError(self.error, os.strerror(self.error), str(path))


@contextmanager
def failing(good: int, error: int, within: Path) -> Iterator[Writes]:
    """The first ``good`` writes below ``within`` go well, the others fail with ``error`` (errno).

    A write is: making or renaming a file or folder, and writing to one. Removing goes well on a full disk,
    and fails too where nothing can be written.
    """
    writes = Writes(good, error, within)

    def checked(function: Callable[..., Any], position: int) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            writes.check(arguments[position])
            return function(*arguments, **options)

        return call

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not isinstance(file, int) and set(mode) & set("wxa+"):
            writes.check(file)
        return plain_open(file, mode, *arguments, **options)

    plain_open = builtins.open
    with pytest.MonkeyPatch.context() as patch:
        for name, position in (("replace", 1), ("rename", 1), ("mkdir", 0)):
            patch.setattr(os, name, checked(getattr(os, name), position))
        if error == errno.EROFS:
            for name in ("unlink", "rmdir", "remove"):
                patch.setattr(os, name, checked(getattr(os, name), 0))
        patch.setattr(builtins, "open", opened)
        patch.setattr(Path, "touch", checked(Path.touch, 0))
        patch.setattr(Path, "write_text", checked(Path.write_text, 0))
        patch.setattr(Path, "write_bytes", checked(Path.write_bytes, 0))
        patch.setattr(Image.Image, "save", checked(Image.Image.save, 1))
        patch.setattr(scenes, "save_file", checked(scenes.save_file, 1))
        yield writes


def count_of_writes(work: Callable[[], object], within: Path) -> int:
    """How many writes ``work`` makes below ``within``."""
    with failing(ENDLESS, errno.ENOSPC, within) as writes:
        work()
    return writes.count


def sentence(work: Callable[[], object], good: int, error: int, within: Path) -> str:
    """The one sentence that ``work`` ends with when all but its first ``good`` writes fail."""
    with failing(good, error, within), pytest.raises(NerfsceneError) as caught:
        work()
    said = str(caught.value)
    assert "\n" not in said and 30 < len(said) < 600, said
    assert os.strerror(error) in said or "disk is full" in said, said
    return said
