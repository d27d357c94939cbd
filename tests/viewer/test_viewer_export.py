"""The tab Export: what it makes, its limits, and that nothing of it is left."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer_cases import Client, wait

from nerfscene.config import ExportConfig
from nerfscene.credentials.checking import check
from nerfscene.errors import NerfsceneError
from nerfscene.exporters import page, page_fitting
from nerfscene.exporters.export import WRITERS
from nerfscene.exporters.placement import placed
from nerfscene.exporters.told import Told
from nerfscene.exporters.viser_server import free_port
from nerfscene.scene import folder as scenes
from nerfscene.scene.scene import Scene
from nerfscene.viewer import splats
from nerfscene.viewer.export_panel import ExportPanel, plain, shown
from nerfscene.viewer.server import Viewer, view
from nerfscene.viewer.stage import set_world

Write = Callable[[Scene, Path, ExportConfig, Told], Any]


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a scene, which a test may change; the folder for temporary files is tmp_path/"temporary"."""
    monkeypatch.setattr(splats, "LONGEST", 8)
    monkeypatch.setattr(splats, "VIEWS", 2)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return Path(shutil.copytree(trained, tmp_path / "scene"))


@pytest.fixture
def viewer(folder: Path) -> Iterator[Viewer]:
    with view(folder, port=free_port(), threads=1) as running:
        yield running


@pytest.fixture
def public(folder: Path) -> Iterator[Viewer]:
    with view(folder, "0.0.0.0", free_port(), threads=1) as running:
        yield running


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Write], None]:
    """Puts a function in the place of a kind's writer."""

    def put(kind: str, write: Write) -> None:
        module, name = WRITERS[kind]
        made = types.ModuleType(f"nerfscene.exporters.{module}")
        setattr(made, name, write)
        monkeypatch.setitem(sys.modules, made.__name__, made)

    return put


def temporary() -> list[str]:
    return os.listdir(tempfile.gettempdir())


def done(panel: ExportPanel) -> Path | None:
    """Waits for an export, and returns its file."""
    wait(lambda: not panel._running and not panel.start.disabled, what="for an export")
    return panel.file


def downloaded(client: Client) -> dict[str, bytes]:
    """The files that the tab was sent, by name."""
    begun = {m["transfer_uuid"]: m for m in client.messages if m.get("type") == "FileTransferStartDownload"}
    parts = [m for m in client.messages if m.get("type") == "FileTransferPart"]
    files = {uuid: b"".join(p["content"] for p in parts if p["transfer_uuid"] == uuid) for uuid in begun}
    return {m["filename"]: files[uuid] for uuid, m in begun.items() if len(files[uuid]) == m["size_bytes"]}


def test_a_file_is_made_of_what_is_asked_for_and_downloaded(
    viewer: Viewer, writer: Callable[[str, Write], None]
) -> None:
    given: list[tuple[str, ExportConfig]] = []

    def write(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
        given.append((file.name, config))
        told.progress("placing splats", 0.5)
        told.warn("the sky is left out")
        file.write_bytes(b"splats")
        return {}

    writer("splats", write)
    with Client(viewer) as client:
        panel = client.panels.export
        client.set(panel.kind, "splats")
        client.after(lambda: panel.format.options[:2] == (".ply", ".spz") and panel.degree.visible)
        assert not panel.faces.visible and not panel.points.visible
        client.after(lambda: "SuperSplat" in panel.opens.content)
        client.set(panel.format, ".spz")
        client.set(panel.count, 10**9)
        client.set(panel.degree, "2")
        client.after(lambda: panel.degree.value == "2")
        client.set(panel.start, True)
        client.after(lambda: client.heard("The export is ready"))
        assert done(panel) is not None
        assert panel.text.visible and panel.text.content == "the sky is left out"
        client.set(panel.download, True)
        client.after(lambda: downloaded(client) == {"splats.spz": b"splats"})
    ((name, config),) = given
    assert (name, config.count, config.degree) == ("splats.spz", 500_000, 2)
    wait(lambda: not temporary(), what="for what was made to be removed with its tab")


@pytest.mark.parametrize("together", [True, False])
def test_several_files_come_as_a_zip(
    viewer: Viewer, writer: Callable[[str, Write], None], together: bool
) -> None:
    def write(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
        root = file.parent if together else file
        root.mkdir(exist_ok=True)
        for name in ("one.txt", "new/two.txt"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(name)
        return {}

    writer("cameras", write)
    with Client(viewer) as client:
        panel = client.panels.export
        panel.kind.value = "cameras"
        panel.format.value = ".json" if together else "COLMAP"
        panel.export()
        file = done(panel)
        assert file is not None and file.suffix == ".zip"
        with zipfile.ZipFile(file) as archive:
            inside = "" if together else "cameras/"
            assert sorted(archive.namelist()) == [f"{inside}new/two.txt", f"{inside}one.txt"]
            assert archive.read(f"{inside}one.txt") == b"one.txt"


def test_an_export_is_cancelled_and_closed_with_its_tab(
    viewer: Viewer, writer: Callable[[str, Write], None]
) -> None:
    begun = threading.Semaphore(0)

    def write(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
        file.write_text("half")
        begun.release()
        while True:
            told.progress("working", 0.5)
            time.sleep(0.01)

    writer("mesh", write)
    with Client(viewer) as client:
        panel = client.panels.export
        client.set(panel.start, True)
        assert begun.acquire(timeout=300) and len(temporary()) == 1
        with pytest.raises(NerfsceneError, match="already"):
            panel.export()
        client.set(panel.stop, True)
        client.after(lambda: client.heard("No export", "cancelled"))
        assert done(panel) is None and not panel.download.visible and not temporary()
        client.set(panel.start, True)
        assert begun.acquire(timeout=300)
    wait(lambda: not temporary(), what="for the export to end with its tab")
    with Client(viewer) as client:
        client.set(client.panels.export.start, True)
        assert begun.acquire(timeout=300)
        viewer.close()
        assert not temporary()
        # A thread that still runs a kernel when the process ends has its objects reported as leaked.
        running = {thread.name for thread in threading.enumerate()}
        assert not running & {"nerfscene-view", "nerfscene-export", "nerfscene-splats"}


def test_films_and_exports_share_a_budget_and_buttons_recover(
    viewer: Viewer, writer: Callable[[str, Write], None]
) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def write(*_: Any) -> dict[str, Any]:
        begun.release()
        go_on.wait(600)
        raise RuntimeError("a wire came loose")

    writer("points", write)
    with Client(viewer) as first, Client(viewer) as second, Client(viewer) as third:
        for client in (first, second):
            client.panels.export.kind.value = "points"
            client.panels.export.export()
            assert begun.acquire(timeout=300)
        third.panels.path.add_keyframe()
        for wanted in (third.panels.export.export, third.panels.film.render):
            with pytest.raises(NerfsceneError, match="other visitors"):
                wanted()
        go_on.set()
        for client in (first, second):
            client.after(lambda c=client: c.heard("No export", "a wire came loose"))
            assert done(client.panels.export) is None
    assert not temporary()


def test_a_missing_package_is_said_in_the_tab(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "laspy", None)
    with Client(viewer) as client:
        panel = client.panels.export
        panel.kind.value = "points"
        panel.format.value = ".laz"
        client.set(panel.start, True)
        client.after(lambda: client.heard("needs the package laspy"))
        assert panel.job is None and not panel.start.disabled


def test_guests_export_without_cameras_and_save_nothing(
    public: Viewer, folder: Path, writer: Callable[[str, Write], None]
) -> None:
    def write(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
        file.write_text("points")
        return {}

    writer("points", write)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with Client(public, public.url) as guest, Client(public, public.owner_url) as owner:
        assert "cameras" in owner.panels.export.kind.options
        panel = guest.panels.export
        assert "cameras" not in panel.kind.options
        guest.set(panel.kind, "cameras")
        guest.set(panel.kind, "points")
        guest.after(lambda: panel.opens.content.startswith("CloudCompare"))  # what is shown last
        guest.set(panel.start, True)
        guest.after(lambda: guest.heard("The export is ready"))
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_what_is_exported_is_what_is_shown(viewer: Viewer, folder: Path) -> None:
    saved = scenes.load(folder)
    with Client(viewer) as client:
        box = np.diag([0.5, 0.6, 0.7, 1.0])
        viewer.stage.crop.page_from_box = box
        scene = shown(viewer.stage, client.session)
        assert scene.world_from_capture is None, "nobody has set a world"
        assert np.allclose(scene.scene_from_world, saved.scene_from_world, atol=1e-9)
        assert scene.crop is not None and np.allclose(scene.crop, viewer.stage.world.world_from_page @ box)
        for one, other in zip(scene.views, saved.views, strict=True):
            assert np.allclose(one.world_from_cam, other.world_from_cam, atol=1e-9)
        new = np.diag([2.0, 2.0, 2.0, 1.0]) @ viewer.stage.world.world_from_page
        new[:3, 3] += (5, 6, 7)
        set_world(viewer.stage, new, viewer.stage.world.up)
        scene, saved = shown(viewer.stage, client.session), scenes.load(folder)
        assert scene.up == pytest.approx(saved.up) and placed(scene) is scene
        assert np.allclose(scene.world_from_capture, saved.world_from_capture)
        client.session.set_look(background=(1.0, 0.0, 0.0))
        scene = shown(viewer.stage, client.session)
        assert scene.background == (1.0, 0.0, 0.0) and scene.backdrop is None


def test_what_killed_exports_left_is_removed(viewer: Viewer, writer: Callable[[str, Write], None]) -> None:
    def write(scene: Scene, file: Path, config: ExportConfig, told: Told) -> dict[str, Any]:
        file.write_text("mesh")
        return {}

    writer("mesh", write)
    left = Path(tempfile.gettempdir(), f"nerfscene-export-{2**22 + 1}-abc")
    mine = Path(tempfile.gettempdir(), f"nerfscene-export-{os.getpid()}-abc")
    for other in (left, mine):
        (other / "made").mkdir(parents=True)
    with Client(viewer) as client:
        client.panels.export.export()
        assert done(client.panels.export) is not None
        assert not left.exists() and mine.exists()
    mine.joinpath("made").rmdir()
    mine.rmdir()


def test_a_page_is_made_cancelled_and_made_again(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(page, "SIZES", ((64, 40), (36, 60)))
    monkeypatch.setattr(page, "most_needed", lambda room: 3000)
    monkeypatch.setattr(page_fitting, "MOST_SPLATS", 3000)
    with Client(viewer) as client:
        panel = client.panels.export
        client.set(panel.kind, "page")
        client.after(lambda: panel.title.visible)
        for count in (float("nan"), 1e9, -5, "many", None):
            client.set(panel.count, count)
        client.set(panel.title, "Tea <b> & \u0634")
        at_work, go_on, progress = threading.Event(), threading.Event(), panel._progress

        def held(stage: str, fraction: float) -> None:
            progress(stage, fraction)
            at_work.set()
            go_on.wait(600)

        monkeypatch.setattr(panel, "_progress", held)
        client.set(panel.start, True)
        assert at_work.wait(300) and panel.text.content
        client.set(panel.stop, True)
        client.after(lambda: panel.job is not None and panel.job._cancelled.is_set())
        go_on.set()
        client.after(lambda: client.heard("No export", "cancelled"))
        assert done(panel) is None and not temporary()
        client.set(panel.start, True)
        client.after(lambda: client.heard("The export is ready"))
        file = done(panel)
        assert file is not None and file.name == "scene.zip"
        with zipfile.ZipFile(file) as archive:
            archive.extractall(tmp_path / "page")
        assert "Tea &lt;b&gt; &amp; \u0634</h1>" in (tmp_path / "page/scene.html").read_text(encoding="utf-8")
        assert check(tmp_path / "page/scene.html")["state"] == "valid"
        assert 100 <= panel.count.value <= 500_000
        client.set(panel.signed, False)
        client.after(lambda: not panel.signed.value)
        panel.export()
        file = done(panel)
        assert file is not None and file.name == "scene.html"
    wait(lambda: not temporary(), what="for the page to be removed with its tab")


def test_names_of_photos_are_no_markdown() -> None:
    assert plain("the photo {fetch`x`}<b>_1_.jpg is left out") == (
        r"the photo \{fetch\`x\`\}\<b\>\_1\_.jpg is left out"
    )
