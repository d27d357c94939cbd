"""The folder that training writes a scene to: whether it may be used, and what is removed from it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from nerfscene.capture.work_folder import read_json
from nerfscene.errors import NerfsceneError
from nerfscene.scene.atomic import remove_leftovers, writing
from nerfscene.scene.folder import (
    FIELD_FILE,
    REPORT_FILE,
    SCENE_JSON,
    SOURCE,
    SPLATS_FILE,
    TRAINING_FILE,
    is_scene,
)
from nerfscene.scene.folder_lock import LOCK_FILE

POSES = "poses"
CAMERA_PATH_FILE = "camera_path.json"
PATH_DRAFT_FILE = "path_draft.json"  # the path as it was last edited in the viewer
MADE = (SCENE_JSON, FIELD_FILE, SPLATS_FILE, TRAINING_FILE, SOURCE, REPORT_FILE)  # by training
KEPT = (POSES, CAMERA_PATH_FILE, PATH_DRAFT_FILE, LOCK_FILE)  # when training starts again


def open_output(folder: Path, resume: bool) -> None:
    """Makes the scene's folder and checks that it can be written; a folder that isn't ours is left alone.

    Temporary files that killed processes left there are removed.

    Raises NerfsceneError when it can't be used, or ``resume`` is set and it holds no scene.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise NerfsceneError(f"{folder} is a file; choose another folder for the scene with -o")
        if folder.exists() and not is_scene(folder) and not all(map(_ours, os.listdir(folder))):
            raise NerfsceneError(f"{folder} exists and is not a scene; choose another folder with -o")
        if resume and not is_scene(folder):
            raise NerfsceneError(f"there is no scene in {folder} to resume; leave out --resume to make one")
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}.tmp"
        probe.write_bytes(b"")
        probe.unlink()
        remove_leftovers(folder)
    except OSError as error:
        raise NerfsceneError(
            f"{folder} can't be written ({error.strerror}); choose another folder with -o"
        ) from error


def remember_photos(folder: Path, given: list[list[str | int]]) -> None:
    """Writes down which photos the scene in ``folder`` is made from; given: a fingerprint.

    Raises NerfsceneError if it can't be written.
    """
    with writing(folder / SOURCE) as temporary:
        temporary.write_text(json.dumps(given))


def refuse_other_photos(folder: Path, given: list[list[str | int]]) -> None:
    """Raises NerfsceneError if the scene in ``folder`` was made from other photos; given: a fingerprint."""
    known = read_json(folder / SOURCE)  # None: an older scene, or one whose training was killed
    if given and known and known != given:
        raise NerfsceneError(
            f"{folder} holds a scene of other photos; choose another folder with -o, or add --overwrite to "
            "replace that scene"
        )


def forget_photos(folder: Path) -> None:
    """Removes what ``remember_photos`` wrote."""
    with contextlib.suppress(OSError):
        (folder / SOURCE).unlink(missing_ok=True)


def remove_empty(folders: Sequence[Path]) -> None:
    """Removes those of the folders that hold nothing."""
    for folder in folders:
        with contextlib.suppress(OSError):  # rmdir refuses a folder that holds something
            folder.rmdir()


def _ours(name: str) -> bool:
    """Whether this name is one that nerfscene writes (also when killed midway)."""
    return name in (*MADE, *KEPT) or (name.startswith(".") and name.endswith(".tmp"))
