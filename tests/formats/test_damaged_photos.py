"""A damaged photo in a posed capture is left out, as in one without poses, whichever program posed it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_inputs import KINDS
from posed_captures import found

from nerfscene.errors import NerfsceneError
from nerfscene.formats.readers import find_posed

POSED = [
    name
    for name, kind in KINDS.items()
    if kind.use == "read" and name not in ("archive", "photos", "video", "Stray Scanner")
]


def spoil(photo: Path, share: float) -> None:
    data = photo.read_bytes()
    photo.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize("share", [0.5, 0.0])
@pytest.mark.parametrize("kind", POSED)
def test_a_damaged_photo_is_left_out(kind: str, share: float, tmp_path: Path) -> None:
    KINDS[kind].write(tmp_path)
    before = found(tmp_path)
    spoiled = before.views[1].path
    spoil(spoiled, share)
    after = found(tmp_path)
    assert [v.path for v in after.views] == [v.path for v in before.views if v.path != spoiled]
    left = [v for v in before.views if v.path != spoiled]
    assert [v.intrinsics for v in after.views] == [v.intrinsics for v in left]
    told = [text for text in after.warnings if "cannot be read" in text]
    assert len(told) == 1 and spoiled.name in told[0], after.warnings
    assert sum(spoiled.name in text for text in after.warnings) == 1, "it is told once"
    assert [(p.name, p.reason) for p in after.left_out if p not in before.left_out] == [
        (spoiled.name, "can't be read")
    ]
    assert after.photos_given == before.photos_given


@pytest.mark.parametrize("kind", POSED)
def test_without_any_intact_photo_the_capture_is_refused(kind: str, tmp_path: Path) -> None:
    KINDS[kind].write(tmp_path)
    for view in found(tmp_path).views:
        spoil(view.path, 0.5)
    with pytest.raises(NerfsceneError, match="cannot be read as a photo"):
        find_posed(tmp_path)
