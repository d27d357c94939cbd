"""One scene, one file in another program's format: finds the writer, and checks first what can be checked."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from nerfscene.cameras.algebra import similarity_scale
from nerfscene.config import CredentialsConfig, ExportConfig
from nerfscene.credentials import library
from nerfscene.credentials.facts import Facts, facts_of
from nerfscene.credentials.marking import Marker, mark, ready
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.folders import straight
from nerfscene.exporters.ply_file import FLOAT_STEP
from nerfscene.exporters.told import Told, needed
from nerfscene.scene.atomic import telling
from nerfscene.scene.folder import FIELD_FILE, is_scene
from nerfscene.scene.scene import Scene

Kind = Literal["mesh", "points", "cameras", "splats"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Writer = Callable[[Scene, Path, ExportConfig, Told], dict[str, Any]]
FOLDER = ""  # the ending of a folder

# Each kind's endings, the usual one first, and the optional modules that writing one takes.
FORMATS: dict[Kind, dict[str, tuple[str, ...]]] = {
    "mesh": {
        ".glb": ("fast_simplification",),
        ".obj": ("fast_simplification",),
        ".ply": ("fast_simplification",),
        ".stl": ("fast_simplification",),
        ".usdz": ("fast_simplification", "pxr"),
    },
    "points": {".ply": (), ".las": ("laspy",), ".laz": ("laspy", "lazrs")},
    "cameras": {".json": (), FOLDER: ()},
    "splats": {".ply": (), ".spz": (), ".sog": (), ".glb": (), ".usdz": ("pxr",), ".usdc": ("pxr",)},
}
WRITERS = {
    "mesh": ("mesh", "write_mesh"),
    "points": ("points", "write_points"),
    "cameras": ("camera_files", "write_cameras"),
    "splats": ("splats", "write_splats"),
}
PURPOSES = {
    "fast_simplification": "a mesh",
    "pxr": "a USD file",
    "laspy": "a .las or .laz file",
    "lazrs": "a .laz file",
}
OF_KIND: dict[Kind, tuple[str, ...]] = {  # the settings that not every kind has
    "mesh": ("faces", "texture", "holes"),
    "points": ("count",),
    "cameras": ("photos", "cameras"),
    "splats": ("count", "degree", "fit"),
}
SETTINGS = ("faces", "texture", "points", "splats", "degree")  # that credentials tell, of what was written
ROUNDED: tuple[Kind, ...] = ("mesh", "splats")  # their files hold floats; points and cameras hold doubles
ROUGH = 1e-4  # of the subject's box
UNTEXTURED = (".ply", ".stl")  # of a mesh
INSTEAD = "choose another with -o"


def export(
    scene: Scene,
    file: Path,
    to: str | None = None,
    config: ExportConfig = ExportConfig(),  # noqa: B008 - frozen
    told: Told = Told(),  # noqa: B008
    credentials: CredentialsConfig | None = None,
) -> dict[str, Any]:
    """Writes a scene as a mesh, points, cameras or splats (``to``) to ``file``, whose ending is the format.

    credentials: how it is signed once it is complete; None: it isn't.
    Returns plain values that say what was written; among them "kind", "file" and "credentials": the files
    that hold these.
    Raises NerfsceneError as ``check_export`` does, for a key that can't be used or a missing c2pa-python, and
    for a scene that there is nothing of to write.
    """
    from nerfscene.films.video import make_folder_of  # loads av

    kind = check_export(file, to)
    file = straight(file)
    if kind == "cameras" and credentials is not None and credentials.credentials:
        raise NerfsceneError("cameras are no picture that could be signed: leave out --credentials")
    if credentials is not None and credentials.credentials:
        library.c2pa()  # which was asked for: without it there is no use in beginning
    marker = ready(credentials or CredentialsConfig(credentials=False), told.warn, told.warn)
    if kind == "mesh" and config.texture:
        _keep_pictures(file)
    make_folder_of(file, INSTEAD)
    try_place(file)
    module, name = WRITERS[kind]
    writer: Writer = getattr(importlib.import_module(f"nerfscene.exporters.{module}"), name)
    if kind in ROUNDED:
        _tell_of_rounding(scene, file, config, told)
    made = writer(scene, file, config, told)
    marked: list[Path] = []
    if kind != "cameras":
        settings = {name: made[name] for name in SETTINGS if isinstance(made.get(name), int | float | str)}
        marked = signed(scene, file, kind, settings, marker, told)
    return {"kind": kind, "file": str(file), **made, "credentials": [str(one) for one in marked]}


def _keep_pictures(file: Path) -> None:
    """Raises NerfsceneError if a file that an .obj would bring along is there, and is no earlier .obj's."""
    if file.suffix.lower() != ".obj" or file.exists():
        return
    for beside in (file.with_suffix(".png"), file.with_suffix(".mtl")):
        if beside.exists():
            raise NerfsceneError(
                f"{beside} is there already, and {file.name} would bring a file of that name along; {INSTEAD}"
            )


def signed(
    scene: Scene, file: Path, kind: str, settings: dict[str, Any], marker: Marker, told: Told
) -> list[Path]:
    """Signs a complete file if ``marker`` has a key; returns the files that hold its credentials.

    Credentials of an earlier file of that name are removed in any case.
    """
    facts = Facts("", 0, kind) if marker.key is None else facts_of(scene, kind, settings)
    return mark(file, facts, marker, told.warn)


def check_export(file: Path, to: str | None, scene_folder: Path | None = None) -> Kind:
    """The kind of what is to be exported; checks all that can be checked before the work, and makes nothing.

    to: one of ``KINDS``; None where the ending of ``file`` says it. scene_folder: the scene's own, in which
    nothing is written.
    Raises NerfsceneError for a kind or ending that there is not, a place where nothing can be written, and a
    package that is missing.
    """
    from nerfscene.films.video import check_folder_of

    kind, ending = kind_of(file, to), file.suffix.lower()
    if scene_folder is not None:
        keep_out_of(file, scene_folder)
    with telling(file):  # a name can be too long
        keep_out_of_scenes(file)
        if ending != FOLDER and file.is_dir():
            raise NerfsceneError(f"{file} is a folder; give the file another name")
        if ending == FOLDER and file.exists() and not file.is_dir():
            raise NerfsceneError(f"{file} is a file, and a name without an ending is for a folder; {INSTEAD}")
        check_folder_of(file, INSTEAD)
    for module in FORMATS[kind][ending]:
        needed(module, "export", PURPOSES[module])
    return kind


def _tell_of_rounding(scene: Scene, file: Path, config: ExportConfig, told: Told) -> None:
    """Warns where the scene lies so far from the origin, as on a map, that floats would round it visibly."""
    from nerfscene.exporters.placement import placed  # loads scipy

    world_from_scene = np.linalg.inv(placed(scene, config.world).scene_from_world).astype(np.float64)
    step = FLOAT_STEP * float(np.abs(world_from_scene[:3, 3]).max())
    share = step / (2 * similarity_scale(world_from_scene))
    if share > ROUGH:
        way_out = "leave out --world capture" if config.world == "capture" else "set an origin in the viewer"
        told.warn(
            f"the scene lies so far from the origin of its world that numbers in {file.suffix.lower()} files "
            f"round its places to {step:.2g} units, {share:.2%} of the subject's box: {way_out}"
        )


def idle_settings(kind: Kind, file: Path, config: ExportConfig) -> list[str]:
    """A sentence about each setting that was given although what is written has no use for it."""
    idle = sorted({name for names in OF_KIND.values() for name in names} - set(OF_KIND[kind]))
    said = []
    for name in idle:
        if getattr(config, name) != getattr(ExportConfig, name):
            meant = _listed([_noun(other) for other in KINDS if name in OF_KIND[other]], "or")
            said.append(f"--{name} is for {meant}; it changes nothing about {_noun(kind)}")
    ending = file.suffix.lower()
    if kind == "mesh" and ending in UNTEXTURED and config.texture not in (0, ExportConfig.texture):
        said.append(f"--texture changes nothing about {ending} files, which hold no texture")
    return said


def kind_of(file: Path, to: str | None) -> Kind:
    """The kind that is to be written to ``file``: ``to``, or the only one that its ending can mean.

    Raises NerfsceneError for a kind that there is not, an ending that it can't have, or several kinds.
    """
    ending = file.suffix.lower()
    able = [kind for kind in KINDS if ending in FORMATS[kind]]
    if to is not None:
        for kind in KINDS:
            if kind == to and kind in able:
                return kind
            if kind == to:
                nouns = [_noun(one) for one in able]
                others = f"; {ending} is for {_listed(nouns, 'or')}" if able and ending else ""
                raise NerfsceneError(f"{file} must end in {endings_of(kind)} to hold {_noun(kind)}{others}")
        raise NerfsceneError(f"to must be {_listed(KINDS, 'or')}, not {to!r}")
    if ending == FOLDER:
        raise NerfsceneError(
            f"{file} does not say what it is to hold: give it an ending, such as .glb, or add --to cameras "
            "for a folder of cameras"
        )
    if not able:
        endings = sorted({ending for kind in KINDS for ending in FORMATS[kind]} - {FOLDER})
        raise NerfsceneError(
            f"{file} doesn't end in anything that a scene can be written to: {', '.join(endings)}"
        )
    if len(able) > 1:
        choices = _listed([f"--to {kind}" for kind in able], "or")
        raise NerfsceneError(f"{file} does not say what it is to hold: add {choices}")
    return able[0]


def keep_out_of_scenes(file: Path) -> None:
    """Raises NerfsceneError for a file or folder that is the folder of any scene, or in it."""
    place = Path(os.path.realpath(file))
    for folder in (place, *place.parents):
        if is_scene(folder) and (folder / FIELD_FILE).is_file():
            keep_out_of(file, folder)


def keep_out_of(file: Path, scene_folder: Path) -> None:
    """Raises NerfsceneError for a file or folder that is a scene's own folder, or in it."""
    place, scene = Path(os.path.realpath(file)), Path(os.path.realpath(scene_folder))
    if place == scene:
        raise NerfsceneError(f"{file} is the scene itself; {INSTEAD}")
    if scene in place.parents:
        beside = scene_folder.parent / file.name
        raise NerfsceneError(
            f"{file} is in the scene's own folder, which keeps nothing but the scene; write it elsewhere, "
            f"such as -o {beside}"
        )


def try_place(file: Path) -> None:
    """Raises NerfsceneError if no file can be made beside ``file``, such as on a disk that is only read."""
    place = Path(os.path.abspath(file))  # "." has no name of its own
    with telling(file):
        if not place.name:
            raise NerfsceneError(f"{file} is the root of all folders; {INSTEAD}")
        probe = place.with_name(f".{place.name}.{os.getpid()}.tmp")
        probe.touch()
        probe.unlink()


def endings_of(kind: Kind) -> str:
    """A kind's endings in words: ".ply, .las or .laz"."""
    words = [ending for ending in FORMATS[kind] if ending != FOLDER]
    return _listed([*words, *(["nothing (a folder)"] if FOLDER in FORMATS[kind] else [])], "or")


def _noun(kind: Kind) -> str:
    return "a mesh" if kind == "mesh" else kind


def _listed(words: Sequence[str], last: str) -> str:
    """The words with commas, and ``last`` before the last of them."""
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end
