"""Films of a scene say what they are, unless told otherwise; ``nerfscene info`` shows it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import Run
from credential_cases import authority_and_signer, flipped, write_image
from refusals import Refused

import nerfscene as ns
from nerfscene import cli
from nerfscene.credentials import key
from nerfscene.films.filming import render_film
from nerfscene.films.video import film_facts
from nerfscene.scene.summary import scene_id
from nerfscene.scene.world import in_world
from nerfscene.viewer.film_job import film_job
from nerfscene.viewer.keyframes import Keyframe, Plan

TINY = ns.RenderConfig(width=32, fps=5, seconds=0.4)
OPTIONS = ("--width", 32, "--fps", 5, "--seconds", 0.4)


@pytest.fixture(scope="module")
def loaded(trained: Path) -> ns.Scene:
    return ns.load(trained)


def test_a_scene_keeps_its_identity_wherever_it_is(loaded: ns.Scene) -> None:
    own = scene_id(loaded)
    turned = in_world(loaded, np.diag([2.0, 2.0, 2.0, 1.0]))
    assert len(own) == 64 and scene_id(replace(turned, crop=np.eye(4), backdrop=None)) == own
    field = loaded.field
    assert scene_id(replace(loaded, field=replace(field, weights=field.weights + 1))) != own


def test_without_the_package_films_are_made_and_one_line_says_so(
    trained: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    film = tmp_path / "film.mp4"
    out, err = run("render", trained, "-o", film, *OPTIONS)
    assert film_facts(film)["frames"] == 2 and [p.name for p in tmp_path.iterdir()] == ["film.mp4"]
    assert (out + err).count("pip install 'nerfscene[credentials]'") == 1 and "warning" not in out + err
    out, err = run("render", trained, "-o", film, *OPTIONS, "--no-credentials")
    assert "credentials" not in out + err
    out, _ = run("render", trained, "-o", film, *OPTIONS, "--json")
    assert json.loads(out)["credentials"] == []
    with pytest.raises(SystemExit) as left:
        cli.main(["info", str(film)])
    assert left.value.code == 2


class TestWithThePackage:
    """What needs c2pa-python."""

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("c2pa", reason="c2pa-python is not installed")

    def test_a_film_says_what_it_is(self, trained: Path, loaded: ns.Scene, tmp_path: Path, run: Run) -> None:
        film = tmp_path / "film.mp4"
        run("render", trained, "-o", film, *OPTIONS, "--path", "orbit", "--source-type", "virtual")
        assert film_facts(film)["frames"] == 2 and [p.name for p in tmp_path.iterdir()] == ["film.mp4"]
        out, _ = run("info", film)
        for words in (
            "rendered by nerfscene from photographs (24 photos)", "valid: nothing has changed",
            "this machine's own key", "IPTC: virtualRecording", scene_id(loaded), "path orbit",
        ):  # fmt: skip
            assert words in out
        assert scene_id(loaded) in run("info", trained)[0]
        d = json.loads(run("info", film, "--json")[0])
        assert (d["state"], d["key"], d["kind"], d["photos"]) == ("valid", "own", "film", 24)
        assert d["settings"] == {
            "path": "orbit", "width": 32, "height": 24, "fps": 5.0, "frames": 2, "samples": 0, "depth": False
        }  # fmt: skip
        assert str(tmp_path) not in film.read_bytes().decode("latin-1")
        flipped(film, -20)
        assert "CHANGED since it was signed" in run("info", film)[0]

    def test_the_option_leaves_them_out(self, loaded: ns.Scene, tmp_path: Path) -> None:
        off = ns.CredentialsConfig(credentials=False)
        made = ns.film(loaded, tmp_path / "film.mp4", TINY, credentials=off)
        assert made["credentials"] == [] and ns.info(tmp_path / "film.mp4")["state"] == "unsigned"
        with pytest.raises(TypeError, match="credentials must be a CredentialsConfig"):
            ns.film(loaded, tmp_path / "film.mp4", TINY, credentials=False)  # type: ignore[arg-type]

    def test_a_film_of_another_kind_has_them_beside_it(self, trained: Path, tmp_path: Path, run: Run) -> None:
        film, beside = tmp_path / "film.mkv", tmp_path / "film.c2pa"
        out, err = run("render", trained, "-o", film, *OPTIONS)
        assert f"content credentials in {beside}" in out + err
        for given in (film, beside):
            assert ns.info(given)["state"] == "valid" and ns.info(given)["file"] == str(film)
        run("render", trained, "-o", film, *OPTIONS, "--no-credentials")
        assert [p.name for p in tmp_path.iterdir()] == ["film.mkv"]

    def test_a_damaged_key_is_told_before_the_work(
        self, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
    ) -> None:
        (tmp_path / "nerfscene").mkdir()
        (tmp_path / "nerfscene" / key.OWN_KEY).write_text("no key")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        said = refused("render", trained, "-o", tmp_path / "film.mp4", *OPTIONS)
        assert key.OWN_KEY in said and "--no-credentials" in said and not (tmp_path / "film.mp4").exists()
        said = refused(
            "render", trained, "-o", tmp_path / "film.mp4", *OPTIONS, "--credentials-key", tmp_path / "none"
        )
        assert "none doesn't exist" in said

    def test_numbered_pictures_are_not_signed(self, loaded: ns.Scene, tmp_path: Path) -> None:
        made = render_film(loaded, TINY, None, tmp_path / "frames")
        assert made["credentials"] == []
        assert ns.info(tmp_path / "frames/00000.png")["state"] == "unsigned"

    def test_the_viewer_s_film_is_signed(self, loaded: ns.Scene) -> None:
        keys = tuple(Keyframe(view.world_from_cam) for view in loaded.views[:2])
        got: list[tuple[Path | None, str]] = []
        jobs = []
        for options in (ns.CredentialsConfig(), ns.CredentialsConfig(credentials=False)):
            plan = Plan(keys, seconds=0.2, fps=5, width=32, height=24)
            job = film_job(
                loaded,
                plan,
                "auto",
                lambda *x: None,
                lambda x: None,
                print,
                lambda *x: got.append(x),
                options,
            )
            job.start()
            job.wait(600)
            jobs.append(job)
        for job, (film, reason), state in zip(jobs, got, ("valid", "unsigned"), strict=True):
            assert film is not None, reason
            assert ns.info(film)["state"] == state and film.name == "film.mp4"
            assert str(film.parent).encode() not in film.read_bytes()
            with av.open(str(film)) as played:
                frames = list(played.decode(video=0))
            assert [(f.width, f.height) for f in frames] == [(32, 24)]
            job.discard()
            assert not film.exists()

    def test_info_of_what_is_no_film(self, trained: Path, tmp_path: Path, run: Run, refused: Refused) -> None:
        (tmp_path / "notes.txt").write_text("hello")
        assert "no content credentials" in run("info", tmp_path / "notes.txt")[0]
        assert json.loads(run("info", tmp_path / "notes.txt", "--json")[0])["state"] == "unsigned"
        assert "nowhere.mp4 doesn't exist; give a" in refused("info", tmp_path / "nowhere.mp4")
        assert str(tmp_path) in refused("info", tmp_path)
        assert "give the folder" in refused("info", trained / "scene.json")
        (tmp_path / "lost.c2pa").write_bytes(b"hdc:titlehfilm.mkv")
        assert "isn't beside it" in refused("info", tmp_path / "lost.c2pa")

    def test_trust_is_given_with_an_option(
        self, loaded: ns.Scene, tmp_path: Path, run: Run, refused: Refused
    ) -> None:
        root, signer = authority_and_signer()
        (tmp_path / "root.pem").write_bytes(root)
        (tmp_path / "signer.pem").write_bytes(signer)
        picture = write_image(tmp_path / "a.png")
        given = ns.CredentialsConfig(credentials_key=tmp_path / "signer.pem")
        assert ns.mark(picture, loaded, settings={"width": 32}, credentials=given) == picture
        assert "from an authority" in run("info", picture)[0]
        assert "trusted" in run("info", picture, "--trust", tmp_path / "root.pem")[0]
        assert "holds no certificates" in refused("info", picture, "--trust", picture)

    def test_a_program_s_own_files_can_be_signed(self, loaded: ns.Scene, tmp_path: Path) -> None:
        picture, notes = write_image(tmp_path / "a.jpg"), tmp_path / "notes.txt"
        notes.write_text("hello")
        assert ns.mark(str(picture), loaded) == picture
        assert ns.mark(picture, loaded, "drawing") == picture  # again: it is nerfscene's own
        assert ns.info(picture)["kind"] == "drawing" and ns.info(picture)["scene"] == scene_id(loaded)
        assert ns.mark(notes, loaded) == tmp_path / "notes.c2pa" and ns.info(notes)["state"] == "valid"
        with pytest.raises(ns.NerfsceneError, match="can't be read"):
            ns.mark(tmp_path / "none.png", loaded)
        with pytest.raises(TypeError, match="scene must be"):
            ns.mark(picture, tmp_path)  # type: ignore[arg-type]
        for wrong in ({"a": object()}, {"a": float("nan")}, {1: 2}, [1]):
            with pytest.raises(TypeError, match="settings must be"):
                ns.mark(picture, loaded, settings=wrong)  # type: ignore[arg-type]

    def test_other_people_s_credentials_are_not_dropped(self, loaded: ns.Scene, tmp_path: Path) -> None:
        picture = write_image(tmp_path / "a.png")
        ns.mark(picture, loaded)
        changed = picture.read_bytes().replace(b"nerfscene", b"other one")
        picture.write_bytes(changed)
        with pytest.raises(ns.NerfsceneError, match="has content credentials already"):
            ns.mark(picture, loaded)
        assert picture.read_bytes() == changed
