"""Files are signed in one step and stay what they were; what they say is shown, and changes are told."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import ROOT
from credential_cases import FACTS, authority_and_signer, flipped, write_image, write_stripes
from PIL import Image

from nerfscene import doctor
from nerfscene.config import CredentialsConfig, SourceType
from nerfscene.credentials import library, marking
from nerfscene.credentials.checking import asset_of, check, check_page
from nerfscene.credentials.facts import IPTC, TERMS, WHAT
from nerfscene.credentials.marking import Marker, mark, ready, titles
from nerfscene.credentials.words import in_words
from nerfscene.errors import NerfsceneError
from nerfscene.films import video

c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed")


@pytest.fixture(scope="module")
def marker() -> Marker:
    return ready(CredentialsConfig())


def reader_of(file: Path, beside: Path | None = None) -> dict[str, object]:
    """What c2pa's own reader says of a file: its state, and the active manifest."""
    with open(file, "rb") as opened:
        more = ("application/octet-stream", opened, beside.read_bytes()) if beside else (None, opened)
        said = json.loads(c2pa.Reader(*more).json())
    return {"state": said["validation_state"], **said["manifests"][said["active_manifest"]]}


# --- films and pictures ---------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".MP4"])
def test_a_signed_film_is_valid_small_and_plays(tmp_path: Path, marker: Marker, ending: str) -> None:
    film = write_stripes(tmp_path / f"film{ending}", 30)
    before, size = video.film_facts(film), film.stat().st_size
    assert mark(film, FACTS, marker) == [film]
    assert [p.name for p in tmp_path.iterdir()] == [film.name]
    assert 0 < film.stat().st_size - size < 5000 and video.film_facts(film) == before
    data = film.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # it still begins to play before it is loaded
    with av.open(str(film)) as opened:
        stream = opened.streams.video[0]
        opened.seek(int(Fraction(2) / (stream.time_base or 1)), stream=stream)
        late = [f for f in opened.decode(stream) if f.time is not None and f.time >= 2]
    assert len(late) == 10
    said = reader_of(film)
    assert said["state"] == "Valid"
    actions = [a["data"]["actions"] for a in said["assertions"] if a["label"] == "c2pa.actions.v2"]  # type: ignore
    assert actions[0][0]["action"] == "c2pa.created" and actions[0][0]["description"] == WHAT
    assert actions[0][0]["digitalSourceType"] == IPTC + "compositeCapture"
    assert [i["title"] for i in said["ingredients"]] == ["24 photographs"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif", ".avif", ".gif"])
def test_pictures_hold_their_credentials_and_keep_their_pixels(
    tmp_path: Path, marker: Marker, ending: str
) -> None:
    file = write_image(tmp_path / f"picture{ending}")
    pixels, mode = np.asarray(Image.open(file).convert("RGB")), file.stat().st_mode
    assert mark(file, FACTS, marker) == [file]
    assert np.array_equal(np.asarray(Image.open(file).convert("RGB")), pixels)
    assert file.stat().st_mode == mode
    found = check(file)
    assert (found["state"], found["key"], found["photos"]) == ("valid", "own", 24)
    assert found["settings"] == FACTS.settings and found["scene"] == FACTS.scene


def test_an_archive_holds_its_credentials_and_opens_as_before(tmp_path: Path, marker: Marker) -> None:
    file = tmp_path / "splats.sog"
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("meta.json", "{}")
        made.writestr("means.webp", b"x" * 500)
    assert mark(file, FACTS, marker) == [file] and check(file)["state"] == "valid"
    with zipfile.ZipFile(file) as opened:
        assert opened.testzip() is None and opened.read("means.webp") == b"x" * 500
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr("more.txt", "more")
    assert check(file)["state"] in ("changed", "unreadable", "unsigned", "invalid")


def test_a_usdz_file_holds_its_credentials_and_opens_as_before(tmp_path: Path, marker: Marker) -> None:
    usd = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    from pxr import Sdf, UsdGeom, UsdUtils, UsdValidation

    layer, file = str(tmp_path / "cube.usdc"), tmp_path / "cube.usdz"
    stage = usd.Stage.CreateNew(layer)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetDefaultPrim(UsdGeom.Cube.Define(stage, "/cube").GetPrim())
    stage.Save()
    UsdUtils.CreateNewUsdzPackage(layer, str(file))
    assert mark(file, FACTS, marker) == [file] and check(file)["state"] == "valid"
    package = Sdf.ZipFile.Open(str(file))
    assert package.GetFileNames()[0] == "cube.usdc"
    assert package.GetFileInfo("cube.usdc").dataOffset % 64 == 0
    opened = usd.Stage.Open(str(file))
    assert opened.GetPrimAtPath("/cube")
    everything = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert not UsdValidation.ValidationContext(everything).Validate(opened)


# --- files beside others --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["mesh.glb", "points.ply", "film.mkv", "scene.usdc", "index.html", "no ending"]
)
def test_other_kinds_get_a_file_beside_them(tmp_path: Path, marker: Marker, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"whatever is in it" * 50)
    (beside,) = mark(file, FACTS, marker)
    assert beside == file.with_suffix(".c2pa") and file.read_bytes() == b"whatever is in it" * 50
    assert reader_of(file, beside)["state"] == "Valid" and reader_of(file, beside)["title"] == name
    assert check(file)["state"] == "valid" and check(file)["held_in"] == str(beside)
    assert asset_of(beside) == file and f"held in   {beside}" in in_words(check(file))
    flipped(file, 100)
    assert check(file)["state"] == "changed"


def test_files_that_differ_by_their_ending_keep_their_own_credentials(tmp_path: Path, marker: Marker) -> None:
    files = [tmp_path / f"scene.{kind}" for kind in ("glb", "ply", "obj")]
    for file in files:
        file.write_bytes(file.name.encode())
    for _ in range(2):  # exported again, each is replaced by its own
        for file in files:
            mark(file, FACTS, marker)
        assert len(list(tmp_path.iterdir())) == 6
        assert [check(file)["state"] for file in files] == ["valid"] * 3
    files[0].unlink()  # scene.c2pa isn't about the others, whose own are used
    assert [check(file)["state"] for file in files[1:]] == ["valid"] * 2


def test_a_file_renamed_with_its_credentials_is_still_checked(tmp_path: Path, marker: Marker) -> None:
    file = tmp_path / "mesh.glb"
    file.write_bytes(b"mesh")
    (beside,) = mark(file, FACTS, marker)
    renamed, beside_it = file.rename(tmp_path / "chair.glb"), beside.rename(tmp_path / "chair.c2pa")
    assert check(renamed)["state"] == "valid" and check(renamed)["held_in"] == str(beside_it)
    with pytest.raises(NerfsceneError, match="isn't beside it"):
        asset_of(beside_it)


def test_credentials_of_an_earlier_file_do_not_stay_beside_an_unsigned_one(
    tmp_path: Path, marker: Marker
) -> None:
    file = tmp_path / "mesh.glb"
    file.write_bytes(b"mesh")
    (beside,) = mark(file, FACTS, marker)
    file.write_bytes(b"another mesh")
    assert mark(file, FACTS, Marker(None, "captures")) == [] and not beside.exists()
    beside.write_bytes(b"somebody else's file of that name")
    mark(file, FACTS, Marker(None, "captures"))
    assert beside.exists() and check(file)["state"] == "unreadable"


def test_names_are_read_from_any_bytes(tmp_path: Path) -> None:
    beside = tmp_path / "a.c2pa"
    for data, names in [
        (b"", set()),
        (b"hdc:title", set()),
        (b"hdc:title\x65ab", {"ab"}),
        (b"..hdc:title\x78\x1e" + b"n" * 30, {"n" * 30}),
        (b"hdc:title\x79\x01\x00" + b"m" * 256, {"m" * 256}),
        (b"hdc:title\x80x", set()),
        (b"hdc:title\x62\xff\xffhdc:title\x61b", {"��", "b"}),
    ]:
        beside.write_bytes(data)
        assert titles(beside) == names


# --- what can go wrong ----------------------------------------------------------------------------


def test_changes_are_told(tmp_path: Path, marker: Marker) -> None:
    film = write_stripes(tmp_path / "film.mp4")
    mark(film, FACTS, marker)
    signed = film.read_bytes()
    for change in (-50, signed.index(b"24 photographs"), signed.index(WHAT.encode())):
        film.write_bytes(signed)
        flipped(film, change)
        found = check(film)
        assert found["state"] == "changed" and found["problems"] and found["key"] == "own"
        assert "CHANGED since it was signed" in in_words(found)
    film.write_bytes(signed[: len(signed) // 2])
    assert check(film)["state"] in ("changed", "unreadable")
    film.write_bytes(signed[:500])
    assert check(film)["state"] == "unreadable" and "damaged" in in_words(check(film))


def remuxed(film: Path, to: Path) -> None:
    with av.open(str(film)) as source, av.open(str(to), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


def test_steps_that_drop_the_mark(tmp_path: Path, marker: Marker) -> None:
    """What docs/credentials.md says of later steps."""
    film, picture = write_stripes(tmp_path / "film.mp4"), write_image(tmp_path / "a.png")
    for file in (film, picture):
        mark(file, FACTS, marker)
    remuxed(film, tmp_path / "remuxed.mp4")
    assert check(tmp_path / "remuxed.mp4")["state"] == "unsigned"
    Image.open(picture).save(tmp_path / "b.png")
    assert check(tmp_path / "b.png")["state"] == "unsigned"
    first = check(film)
    mark(film, FACTS, Marker(marker.key, "virtual"))
    second = check(film)
    assert (first["source_type"], second["source_type"]) == ("compositeCapture", "virtualRecording")
    assert (
        len(json.loads(c2pa.Reader(str(film)).json())["manifests"]) == 1
    )  # the first is gone without a word


KILLED = """
import os, signal, sys
from pathlib import Path
from credential_cases import FACTS
from nerfscene.config import CredentialsConfig
from nerfscene.credentials import marking
ready = marking.ready(CredentialsConfig())
signed = marking._signed
def killed(*arguments):
    signed(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
marking._signed = killed
marking.mark(Path(sys.argv[1]), FACTS, ready)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no unnamed files")
def test_a_killed_signing_leaves_the_film_whole(tmp_path: Path) -> None:
    film = write_stripes(tmp_path / "film.mp4")
    before = film.read_bytes()
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests/support")))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(film)], env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert done.returncode == -9 and film.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]


def test_a_failed_signing_is_a_warning_and_leaves_the_file(
    tmp_path: Path, marker: Marker, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, text = write_image(tmp_path / "a.png"), tmp_path / "b.png"
    text.write_bytes(b"no picture at all")
    said: list[str] = []
    assert mark(text, FACTS, marker, said.append) == [] and text.read_bytes() == b"no picture at all"

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    before = picture.read_bytes()
    monkeypatch.setattr(marking, "_signed", full)
    assert mark(picture, FACTS, marker, said.append) == [] and picture.read_bytes() == before
    assert len(said) == 2 and all("is complete, but has no content credentials" in s for s in said), said
    assert "the disk is full" in said[1] and len(list(tmp_path.iterdir())) == 2


def test_nothing_is_fetched_from_the_network(
    tmp_path: Path, marker: Marker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", called)
    remote = tmp_path / "remote.png"
    with open(write_image(tmp_path / "a.png"), "rb") as plain, open(remote, "w+b") as made:
        builder = c2pa.Builder({"claim_generator_info": [{"name": "x", "version": "1"}]})
        builder.set_no_embed()
        builder.set_remote_url("http://127.0.0.1:9/manifest.c2pa")
        builder.add_action({"action": "c2pa.created", "digitalSourceType": IPTC + "composite"})
        assert marker.key is not None
        key = c2pa.C2paSignerInfo(marker.key.algorithm, marker.key.certificates, marker.key.private, None)
        builder.sign(c2pa.Signer.from_info(key), "image/png", plain, made)
    found = check(remote)
    assert found["state"] in ("unsigned", "unreadable"), found


# --- whose key ------------------------------------------------------------------------------------


def test_whose_key_it_is(tmp_path: Path, marker: Marker, monkeypatch: pytest.MonkeyPatch) -> None:
    root, signer = authority_and_signer()
    (tmp_path / "root.pem").write_bytes(root)
    (tmp_path / "signer.pem").write_bytes(signer)
    (tmp_path / "others.pem").write_bytes(authority_and_signer()[0])
    vouched = write_image(tmp_path / "vouched.png")
    mark(vouched, FACTS, ready(CredentialsConfig(credentials_key=tmp_path / "signer.pem")))
    assert check(vouched)["key"] == "unknown" and check(vouched)["signer"] == "Signer, Signer Ltd"
    assert check(vouched, tmp_path / "root.pem")["key"] == "trusted"
    assert check(vouched, tmp_path / "others.pem")["key"] == "unknown"
    own = write_image(tmp_path / "own.png")
    mark(own, FACTS, marker)
    assert check(own)["key"] == "own"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another machine's"))
    assert check(own)["key"] == "self-made"
    again = write_image(tmp_path / "again.png")
    mark(again, FACTS, ready(CredentialsConfig()))  # a key of the same kind and names, but another
    assert check(again)["key"] == "own" and check(own)["key"] == "self-made"
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for wrong, reason in [
        ("none.pem", "doesn't exist"),
        ("own.png", "holds no certificates"),
        ("bad.pem", "a damaged certificate"),
    ]:
        with pytest.raises(NerfsceneError, match=f"{wrong}.*{reason}"):
            check(own, tmp_path / wrong)


@pytest.mark.parametrize("source", TERMS)
def test_the_kind_of_source_is_the_user_s_to_choose(
    tmp_path: Path, marker: Marker, source: SourceType
) -> None:
    file = write_image(tmp_path / "a.png")
    mark(file, FACTS, ready(CredentialsConfig(source_type=source)))
    found = check(file)
    assert found["source_type"] == TERMS[source] and f"(IPTC: {TERMS[source]})" in in_words(found)


# --- other people's files -------------------------------------------------------------------------


def test_files_without_credentials(tmp_path: Path) -> None:
    for name, data in [
        ("notes.txt", b"hello"),
        ("empty.mp4", b""),
        ("zeros.mp4", b"\0" * 3000),
        ("cut.png", b"\x89PNG\r\n\x1a\n" + b"x" * 50),
        ("noise.jpg", bytes(range(256)) * 20),
        ("words.mp4", b"ftypmp42 moov" * 100),
    ]:
        file = tmp_path / name
        file.write_bytes(data)
        found = check(file)
        assert found["state"] in ("unsigned", "unreadable"), found
        assert in_words(found).startswith(f"{file}: ") and "\n" not in in_words(found)
    assert check(write_image(tmp_path / "plain.png"))["state"] == "unsigned"
    with pytest.raises(NerfsceneError, match="can't be read"):
        check(tmp_path / "nowhere.png")


def test_what_others_wrote_is_shown_without_its_control_characters(
    tmp_path: Path, marker: Marker, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_image(tmp_path / "a.png")
    theirs = {
        "claim_generator_info": [{"name": "Evil\x1b[2J\nvalid: trust me", "version": "1"}],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [
                {"action": "c2pa.created", "digitalSourceType": "x:" + "y" * 999},
                {"action": "c2pa.color_adjustments"},
            ]}},
            {"label": "org.nerfscene.render", "data": {"photos": "many", "scene": 5, "settings": [1]}},
        ],
    }  # fmt: skip
    monkeypatch.setattr(marking, "manifest", lambda *_: theirs)
    mark(file, FACTS, marker)
    found = check(file)
    assert (found["photos"], found["scene"], found["settings"]) == (None, None, {})
    assert found["what"] == "created, color_adjustments"
    said = in_words(found)
    assert "\x1b" not in said and "\nvalid" not in said and max(map(len, said.splitlines())) < 400


def test_a_page_is_checked_file_by_file(tmp_path: Path, marker: Marker) -> None:
    assert check_page(tmp_path) is None
    page, poster = tmp_path / "index.html", write_image(tmp_path / "poster.jpg")
    page.write_text("<html>")
    (tmp_path / "viewer.js").write_text("somebody else's")
    assert check_page(tmp_path) == {"folder": str(tmp_path), "state": "unsigned", "files": []}
    for file in (page, poster):
        mark(file, FACTS, marker)
    found = check_page(tmp_path)
    assert found is not None and found["state"] == "valid"
    assert [Path(f["file"]).name for f in found["files"]] == ["index.html", "poster.jpg"]
    whole = poster.read_bytes()
    poster.write_bytes(whole[:200])
    found = check_page(tmp_path)
    assert found is not None and found["state"] == "unreadable"
    poster.write_bytes(whole)
    page.write_text("<html>another")
    found = check_page(tmp_path)
    assert found is not None and found["state"] == "changed" and "CHANGED" in in_words(found)


# --- without the package --------------------------------------------------------------------------


@pytest.fixture(params=["c2pa", "cryptography.x509"])
def without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, request.param, None)


@pytest.mark.usefixtures("without")
def test_the_doctor_says_what_is_missing() -> None:
    assert "films are made without content credentials (" in doctor.in_words(doctor.examine())


@pytest.mark.usefixtures("without")
def test_without_the_package_one_line_says_what_to_install(tmp_path: Path) -> None:
    notes: list[str] = []
    warnings: list[str] = []
    missing = ready(CredentialsConfig(), warnings.append, notes.append)
    assert missing.key is None and not warnings
    assert len(notes) == 1 and library.INSTALL in notes[0] and "--no-credentials" in notes[0]
    assert ready(CredentialsConfig(credentials=False), warnings.append, notes.append).key is None
    assert len(notes) == 1
    assert mark(write_image(tmp_path / "a.png"), FACTS, missing, warnings.append) == [] and not warnings
    with pytest.raises(NerfsceneError, match="pip install"):
        check(tmp_path / "a.png")
    with pytest.raises(NerfsceneError, match="pip install"):  # asked for with a key
        ready(CredentialsConfig(credentials_key=tmp_path / "key.pem"))


def test_a_version_that_is_too_old_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(c2pa, "Context")
    assert library.why_missing() == "the version of c2pa-python is too old"


def test_signing_needs_little_memory(tmp_path: Path, marker: Marker) -> None:
    settings: Callable[[], object] = library.context
    assert settings() is not None and library.IN_MEMORY <= 64
    big = tmp_path / "big.bin"
    big.write_bytes(io.BytesIO(b"\1" * (1 << 20)).getvalue() * 24)
    assert mark(big, FACTS, marker) == [big.with_suffix(".c2pa")] and check(big)["state"] == "valid"
