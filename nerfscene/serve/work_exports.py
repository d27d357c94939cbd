"""An export, for the server: one file to download, in a folder of the job's own."""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from nerfscene.config import ExportConfig
from nerfscene.exporters.export import export as write
from nerfscene.exporters.told import Told
from nerfscene.scene import folder as scenes
from nerfscene.scene.atomic import telling
from nerfscene.serve.task import Ended, Task, safe_name

ZIP = "zip"
PACKED = {".zip", ".jpg", ".jpeg", ".png", ".webp", ".laz"}  # deflating these again saves nothing


def export(task: Task) -> Ended:
    """Writes the export. What consists of several files is zipped. Raises NerfsceneError if it can't be."""
    known = {f.name for f in fields(ExportConfig)}
    chosen: dict[str, Any] = {k: v for k, v in task.job.options.items() if k in known}
    config = ExportConfig(**{**chosen, "threads": task.threads})
    kind, ending = str(task.job.options["to"]), str(task.job.options["ending"])
    name = safe_name(task.scene.title)
    partial, final = task.at.exports / f".{task.job.id}", task.at.exports / task.job.id
    shutil.rmtree(partial, ignore_errors=True)
    task.line.progress("loading the scene", 0.0)
    scene = scenes.load(task.at.scene)
    with telling(partial):
        partial.mkdir(parents=True)
    file = partial / (name if ending == ZIP else f"{name}.{ending}")
    write(scene, file, kind, config, Told(task.line.progress, task.line.warn))
    with telling(final):
        _as_one(partial, name, task)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    made = sorted(entry.name for entry in final.iterdir())
    return Ended("done", {"files": [f"exports/{task.job.id}/{one}" for one in made]})


def tidy(task: Task) -> None:
    """After a stop or a failure: removes what is not complete."""
    shutil.rmtree(task.at.exports / f".{task.job.id}", ignore_errors=True)


def _as_one(folder: Path, name: str, task: Task) -> None:
    """Replaces a folder's entries by one zip of them, unless they are one file."""
    entries = sorted(folder.iterdir())
    if len(entries) == 1 and entries[0].is_file():
        return
    root = entries[0] if len(entries) == 1 else folder
    files = [Path(at) / one for at, _, names in os.walk(root) for one in names]
    pack = folder / f".{name}.{ZIP}"
    with zipfile.ZipFile(pack, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, file in enumerate(sorted(files)):
            task.line.progress("packing", i / len(files))
            how = zipfile.ZIP_STORED if file.suffix.lower() in PACKED else zipfile.ZIP_DEFLATED
            archive.write(file, f"{name}/{file.relative_to(root).as_posix()}", how)
    for entry in entries:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    pack.rename(folder / f"{name}.{ZIP}")
