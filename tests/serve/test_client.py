"""``nerfscene submit``: photos go to a server, through broken connections, and the scene comes home."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from refusals import Refused
from serve_programs import at_an_address, put_scene
from upload_cases import picture, wait_for

from nerfscene import cli
from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.scene import folder as scene_folder
from nerfscene.serve import client, homing, jobs, people, scenes, submit, submit_files
from nerfscene.serve.shop import Shop, opened


class Maker(threading.Thread):
    """Stands in for the trainings of a server: takes jobs from the queue, and puts in a trained scene."""

    def __init__(self, shop: Shop, trained: Path) -> None:
        super().__init__()
        self.shop, self.trained, self.ended = shop, trained, threading.Event()
        self.fail = ""
        self.options: list[dict[str, Any]] = []

    def run(self) -> None:
        while not self.ended.wait(0.02):
            job = jobs.begin_next(self.shop.db, "here")
            if job is None:
                continue
            self.options.append(job.options)
            jobs.tell(self.shop.db, job.id, "training", 0.5, 90.0)
            if self.fail:
                jobs.end(self.shop.db, job.id, "failed", self.fail)
                continue
            put_scene(self.shop, job.scene, self.trained)
            jobs.end(self.shop.db, job.id, "done")


class Site:
    """A server at an address, with its first person's key."""

    def __init__(self, shop: Shop, base: str, key: str, maker: Maker) -> None:
        self.shop, self.base, self.key, self.maker = shop, base, key, maker

    def scenes(self) -> list[scenes.SceneRow]:
        return scenes.scenes_of(self.shop.db, people.first_person(self.shop.db).id)

    def photos(self) -> dict[str, bytes]:
        at = scenes.places(self.shop.data, self.scenes()[0].id).photos
        return {p.relative_to(at).as_posix(): p.read_bytes() for p in at.rglob("*") if p.is_file()}


@pytest.fixture
def site(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(submit, "POLL", 0.02)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.05)
    monkeypatch.delenv("NERFSCENE_KEY", raising=False)
    shop = opened(tmp_path / "data", ServeConfig(spare="1MB"))
    key = people.key_of_first(shop.db, shop.data)
    maker = Maker(shop, trained)
    maker.start()
    try:
        with at_an_address(shop) as base:
            yield Site(shop, base, key, maker)
    finally:
        maker.ended.set()
        maker.join()
        shop.db.close()


@pytest.fixture
def photos(tmp_path: Path, trained: Path) -> Path:
    """Some of the trained scene's photos, by their names, and what is no photo."""
    folder = tmp_path / "garden"
    folder.mkdir()
    for i, view in enumerate(scene_folder.load(trained).views[:4]):
        (folder / view.path.name).write_bytes(picture(i, kind="PNG"))
    (folder / "notes.txt").write_text("roses")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


def test_photos_go_there_and_the_scene_comes_home(site: Site, photos: Path, tmp_path: Path, run: Any) -> None:
    home = tmp_path / "home" / "scene"
    out, err = run("submit", photos, "--to", f"{site.base}/login?key={site.key}", "-o", home, "--time", "30")
    assert out == "" and "notes.txt" in err and "empty.jpg" in err and ".DS_Store" not in err
    assert "training" in err or "waiting" in err
    assert site.maker.options == [{"time": 30.0, "more": False}]
    assert site.scenes()[0].title == "garden"
    sent = {p.name: p.read_bytes() for p in photos.glob("*.png")}
    assert site.photos() == sent
    scene = scene_folder.load(home)
    # To measure it, and to go on.
    assert {view.path for view in scene.views if view.path.exists()} == set(photos.glob("*.png"))
    assert sorted(p.name for p in home.parent.iterdir()) == ["scene"]  # nothing is left beside it
    assert run("info", home)[0]


def test_as_json_without_waiting_and_later_with(site: Site, photos: Path, tmp_path: Path, run: Any) -> None:
    words = ("submit", photos, "--to", site.base, "-o", tmp_path / "scene", "--key", site.key, "--json")
    out, err = run(*words, "--no-wait", "--title", "Roses")
    told = json.loads(out)
    assert told["scene"] is None and told["page"].startswith(site.base) and err == ""
    assert any("notes.txt" in line for line in told["unusable"])
    told = json.loads(run(*words)[0])
    assert told["scene"] == str(tmp_path / "scene") and told["psnr"] is not None
    (scene,) = site.scenes()
    assert scene.title == "Roses" and len(site.maker.options) == 1


def test_what_was_interrupted_goes_on(
    site: Site, photos: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NERFSCENE_KEY", site.key)
    monkeypatch.setattr(client, "CHUNK", 8000)
    words = [str(w) for w in ("submit", photos, "--to", site.base, "-o", tmp_path / "scene")]
    sent: list[int] = []
    send = client._send

    def interrupted(*given: Any) -> int | None:
        sent.append(given[3])
        if len(sent) == 5:
            raise KeyboardInterrupt
        return send(*given)

    monkeypatch.setattr(client, "_send", interrupted)
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code == 130
    (scene,) = site.scenes()
    begun = len(scenes.files_of(site.shop.db, scene.id))
    run(*words)
    assert [s.id for s in site.scenes()] == [scene.id]  # the same one
    assert sent[4] == sent[5] > 0  # from where it was
    files = scenes.files_of(site.shop.db, scene.id)
    assert begun < len(files) == len(list(photos.glob("*.png")))
    assert scene_folder.is_scene(tmp_path / "scene")


def test_a_changed_photo_is_sent_anew(
    site: Site, photos: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("submit", photos, "--to", site.base, "-o", tmp_path / "scene", "--key", site.key)
    monkeypatch.setattr(submit, "_train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit):
        cli.main([str(w) for w in words])
    monkeypatch.undo()
    monkeypatch.setattr(submit, "POLL", 0.02)
    first = min(photos.glob("*.png"))
    first.write_bytes(picture(99, kind="PNG"))
    run(*words)
    assert site.photos()[first.name] == first.read_bytes()
    assert len(site.photos()) == len(list(photos.glob("*.png")))


def test_a_scene_is_trained_again_on_photos_that_changed_since(
    site: Site, photos: Path, tmp_path: Path, run: Any
) -> None:
    """One that comes later and one that goes, after a training that nobody waited for."""
    words = ("submit", photos, "--to", site.base, "-o", tmp_path / "scene", "--key", site.key)
    run(*words, "--no-wait", "--time", "30")
    run(*words, "--no-wait", "--time", "30")
    (scene,) = site.scenes()
    wait_for(lambda: all(job.state == "done" for job in jobs.jobs_of(site.shop.db, scene.id)))
    assert len(site.maker.options) == 1
    first, *_, last = sorted(photos.glob("*.png"))
    (photos / "new.png").write_bytes(last.read_bytes() + b"x")
    first.unlink()
    _, err = run(*words, "--time", "40")
    assert "other settings" not in err
    assert [o["time"] for o in site.maker.options] == [30.0, 40.0]
    assert set(site.photos()) == {p.name for p in photos.glob("*.png")}
    assert scene_folder.is_scene(tmp_path / "scene")


def test_other_settings_than_those_of_the_training_are_told(
    site: Site, photos: Path, tmp_path: Path, run: Any
) -> None:
    words = ("submit", photos, "--to", site.base, "-o", tmp_path / "scene", "--key", site.key)
    run(*words, "--no-wait", "--quality", "1min")
    assert "other settings" in run(*words, "--quality", "20min")[1]
    assert [o["quality"] for o in site.maker.options] == ["1min"]


def test_broken_connections_are_waited_for(
    site: Site, photos: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third request is cut: before it is sent, in the middle of what it sends, or before its answer."""
    monkeypatch.setattr(client, "CHUNK", 8000)
    real = httpx.HTTPTransport.handle_request
    asked = [0]

    def cut(self: Any, request: httpx.Request) -> httpx.Response:
        asked[0] += 1
        way = asked[0] % 9
        if way == 3:
            raise httpx.ConnectError("refused", request=request)
        if way == 6:
            real(self, request).close()
            raise httpx.ReadError("reset", request=request)
        if way == 0 and request.method == "PATCH":
            half = httpx.Request("PATCH", request.url, headers=request.headers, content=_half(request))
            with contextlib.suppress(httpx.TransportError):
                real(self, half)
            raise httpx.WriteError("broken pipe", request=request)
        return real(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", cut)
    _, err = run("submit", photos, "--to", site.base, "-o", tmp_path / "scene", "--key", site.key)
    assert "trying again" in err
    assert site.photos() == {p.name: p.read_bytes() for p in photos.glob("*.png")}
    assert scene_folder.is_scene(tmp_path / "scene")
    assert len(site.scenes()) <= 2  # the answer to the first request for one may have been cut


def _half(request: httpx.Request) -> Iterator[bytes]:
    """Half of a request's bytes, and then an error."""
    yield request.content[: len(request.content) // 2]
    raise httpx.WriteError("broken pipe")


def test_a_zip_comes_home_with_its_photos(site: Site, photos: Path, tmp_path: Path, run: Any) -> None:
    archive = tmp_path / "garden.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for photo in photos.glob("*.png"):
            made.write(photo, photo.name)
    run("submit", archive, "--to", site.base, "-o", tmp_path / "scene", "--key", site.key)
    assert len(list((tmp_path / "scene" / "photos").rglob("*.png"))) == len(list(photos.glob("*.png")))


def test_a_failure_is_one_sentence(site: Site, photos: Path, tmp_path: Path, refused: Refused) -> None:
    site.maker.fail = "the photos don't overlap enough; take more"
    words = ("submit", photos, "--to", site.base, "-o", tmp_path / "scene", "--key", site.key)
    assert refused(*words, quiet=False).endswith(site.maker.fail)
    assert not (tmp_path / "scene").exists()
    site.maker.fail = ""
    cli.main([str(w) for w in words])  # again, with the photos that are there
    assert scene_folder.is_scene(tmp_path / "scene") and len(site.scenes()) == 1


def test_what_cant_work_is_told_at_once(site: Site, photos: Path, tmp_path: Path, refused: Refused) -> None:
    home = tmp_path / "scene"
    asked = ("submit", photos, "-o", home, "--key", site.key)
    assert "--to" in refused(*asked, "--to", "ftp://example.org")
    assert "key" in refused("submit", photos, "-o", home, "--to", site.base)
    wrong = refused("submit", photos, "-o", home, "--to", site.base, "--key", "wrong")
    assert "doesn't know this key" in wrong
    assert "exist" in refused("submit", tmp_path / "none", "-o", home, "--to", site.base, "--key", site.key)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no photos" in refused("submit", empty, "-o", home, "--to", site.base, "--key", site.key)
    assert "--time" in refused(*asked, "--to", site.base, "--time", "-1")
    assert "there already" in refused("submit", photos, "-o", photos, "--to", site.base, "--key", site.key)
    assert site.scenes() == []
    first = people.first_person(site.shop.db)
    _, guest = people.invited(site.shop.db, first, "Bo", "guest")
    assert "guests" in refused("submit", photos, "-o", home, "--to", site.base, "--key", guest)
    _, little = people.invited(site.shop.db, first, "Ada", "owner", quota=1000)
    assert "quota" in refused("submit", photos, "-o", home, "--to", site.base, "--key", little)
    assert site.scenes() == [] and not home.exists()


def test_a_server_that_doesnt_answer_is_given_up(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    server = client.open_server("http://127.0.0.1:9/?key=k", "", told.append)
    now = [0.0]
    monkeypatch.setattr(client.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    monkeypatch.setattr(client.time, "monotonic", lambda: now[0])
    with pytest.raises(NerfsceneError, match="can't be reached"):
        server.ask("GET", "/api/me")
    assert len(told) == 1 and now[0] <= client.PATIENCE


def test_the_key_goes_nowhere_else(site: Site) -> None:
    """Neither a redirection nor an upload's address takes it to another server."""
    server = client.open_server(site.base, site.key, print)
    assert not server.http.follow_redirects
    moved = httpx.MockTransport(
        lambda r: httpx.Response(201, headers={"Location": "https://evil.example/api/uploads/x"})
    )
    away = client.Server("http://here", httpx.Client(transport=moved), print)
    assert client._create(away, "s", Path(__file__), 1, lambda: None) == "/api/uploads/x"
    gone = httpx.MockTransport(lambda r: httpx.Response(302, headers={"Location": "https://evil.example"}))
    with pytest.raises(client.Refused, match="302"):
        client.Server("http://here", httpx.Client(transport=gone), print).ask("GET", "/api/me")


def made_zip(file: Path, change: Callable[[zipfile.ZipFile], None]) -> Path:
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("scene.json", "{}")
        change(made)
    return file


def link(made: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    made.writestr(info, "/etc/passwd")


@pytest.mark.parametrize(
    "change",
    [
        lambda z: z.writestr("../outside", "x"),
        lambda z: z.writestr("/outside", "x"),
        lambda z: z.writestr("a/../../outside", "x"),
        lambda z: z.writestr("bomb", b"0" * 10**6, zipfile.ZIP_DEFLATED),
        link,
    ],
)
def test_a_zip_that_isnt_a_scenes_is_not_unpacked(tmp_path: Path, change: Any) -> None:
    archive = made_zip(tmp_path / "x.zip", change)
    with pytest.raises(NerfsceneError, match="no scene"):
        homing.unpacked(archive, tmp_path / "home" / "scene", {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.zip"]


def test_a_scene_at_home_keeps_the_cameras_that_were_found(tmp_path: Path) -> None:
    """COLMAP's result is kept by the photos' times, which are others here."""
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"12345")
    entries = [["a.jpg", 5, 1, 640, 480], ["b.jpg", 5, 1, 640, 480], ["c.jpg", 9, 1, 640, 480]]
    done = {"pycolmap": "4", "photos": entries}

    def scene(z: zipfile.ZipFile) -> None:
        z.writestr("poses/posing/done.json", json.dumps(done))

    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(
            "scene.json", json.dumps({"views": [{"photo": "photos/a.jpg"}, {"photo": "poses/f.jpg"}]})
        )
        scene(made)
    homing.unpacked(archive, tmp_path / "scene", {"a.jpg": photo, "c.jpg": photo})
    kept = json.loads((tmp_path / "scene/poses/posing/done.json").read_text())["photos"]
    assert [entry[2] for entry in kept] == [photo.stat().st_mtime_ns, 1, 1]
    views = json.loads((tmp_path / "scene/scene.json").read_text())["views"]
    assert [v["photo"] for v in views] == [str(photo), "poses/f.jpg"]


def test_a_scene_at_home_keeps_what_was_made_of_videos_and_panoramas(tmp_path: Path) -> None:
    """Results of results: frames that were taken are those that cameras were found for."""
    video, panorama = tmp_path / "walk.mp4", tmp_path / "R1.jpg"
    for file in (video, panorama):
        file.write_bytes(b"12345")
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("scene.json", json.dumps({"views": []}))
        frames = {"of": {"version": 3, "videos": [["walk.mp4", 5, 1]]}, "warnings": []}
        made.writestr("poses/frames/done.json", json.dumps(frames))
        made.writestr("poses/frames/walk-0001.jpg", "123")
        cut = {"version": 1, "panoramas": [{"photo": [["/srv/scenes/id/photos/R1.jpg", 5, 1]], "turns": 0}]}
        made.writestr("poses/panoramas/done.json", json.dumps(cut))
        made.writestr("poses/posing/done.json", json.dumps({"photos": [["walk-0001.jpg", 3, 1, 640, 480]]}))
    home = tmp_path / "scene"
    homing.unpacked(archive, home, {"walk.mp4": video, "R1.jpg": panorama})

    def kept(name: str) -> Any:
        return json.loads((home / "poses" / name / "done.json").read_text())

    time = video.stat().st_mtime_ns
    assert kept("frames")["of"] == {"version": 3, "videos": [["walk.mp4", 5, time]]}
    time = panorama.stat().st_mtime_ns
    assert kept("panoramas")["panoramas"] == [{"photo": [[str(panorama), 5, time]], "turns": 0}]
    time = (home / "poses/frames/walk-0001.jpg").stat().st_mtime_ns
    assert kept("posing")["photos"] == [["walk-0001.jpg", 3, time, 640, 480]]


def test_which_files_are_sent(tmp_path: Path) -> None:
    for name in (
        "b2.jpg",
        "b10.JPG",
        "sub/c.heic",
        "walk.mp4",
        "more.zip",
        "x.dng",
        "t.json",
        ".hidden/d.jpg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/b2.png").write_bytes(b"x")
    taken, others = submit_files.chosen([tmp_path])
    assert [p.relative_to(tmp_path).as_posix() for p in taken[:3]] == ["b2.jpg", "b10.JPG", "sub/c.heic"]
    assert {p.name for p in taken[3:]} == {"walk.mp4", "more.zip"}
    assert len(others) == 3 and any("JPEG" in line for line in others)
    assert sum(".zip" in line for line in others) == 2  # masks and cameras
    shutil.rmtree(tmp_path / "sub")
    assert submit_files.chosen([tmp_path / "b2.jpg", tmp_path / "b2.jpg"])[0] == [tmp_path / "b2.jpg"]
