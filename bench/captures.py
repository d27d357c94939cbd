"""The captures that the benchmarks read: NeRF-synthetic's chair, instant-ngp's fox, and the demo.

chair and fox are looked for in the folder ``NERFSCENE_DATA``; a function returns None if its capture is not
there. ``python -m bench.captures FOLDER`` copies the part of chair that bench.gpu uses, to take it to another
machine.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from nerfscene.capture.folder import open_capture
from nerfscene.formats.readers import find_posed
from nerfscene.posing.poses import pose
from nerfscene.types import PosedCapture

DATA = Path(os.environ.get("NERFSCENE_DATA", Path(__file__).parents[2] / "shared/data"))
DEMO = Path(__file__).parents[1] / "data/demo"


def chair(every: int = 1) -> PosedCapture | None:
    """chair in the standard split: 100 training views, and every n-th of the 200 test views."""
    return _thinned(DATA / "chair", every)


def short_chair() -> PosedCapture | None:
    """chair with every eighth test view: 25 of them, as many as ``copy_chair`` copies."""
    whole = chair()
    few = whole is not None and sum(v.split == "test" for v in whole.views) <= 25
    return whole if few else chair(8)


def fox() -> PosedCapture | None:
    """fox: 50 photos with their published poses. The trainer holds out every 8th."""
    return _thinned(DATA / "fox", 1)


def demo() -> PosedCapture | None:
    """The capture in data/demo with its true cameras."""
    return _thinned(DEMO, 1)


def photos_alone(photos: Path, workdir: Path) -> PosedCapture | None:
    """A folder of photos, posed here; unlike published poses, this gives sparse points too."""
    return pose(open_capture(photos), workdir) if photos.exists() else None


def _thinned(folder: Path, every: int) -> PosedCapture | None:
    if not folder.exists():
        return None
    posed = find_posed(folder)
    assert posed is not None
    if every == 1:
        return posed
    test = [v for v in posed.views if v.split == "test"][::every]
    kept = tuple(v for v in posed.views if v.split == "train") + tuple(test)
    return replace(posed, views=kept)


def copy_chair(to: Path, every: int = 8) -> int:
    """Copies chair's training views and every n-th of its test views into a folder; returns their number."""
    copied = 0
    for split, step in (("train", 1), ("test", every)):
        listed = json.loads((DATA / "chair" / f"transforms_{split}.json").read_text())
        listed["frames"] = listed["frames"][::step]
        (to / split).mkdir(parents=True, exist_ok=True)
        for frame in listed["frames"]:
            name = Path(frame["file_path"]).with_suffix(".png")
            shutil.copyfile(DATA / "chair" / name, to / name)
            copied += 1
        (to / f"transforms_{split}.json").write_text(json.dumps(listed))
    return copied


if __name__ == "__main__":
    print(f"{copy_chair(Path(sys.argv[1]) / 'chair')} photos")
