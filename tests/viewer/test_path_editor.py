"""The tabs Path and Film: what a visitor does there, what is kept, and the films; needs no browser."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from viewer_cases import CAMERA, Client, plan_of, wait
from viser import _messages

from nerfscene.config import CredentialsConfig, RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.viser_server import free_port
from nerfscene.films import codecs
from nerfscene.films.filming import render_film
from nerfscene.films.video import film_facts
from nerfscene.scene import folder as scenes
from nerfscene.viewer import edits, film_job, path_files, player, splats, timeline
from nerfscene.viewer.film_settings import FilmSettings
from nerfscene.viewer.server import Viewer, view
from nerfscene.viewer.stage import pose_of, set_world


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a scene, which a test may change; the folder for temporary files is tmp_path/"temporary"."""
    monkeypatch.setattr(splats, "LONGEST", 8)
    monkeypatch.setattr(splats, "VIEWS", 2)
    monkeypatch.setattr(path_files, "PAUSE", 0.05)
    monkeypatch.setattr(player, "HELD", 0.0)
    monkeypatch.setattr(edits, "DRAG_PAUSE", 1e6)  # however long messages take
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return Path(shutil.copytree(trained, tmp_path / "scene"))


@pytest.fixture
def viewer(folder: Path) -> Iterator[Viewer]:
    with opened(folder) as running:
        yield running


def opened(folder: Path) -> Viewer:
    return view(folder, port=free_port(), threads=1, credentials=CredentialsConfig(credentials=False))


def drafted(folder: Path) -> int | None:
    """How many keyframes the draft has; None if there is none."""
    draft = path_files.read_draft(folder)
    return None if draft is None else len(draft.keyframes)


def test_a_preset_becomes_keyframes_that_can_be_dragged_in_time(viewer: Viewer) -> None:
    with Client(viewer) as client:
        path = client.panels.path
        assert not path.times.visible
        client.set(path.preset, "boom")
        client.after(lambda: plan_of(client).keyframes and path.times.visible)
        times = path.times.value
        assert len(times) == len(plan_of(client).keyframes) >= 4 and (times[0], times[-1]) == (0, 8)
        assert path.preset.value != "boom"  # so that it can be chosen again
        for step in (0.1, 0.2, 0.3):  # a drag is many messages
            client.set(path.times, [times[0], times[1] + step, *times[2:]])
        client.after(lambda: timeline.times_of(plan_of(client))[1] == pytest.approx(times[1] + 0.3, abs=2e-3))
        assert path.keys.selected.value.startswith("2 of") and path.keys.time.value == pytest.approx(
            times[1] + 0.3, abs=2e-3
        )
        path.keeping.do("Undo")  # takes the whole drag back
        assert timeline.times_of(plan_of(client))[1] == pytest.approx(times[1], abs=2e-3)
        client.set(path.keys.time, times[2] - 0.1)
        client.after(lambda: path.times.value[1] == pytest.approx(times[2] - 0.1, abs=2e-3))
        client.set(path.seconds, 4.0)
        client.after(lambda: path.times.max == 4 and path.player.scrub.max == 4)
        assert path.times.value[1] == pytest.approx((times[2] - 0.1) / 2, abs=2e-3)
        client.set(path.even, True)
        client.after(lambda: plan_of(client).constant_speed)
        even = path.times.value
        client.set(path.times, [even[0], even[1] + 0.05, *even[2:]])  # whoever drags wants other times
        client.after(lambda: not plan_of(client).constant_speed and not path.even.value)
        client.set(path.loop, True)
        client.after(lambda: len(path.times.value) == len(plan_of(client).keyframes) + 1)
        client.set(path.photos, "nowhere.jpg, other.jpg")
        client.after(lambda: path.photos.value)
        with pytest.raises(NerfsceneError, match=r"no posed photo called 'nowhere\.jpg'"):
            path._go_through()
        views = viewer.scene.views
        client.set(path.photos, f"{views[0].path.name},{views[len(views) // 2].path.name}")
        client.after(lambda: views[0].path.name in path.photos.value)
        path._go_through()
        assert plan_of(client).loop
        assert np.allclose(plan_of(client).keyframes[0].world_from_cam[:3, 3], views[0].world_from_cam[:3, 3])


def test_keyframes_are_added_replaced_moved_and_deleted(viewer: Viewer) -> None:
    with Client(viewer) as client:
        path, keys = client.panels.path, client.panels.path.keys
        with pytest.raises(NerfsceneError, match="no keyframe yet"):
            keys.act("Delete")
        for x in (0.0, 1.0, 2.0):
            client.send(_messages.ViewerCameraMessage(**{**CAMERA, "position": (x, 0.0, -3.0)}))
            client.after(lambda x=x: client.session.client.camera.position[0] == x)
            path.add_keyframe()
        at = lambda: [k.world_from_cam[0, 3] for k in plan_of(client).keyframes]  # noqa: E731
        assert at() == [0, 1, 2] and keys.selected.value == "3 of 3"
        keys.act("Earlier")
        assert at() == [0, 2, 1] and keys.selected.value == "2 of 3"
        client.set(keys.selected, "1 of 3")
        client.after(lambda: path.edits.selected == 0)
        keys.act("Set here")
        assert at() == [2, 2, 1]
        keys.act("Delete")
        assert at() == [2, 1] and len(path.times.value) == 2
        path.keeping.do("Undo")
        path.keeping.do("Undo")
        assert at() == [0, 2, 1]
        client.set(keys.fov, 30.0)
        client.set(keys.roll, 90.0)
        client.set(keys.exposed, True)
        client.after(lambda: keys.exposure.visible)
        client.set(keys.exposure, -2.0)
        client.after(lambda: plan_of(client).keyframes[0].exposure == -2)
        client.after(
            lambda: plan_of(client).keyframes[0].fov == 30 and plan_of(client).keyframes[0].roll == 90
        )
        assert keys.exposure.visible
        client.set(keys.exposed, False)
        client.after(lambda: plan_of(client).keyframes[0].exposure is None)


def test_the_path_plays_and_gives_the_visitor_s_view_back(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(viewer) as client:
        path, play = client.panels.path, client.panels.path.player
        with pytest.raises(NerfsceneError, match="no keyframes"):
            play.toggle()
        client.set(path.preset, "boom")
        client.after(lambda: plan_of(client).keyframes)
        path.edits.apply(replace(plan_of(client), seconds=0.5))
        own, shown, go_to = pose_of(client.session.client.camera), [], play.go_to
        monkeypatch.setattr(play, "go_to", lambda pose, fov: (shown.append(pose), go_to(pose, fov)))
        moved = lambda: not np.allclose(pose_of(client.session.client.camera), own, atol=1e-3)  # noqa: E731
        client.set(play.play, True)
        client.after(lambda: shown and not play.playing.is_set() and not moved())
        assert play.play.label == "Play" and play.scrub.value == pytest.approx(0.5) and not play.back.visible
        assert not np.allclose(shown[-1], own, atol=1e-3)
        path.edits.apply(replace(plan_of(client), seconds=600.0))
        client.set(play.play, True)
        client.after(lambda: moved() and play.play.label == "Stop")
        client.set(play.play, True)
        client.after(lambda: not play.playing.is_set() and not moved())
        client.set(play.scrub, 300.0)
        client.after(moved)
        there = pose_of(client.session.client.camera)
        middle = timeline.times_of(plan_of(client))
        assert len(middle) and play.back.visible and not np.allclose(there, own)
        client.set(play.back, True)
        client.after(lambda: not moved() and not play.back.visible)


def test_focus_and_the_point_to_look_at_are_set_by_a_click(viewer: Viewer) -> None:
    with Client(viewer) as client:
        path, film = client.panels.path, client.panels.film.controls
        client.set(path.preset, "boom")
        client.after(lambda: plan_of(client).keyframes)
        camera = client.session.client.camera
        home = viewer.stage.world.home
        ray = _messages.ScenePointerMessage(
            "click", tuple(home[:3, 3]), tuple(home[:3, 2]), ((0.5, 0.5),), None
        )
        client.set(film.click, True)
        client.after(lambda: plan_of(client) and film.click.label == "Cancel")
        client.send(ray)
        client.after(lambda: isinstance(plan_of(client).film.focus, tuple))
        point = plan_of(client).film.focus
        met = client.session.pick(home[:3, 3], home[:3, 2])
        assert met is not None and np.allclose(point, met, atol=1e-6)
        assert film.click.label != "Cancel" and film.focus.value == "a point"
        assert plan_of(client).film.aperture == film.aperture.value == 2.8  # else nothing would be blurred
        client.set(path.keys.click, True)
        client.after(lambda: plan_of(client) and path.keys.click.label == "Cancel")
        client.send(ray)
        client.after(lambda: isinstance(plan_of(client).keyframes[0].focus, tuple))
        assert "focus" in film.by_key.content and film.by_key.visible
        client.set(path.look_click, True)
        client.after(lambda: plan_of(client) and path.look_click.label == "Cancel")
        client.set(path.look_click, True)  # again: no click is wanted any more
        client.after(lambda: plan_of(client) and path.look_click.label != "Cancel")
        client.set(path.look_click, True)
        client.after(lambda: plan_of(client) and path.look_click.label == "Cancel")
        client.send(ray)
        client.after(lambda: plan_of(client).look_at is not None)
        assert path.look.value == "at a point" and camera is not None
        client.set(path.look, "where the keyframes look")
        client.after(lambda: plan_of(client).look_at is None)


def test_everything_is_there_again_when_the_page_or_the_program_is_opened_again(folder: Path) -> None:
    film = FilmSettings(".webm", "vp9", motion_blur=180.0, exposure=0.5, aperture=4.0, focus=1.5, samples=2)
    with opened(folder) as viewer:
        with Client(viewer) as client:
            path = client.panels.path
            client.set(path.preset, "boom")
            client.after(lambda: plan_of(client).keyframes)
            path.edits.apply(replace(plan_of(client), seconds=3.0, film=film, width=64, height=48))
            client.set(path.keys.roll, 15.0)
            client.after(lambda: plan_of(client).keyframes[0].roll == 15)
            mine = plan_of(client)
            with Client(viewer) as other:  # a second tab goes on from there, on its own
                assert plan_of(other) == mine
                other.panels.path.edits.show()
        wait(lambda: drafted(folder) and path_files.read_draft(folder).keyframes[0].roll == 15)  # type: ignore[union-attr]
        viewer.stage.draft = None  # as if the program had been started again
        with Client(viewer) as again:
            there = plan_of(again)
            assert [k.roll for k in there.keyframes] == [k.roll for k in mine.keyframes]
            assert replace(there, keyframes=()) == replace(mine, keyframes=(), film=there.film)
            assert there.film == replace(film, focus=there.film.focus)
            assert there.film.focus == pytest.approx(1.5)
            assert again.panels.film.controls.format.value == "film.webm (VP9)"
            assert again.panels.path.times.visible and not again.panels.path.shown.value
            set_world(
                viewer.stage,
                np.diag([2.0, 2.0, 2.0, 1.0]) @ viewer.stage.world.world_from_page,
                np.array([0, 0, 1.0]),
            )
            again.panels.path.keeping.restore()  # the draft is in the new world
            assert plan_of(again).film.focus == pytest.approx(1.5)
            assert np.allclose(
                plan_of(again).keyframes[1].world_from_cam, mine.keyframes[1].world_from_cam, atol=1e-5
            )
            again.panels.path.edits.apply(replace(plan_of(again), seconds=5.0))
    with opened(folder) as viewer, Client(viewer) as client:  # what was changed last was kept at the end
        assert plan_of(client).seconds == 5 and len(plan_of(client).keyframes) == len(mine.keyframes)


def test_a_damaged_draft_is_told_and_guests_get_the_saved_path(folder: Path) -> None:
    with view(folder, "0.0.0.0", free_port(), threads=1) as public:
        with Client(public, public.owner_url) as owner:
            owner.panels.path.add_keyframe()
            owner.panels.path.keeping.do("Save")
            owner.panels.path.add_keyframe()
            owner.after(lambda: drafted(folder) == 2)
            with Client(public, public.url) as guest:
                assert len(plan_of(guest).keyframes) == 1
                guest.panels.path.add_keyframe()
                assert not hasattr(guest.panels.path.keeping, "upload")
        assert drafted(folder) == 2
        public.stage.draft = None  # as if the program had been started again
        (folder / "path_draft.json").write_text('{"nerfscene": {"version": 1')
        with Client(public, public.owner_url) as owner:
            owner.after(lambda: owner.heard("could not be restored", "path_draft.json can't be read"))
            owner.panels.path.add_keyframe()  # and replaces it


def upload(client: Client, name: str, content: bytes, button: Any = None, size: int | None = None) -> None:
    """Sends a file as viser's page does, in parts."""
    uuid = (button or client.panels.path.keeping.upload)._impl.uuid
    parts = [content[i : i + 512 * 1024] for i in range(0, len(content), 512 * 1024)]
    client.send(
        _messages.FileTransferStartUpload(
            uuid, name, name, "", len(parts), len(content) if size is None else size
        )
    )
    for i, part in enumerate(parts):
        client.send(_messages.FileTransferPart(uuid, name, i, part))


def test_a_path_file_is_sent_and_edited(viewer: Viewer, folder: Path, tmp_path: Path) -> None:
    with Client(viewer) as client:
        path = client.panels.path
        client.set(path.preset, "boom")
        client.after(lambda: plan_of(client).keyframes)
        path.edits.apply(replace(plan_of(client), seconds=2.0))
        path.keeping.do("Save")
        content = (folder / "camera_path.json").read_bytes()
        path.keeping.do("Clear")
        upload(client, "mine.json", content)
        client.after(lambda: len(plan_of(client).keyframes) >= 4)
        assert plan_of(client).seconds == 2
        for name, sent, said in (
            ("one.gltf", b"{}", "one.gltf is no path that the page takes"),
            ("odd.json", b"{}", "odd.json"),
            ("bad.json", b"{", "bad.json is not valid JSON"),
        ):
            upload(client, name, sent)
            client.after(lambda said=said: client.heard(said))
        assert not client.heard(tempfile.gettempdir())
        upload(client, "dataparser_transforms.json", b'{"transform": [], "scale": 1}')
        client.after(lambda: client.heard("dataparser_transforms.json counts for the paths"))
        before = plan_of(client)
        upload(client, "huge.json", content, size=10**9)
        upload(client, "other.json", content, client.panels.film.start)
        client.set(path.fps, 12.0)
        client.after(lambda: plan_of(client).fps == 12)
        assert plan_of(client).keyframes == before.keyframes
        assert not client.session.client.gui._current_file_upload_states
    wait(lambda: not os.listdir(tempfile.gettempdir()), what="for what was sent to be removed with its tab")


def made(client: Client) -> Path:
    """Makes the film, and waits for it."""
    film = client.panels.film
    film.render()
    wait(lambda: not film._running and not film.start.disabled, what="for the film")
    assert film.file is not None, film.text.content
    return film.file


def test_the_page_makes_the_film_that_the_command_makes(viewer: Viewer, folder: Path, tmp_path: Path) -> None:
    with Client(viewer) as client:
        path, film = client.panels.path, client.panels.film
        client.set(path.preset, "boom")
        client.after(lambda: plan_of(client).keyframes)
        client.set(path.seconds, 0.4)
        client.set(path.fps, 5.0)
        controls = film.controls
        for handle, value in (
            (controls.width, 48), (controls.height, 36), (controls.motion_blur, 180),
            (controls.aperture, 2.0), (controls.exposure, 0.5), (controls.background, "a colour"),
            (controls.passes["depth"], True),
            (controls.passes_as, "png"), (controls.samples, "1"),
        ):  # fmt: skip
            client.set(handle, value)
        client.after(lambda: plan_of(client).film.passes_as == "png" and plan_of(client).film.samples == 1)
        client.after(
            lambda: (plan_of(client).width, plan_of(client).height, plan_of(client).n_frames) == (48, 36, 2)
        )
        client.set(path.keys.exposed, True)
        client.after(lambda: path.keys.exposure.visible)
        client.set(path.keys.exposure, -1.0)
        client.after(lambda: plan_of(client).keyframes[0].exposure == -1)
        file = made(client)
        assert file.name == "film.zip" and film.picture.visible and film.picture.image.shape[2] == 3
        assert film.download.label == "Download film.zip"
        with zipfile.ZipFile(file) as archive:
            archive.extractall(tmp_path / "page")
        path.keeping.do("Save")
        config = RenderConfig(
            path=str(folder / "camera_path.json"), width=48, height=36, motion_blur=180.0, aperture=2.0,
            background="#ffffff", passes="depth", passes_as="png", samples=1, codec="h264",
        )  # fmt: skip
        out = tmp_path / "command"
        render_film(scenes.load(folder), config, out / "film.mp4", out / "frames")
        names = [
            sorted(str(p.relative_to(top)) for p in top.rglob("*.*")) for top in (tmp_path / "page", out)
        ]
        assert names[0] == names[1] and "frames/00001.png" in names[0]
        for name in ("00000.png", "00001.png"):
            page, command = (
                np.asarray(Image.open(top / "frames" / name), float) for top in (tmp_path / "page", out)
            )
            assert np.abs(page - command).mean() < 1
        assert film_facts(tmp_path / "page/film.mp4")["frames"] == 2
        words = film.command.content
        assert "--motion-blur 180" in words and "--passes depth" in words and "--exposure" not in words


def test_the_exposure_of_the_look_is_that_of_the_film(viewer: Viewer, folder: Path) -> None:
    with Client(viewer) as client:
        panels = client.panels
        client.after(lambda: client.session._given is not None)
        client.set(panels.exposure, 1.5)
        client.after(lambda: plan_of(client).film.exposure == 1.5)
        assert client.session.look.exposure == 1.5 and panels.film.controls.exposure.value == 1.5
        panels.path.keeping.do("Undo")
        assert client.session.look.exposure == 0 and panels.exposure.value == 0
        client.set(panels.film.controls.exposure, -1.0)
        client.after(lambda: panels.exposure.value == -1 and client.session.look.exposure == -1)
        panels.path.add_keyframe()
        panels.path.keeping.do("Save")
    with Client(viewer) as client:  # it comes back with the path
        client.after(lambda: client.session.look.exposure == -1 and client.panels.exposure.value == -1)


def test_presets_lenses_and_files_set_each_other_right(viewer: Viewer) -> None:
    with Client(viewer) as client:
        controls, path = client.panels.film.controls, client.panels.path
        client.set(controls.preset, "prores")
        client.after(lambda: plan_of(client) and controls.format.value == "film.mov (ProRes 4444)")
        assert (controls.width.value, controls.height.value, path.fps.value) == (1920, 1080, 30)
        client.set(controls.preset, "gif")
        client.after(lambda: plan_of(client).fps == 12.5 and controls.format.value == "film.gif (GIF)")
        assert controls.preset.value == "gif" and controls.width.value == 480
        client.set(controls.lens, "equirectangular")
        client.after(lambda: plan_of(client) and controls.width.value == 2 * controls.height.value)
        assert controls.preset.value == "my own"
        client.set(controls.lens, "fisheye")
        client.after(lambda: controls.angle.visible and controls.width.value < 2 * controls.height.value)
        client.set(controls.angle, 200.0)
        client.after(lambda: plan_of(client).film.fov == 200)
        client.set(controls.focus, "a distance")
        client.after(lambda: controls.distance.visible and controls.aperture.value == 2.8)
        client.set(controls.distance, 4.0)
        client.after(lambda: plan_of(client).film.focus == pytest.approx(4.0 / viewer.stage.world.unit))


def test_what_cant_be_encoded_is_said_and_nothing_is_left(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(viewer) as client:
        film, controls = client.panels.film, client.panels.film.controls
        client.panels.path.add_keyframe()
        client.set(controls.background, "transparent")
        client.after(lambda: film.doubt.visible and "H.264 keeps no transparency" in film.doubt.content)
        assert "--" not in film.doubt.content
        client.set(film.start, True)
        client.after(lambda: client.heard("That didn't work", "film.webm (VP9)"))
        client.set(controls.format, "film.webm (VP9)")
        client.after(lambda: not film.doubt.visible)
        has = codecs.has
        monkeypatch.setattr(codecs, "has", lambda codec: codec.name != "av1" and has(codec))
        client.set(controls.background, "as the page shows it")
        client.set(controls.format, "film.mp4 (AV1)")
        client.after(lambda: "has no encoder for AV1" in film.doubt.content.replace("\\", ""))
        with pytest.raises(NerfsceneError, match="has no encoder for AV1"):
            film.render()
        assert film.job is None and not os.listdir(tempfile.gettempdir())


def test_a_film_is_cancelled_and_leaves_nothing(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(viewer) as client:
        film, path = client.panels.film, client.panels.path
        path.add_keyframe()
        path.edits.apply(replace(plan_of(client), width=32, height=24, seconds=600.0, fps=30.0))
        client.set(film.start, True)
        client.after(lambda: film.picture.visible and "of 18000" in film.text.content)
        client.set(film.stop, True)
        client.after(lambda: client.heard("No film", "cancelled"))
        client.after(lambda: not film.start.disabled)
        assert not film.picture.visible and not film.download.visible
        assert not os.listdir(tempfile.gettempdir())


def test_small_pictures_of_any_film() -> None:
    for shape in ((9, 16, 3), (1080, 1920, 3), (600, 100, 4), (16, 4000, 3), (1, 1, 4)):
        picture = np.full(shape, 100, np.uint8)
        small = film_job.small(picture, 320)
        assert small.dtype == np.uint8 and small.shape[2] == 3 and 1 <= max(small.shape[:2]) <= 320
        if shape[2] == 3:
            assert (small == 100).all()
