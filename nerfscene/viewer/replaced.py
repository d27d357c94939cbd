"""Notices that the scene in a folder is no longer the one that a page shows."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

from nerfscene.errors import NerfsceneError
from nerfscene.scene.folder import FIELD_FILE, SCENE_JSON, read_manifest

SECONDS = 2.0  # between two looks at the folder


def mark_of(folder: Path) -> tuple[object, ...]:
    """Something that differs when a scene was trained again, or its world, cameras or crop were changed.

    Figures may be measured and splats fitted without that. Raises NerfsceneError if there is no scene.
    """
    kept = {k: v for k, v in read_manifest(folder).items() if k not in ("figures", "splats")}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
    return digest, *_look_of(folder / FIELD_FILE)


def _look_of(file: Path) -> tuple[int, int, int]:
    """What changes when a file is written again. Raises NerfsceneError when it is gone."""
    try:
        found = file.stat()
    except OSError as error:
        raise NerfsceneError(f"{file} can't be read ({error.strerror})") from error
    return found.st_ino, found.st_size, found.st_mtime_ns


class Keeper:
    """Remembers the scene that was opened from a folder, and tells when another one is there.

    ``told`` is called once, with a sentence, from the thread that ``watch`` starts. Until ``start``, as while
    the scene is being trained, any scene counts as the same.
    """

    def __init__(self, folder: Path, told: Callable[[str], None] = lambda text: None) -> None:
        self.folder, self.told = folder, told
        self.replaced = ""  # the sentence, once the scene was replaced
        self.advice = "End nerfscene view and start it again to see the new one"
        self._mark: tuple[object, ...] | None = None
        self._seen: tuple[object, ...] = ()  # how the files looked when the mark was last right
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """From now on the scene must be the one that is in the folder now."""
        with self._lock:
            self._mark = mark_of(self.folder)
            self._seen = ()

    def watch(self) -> None:
        """Looks at the folder now and then, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="nerfscene-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(10)

    def saving(self, work: Callable[[], None]) -> None:
        """Does what writes into the folder. Raises NerfsceneError if another scene is there, and as work."""
        with self._lock:
            self.check()
            try:
                work()
            finally:
                if self._mark is not None:
                    self._mark = mark_of(self.folder)

    def check(self) -> None:
        """Raises NerfsceneError if another scene is in the folder."""
        with self._lock:
            if not self.replaced and self._mark is not None:
                try:
                    now = *_look_of(self.folder / SCENE_JSON), *_look_of(self.folder / FIELD_FILE)
                    same = now == self._seen or mark_of(self.folder) == self._mark
                    self._seen = now if same else ()
                except NerfsceneError:
                    same = False
                if not same:
                    self.replaced = (
                        f"the scene in {self.folder} was changed by another program, and this page shows "
                        f"the old one. {self.advice}. Until then nothing is saved or loaded"
                    )
            if self.replaced:
                raise NerfsceneError(self.replaced)

    def _run(self) -> None:
        while not self._closed.wait(SECONDS):
            try:
                self.check()
            except NerfsceneError as error:
                self.told(str(error))
                return
