"""Archives of photos, well-meant and malicious."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest
from archives import pack, pack_folder
from photo_cases import write_photos

from nerfscene.capture import archive
from nerfscene.capture.archive import unpack
from nerfscene.capture.folder import open_capture
from nerfscene.errors import NerfsceneError


def refusal(path: Path) -> str:
    """The one sentence that an archive is refused with; checks that nothing is left behind."""
    work = path.parent / "work"
    work.mkdir(exist_ok=True)
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(NerfsceneError) as caught:
        unpack(path, work / "unpacked")
    assert sorted(path.parent.rglob("*")) == before
    assert "\n" not in str(caught.value) and path.name in str(caught.value)
    return str(caught.value)


def test_photos_come_out_once(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos/day", ["1.png", "2.png", "3.png"])
    write_photos(tmp_path / "photos/__MACOSX/day", ["._1.png"])
    packed = pack_folder(tmp_path / "photos.zip", tmp_path / "photos", "a capture/")
    told: list[float] = []
    folder = tmp_path / "work/unpacked"
    root = unpack(packed, folder, lambda stage, done: told.append(done))
    assert root == folder / "a capture/day" and told[-1] == 1
    assert [p.path.name for p in open_capture(root).photos] == ["1.png", "2.png", "3.png"]
    assert not list(folder.rglob("*MACOSX*"))
    assert unpack(packed, folder, lambda *_: pytest.fail("unpacked already")) == root
    write_photos(tmp_path / "photos/day", ["4.png"])
    pack_folder(packed, tmp_path / "photos", "a capture/")
    assert len(list(unpack(packed, folder).iterdir())) == 4
    with pytest.raises(NerfsceneError, match="is an archive"):
        open_capture(packed)


@pytest.mark.parametrize(
    "name", ["/etc/x.jpg", "../x.jpg", "a/../../x.jpg", "..\\x.jpg", "C:\\x.jpg", "C:x.jpg", "done.json"]
)
def test_archive_entries_stay_inside_the_folder(tmp_path: Path, name: str) -> None:
    packed = pack(tmp_path / "bad.zip", ("a.jpg", b"x"), (name, b"x"))
    assert "is not unpacked" in refusal(packed)


def test_links_and_encrypted_entries_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "is a link" in refusal(pack(tmp_path / "link.zip", ("a.jpg", b"x"), (link, b"/etc/passwd")))
    packed = pack(tmp_path / "secret.zip", ("a.jpg", b"x"))
    data = bytearray(packed.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the directory's flag
    packed.write_bytes(data)
    assert "is encrypted" in refusal(packed)


def test_bombs_are_noticed_while_they_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FREE_BYTES", 1 << 20)
    packed = pack(tmp_path / "bomb.zip", ("a.png", bytes(30 << 20)))
    assert "unpacks to more than" in refusal(packed)
    data = bytearray(packed.read_bytes())  # an entry that claims to be small: what counts is what comes out
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (1000).to_bytes(4, "little")
    packed.write_bytes(data)
    refusal(packed)
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    assert "unpacks to more" in refusal(pack(tmp_path / "large.zip", ("a.png", bytes(range(256)) * 8)))
    monkeypatch.setattr(archive, "MOST_FILES", 3)
    many = pack(tmp_path / "many.zip", *((f"{i}.png", b"x") for i in range(4)))
    assert "holds 4 files" in refusal(many)


def test_what_is_no_archive_and_what_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    assert "cannot be unpacked" in refusal(tmp_path / "text.zip")
    packed = pack(tmp_path / "hurt.zip", ("a.png", bytes(range(256)) * 100))
    data = bytearray(packed.read_bytes())
    data[60:70] = bytes(10)
    packed.write_bytes(data)
    assert "cannot be unpacked" in refusal(packed)
    packed.write_bytes(data[: len(data) // 2])
    assert "cannot be unpacked" in refusal(packed)
    assert "damaged" in refusal(packed) and "free some space" not in refusal(packed)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = pack(tmp_path / "twice.zip", ("a.png", b"1"), ("a.png", b"2"))
    assert "same name" in refusal(twice)
    assert "cannot be unpacked" in refusal(pack(tmp_path / "both.zip", ("a", b"1"), ("a/b", b"2")))


def test_a_directory_of_contents_that_points_before_the_file(tmp_path: Path) -> None:
    """Such an offset is an error of the operating system's, which has nothing to do with the disk's space."""
    packed = pack(tmp_path / "hurt.zip", *((f"{i}.png", bytes(range(256))) for i in range(3)))
    data = packed.read_bytes()
    at = data.index(b"PK\x01\x02") + 42  # where the first entry's offset is
    for offset in (0xFFFFFFF0, 7, len(data)):
        packed.write_bytes(data[:at] + offset.to_bytes(4, "little") + data[at + 4 :])
        said = refusal(packed)
        assert "damaged" in said and "free some space" not in said


def test_names_that_are_no_text_are_one_sentence(tmp_path: Path) -> None:
    packed = pack(tmp_path / "named.zip", ("\u00fc\u00fc.jpg", b"photo"))
    packed.write_bytes(packed.read_bytes().replace("\u00fc\u00fc".encode(), b"\xff\xfe\xff\xfe"))
    assert "cannot be unpacked" in refusal(packed)


def test_depth_maps_of_phones_stay_packed(tmp_path: Path) -> None:
    """A phone writes two for each frame of a video: more files than an archive may hold."""
    with zipfile.ZipFile(tmp_path / "share.zip", "w") as packed:
        packed.writestr("scan/odometry.csv", "timestamp, frame\n")
        for index in range(5):
            packed.writestr(f"scan/depth/{index:06d}.png", b"depth")
            packed.writestr(f"scan\\Confidence\\{index:06d}.png", b"confidence")
        packed.writestr("scan/depth/notes.txt", b"kept")
    root = unpack(tmp_path / "share.zip", tmp_path / "out")
    assert sorted(p.relative_to(root).as_posix() for p in root.rglob("*.*")) == [
        "depth/notes.txt",
        "odometry.csv",
    ]


def test_a_zip_of_nothing_but_a_folder_called_depth(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "share.zip", "w") as packed:
        packed.writestr("depth/0.png", b"photo")
    assert [
        p.name for p in unpack(tmp_path / "share.zip", tmp_path / "out").iterdir() if p.suffix == ".png"
    ] == ["0.png"]
