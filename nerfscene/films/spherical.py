"""Tells players that a film shows all round, or half of it for each eye: metadata in the film's file.

Written as Google's "Spherical Video V2 RFC" and "Spherical Video RFC" say (github.com/google/spatial-media,
docs/spherical-video-v2-rfc.md and docs/spherical-video-rfc.md). Version 2 is two boxes in the entry that
describes the video: ``st3d``, how the eyes' pictures lie in the frame, and ``sv3d``, the projection, with the
shares of the sphere that the picture leaves out at its edges, in units of 2⁻³². Version 1, for older players,
is XML in a box of the video's track. It can't say that each eye has half of a sphere, so only films of the
whole sphere get it.
"""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import av

from nerfscene.films.boxes import box, boxes, change_index, changed, full_box
from nerfscene.films.codecs import Codec
from nerfscene.scene.unnamed_file import unnamed
from nerfscene.types import Lens

WITH_BOXES = ("mp4", "mov")  # FFmpeg's names of containers, as in ``codecs.KINDS``
COPIED = ("matroska", "webm")  # into these FFmpeg writes it itself, if a film that it copies says it
SPHERICAL: tuple[Lens, ...] = ("equirectangular", "stereo180")
MONO, LEFT_RIGHT = 0, 2  # of st3d
QUARTER = 1 << 30  # of 2³²
VERSION_1 = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")
ENTRY_HEAD = 78  # bytes of an entry for video before the boxes in it (ISO/IEC 14496-12, VisualSampleEntry)
LAST = (b"pasp", b"clap", b"colr", b"fiel", b"btrt", b"gama")  # optional boxes, which ours must precede
TOOL = "nerfscene"


def tell_players(file: Path, lens: Lens) -> None:
    """Writes what a player must know of a film taken with ``lens``, one of SPHERICAL, into the film's file.

    The film keeps its index at its beginning. Raises NerfsceneError for a file that is no .mp4 or .mov, and
    OSError for a full disk.
    """
    change_index(file, lambda index: changed(index, (b"trak",), lambda track: _told(track, lens)))


def can_tell(kind: str, codec: Codec, clear: bool) -> bool:
    """Whether a film in a container of this kind (FFmpeg's name) can tell players that it shows all round.

    clear: whether it has transparency, which FFmpeg doesn't mark as such where it copies. For FFV1, it knows
    no container with our boxes to copy from.
    """
    return kind in WITH_BOXES or (kind in COPIED and not clear and codec.name != "ffv1")


def copy_telling(film: Path, to: Path, kind: str, lens: Lens) -> None:
    """Copies a film in a container of this kind, one of COPIED, adding what players must know of ``lens``.

    The frames aren't encoded again. FFmpeg takes what it tells from a stream of which the new one is made, so
    a file with the first frame alone is made to say it first. Raises OSError for a full disk.
    """
    with unnamed() as sample:
        with av.open(str(film), format=kind) as source, av.open(str(sample), "w", format="mp4") as made:
            first = made.add_stream_from_template(source.streams.video[0], opaque=True)
            _copy(source, made, first, 1)
        tell_players(sample, lens)
        with (
            av.open(str(film), format=kind) as source,
            av.open(str(sample), format="mp4") as template,
            av.open(str(to), "w", format=kind) as made,
        ):
            copied = made.add_stream_from_template(template.streams.video[0], opaque=True)
            copied.metadata.update(source.streams.video[0].metadata)
            if (
                source.streams.video[0].average_rate is not None
            ):  # else players guess it from whole milliseconds
                copied.codec_context.framerate = source.streams.video[0].average_rate
            copied.metadata["stereo_mode"] = "left_right" if lens == "stereo180" else "mono"
            _copy(source, made, copied)


def _copy(
    source: av.container.InputContainer,
    made: av.container.OutputContainer,
    stream: av.VideoStream,
    most: int | None = None,
) -> None:
    """Copies the packets of a film's video, all of them or ``most``, into a stream of another file."""
    packets = (packet for packet in source.demux(video=0) if packet.size)  # the last one is empty
    for packet in itertools.islice(packets, most):
        packet.stream = stream
        if packet.dts is None and most == 1:
            packet.dts = packet.pts
        made.mux(packet)


def _told(track: bytes, lens: Lens) -> bytes:
    """The contents of a track with the metadata, if it is one of video."""
    if not _is_video(track):
        return track
    track = changed(track, (b"mdia", b"minf", b"stbl", b"stsd"), lambda held: _in_entries(held, lens))
    return track + box(b"uuid", VERSION_1, _xml()) if lens == "equirectangular" else track


def _is_video(track: bytes) -> bool:
    """Whether a track has the header of a video."""
    media = dict(boxes(track)).get(b"mdia", b"")
    return b"vmhd" in dict(boxes(dict(boxes(media)).get(b"minf", b"")))


def _in_entries(held: bytes, lens: Lens) -> bytes:
    """The contents of ``stsd`` with our boxes in each entry."""
    made = [held[:8]]
    for kind, entry in boxes(held[8:]):
        if not kind:
            made.append(entry)
            continue
        inside = list(boxes(entry[ENTRY_HEAD:]))
        at = next((i for i, (name, _) in enumerate(inside) if name in (*LAST, b"")), len(inside))
        whole = [box(name, content) if name else content for name, content in inside]
        made.append(box(kind, entry[:ENTRY_HEAD], *whole[:at], *_version_2(lens), *whole[at:]))
    return b"".join(made)


def _version_2(lens: Lens) -> tuple[bytes, bytes]:
    """The boxes st3d and sv3d."""
    stereo = lens == "stereo180"
    side = QUARTER if stereo else 0
    return (
        full_box(b"st3d", struct.pack(">B", LEFT_RIGHT if stereo else MONO)),
        box(
            b"sv3d",
            full_box(b"svhd", TOOL.encode() + b"\0"),
            box(
                b"proj",
                full_box(b"prhd", struct.pack(">iii", 0, 0, 0)),  # yaw, pitch, roll: the middle is ahead
                full_box(b"equi", struct.pack(">IIII", 0, 0, side, side)),  # top, bottom, left, right
            ),
        ),
    )


def _xml() -> bytes:
    """What version 1 says of a film of the whole sphere."""
    facts = {
        "Spherical": "true",
        "Stitched": "true",
        "StitchingSoftware": TOOL,
        "ProjectionType": "equirectangular",
    }
    lines = "".join(f"<GSpherical:{name}>{value}</GSpherical:{name}>" for name, value in facts.items())
    text = (
        '<?xml version="1.0"?><rdf:SphericalVideo '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        f'xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/">{lines}</rdf:SphericalVideo>'
    )
    return text.encode()
