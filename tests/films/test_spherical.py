"""Players are told of films that show all round: read back by FFmpeg's own reader, which knows the boxes."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from nerfscene.errors import NerfsceneError
from nerfscene.films import video
from nerfscene.films.boxes import box, boxes, change_index
from nerfscene.films.codecs import chosen
from nerfscene.films.spherical import VERSION_1
from nerfscene.types import Lens

EQUIRECTANGULAR, TILE = 0, 2  # AV_SPHERICAL_… of libavutil/spherical.h
TWO_D, SIDE_BY_SIDE = 0, 1  # AV_STEREO3D_… of libavutil/stereo3d.h


def noise(count: int = 9) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    yield from rng.integers(0, 256, (count, 64, 128, 3), np.uint8)


def film(file: Path, lens: Lens, codec: str | None = None) -> Path:
    try:
        wanted = chosen(file, codec)
    except NerfsceneError as error:
        pytest.skip(str(error))  # this PyAV has no such encoder
    assert video.write_film(noise(), file, 12, codec=wanted, lens=lens) == 9
    return file


def told(file: Path) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """(projection, yaw, pitch, roll, bounds left, top, right and bottom) and (stereo kind,), as FFmpeg reads
    them; None for what it doesn't find."""
    with av.open(str(file)) as container:
        sides = {each.type.name: bytes(each) for each in next(container.decode(video=0)).side_data}
    sphere, stereo = sides.get("SPHERICAL"), sides.get("STEREO3D")
    return (
        None if sphere is None else struct.unpack_from("=i3i4I", sphere),
        None if stereo is None else struct.unpack_from("=i", stereo),
    )


def inside(held: bytes, *way: bytes) -> bytes:
    """What the first box at the end of ``way`` holds."""
    for kind in way:
        held = next(content for name, content in boxes(held) if name == kind)
        if kind == b"stsd":
            held = held[8:]
    return held


KINDS = [
    *((".mp4", name) for name in ("h264", "h265", "av1")),
    *((".mov", name) for name in ("h264", "prores")),
    *((".mkv", name) for name in ("h264", "h265", "av1", "vp9")),
    *((".webm", name) for name in ("vp9", "av1")),
]


@pytest.mark.parametrize(("ending", "codec"), KINDS)
def test_players_learn_that_a_film_is_all_round(tmp_path: Path, ending: str, codec: str) -> None:
    sphere, stereo = told(film(tmp_path / f"film{ending}", "equirectangular", codec))
    assert sphere == (EQUIRECTANGULAR, 0, 0, 0, 0, 0, 0, 0)
    assert stereo == (TWO_D,)


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_players_learn_that_a_film_is_for_two_eyes(tmp_path: Path, ending: str) -> None:
    sphere, stereo = told(film(tmp_path / f"film{ending}", "stereo180"))
    quarter = 2**30  # of 2³²: of the sphere's width, each eye's picture leaves out a quarter on either side
    assert sphere == (TILE, 0, 0, 0, quarter, 0, quarter, 0)
    assert stereo == (SIDE_BY_SIDE,)


def test_other_films_say_nothing(tmp_path: Path) -> None:
    for lens in ("perspective", "fisheye", "orthographic"):
        assert told(film(tmp_path / f"{lens}.mp4", lens)) == (None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("lens", ["equirectangular", "stereo180"])
def test_the_pictures_stay_the_same_and_begin_before_all_is_loaded(tmp_path: Path, lens: Lens) -> None:
    def pictures(file: Path) -> list[NDArray[np.uint8]]:
        with av.open(str(file)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

    plain, marked = film(tmp_path / "plain.mp4", "perspective"), film(tmp_path / "film.mp4", lens)
    assert all(map(np.array_equal, pictures(plain), pictures(marked)))
    kinds = [kind for kind, _ in boxes(marked.read_bytes())]
    assert kinds.index(b"moov") < kinds.index(b"mdat")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["film.mp4", "plain.mp4"]


@pytest.mark.parametrize("ending", ["mkv", "webm"])
def test_a_copied_film_has_the_same_frames_at_the_same_times(tmp_path: Path, ending: str) -> None:
    """Also one whose frames don't last whole milliseconds, in which these files count."""
    shown = []
    for lens in ("perspective", "stereo180"):
        with av.open(str(film(tmp_path / f"{lens}.{ending}", lens))) as container:  # type: ignore[arg-type]
            stream = container.streams.video[0]
            frames = [(f.time, f.to_ndarray(format="rgb24")) for f in container.decode(stream)]
            shown.append((stream.average_rate, container.duration, frames))
    (rate, length, plain), (copied_rate, copied_length, copied) = shown
    assert rate == copied_rate == 12 and length == copied_length
    for (time, picture), (copied_time, same) in zip(plain, copied, strict=True):
        assert abs(time - copied_time) < 2e-3 and np.array_equal(picture, same)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"perspective.{ending}", f"stereo180.{ending}"]


def test_a_transparent_film_stays_transparent(tmp_path: Path) -> None:
    file = tmp_path / "film.webm"
    clear = (np.dstack([frame, np.full((64, 128), 90, np.uint8)]) for frame in noise(3))
    assert video.write_film(clear, file, 10, lens="equirectangular") == 3
    assert told(file) == (None, None), "which players can't be told in such a file"
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        assert stream.metadata["alpha_mode"] == "1"
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # FFmpeg's own decoder passes over alpha
        packets = [packet for packet in container.demux(stream) if packet.size]
        alphas = [f.to_ndarray(format="rgba")[..., 3] for p in packets for f in decoder.decode(p)]
    assert len(alphas) == 3 and all(abs(float(alpha.mean()) - 90) < 4 for alpha in alphas)


def test_the_boxes_lie_where_the_specification_says(tmp_path: Path) -> None:
    data = film(tmp_path / "film.mp4", "stereo180").read_bytes()
    entry = inside(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
    names = [name for name, _ in boxes(entry[78:])]
    assert names[:3] == [b"avcC", b"st3d", b"sv3d"], "before the optional ones"
    assert inside(entry[78:], b"st3d") == bytes([0, 0, 0, 0, 2])
    assert inside(entry[78:], b"sv3d", b"svhd") == b"\0\0\0\0nerfscene\0"


def test_older_players_find_xml(tmp_path: Path) -> None:
    data = film(tmp_path / "film.mp4", "equirectangular").read_bytes()
    held = inside(data, b"moov", b"trak", b"uuid")
    assert held[:16] == VERSION_1
    said = {item.tag.rpartition("}")[2]: item.text for item in ElementTree.fromstring(held[16:])}
    assert said == {
        "Spherical": "true",
        "Stitched": "true",
        "StitchingSoftware": "nerfscene",
        "ProjectionType": "equirectangular",
    }
    two = film(tmp_path / "two.mp4", "stereo180").read_bytes()
    assert b"uuid" not in [kind for kind, _ in boxes(inside(two, b"moov", b"trak"))]


def small(places: list[int], kind: bytes = b"stco", after: bytes = b"film") -> bytes:
    """A file with an index and ``after`` behind it."""
    form = "I" if kind == b"stco" else "Q"
    table = box(kind, bytes(4), struct.pack(f">I{len(places)}{form}", len(places), *places))
    way = table
    for name in (b"stbl", b"minf", b"mdia", b"trak"):
        way = box(name, way)
    return box(b"ftyp", b"isom") + box(b"moov", way) + box(b"mdat", after)


def places_in(data: bytes) -> tuple[bytes, list[int]]:
    ((kind, held),) = boxes(inside(data, b"moov", b"trak", b"mdia", b"minf", b"stbl"))
    form = "I" if kind == b"stco" else "Q"
    (count,) = struct.unpack_from(">I", held, 4)
    return kind, list(struct.unpack_from(f">{count}{form}", held, 8))


@pytest.mark.parametrize("kind", [b"stco", b"co64"])
def test_what_moves_is_found_where_it_is(tmp_path: Path, kind: bytes) -> None:
    file = tmp_path / "film.mp4"
    begin = len(small([0, 0], kind)) - 4
    file.write_bytes(small([3, begin], kind))  # the first lies before the index and stays
    change_index(file, lambda index: index + box(b"free", bytes(100)))
    data = file.read_bytes()
    assert places_in(data) == (kind, [3, begin + 108]) and data[begin + 108 :] == b"film"
    change_index(file, lambda index: inside(box(b"moov", index), b"moov")[:-108])
    assert file.read_bytes() == small([3, begin], kind)


def test_places_beyond_4_gib_get_more_room(tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    far = 2**32 - 50
    file.write_bytes(small([far, far + 10]))
    change_index(file, lambda index: index + box(b"free", bytes(100)))
    data = file.read_bytes()
    grown = 108 + 2 * 4  # each place takes 4 bytes more
    assert places_in(data) == (b"co64", [far + grown, far + 10 + grown]) and data.endswith(b"film")


def test_a_file_without_an_index_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    file.write_bytes(box(b"ftyp", b"isom"))
    with pytest.raises(NerfsceneError, match="has no index"):
        change_index(file, lambda index: index)
    with pytest.raises(ValueError, match="is in"):
        list(boxes(struct.pack(">I4s", 99, b"moov")))
