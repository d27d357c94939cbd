"""What any client with a link can do to the viewer: clients that are no browser send whatever they want."""

from __future__ import annotations

import json
import math
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import viser
from viewer_cases import CAMERA, Client, plan_of, wait
from viser import _messages

from nerfscene.config import RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.viser_server import free_port
from nerfscene.field.rendering import render
from nerfscene.films.filming import film_path
from nerfscene.films.paths import look_at
from nerfscene.scene import folder as scenes
from nerfscene.types import Camera
from nerfscene.viewer import film_job, path_files, replaced, splats
from nerfscene.viewer.keyframes import Keyframe, Plan
from nerfscene.viewer.path_marks import PathMarks
from nerfscene.viewer.server import Viewer, view
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import Shot, shot_of
from nerfscene.viewer.still import Look, lens_of

NO_NUMBERS = (math.nan, math.inf, -math.inf, "many", None, [1.0], {"a": 1}, True, b"x")


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a scene, which a test may change."""
    monkeypatch.setattr(splats, "LONGEST", 8)
    monkeypatch.setattr(splats, "VIEWS", 2)
    monkeypatch.setattr(replaced, "SECONDS", 0.1)
    return Path(shutil.copytree(trained, tmp_path / "scene"))


@pytest.fixture
def viewer(folder: Path) -> Iterator[Viewer]:
    """A page that only this machine reaches."""
    with view(folder, port=free_port(), threads=1) as running:
        yield running


@pytest.fixture
def public(folder: Path) -> Iterator[Viewer]:
    """A page for guests."""
    with view(folder, "0.0.0.0", free_port(), threads=1) as running:
        yield running


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_numbers_stay_within_their_widgets_limits(viewer: Viewer) -> None:
    with Client(viewer) as client:
        path, film = client.panels.path, client.panels.film.controls
        path.add_keyframe()
        path.add_keyframe()
        for handle in (
            path.seconds,
            path.fps,
            film.width,
            film.height,
            film.exposure,
            path.keys.fov,
            path.player.scrub,
        ):
            before = handle.value
            for value in NO_NUMBERS:
                client.set(handle, value)
            client.set(handle, 1e7)
            client.after(lambda h=handle: h.value == h.max)
            client.set(handle, -1e300)
            client.after(lambda h=handle: h.value == h.min)
            client.set(handle, before)
            client.after(lambda h=handle, b=before: h.value == b)
            # The path's length is the limit of where one can be on it.
            client.after(lambda: plan_of(client).seconds == path.seconds.value == path.player.scrub.max)
        client.after(lambda: plan_of(client).fps == path.fps.value)
        client.set(path.keys.time, 1e7)  # the last keyframe's is the film's length
        client.after(lambda: plan_of(client).seconds == path.seconds.max)
        client.set(path.keys.time, -1e300)
        client.after(lambda: plan_of(client).seconds == path.seconds.min)
        for bad in ([0.0], [0.0, 0.0, 0.1], [0.1, 0.0], [0.0, math.nan], "00", 7, None):
            client.set(path.times, bad)
        client.set(path.loop, "yes")
        client.set(path.easing, "x" * 10_000_000)
        client.set(path.keys.selected, "7 of 3")
        client.set(client.panels.mode, 5)
        client.set(client.panels.background, [math.nan, 0, 0])
        client.set(client.panels.background, [900, -5, 3])
        client.after(lambda: client.panels.background.value == (255, 0, 3))
        assert path.times.value == (0.0, path.seconds.min)
        assert path.loop.value is False and path.easing.value == "none"
        assert path.keys.selected.value == "2 of 2"
        for name in ("update_cb", "removed", "gui_api", "disabled", "props"):
            client.set(path.fps, 1, name)
        client.set(path.fps, 12.0)
        client.after(lambda: path.editor.plan.fps == 12.0)


def test_vectors_of_clients_are_finite_and_new_tabs_open(viewer: Viewer) -> None:
    with Client(viewer) as client:
        panels = client.panels
        client.set(panels.crop, True)
        client.after(lambda: viewer.stage.crop.page_from_box is not None)
        for value in NO_NUMBERS:
            client.set(panels.crop_size[0], value)
        for bad in (
            {"position": (math.nan, 0, 0)},
            {"position": (1e300, 0, 0)},
            {"wxyz": (0, 0, 0, 0)},
            {"wxyz": (1, 2)},
            {"name": "x" * 100_000},
        ):
            good = {
                "name": "/crop",
                "wxyz": (1.0, 0, 0, 0),
                "position": (0.0, 0, 0),
                "owner": panels._box._impl.api._owner_id,
            }
            client.send(_messages.TransformControlsUpdateMessage(**{**good, **bad}))
        for camera in ({"position": (math.nan, 0, 0)}, {"fov": math.inf}, {"near": math.nan},
                       {"wxyz": (0, 0, 0, 0)}, {"up_direction": (1, 2)}):  # fmt: skip
            client.send(_messages.ViewerCameraMessage(**{**CAMERA, **camera}))
        extreme = {
            **CAMERA,
            "fov": 9.0,
            "image_width": 10**9,
            "image_height": -3,
            "position": (1.0, 2.0, 3.0),
        }
        client.send(_messages.ViewerCameraMessage(**extreme))
        camera_ = client.session.client.camera
        client.after(lambda: tuple(camera_.position) == (1.0, 2.0, 3.0))
        shot = shot_of(camera_)
        assert 0 < shot.fov < math.pi and 1 <= shot.width <= 16384 and shot.height == 1
        assert np.isfinite(viewer.stage.crop.page_from_box).all()
        with Client(viewer) as other:
            assert other.panels.crop.value is True
            other.after(lambda: other.session.finished > 0)


def test_messages_that_are_none_end_the_connection_alone(
    viewer: Viewer, capfd: pytest.CaptureFixture[str]
) -> None:
    import asyncio

    with Client(viewer) as client, Client(viewer) as other:
        panels = dict(viewer.panels)
        upload = _messages.FileTransferStartUpload(
            client.panels.path.fps._impl.uuid, "one", "big.bin", "text/plain", 9, 10**9
        )
        client.send(upload)
        client.send(_messages.ShareUrlRequest())
        asyncio.run_coroutine_threadsafe(client._socket.send(b"\xc1rubbish"), client._loop).result(300)
        wait(lambda: len(viewer.panels) < len(panels), what="for the connection to end")
        other.set(other.panels.path.fps, 12.0)
        other.after(lambda: other.panels.path.editor.plan.fps == 12.0)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_films_have_a_budget_and_buttons_recover(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(viewer) as client:
        path, film = client.panels.path, client.panels.film
        path.add_keyframe()
        width, height = film.controls.width, film.controls.height
        client.set(width, 8192)
        client.set(height, 8192)
        client.after(lambda: "8192×8192 is too large" in film.doubt.content and film.doubt.visible)
        client.set(film.start, True)
        client.after(lambda: client.heard("8192×8192 is too large"))
        client.set(width, 64)
        client.set(height, 48)
        client.set(path.seconds, 600.0)
        client.set(path.fps, 120.0)
        client.after(lambda: path.editor.plan.n_frames == 72000 and path.editor.plan.height == 48)
        client.set(film.start, True)
        client.after(lambda: client.heard("72000 frames are too many"))
        client.set(path.seconds, 0.1)
        client.after(lambda: path.editor.plan.seconds == 0.1)
        assert film.job is None and film.start.disabled is False

        begun, go_on = threading.Semaphore(0), threading.Event()

        def wrong(*_: Any, **__: Any) -> None:
            begun.release()
            go_on.wait(600)
            raise RuntimeError("a wire came loose")

        monkeypatch.setattr(film_job, "render_film", wrong)
        for _ in range(5):  # one film a tab, however often the button is pressed
            client.set(film.start, True)
        assert begun.acquire(timeout=300)
        with pytest.raises(NerfsceneError, match="already"):
            film.render()
        with Client(viewer) as second, Client(viewer) as third:
            for other in (second, third):
                other.panels.path.add_keyframe()
            second.panels.film.render()
            with pytest.raises(NerfsceneError, match="other visitors"):
                third.panels.film.render()
            go_on.set()
            client.after(lambda: client.heard("No film", "a wire came loose"))
            client.after(lambda: not film.start.disabled and not film.stop.visible)
            wait(lambda: not second.panels.film.start.disabled)
            third.panels.film.render()


def test_guests_only_look(public: Viewer, folder: Path) -> None:
    assert public.url != public.owner_url and len(public.in_words()) == 2
    before = contents(folder)
    with Client(public, public.url) as guest:
        panels = guest.panels
        assert not hasattr(panels, "crop") and not hasattr(panels.world, "buttons")
        panels.path.add_keyframe()
        group = next(
            h for h in guest.session.client.gui._gui_input_handle_from_uuid.values()
            if "Undo" in getattr(h, "options", ())
        )  # fmt: skip
        assert "Save" not in group.options
        guest.set(group, "Save")
        guest.set(group, "Clear")
        guest.after(lambda: not panels.path.editor.plan.keyframes)
        guest.after(lambda: guest.session.finished > 0)  # it does look
        with Client(public, public.owner_url) as owner:
            # A guest can't use the owner's controls either: every client has its own.
            guest.set(owner.panels.crop, True)
            guest.set(panels.mode, "depth")
            guest.after(lambda: panels.mode.value == "depth")
            assert public.stage.crop.page_from_box is None
            owner.set(owner.panels.crop, True)
            owner.after(lambda: public.stage.crop.page_from_box is not None)
            assert contents(folder) == before
            owner.panels._save_crop()
            owner.panels.path.add_keyframe()
            owner.panels.path.keeping.do("Save")
        assert scenes.load(folder).crop is not None and (folder / "camera_path.json").is_file()


def test_on_this_machine_whoever_opens_the_page_is_the_owner(viewer: Viewer) -> None:
    assert viewer.url == viewer.owner_url and viewer.in_words() == [f"open {viewer.url}"]
    with Client(viewer) as client:
        assert client.panels.saves


def test_who_finds_visers_own_port_gets_nothing(public: Viewer) -> None:
    inner = public.server.get_port()
    with Client(public, public.url.split("?")[0], inner) as stranger, Client(public, public.url) as guest:
        guest.after(lambda: any(m.get("rgb_data") for m in guest.messages))
        assert len(public.panels) == 1
        assert not any(m.get("rgb_data") for m in stranger.messages)


def raw(viewer: Viewer, request: str) -> bytes:
    with socket.create_connection(("127.0.0.1", viewer.gate.port), 300) as s:
        s.sendall(request.encode("latin-1"))
        return s.recv(65536)


def test_addresses_that_are_none_are_answered(public: Viewer, capfd: pytest.CaptureFixture[str]) -> None:
    host = f"Host: 127.0.0.1:{public.gate.port}\r\n"
    token = public.url.split("?")[1]
    for target in ("//[", "//[::1", "//evil.example/?" + token, "/\n/?" + token):
        assert b"400" in raw(public, f"GET {target} HTTP/1.1\r\n{host}\r\n").split(b"\r\n")[0], target
    for origin in ("http://[", "http://a]b", "http://a:99999999", "rubbish", "http://", "http:///x", "\x00"):
        got = raw(public, f"GET /?{token} HTTP/1.1\r\n{host}Origin: {origin}\r\n\r\n")
        assert b"400" in got.split(b"\r\n")[0], origin
    got = raw(public, f"GET /?{token} HTTP/1.1\r\n{host}Origin: null\r\n\r\n")
    assert b"403" in got.split(b"\r\n")[0]
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_replaced_scene_is_noticed_and_left_alone(viewer: Viewer, folder: Path) -> None:
    with Client(viewer) as client:
        client.set(client.panels.crop, True)
        client.after(lambda: viewer.stage.crop.page_from_box is not None)
        client.panels._save_crop()  # the page's own changes are none
        client.panels.path.add_keyframe()
        client.panels.path.keeping.do("Save")
        (folder / "camera_path.json").unlink()
        scene = scenes.load(folder)
        scenes.save(replace(scene, figures=replace(scene.figures, psnr=1.0)), folder)
        client.after(lambda: client.heard("This is the old scene", "start it again"))
        before = contents(folder)
        for save in (client.panels._save_crop, lambda: client.panels.path.keeping.do("Save"),
                     lambda: client.panels.path.keeping.do("Load")):  # fmt: skip
            with pytest.raises(NerfsceneError, match="changed by another program"):
                save()
        assert contents(folder) == before
        with Client(viewer) as late:
            late.after(lambda: late.heard("This is the old scene"))


def test_figures_measured_again_are_no_other_scene(folder: Path) -> None:
    from nerfscene.scene.atomic import write_json

    keeper = replaced.Keeper(folder)
    keeper.start()
    data = scenes.read_manifest(folder)
    write_json({**data, "figures": {**data["figures"], "psnr": 2.0}}, folder / scenes.SCENE_JSON)
    keeper.check()
    write_json({**data, "crop": np.eye(4).tolist()}, folder / scenes.SCENE_JSON)
    with pytest.raises(NerfsceneError, match="changed by another program"):
        keeper.check()
    keeper = replaced.Keeper(folder)
    keeper.start()
    shutil.rmtree(folder)
    with pytest.raises(NerfsceneError, match="changed by another program"):
        keeper.saving(lambda: pytest.fail("it must not write"))


class Recorder:
    """Stands for a viser client: takes any call, and keeps the pictures it is sent."""

    def __init__(self) -> None:
        self.scene = self.camera = self
        self.position, self.visible = np.zeros(3), True
        self.sent: list[Any] = []

    def set_background_image(self, picture: Any, **_: Any) -> None:
        self.sent.append(picture.copy())

    def __getattr__(self, name: str) -> Any:
        return (lambda *_, **__: Recorder()) if name.startswith(("add_", "on_", "remove")) else None


def test_keyframes_may_be_added_while_the_camera_moves() -> None:
    client = Recorder()
    marks = PathMarks(client, 3.0, lambda index, handle: None)
    plans = []
    frames: tuple[Keyframe, ...] = ()
    for i in range(16):
        frames = (*frames, Keyframe(look_at(np.array([i, 1.0, 1.0]), np.zeros(3), np.array([0, 0, 1.0]))))
        plans.append(Plan(frames))
    over, errors = threading.Event(), []

    def move() -> None:
        i = 0
        while not over.is_set():
            client.position = np.array([i % 17, 1.0, 1.0])
            try:
                marks.hide_near(plans[i % 16], False)
            except Exception as error:
                errors.append(error)
                return
            i += 1

    threads = [threading.Thread(target=move) for _ in range(2)]
    for thread in threads:
        thread.start()
    for plan in (*plans, *plans[::-1]):
        marks.draw(plan, 0, False)
    over.set()
    for thread in threads:
        thread.join(300)
    assert not errors


def test_tabs_that_render_at_once_get_their_own_pictures(trained: Path) -> None:
    scene = scenes.load(trained)
    renderer = scene.renderer("auto", 1)
    shots = [Shot(v.world_from_cam, 0.8, 40, 30) for v in scene.views[:12]]
    # Every tab's picture as it is when nobody else renders.
    right = [render(renderer, Camera(lens_of(shot, 40, 30), shot.world_from_cam)).rgb for shot in shots]
    look = Look(background=scene.background, splats=False)
    clients = [Recorder() for _ in range(4)]
    sessions = [Session(client, renderer, look) for client in clients]
    for round_ in range(3):
        for i, session in enumerate(sessions):
            session.move(shots[4 * round_ + i])
        for i, (session, client) in enumerate(zip(sessions, clients, strict=True)):
            wait(lambda s=session: s._done == s._version, what="for a picture at rest")
            off = np.abs(client.sent[-1] / 255 - np.clip(right[4 * round_ + i], 0, 1)).max()
            assert off < 0.01, (round_, i)
    for session in sessions:
        session.close()
        session.wait(300)


DAMAGED_KEYS: list[tuple[tuple[str | int, ...], object]] = [
    *((("fps",), value) for value in (math.nan, 0, "30", None)),
    *((("seconds",), value) for value in (1e9, True)),
    *((("width",), value) for value in (10**9, 64.5, "64")),
    *((("loop",), 1), (("easing",), "odd"), (("version",), 3), (("keyframes",), []), (("keyframes",), 7)),
    *((("keyframes", 0, "fov"), 180), (("keyframes", 0, "time"), -1), (("keyframes", 0), [])),
    *(
        (("keyframes", 0, "world_from_cam"), value)
        for value in ([[1, 0, 0, 0]] * 4, [math.inf] * 16, [0] * 16)
    ),
    *((("keyframes", 0, "world_from_cam", 3), value) for value in ("1", 1e300, 1e13)),
    *((("look_at",), value) for value in (7, {"point": [0, 0, 1]}, {"point": [0, 0, 1], "up": [0, 0, 0]})),
    *((("film",), value) for value in ([], {"codec": "h266"}, {"ending": ".avi"}, {"passes": "colour"})),
    *((("film",), value) for value in ({"aperture": "0:2"}, {"focus": [1, 2]}, {"frames": 1}, {"odd": 1})),
    (("film",), {"motion_blur": 400}),
]


def test_plans_from_files_are_checked(folder: Path, tmp_path: Path) -> None:
    """By the page and by `render --path`, which says the same."""
    pose = look_at(np.array([1.0, 1.0, 1.0]), np.zeros(3), np.array([0, 0, 1.0]))
    file = tmp_path / "camera_path.json"
    path_files.save(Plan((Keyframe(pose),), seconds=0.1), file)
    good = json.loads(file.read_text())
    for names, value in DAMAGED_KEYS:
        data = json.loads(json.dumps(good))
        holder = data[path_files.OURS]
        for name in names[:-1]:
            holder = holder[name]
        holder[names[-1]] = value
        file.write_text(json.dumps(data))
        with pytest.raises(NerfsceneError, match="its nerfscene part can't be read"):
            path_files.load(file)
        with pytest.raises(NerfsceneError, match="its nerfscene part can't be read"):
            film_path(scenes.load(folder), RenderConfig(path=str(file)))
    file.write_text(json.dumps(good | {path_files.OURS: []}))
    with pytest.raises(NerfsceneError, match="its nerfscene part can't be read"):
        path_files.load(file)
    file.write_text(json.dumps(good)[:-1] + "[" * 100_000)
    with pytest.raises(NerfsceneError, match="not valid JSON"):
        path_files.load(file)


def test_a_page_that_can_t_be_served_leaves_no_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stopped = []
    stop = viser.ViserServer.stop
    monkeypatch.setattr(viser.ViserServer, "stop", lambda server: (stopped.append(server), stop(server)))
    with pytest.raises(NerfsceneError, match="not an address"):
        view(folder, "no such host", threads=1)
    assert len(stopped) == 1 and not capfd.readouterr().out


def test_nothing_is_printed_at_the_end(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with view(folder, port=free_port(), threads=1):
        print("mine", flush=True)
    said, errors = capfd.readouterr()
    assert said == "mine\n" and "viser" not in errors
