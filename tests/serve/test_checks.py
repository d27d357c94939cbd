"""What can't be used is told by name before anything is trained, and harms nothing."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from footage_cases import demo_pictures, write_video
from photo_cases import exif
from PIL import Image
from upload_cases import Sender, packed, picture, sending, wait_for

from nerfscene.serve import checking, checks, people, scenes
from nerfscene.serve.file_names import why_unusable
from nerfscene.serve.verdicts import Job


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    with sending(tmp_path) as made:
        yield made


def why(path: Path, name: str = "") -> str:
    """Why a file can't be used; "" if it can."""
    job = Job(str(path), name or path.name, str(path.parent / "thumbnails/t.jpg"))
    (found,) = checks.verdicts(job)
    return found.why


@pytest.mark.parametrize("name", [
    "IMG_1.JPG", "a.jpeg", "a.heic", "a.png", "a.avif", "a.webp", "a.tif", "a.mov", "a.MP4", "a.zip", "a.r3d",
    "1000012345", "Photo 24.12.2024", "image:1234",
])  # fmt: skip
def test_names_that_may_be_of_use(name: str) -> None:
    assert why_unusable(name) == ""


@pytest.mark.parametrize(("name", "says"), [
    ("IMG_1.DNG", "RAW"), ("a.cr3", "RAW"), ("a.gif", "JPEG"), ("a.bmp", "JPEG"), ("a.rar", ".zip"),
    ("notes.pdf", "no photo"), ("a.exe", "no photo"), ("transforms.json", "one .zip"), ("a.xmp", "one .zip"),
    ("IMG_1.AAE", "isn't needed"), (".DS_Store", "isn't needed"), ("._IMG_1.jpg", "isn't needed"),
    ("folder/Thumbs.db", "isn't needed"), ("x.html", "no photo"),
])  # fmt: skip
def test_names_of_no_use_are_refused_before_they_come(sender: Sender, name: str, says: str) -> None:
    answer = sender.begin(name, 1000)
    assert answer.status_code == 415 and says in answer.json()["detail"]
    assert not sender.files()


@pytest.mark.parametrize(("kind", "ending"), [
    ("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif"), ("HEIF", "heic"), ("AVIF", "avif"),
])  # fmt: skip
def test_photos_of_all_kinds_are_whole_or_cut_off(tmp_path: Path, kind: str, ending: str) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    path = tmp_path / f"a.{ending}"
    content = picture(kind=kind)
    path.write_bytes(content)
    assert why(path) == ""
    with Image.open(tmp_path / "thumbnails/t.jpg") as thumbnail:
        assert thumbnail.size == (96, 72)
    path.write_bytes(content[: len(content) * 2 // 3])
    assert why(path).startswith(f"a.{ending} can't be read as a photo")


def test_thumbnails_are_small_and_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(picture(width=1000, height=500, exif=exif(6)))
    assert why(path) == ""
    with Image.open(tmp_path / "thumbnails/t.jpg") as thumbnail:
        assert thumbnail.size == (160, 320)


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header announces many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [18_000, 100_000])
def test_pictures_of_too_many_pixels_are_not_decoded(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(huge_png(side, side))
    assert why(path) == "bomb.png has more than 250 million pixels, too many to use: shrink it first"


def test_icons_and_empty_pictures_are_too_small(tmp_path: Path) -> None:
    path = tmp_path / "icon.png"
    path.write_bytes(picture(width=32, height=32, kind="PNG"))
    assert why(path) == "icon.png has only 32 × 32 pixels, too few to use"


@pytest.mark.parametrize("content", [
    b"GIF89a" + bytes(100), b"%PDF-1.7 text", b"<html>", b"\0" * 5000, b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
    b"ffconcat version 1.0\nfile /etc/passwd\n", b"\xff\xd8\xff\xe0", b"8BPS" + bytes(60),
])  # fmt: skip
@pytest.mark.parametrize("name", ["a.jpg", "a.mp4", "nameless"])
def test_other_things_under_a_photos_name(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    said = why(path)
    assert said.startswith(f"{name} ") and "\n" not in said and str(tmp_path) not in said


def video(folder: Path, seconds: float = 1.0) -> bytes:
    """A short video."""
    path = folder / "made.mp4"
    write_video(path, demo_pictures(4, 160), fps=round(4 / seconds))
    return path.read_bytes()


def test_a_video_is_judged_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "walk.mp4"
    path.write_bytes(video(tmp_path))
    assert why(path) == ""
    with Image.open(tmp_path / "thumbnails/t.jpg") as thumbnail:
        assert max(thumbnail.size) <= 320
    monkeypatch.setattr(checks, "MOST_SECONDS", 0.5)
    assert "lasts longer than" in why(path)
    monkeypatch.undo()
    monkeypatch.setattr(checks, "MOST_FRAME", 100)
    assert "too large" in why(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert why(path).startswith("walk.mp4 can't be read as a video, or is cut off")
    path.write_bytes(whole[:-500])
    assert why(path).startswith("walk.mp4 holds no pictures that can be read")


def years(content: bytes) -> bytes:
    """The video with units of time in its header that are seconds, not small parts of them."""
    at = content.index(b"mdhd") + 4
    assert content[at] == 0  # version 0: times of 32 bits
    return content[: at + 12] + struct.pack(">I", 1) + content[at + 16 :]


def test_a_video_of_years_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "years.mp4"
    path.write_bytes(years(video(tmp_path)))
    assert "lasts longer than 60 minutes" in why(path)


def test_files_are_called_as_what_they_are(sender: Sender, tmp_path: Path) -> None:
    sender.send("image:1234", picture(1, kind="PNG"))
    sender.send("clip.jpg", video(tmp_path))
    sender.send("pretends.png", picture(2))  # many programs write JPEGs so; all read them
    assert set(sender.checked()) == {"image_1234.png", "clip.mp4", "pretends.png"}
    assert sorted(p.name for p in sender.photos.iterdir()) == ["clip.mp4", "image_1234.png", "pretends.png"]


def test_the_same_photo_twice_is_used_once(sender: Sender) -> None:
    sender.send("a.jpg", picture())
    sender.send("b.jpg", picture())
    files = sender.checked()
    assert files["b.jpg"].state == "unusable"
    assert files["b.jpg"].why == "b.jpg is the same file as a.jpg, which is used"
    assert [p.name for p in sender.photos.iterdir()] == ["a.jpg"]
    at = scenes.places(sender.shop.data, sender.scene.id)
    assert [p.stem for p in at.thumbnails.iterdir()] == [files["a.jpg"].id]


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_live_photo_only_the_photo_is_used(sender: Sender, tmp_path: Path, order: int) -> None:
    both = {"IMG_7.jpg": picture(), "IMG_7.MOV": video(tmp_path)}
    for name in list(both)[::order]:
        sender.send(name, both[name])
        sender.checked()
    wait_for(lambda: "unusable" in {f.state for f in sender.files()})
    files = sender.checked()
    assert files["IMG_7.jpg"].state == "whole" and "live photo IMG_7.jpg" in files["IMG_7.MOV"].why
    assert [p.name for p in sender.photos.iterdir()] == ["IMG_7.jpg"]


def test_a_zip_is_unpacked_and_each_of_its_photos_checked(sender: Sender) -> None:
    inside = {
        "trip/images/1.jpg": picture(1),
        "trip/images/2.jpg": picture(2),
        "trip/images/3.jpg": picture(2),
        "trip/images/4.jpg": picture(4)[:1000],
        "trip/masks/1.png": picture(5, kind="PNG"),
        "trip/transforms.json": json.dumps({"frames": []}).encode(),
        "__MACOSX/trip/._1.jpg": b"x",
    }
    upload = sender.send("My trip.zip", packed(inside))
    files = sender.checked()
    assert {n: f.state for n, f in files.items()} == {
        "My trip.zip": "whole",
        "My trip/images/1.jpg": "whole",
        "My trip/images/2.jpg": "whole",
        "My trip/images/3.jpg": "unusable",
        "My trip/images/4.jpg": "unusable",
    }
    kept = sorted(
        str(p.relative_to(sender.photos / "My trip")) for p in sender.photos.rglob("*") if p.is_file()
    )
    assert kept == ["images/1.jpg", "images/2.jpg", "masks/1.png", "transforms.json"]
    at = scenes.places(sender.shop.data, sender.scene.id)
    assert {p.stem for p in at.thumbnails.iterdir()} == {
        f.id for f in files.values() if f.name.endswith(("1.jpg", "2.jpg"))
    }
    others = len(inside["trip/masks/1.png"]) + len(inside["trip/transforms.json"])
    assert files["My trip.zip"].size == others  # what is counted as no photo
    from nerfscene.serve import receiving

    receiving.remove(sender.shop, files["My trip/images/1.jpg"])
    assert not (sender.photos / "My trip/images/1.jpg").exists()
    receiving.remove(sender.shop, receiving.found(sender.shop, upload))
    assert [f.state for f in sender.files()] == ["unusable"] * 0 and not list(sender.photos.iterdir())


@pytest.mark.parametrize(("inside", "says"), [
    ({"../evil.jpg": picture()}, "outside"), ({"notes.txt": b"hello"}, "holds no photo"),
    ({"a.jpg": b"broken"}, "holds no photo"), ({"/etc/a.jpg": picture()}, "outside"),
    ({"bomb.jpg": bytes(80 << 20)}, "unpacks to more than"),
])  # fmt: skip
def test_zips_that_cannot_be_used(sender: Sender, inside: dict[str, bytes], says: str) -> None:
    sender.send("a.zip", packed(inside))
    file = sender.checked()["a.zip"]
    assert file.state == "unusable" and says in file.why and file.why.startswith("a.zip ")
    assert str(sender.shop.data) not in file.why
    assert not list((sender.shop.data / "uploads").iterdir()) and not list(sender.photos.iterdir())


def test_damaged_zips_and_those_without_room(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed({f"{i}.jpg": picture(i) for i in range(3)})
    sender.send("cut.zip", content[:-100])
    assert "damaged or cut off" in sender.checked()["cut.zip"].why
    monkeypatch.setattr("nerfscene.serve.quota.MOST_FILES", 3)
    sender.send("many.zip", packed({f"{i}.jpg": picture(i) for i in range(4)}))
    assert "a scene can have" in sender.checked()["many.zip"].why


def test_a_zip_may_not_unpack_to_more_than_has_room(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(packed({"a.jpg": picture(), "b.txt": bytes(10_000)}))
    job = Job(str(path), "a.zip", "", unpacked=str(tmp_path / "u"), most_files=10, most_bytes=5000)
    (found,) = checks.verdicts(job)
    assert "for which there is no room" in found.why and not (tmp_path / "u").exists()


def deadly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Lets the checking process end itself at files that contain DIE, as a fault in a decoder would."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, os\n"
        "if 'nerfscene.serve.checks' in ' '.join(sys.orig_argv):\n"
        "    from PIL import Image\n"
        "    was = Image.open\n"
        "    def opened(path, *a, **k):\n"
        "        if b'DIE' in open(path, 'rb').read(): os._exit(9)\n"
        "        return was(path, *a, **k)\n"
        "    Image.open = opened\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_file_that_ends_the_process_is_unusable_and_the_next_is_not(
    sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly(monkeypatch, tmp_path)
    sender.send("bad.jpg", b"\xff\xd8\xffDIE")
    sender.send("good.jpg", picture())
    sender.send("mixed.zip", packed({"1.jpg": picture(1), "2.jpg": b"DIE", "3.jpg": picture(3)}))
    states = {name: file.state for name, file in sender.checked().items()}
    assert states == {
        **{"bad.jpg": "unusable", "good.jpg": "whole", "mixed.zip": "whole"},
        **{"mixed/1.jpg": "whole", "mixed/2.jpg": "unusable", "mixed/3.jpg": "whole"},
    }
    at = scenes.places(sender.shop.data, sender.scene.id)
    assert len(list(at.thumbnails.iterdir())) == 3


def test_a_file_that_takes_too_long_is_unusable(
    sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly(monkeypatch, tmp_path)
    code = (tmp_path / "sitecustomize.py").read_text().replace("os._exit(9)", "import time; time.sleep(600)")
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setattr(checking, "LONGEST", 2.0)
    sender.send("slow.jpg", b"\xff\xd8\xffDIE")
    assert sender.checked()["slow.jpg"].state == "unusable"


def test_people_take_turns(sender: Sender) -> None:
    first = people.first_person(sender.shop.db)
    waiting = checking.Checking(sender.shop)
    for person, name in (("a", "1"), ("a", "2"), ("a", "3"), ("b", "4"), ("b", "5")):
        file = scenes.UploadedFile(name, "", person, name, 1, "coming", "", 0.0)
        waiting.put(file)
    assert [waiting._next() for _ in range(5)] == ["1", "4", "2", "5", "3"]
    assert first.first


def test_the_process_answers_lines_of_json(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(picture())
    out = io.StringIO()
    line = json.dumps({"path": str(path), "name": "a.jpg", "thumbnail": str(tmp_path / "t.jpg")})
    checks.answer(iter([line]), out.write)
    assert json.loads(out.getvalue())["kind"] == "photo"
