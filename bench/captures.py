"""The captures that the benchmarks read, in place: NeRF-synthetic chair and instant-ngp's fox."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from nerfscene.readers import find_posed
from nerfscene.types import PosedCapture

DATA = Path(os.environ.get("NERFSCENE_DATA", Path(__file__).parents[2] / "shared/data"))
DEMO = Path(__file__).parents[1] / "data/demo"


def chair(every: int = 1) -> PosedCapture | None:
    """The standard split: 100 training views, and every n-th of the 200 test views."""
    return _thinned(DATA / "chair", every)


def fox() -> PosedCapture | None:
    """50 photos with their published poses; every 8th is held out by the trainer."""
    return _thinned(DATA / "fox", 1)


def demo() -> PosedCapture | None:
    """The capture in data/demo with its true cameras."""
    return _thinned(DEMO, 1)


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
