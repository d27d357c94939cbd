"""What a film made in the page is to be: the settings of ``nerfscene render``, as a path keeps them."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.config import RenderConfig
from nerfscene.films.codecs import CODECS, USUAL, known
from nerfscene.films.settings import READY
from nerfscene.films.tracks import Point, Tracks
from nerfscene.types import Array

Focus = str | float | Point | None
COMMON = (
    (".mp4", "h264"), (".mp4", "h265"), (".mp4", "av1"), (".webm", "vp9"), (".mov", "prores"),
    (".mkv", "ffv1"), (".gif", "gif"), (".webp", "webp"),
)  # fmt: skip


@dataclass(frozen=True)
class FilmSettings:
    """A film's settings beside its path; each means what the field of RenderConfig with its name does.

    ending: of the film's file, such as ".mp4". focus: as there, but a point is (x, y, z), in the coordinates
    of the path, and a distance a number, in their units. frames: whether there are PNG frames too.
    """

    ending: str = ".mp4"
    codec: str = "h264"
    lens: str = "perspective"
    fov: float | None = None
    view_width: float | None = None
    eye_distance: float | None = None
    samples: int = 0
    motion_blur: float = 0.0
    aperture: float | None = None
    focus: Focus = None
    exposure: float = 0.0
    background: str = "auto"
    depth: bool = False
    frames: bool = False
    passes: str = ""
    passes_as: str = "exr"
    preview: bool = False

    @property
    def name(self) -> str:
        """The film's file."""
        return f"film{self.ending}"

    @property
    def beside(self) -> bool:
        """Whether there are frames beside the film."""
        return self.frames or bool(self.passes)

    def moved(self, new_from_world: Array) -> FilmSettings:
        """The same in the coordinates of another world; ``new_from_world``: a similarity (4, 4)."""
        scale = similarity_scale(new_from_world)
        focus = focus_moved(self.focus, new_from_world)
        lengths = [None if v is None else v * scale for v in (self.view_width, self.eye_distance)]
        return replace(self, focus=focus, view_width=lengths[0], eye_distance=lengths[1])


def focus_moved(focus: Focus, new_from_world: Array) -> Focus:
    """A focus in the coordinates of another world."""
    if isinstance(focus, tuple):
        return point_moved(focus, new_from_world)
    return focus * similarity_scale(new_from_world) if isinstance(focus, float) else focus


def point_moved(point: Point, new_from_world: Array) -> Point:
    """A point in the coordinates of another world."""
    x, y, z = (new_from_world @ [*point, 1.0])[:3]
    return float(x), float(y), float(z)


def format_name(ending: str, codec: str) -> str:
    """How the page calls a kind of file, such as "film.mp4 (H.264)"; errors name files like that too."""
    return f"film{ending} ({known(codec).words})"


FORMATS = {format_name(*one): one for one in COMMON}
EVERY_FORMAT = {format_name(e, c.name): (e, c.name) for c in CODECS for e in c.endings}


def focus_in_words(focus: Focus) -> str | None:
    """A focus as --focus takes it."""
    if isinstance(focus, tuple):
        return ",".join(f"{x:.6g}" for x in focus)
    return f"{focus:.6g}" if isinstance(focus, float) else focus


def config_of(film: FilmSettings, path: Path, size: tuple[int, int], backend: str = "auto") -> RenderConfig:
    """What the command takes for a film of ``size`` (width, height) along the path in a file.

    What the path pulls by key must not be in ``film``, see ``without``.
    Raises NerfsceneError for one that is out of range.
    """
    values = {f.name: getattr(film, f.name) for f in fields(film) if f.name not in ("ending", "frames")}
    values |= {
        "lens": None if film.lens == "perspective" else film.lens,
        "fov": film.fov if film.lens == "fisheye" else None,
        "view_width": film.view_width if film.lens == "orthographic" else None,
        "eye_distance": film.eye_distance if film.lens == "stereo180" else None,
        "focus": None if film.aperture is None else focus_in_words(film.focus),
        "exposure": film.exposure or None,
        "passes": film.passes or None,
    }
    return RenderConfig(path=str(path), width=size[0], height=size[1], backend=backend, **values)  # type: ignore[arg-type]


def without(film: FilmSettings, tracks: Tracks) -> FilmSettings:
    """The settings without those that the tracks have by key, so that these count."""
    if tracks.exposure:
        film = replace(film, exposure=0.0)
    if tracks.aperture:
        film = replace(film, aperture=None)
    return replace(film, focus=None) if tracks.focus else film


def command_of(config: RenderConfig, film: FilmSettings, scene: str) -> str:
    """The command that makes the same film of the scene in a folder of that name."""
    words = ["nerfscene", "render", scene, "-o", film.name]
    words += ["--frames", "frames"] if film.beside else []
    usual = RenderConfig()
    clear = film.background == "transparent" and not film.depth
    for f in fields(config):
        value = getattr(config, f.name)
        plain = f.name == "codec" and value == USUAL[film.ending][clear]
        if value == getattr(usual, f.name) or f.name in ("backend", "threads") or plain:
            continue
        option = f"--{f.name.replace('_', '-')}"
        if value is True:
            words += [option]
        else:
            words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def preset_of(film: FilmSettings, size: tuple[int, int], fps: float, usual: float) -> str:
    """The name of the preset that these are, "" for none; usual: the photos' width over their height."""
    for name, ready in READY.items():
        height = ready.height or round(ready.width / usual / 2) * 2
        kind = with_preset(film, name)
        if size == (ready.width, height) and fps == ready.fps and kind == film:
            return name
    return ""


def with_preset(film: FilmSettings, name: str) -> FilmSettings:
    """The settings with a preset's kind of file."""
    codec = known(READY[name].codec)
    endings = READY[name].endings or codec.endings
    keeps = film.codec == codec.name and film.ending in endings
    return film if keeps else replace(film, codec=codec.name, ending=endings[0])


def described(film: FilmSettings) -> dict[str, Any]:
    """What JSON keeps of the settings: those that aren't the usual ones."""
    usual = asdict(FilmSettings())
    return {k: v for k, v in asdict(film).items() if v != usual[k]}


def restored(data: dict[str, Any]) -> FilmSettings:
    """What ``described`` kept; it was checked by ``own_keyframes``."""
    numbers = {f.name for f in fields(FilmSettings) if "float" in str(f.type)} - {"focus"}
    given = {name: value for name, value in data.items() if value is not None}
    values: dict[str, Any] = {k: float(v) if k in numbers else v for k, v in given.items()}
    focus = values.get("focus")
    if isinstance(focus, list):
        values["focus"] = tuple(float(x) for x in focus)
    elif isinstance(focus, int | float):
        values["focus"] = float(focus)
    return FilmSettings(**values)


def in_page(sentence: str) -> str:
    """A sentence for people at a command line, with the options called as the page's controls are."""
    sentence = sentence.replace("name the film film", "choose the file film")
    return re.sub(r"--([a-z][a-z-]*)", lambda found: found[1].replace("-", " "), sentence)
