"""Which writer an export is given to, and what is refused before any work begins."""

from __future__ import annotations

import os
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_file_cases import scene_of

import nerfscene as ns
from nerfscene.config import ExportConfig
from nerfscene.errors import NerfsceneError, NerfsceneWarning
from nerfscene.exporters.export import FORMATS, KINDS, WRITERS, check_export, export, idle_settings
from nerfscene.exporters.told import Told
from nerfscene.scene.scene import Scene
from nerfscene.scene.world import in_world

FORMS = [(kind, ending) for kind in KINDS for ending in FORMATS[kind]]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Puts stand-ins in the writers' places; returns the names of those called."""
    called: list[str] = []
    for module, name in WRITERS.values():

        def write(
            scene: Scene, file: Path, config: ExportConfig, told: Told, name: str = name
        ) -> dict[str, Any]:
            called.append(name)
            told.progress("writing", 1.0)
            told.warn("something was left out")
            file.write_text(name)
            return {"faces": config.faces}

        stand_in = types.ModuleType(f"nerfscene.exporters.{module}")
        setattr(stand_in, name, write)
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    return called


@pytest.mark.parametrize(("kind", "ending"), FORMS)
def test_each_form_has_its_writer(tmp_path: Path, written: list[str], kind: str, ending: str) -> None:
    file = tmp_path / "new" / f"room{ending.upper()}"
    made = export(scene_of(tmp_path), file, kind, ExportConfig(faces=200))
    assert made == {"kind": kind, "file": str(file), "faces": 200, "credentials": []}
    assert written == [WRITERS[kind][1]] == [file.read_text()]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.spz", "splats"), ("a.SOG", "splats"), ("a.usdc", "splats"), ("a.laz", "points"), ("a.las", "points"),
     ("a.obj", "mesh"), ("a.stl", "mesh"), ("transforms.json", "cameras")],
)  # fmt: skip
def test_an_ending_says_the_kind_where_only_one_has_it(name: str, kind: str) -> None:
    assert check_export(Path(name), None) == kind


@pytest.mark.parametrize("name", ["a.ply", "a.glb", "a.usdz"])
def test_an_ending_of_several_kinds_needs_the_kind(name: str) -> None:
    with pytest.raises(NerfsceneError, match=r"does not say what it is to hold: add --to \w+.* or --to \w+$"):
        check_export(Path(name), None)


@pytest.mark.parametrize(
    ("name", "to", "said"),
    [
        ("a.fbx", "mesh", r"a\.fbx must end in \.glb, \.obj, \.ply, \.stl or \.usdz to hold a mesh$"),
        ("a.fbx", None, r"a\.fbx doesn't end in anything .*: \.glb, \.json, .*\.usdz$"),
        ("a.spz", "mesh", r"to hold a mesh; \.spz is for splats$"),
        (
            "a.glb",
            "points",
            r"must end in \.ply, \.las or \.laz to hold points; \.glb is for a mesh or splats$",
        ),
        ("folder/", None, r"folder does not say what it is to hold: give it an ending, .* --to cameras"),
        ("a", "splats", r"a must end in \.ply, .* or \.usdc to hold splats$"),
        ("a.bin", "cameras", r"must end in \.json or nothing \(a folder\) to hold cameras$"),
        ("a.ply", "film", "^to must be mesh, points, cameras or splats, not 'film'"),
    ],
)
def test_other_endings_are_refused(name: str, to: str | None, said: str) -> None:
    with pytest.raises(NerfsceneError, match=said):
        check_export(Path(name), to)


def test_places_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.glb").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir()
    may = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p).name != "closed" and may(p, mode))
    for name, to, said in (
        ("folder.glb", "mesh", "is a folder; give the file another name"),
        ("file/a.glb", "mesh", "is a file"),
        ("file", "cameras", "is a file, and a name without an ending is for a folder"),
        ("closed/a.glb", "mesh", "no permission to write"),
        ("closed/new/a.glb", "mesh", "no permission to write"),
    ):
        with pytest.raises(NerfsceneError, match=said):
            check_export(tmp_path / name, to)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["closed", "file", "folder.glb"]


@pytest.mark.parametrize("name", ["scene", "scene/", "scene/a.glb", "scene/new/a.glb", "link/a.glb"])
def test_a_scene_s_folder_keeps_to_the_scene(tmp_path: Path, name: str) -> None:
    scene = tmp_path / "scene"
    scene.mkdir()
    (tmp_path / "link").symlink_to(scene)
    to = "mesh" if name.endswith(".glb") else "cameras"
    with pytest.raises(NerfsceneError, match=r"is the scene itself|is in the scene's own folder"):
        check_export(tmp_path / name, to, scene)
    assert check_export(tmp_path / "scene.glb", "mesh", scene) == "mesh"


@pytest.mark.parametrize(
    ("name", "to", "package"),
    [
        ("a.glb", "mesh", "fast_simplification"),
        ("a.usdz", "splats", "pxr"),
        ("a.las", "points", "laspy"),
        ("a.laz", "points", "lazrs"),
    ],
)
def test_a_missing_package_is_missed_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[str], name: str, to: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    said = rf"needs the package {package}: pip install 'nerfscene\[export\]'"
    with pytest.raises(NerfsceneError, match=said):
        export(scene_of(tmp_path), tmp_path / "new" / name, to)
    assert not written and not (tmp_path / "new").exists()
    assert check_export(Path("a.ply"), "splats") == "splats", "it takes none of them"


def test_a_signature_that_was_asked_for_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(NerfsceneError, match=r"pip install 'nerfscene\[credentials\]'"):
        export(scene_of(tmp_path), tmp_path / "a.obj", credentials=ns.CredentialsConfig())
    assert not written


def test_the_api_takes_strings_warns_and_says_what_was_written(
    tmp_path: Path, written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    scene, file = scene_of(tmp_path), tmp_path / "a.ply"
    with pytest.warns(NerfsceneWarning, match="left out"):
        made = ns.export(scene, str(file), to="mesh")
    assert made["kind"] == "mesh" and made["file"] == str(file)
    heard: list[str] = []
    ns.export(scene, file, ExportConfig(count=100), "points", progress=True, warn=heard.append)
    assert heard == ["something was left out"] and "writing" in capsys.readouterr().err
    assert written == ["write_mesh", "write_points"]
    for wrong in (
        (file, scene),
        (scene, 7),
        (scene, file, ns.RenderConfig()),
        (scene, file, ExportConfig(), 7),
    ):
        with pytest.raises(TypeError):
            ns.export(*wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("a.ply", ExportConfig(count=500, faces=200, degree=0), ["--count", "--degree"]),
        ("a.ply", ExportConfig(texture=512), ["--texture changes nothing about .ply files"]),
        ("a.ply", ExportConfig(texture=0), []),
        ("a.glb", ExportConfig(cameras="colmap", photos=True), ["--cameras is for cameras", "--photos"]),
    ],
)  # fmt: skip
def test_settings_that_change_nothing_are_told_of(name: str, config: ExportConfig, said: list[str]) -> None:
    told = idle_settings("mesh", Path(name), config)
    assert len(told) == len(said) and all(start in line for line, start in zip(told, said, strict=True)), told


@pytest.mark.parametrize("name", ["scene.json", "new/a.json", "link/scene.json", "."])
def test_no_scene_s_folder_is_written_to(tmp_path: Path, written: list[str], name: str) -> None:
    """Of the command line and Python, whichever scene it is: an export named scene.json would replace it."""
    other = tmp_path / "other"
    other.mkdir()
    for file in ("scene.json", "field.safetensors"):
        (other / file).write_text("a scene")
    (other / "link").symlink_to(other)
    with pytest.raises(NerfsceneError, match=r"is the scene itself|is in the scene's own folder"):
        ns.export(scene_of(tmp_path), other / name, to="cameras")
    with pytest.raises(
        NerfsceneError, match=r"is the scene itself|is in the scene's own folder|holds something"
    ):
        ns.share(scene_of(tmp_path), other / name.replace(".json", ".html"))
    assert (other / "scene.json").read_text() == "a scene" and not written


@pytest.mark.parametrize("name", [".", "", "/"])
def test_names_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert check_export(Path(name), "cameras") == "cameras", "a folder that may be empty"
    if name == "/":
        with pytest.raises(NerfsceneError, match="root of all folders"):
            export(scene_of(tmp_path), Path(name), "cameras")
    assert not written


def test_a_picture_of_an_obj_s_name_stays(tmp_path: Path, written: list[str]) -> None:
    scene, file, picture = scene_of(tmp_path), tmp_path / "room.obj", tmp_path / "room.png"
    picture.write_text("somebody's")
    with pytest.raises(NerfsceneError, match="is there already"):
        export(scene, file)
    assert picture.read_text() == "somebody's" and not written
    export(scene, file, config=ExportConfig(texture=0))
    export(scene, file)  # the picture may be that of the .obj which is there now


def test_a_way_back_out_of_folders_that_are_not_there_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export(scene_of(tmp_path), Path("a/../b/../new/t.json"), "cameras")
    assert (tmp_path / "new/t.json").is_file() and not (tmp_path / "a").exists()
    (tmp_path / "elsewhere/in").mkdir(parents=True)
    (tmp_path / "link").symlink_to("elsewhere/in")
    export(scene_of(tmp_path), Path("link/../t.json"), "cameras")
    assert (tmp_path / "elsewhere/t.json").is_file() and not (tmp_path / "t.json").exists()


def test_a_link_that_leads_in_a_circle(tmp_path: Path, written: list[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(NerfsceneError, match="loop"):
        export(scene_of(tmp_path), tmp_path / "loop/a.obj")


@pytest.mark.parametrize(
    ("shift", "kind", "config", "said"),
    [
        (4e6, "mesh", ExportConfig(world="capture"), "leave out --world capture"),
        (4e6, "splats", ExportConfig(world="capture"), "leave out --world capture"),
        (4e6, "mesh", ExportConfig(), ""),
        (4e6, "points", ExportConfig(world="capture"), ""),
        (100, "mesh", ExportConfig(world="capture"), ""),
    ],
)
def test_coordinates_of_a_map_are_too_many_digits_for_floats(
    tmp_path: Path, written: list[str], shift: float, kind: str, config: ExportConfig, said: str
) -> None:
    far = np.eye(4)
    far[:3, 3] = shift / 8, shift, 0
    scene = replace(in_world(scene_of(tmp_path), far), world_from_capture=None)
    heard: list[str] = []
    export(scene, tmp_path / "a.ply", kind, config, Told(warn=heard.append))
    assert heard.pop() == "something was left out"
    assert [said in line and ".ply" in line for line in heard] == ([True] if said else [])
