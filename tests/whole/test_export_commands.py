"""``nerfscene export`` and ``nerfscene share``: what they say, and what they refuse in one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from refusals import Refused

from nerfscene import cli
from nerfscene.config import ExportConfig, PageConfig
from nerfscene.export_commands import in_words
from nerfscene.exporters import share as pages
from nerfscene.exporters.export import FORMATS, WRITERS
from nerfscene.exporters.opens import OPENS
from nerfscene.exporters.told import Told
from nerfscene.scene import folder as scenes
from nerfscene.scene.atomic import writing
from nerfscene.scene.scene import Scene


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, name: str, write: Callable[..., Any]) -> None:
    """Puts a function in the place of an exporter's."""
    made = types.ModuleType(f"nerfscene.exporters.{module}")
    setattr(made, name, write)
    monkeypatch.setitem(sys.modules, made.__name__, made)


@pytest.fixture
def mesh_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer of meshes that takes no time."""

    def write(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
        told.progress("cutting the surface", 0.5)
        told.warn("two holes stay open")
        file.write_bytes(b"x" * 2_000_000)
        return {"faces": config.faces, "texture": config.texture}

    stand_in(monkeypatch, *WRITERS["mesh"], write)


@pytest.fixture
def page_writer(monkeypatch: pytest.MonkeyPatch) -> list[PageConfig]:
    """A writer of pages that takes no time; returns the settings that it is given."""
    given: list[PageConfig] = []

    def write(scene: Scene, folder: Path, config: PageConfig, told: Told) -> dict[str, Any]:
        given.append(config)
        folder.mkdir()
        (folder / "index.html").write_text("hello")
        return {"file": str(folder), "splats": 1234, "bytes": 5_100_000}

    monkeypatch.setattr(pages, "write_page", write)
    return given


def test_export_says_what_it_wrote_and_what_opens_it(
    trained: Path, tmp_path: Path, mesh_writer: None, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "room.glb"
    cli.main(["export", str(trained), "--to", "mesh", "-o", str(file), "--faces", "5000", "--photos"])
    said = capfd.readouterr()
    assert not said.out and file.is_file()
    lines = said.err.splitlines()
    assert "cutting the surface: 50 %" in lines and "warning: two holes stay open" in lines
    assert "warning: --photos is for cameras; it changes nothing about a mesh" in lines
    assert lines[-2] == f"{file}: 5,000 faces, a texture of 4096×4096, 2.0 MB"
    assert lines[-1] == OPENS["mesh", ".glb"]


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("a.obj", {"faces": 9, "files": ["a.obj", "a.mtl", "a.png"]},
         "9 faces, 6 kB; a.mtl and a.png beside it"),
        ("t.json", {"cameras": 3, "photos": 0}, "3 cameras, 4 kB; t_files beside it"),
        ("cameras", {"cameras": 3, "photos": 3}, "3 cameras, 3 photos, 2 kB"),
        ("a.sog", {"splats": 1000, "bytes": 25, "credentials": ["a.sog"]}, "1,000 splats, 1 kB"),
        ("a.glb", {"texture": 0, "bytes": 2_345_678, "credentials": ["a.c2pa"]},
         "2.3 MB; content credentials in a.c2pa"),
    ],
)  # fmt: skip
def test_what_was_written_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, made: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("a.obj", "a.mtl", "a.png", "t.json", "t_files/one", "cameras/one"):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_bytes(b"x" * 2000)
    assert in_words({"kind": "cameras", "file": name, **made}) == f"{name}: {said}"


def test_export_as_json(
    trained: Path, tmp_path: Path, mesh_writer: None, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "room.stl"
    cli.main(["export", str(trained), "-o", str(file), "--json"])
    said = capfd.readouterr()
    assert not said.err
    made = json.loads(said.out)
    assert (made["kind"], made["file"], made["faces"]) == ("mesh", str(file), 100_000)


def test_each_form_says_what_opens_it() -> None:
    assert set(OPENS) == {(kind, ending) for kind, endings in FORMATS.items() for ending in endings}


def test_share_names_the_file_to_open(
    trained: Path, tmp_path: Path, page_writer: list[PageConfig], capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page"
    cli.main(["share", str(trained), "-o", str(page), "--title", "Our room", "--limit", "5MB"])
    said = capfd.readouterr()
    assert f"{page}: 1,234 splats, 5.1 MB; content credentials in {page / 'index.c2pa'}" in said.err
    assert said.err.splitlines()[-1] == f"open it in a browser: {page / 'index.html'}"
    assert page_writer[0].title == "Our room" and page_writer[0].limit == "5MB"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--to", "mesh", "-o", "a.fbx"), "must end in .glb, .obj, .ply, .stl or .usdz"),
        (("--to", "mesh", "-o", "a.laz"), ".laz is for points"),
        (("-o", "a.gltf"), "doesn't end in anything"),
        (("-o", "a.ply"), "add --to mesh, --to points or --to splats"),
        (("-o", "out"), "add --to cameras for a folder"),
        (("-o", "file/a.obj"), "is a file"),
        (("-o", "folder.obj"), "is a folder"),
        (("-o", f"{'long' * 80}.obj"), "too long"),
        (("-o", "a.obj", "--faces", "3"), "--faces must be 100 to 10000000, not 3"),
        (("-o", "a.spz", "--degree", "4"), "--degree must be 0 to 3"),
        (("-o", "a.obj", "--credentials-key", "key.pem"), "add --credentials"),
        (("-o", "a.obj", "--source-type", "virtual"), "add --credentials"),
    ],
)
def test_exports_are_refused_before_the_work(
    refused: Refused, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    mesh_writer: None, words: tuple[str, ...], told: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.obj").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(scenes, "load", lambda *_: pytest.fail("read the scene in spite of what was asked"))
    assert told in refused("export", trained, *words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.obj"]


def test_a_scene_that_is_none_is_said(
    refused: Refused, tmp_path: Path, mesh_writer: None, page_writer: object
) -> None:
    (tmp_path / "photos").mkdir()
    for command, target in (("export", "a.obj"), ("share", "page")):
        for name in ("photos", "nothing"):
            assert name in refused(command, tmp_path / name, "-o", tmp_path / target)
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("name", ["", "a.obj", "meshes/a.obj", "page"])
def test_nothing_is_written_into_the_scene(
    refused: Refused, trained: Path, mesh_writer: None, page_writer: object, name: str
) -> None:
    before = sorted(trained.rglob("*"))
    words = ["--to", "cameras"] if not name.endswith(".obj") else []
    assert "scene" in refused("export", trained, *words, "-o", trained / name)
    assert "scene" in refused("share", trained, "-o", trained / name)
    assert sorted(trained.rglob("*")) == before


def test_a_place_that_only_looks_writable_is_refused_before_the_work(
    refused: Refused, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, *WRITERS["mesh"], lambda *_: pytest.fail("worked for a file that can't be written"))
    for place in ("/proc/a.obj", "/proc/new/a.obj"):
        assert place.rpartition("/")[0] in refused("export", trained, "-o", place)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-o", "file"), "is a file"),
        (("-o", "file/page"), "is a file"),
        (("-o", "photos"), "holds something other than a page"),
        (("-o", "page", "--single"), "name it like page.html"),
        (("-o", "page", "--limit", "much"), "--limit must be 3MB to 1GB"),
        (("-o", "/proc/page"), "/proc"),
        (("-o", "long" * 80), "too long"),
    ],
)
def test_pages_are_refused_before_the_work(
    refused: Refused, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...], told: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.jpg").write_text("")
    monkeypatch.setattr(
        pages, "write_page", lambda *_: pytest.fail("worked for a page that can't be written")
    )
    assert told in refused("share", trained, *words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "photos"]


def test_a_mesh_is_signed_if_asked(
    refused: Refused, trained: Path, tmp_path: Path, mesh_writer: None, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "room.glb"
    cli.main(["export", str(trained), "--to", "mesh", "-o", str(file), "--credentials", "--json"])
    assert json.loads(capfd.readouterr().out)["credentials"] == [str(tmp_path / "room.c2pa")]
    cli.main(["info", str(file), "--json"])
    said = json.loads(capfd.readouterr().out)
    assert said["state"] == "valid" and said["kind"] == "mesh" and said["settings"]["faces"] == 100_000
    cli.main(["export", str(trained), "--to", "mesh", "-o", str(file), "--json"])
    assert json.loads(capfd.readouterr().out)["credentials"] == []
    assert [p.name for p in tmp_path.iterdir()] == ["room.glb"], "what was said of the old file is gone"
    assert "no picture that could be signed" in refused(
        "export", trained, "--to", "cameras", "-o", tmp_path / "cameras", "--credentials"
    )


def test_ctrl_c_leaves_nothing(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def write(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
        with writing(file) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    stand_in(monkeypatch, *WRITERS["splats"], write)
    with pytest.raises(SystemExit) as left:
        cli.main(["export", str(trained), "-o", str(tmp_path / "a.spz")])
    assert left.value.code == 130 and capfd.readouterr().err.endswith("nerfscene: interrupted\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "words",
    [
        ("export", "--to", "points", "-o", "out/a.ply"),
        pytest.param(("export", "-o", "out/a.spz", "--count", "3000000"), marks=pytest.mark.long),
        pytest.param(("export", "-o", "out/a.obj"), marks=pytest.mark.long),
        ("share", "-o", "out/page"),
    ],
)
def test_an_export_that_is_stopped_leaves_nothing(
    trained: Path, tmp_path: Path, number: signal.Signals, words: tuple[str, ...]
) -> None:
    command = [sys.executable, "-m", "nerfscene.cli", words[0], str(trained), *words[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    (tmp_path / "out").mkdir()
    with subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None and "%" in child.stderr.readline()
        child.send_signal(number)
        _, err = child.communicate(timeout=600)
    assert child.returncode == 130 and err.endswith("nerfscene: interrupted\n")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("verb", ["export", "share"])
def test_help_fits_on_a_screen_or_two(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([verb, "--help"])
    out = capfd.readouterr().out
    assert left.value.code == 0 and f"nerfscene {verb}" in out and "--json" in out
    assert len(out.splitlines()) < 60
