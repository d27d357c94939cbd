"""The command ``nerfscene paths``."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from nerfscene.config import Backend, RenderConfig
from nerfscene.errors import NerfsceneError
from nerfscene.given import home_expanded
from nerfscene.loading import leaving_at_once
from nerfscene.terminal import Live

if TYPE_CHECKING:
    from nerfscene.scene.folder import Scene

Program = Literal[
    "auto", "nerfscene", "nerfstudio", "instant-ngp", "blender", "supersplat", "splat-transform"
]
SHEET = Path("paths.jpg")


@dataclass(frozen=True)
class Paths:
    """Show every preset of films in one picture: frames of each, and its way from above.
    Or write one path for another program."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The picture; its name ends in .jpg or .png. When not given: paths.jpg, or none with --write."""
    write: Path | None = None
    """Write one path to this file, and make no picture unless -o is given.
    Its name ends in .json, or in .glb for Blender."""
    program: Program = "auto"
    """Whom the path is written for. auto: by the file's name; settings.json is for SuperSplat's viewer,
    base_cam.json for instant-ngp, .glb for Blender, and any other .json for nerfscene."""
    write_transform: Path | None = None
    """Of a path for nerfstudio: its dataparser_transforms.json, in whose coordinates the path is written.
    Of one for instant-ngp: the transforms.json that it trained on. When not given: the one that is found."""
    path: str = "auto"
    """With --write: which path, a preset's name or a file, as for nerfscene render."""
    through: str | None = None
    """With --write: photos to film from instead, such as 0001.jpg,0017.jpg,0042.jpg."""
    loop: bool = False
    """With --through: go on from the last photo to the first."""
    look_at: str | None = None
    """With --write: what the camera always looks at, as for nerfscene render."""
    fov: float | str | None = None
    """With --write: field of view in degrees, or by key, as for nerfscene render."""
    roll: float | str | None = None
    """With --write: degrees by which the picture is turned clockwise, or by key: 0:0,4:15,8:0."""
    aperture: float | str | None = None
    """With --write, for nerfscene: the lens's f-number, or by key."""
    focus: str | None = None
    """With --write, for nerfscene: what is sharp, or by key, as for nerfscene render."""
    exposure: float | str | None = None
    """With --write, for nerfscene: stops by which the film is brighter, or by key."""
    path_transform: Path | None = None
    """With --write: what takes the path from a file to the capture's coordinates, as for nerfscene render."""
    width: int | None = None
    """With --write: the film's width in pixels."""
    height: int | None = None
    """With --write: the film's height in pixels."""
    fps: float | None = None
    """With --write: frames per second. When not given: the path file's, or 30."""
    seconds: float | None = None
    """With --write: length of the film in seconds. When not given: the path file's, or 8."""
    json: bool = False
    """Print only one JSON object: the picture, and of each preset its name or why there is none."""
    backend: Backend = "auto"
    """What computes: the choices of nerfscene train."""


def run_paths(a: Paths) -> None:
    """``nerfscene paths``."""
    with leaving_at_once():
        from nerfscene import api
        from nerfscene.measuring.contact_sheet import check_sheet_name
        from nerfscene.scene import folder as scenes

    config = _film_config(a)
    sheet = a.output if a.write is not None else a.output or SHEET
    sheet = None if sheet is None else home_expanded(sheet)
    if sheet is not None:
        check_sheet_name(sheet)
    with Live(a.json) as live:
        scene = scenes.load(a.scene)
        told: dict[str, Any] = {}
        if a.write is not None:
            told |= _written(a, config, scene, live)
        if sheet is not None:
            told |= _sheet(a, sheet, scene, live)
        if a.json:
            print(api.as_json(told))


def _film_config(a: Paths) -> RenderConfig:
    """The settings of the path to be written. Raises NerfsceneError for those that mean nothing."""
    shared = {field.name for field in fields(RenderConfig)} & {field.name for field in fields(a)}
    config = RenderConfig(**{name: getattr(a, name) for name in shared})
    usual = RenderConfig(backend=a.backend)
    if a.write is None and (config != usual or a.write_transform is not None or a.program != "auto"):
        raise NerfsceneError(
            "a picture shows every preset, so a path, its film and a program are for --write: add it, as in "
            "--write camera_path.json, or leave them out"
        )
    return config


def _written(a: Paths, config: RenderConfig, scene: Scene, live: Live) -> dict[str, Any]:
    """Writes one path, and says so; what --json prints of it."""
    from nerfscene.films.filming import film_path
    from nerfscene.films.path_writing import own_keyframes_of, program_of, write_camera_path
    from nerfscene.films.video import make_folder_of

    assert a.write is not None
    file = home_expanded(a.write)
    program = program_of(file, a.program)
    transform = None if a.write_transform is None else home_expanded(a.write_transform)
    path, fps = film_path(scene, config)
    path = replace(path, fps=fps)
    make_folder_of(file, "choose another with --write")
    own = own_keyframes_of(config)
    notes = [*path.notes, *write_camera_path(path, file, fps, scene, program, transform, own)]
    for text in notes:
        live.warn(text)
    n = len(path.cameras)
    if not a.json:
        live.say(f"{file}: {n} frames for {program}, {n / fps:.1f} s at {fps:g} frames a second")
    return {"file": str(file), "program": program, "frames": n, "fps": fps, "warnings": notes}


def _sheet(a: Paths, file: Path, scene: Scene, live: Live) -> dict[str, Any]:
    """Draws the picture of all presets, and says so; what --json prints of it."""
    from nerfscene.films.path_sheet import path_sheet
    from nerfscene.films.presets import suited

    rows = path_sheet(
        scene,
        file,
        a.backend,
        lambda done, total: live.show("rendering", done / total, f"frame {done} of {total}"),
    )
    live.bar.stop()
    made = [row.name for row in rows if row.path is not None]
    refused = {row.name: row.refusal for row in rows if row.path is None}
    if not a.json:
        live.say(f"{file}: {', '.join(made)}")
        for name, refusal in refused.items():
            live.say(f"{name}: {refusal}")
        live.say(f"next:  nerfscene render {a.scene} -o film.mp4 --path {made[0]}")
    return {"sheet": str(file), "paths": made, "not_possible": refused, "auto": suited(scene.views)}
