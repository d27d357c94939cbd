"""Makes an export in the background while the viewer goes on."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nerfscene.exporters.told import Told
from nerfscene.scene.atomic import runs
from nerfscene.viewer.outcome import Cancelled, outcome

LEFTOVER = re.compile(r"nerfscene-export-(\d+)-.+")  # as jobs name their folders: of which process


class ExportJob:
    """One export. ``done(file, reason)`` gets the file to download and "", or None and why there is none.

    It is called once, whatever happens. The file is there until ``discard``.

    make: called with the path to write and a ``Told``. name: the file's, or the folder's; a folder, and a
    file that others lie beside, becomes a .zip. progress: called with the stage in words and the fraction
    done. warn: called with each sentence about what was left out.
    """

    def __init__(
        self,
        make: Callable[[Path, Told], Any],
        name: str,
        progress: Callable[[str, float], None],
        warn: Callable[[str], None],
        done: Callable[[Path | None, str], None],
    ) -> None:
        self._make, self._name = make, name
        self._progress, self._warn, self._done = progress, warn, done
        self._cancelled = threading.Event()
        self._lock = threading.Lock()  # held while the end is made known
        self._ended = False
        self._folder: Path | None = None
        self._thread = threading.Thread(target=self._run, name="nerfscene-export", daemon=True)

    def start(self) -> None:
        """Begins; apart from the making, so that whoever hears of it can cancel it."""
        self._thread.start()

    def cancel(self) -> None:
        """Stops at the exporter's next sign of life; no file is left behind."""
        self._cancelled.set()

    def wait(self, seconds: float) -> None:
        """Waits for the export to end, at most this many seconds."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def discard(self) -> None:
        """Cancels, and removes what was made; an export that is still at work removes it by itself."""
        with self._lock:
            self.cancel()
            ended = self._ended
        if ended:
            self._remove()

    def _remove(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _heard(self, stage: str, fraction: float) -> None:
        self._check()
        self._progress(stage, fraction)

    def _run(self) -> None:
        made, reason = outcome(self._file, "an export could not be made")
        with self._lock:
            self._ended = True
            if self._cancelled.is_set():
                made, reason = None, reason or "cancelled"
        if made is None:
            self._remove()
        self._done(made, reason)

    def _file(self) -> Path:
        """The file to download, once it is made."""
        remove_leftovers()
        self._folder = Path(tempfile.mkdtemp(prefix=f"nerfscene-export-{os.getpid()}-"))
        inside = self._folder / "made"
        inside.mkdir()
        self._make(inside / self._name, Told(self._heard, self._warn))
        return self._packed(inside)

    def _packed(self, inside: Path) -> Path:
        """What was made, as one file."""
        (first, *more) = sorted(inside.iterdir())
        if not more and first.is_file():
            return first
        root = inside if more else first
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        packed = inside.parent / f"{Path(self._name).stem}.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for i, path in enumerate(files):
                self._heard("packing", i / len(files))
                archive.write(path, path.relative_to(inside))
        return packed


def remove_leftovers() -> None:
    """Removes what exports of processes that were killed have left in the folder for temporary files."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(tempfile.gettempdir()):
            made = LEFTOVER.fullmatch(entry)
            if made and not runs(int(made[1])):
                shutil.rmtree(Path(tempfile.gettempdir(), entry), ignore_errors=True)
