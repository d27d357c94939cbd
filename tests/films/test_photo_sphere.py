"""Pictures of all round tell viewers so, as other programs read it."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from nerfscene.capture.panoramas import told_area
from nerfscene.config import RenderConfig
from nerfscene.films.filming import render_film
from nerfscene.scene import folder as scene
from nerfscene.scene.folder import Scene
from nerfscene.types import Photo

GPANO = "{http://ns.google.com/photos/1.0/panorama/}"
ALL = {
    "ProjectionType": "equirectangular",
    "UsePanoramaViewer": "True",
    "StitchingSoftware": "nerfscene",
    "CroppedAreaImageWidthPixels": "64",
    "CroppedAreaImageHeightPixels": "32",
    "FullPanoWidthPixels": "64",
    "FullPanoHeightPixels": "32",
    "CroppedAreaLeftPixels": "0",
    "CroppedAreaTopPixels": "0",
}


@pytest.fixture(scope="module")
def loaded(trained: Path) -> Scene:
    return scene.load(trained)


def chunks(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """The parts of a PNG, by its specification (11.1): a length, a name, the content and a check sum."""
    data, at = file.read_bytes(), 8
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length


def filmed(loaded: Scene, folder: Path, **settings: object) -> Path:
    config = RenderConfig(path="orbit", fps=5, seconds=0.4, width=64, **settings)  # type: ignore[arg-type]
    render_film(loaded, config, None, folder)
    return folder / "00001.png"


@pytest.mark.parametrize("background", ["auto", "transparent"])
def test_a_picture_of_all_round_says_so(loaded: Scene, tmp_path: Path, background: str) -> None:
    file = filmed(loaded, tmp_path, lens="equirectangular", background=background, passes="depth")
    parts = list(chunks(file))
    names = [name for name, _ in parts]
    assert names.index(b"iTXt") < names.index(b"IDAT"), "before the pixels, where readers look"
    text = dict(parts)[b"iTXt"]
    head = b"XML:com.adobe.xmp\0\0\0\0\0"  # not compressed, and in no language, as XMP wants it
    assert text.startswith(head)
    told = ElementTree.fromstring(text[len(head) :].decode().split("?>", 1)[1].rsplit("<?", 1)[0])
    found = {item.tag.removeprefix(GPANO): item.text for item in told.iter() if item.tag.startswith(GPANO)}
    assert found == ALL
    with Image.open(file) as picture:
        assert picture.size == (64, 32) and picture.mode == ("RGB" if background == "auto" else "RGBA")
    area = told_area(Photo(file, 64, 32))
    assert area is not None and (area.left, area.top, area.right, area.bottom) == (0, 0, 1, 1), (
        "as we read photos"
    )


@pytest.mark.parametrize("lens", ["perspective", "fisheye", "stereo180"])
def test_other_pictures_say_nothing(loaded: Scene, tmp_path: Path, lens: str) -> None:
    file = filmed(loaded, tmp_path, lens=lens)
    assert {name for name, _ in chunks(file)} == {b"IHDR", b"IDAT", b"IEND"}


def test_pillow_reads_it(loaded: Scene, tmp_path: Path) -> None:
    pytest.importorskip("defusedxml", reason="Pillow reads XMP with it")
    with Image.open(filmed(loaded, tmp_path, lens="equirectangular")) as picture:
        described = picture.getxmp()["xmpmeta"]["RDF"]["Description"]  # type: ignore[attr-defined]
    assert {name: described[name] for name in ALL} == ALL


def test_exiftool_reads_it(loaded: Scene, tmp_path: Path) -> None:
    tool = shutil.which("exiftool")
    if tool is None:
        pytest.skip("ExifTool isn't installed")
    file = filmed(loaded, tmp_path, lens="equirectangular")
    said = subprocess.run(
        [tool, "-j", "-XMP-GPano:all", str(file)], capture_output=True, text=True, check=True
    )
    found = json.loads(said.stdout)[0]
    assert {name: str(found[name]) for name in ALL} == ALL
