"""The commands ``nerfscene export`` and ``nerfscene share``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from nerfscene.config import CredentialsConfig, ExportConfig, PageConfig, SourceType
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.opens import OPENS
from nerfscene.given import home_expanded
from nerfscene.loading import leaving_at_once
from nerfscene.scene.scene import splats_in_words
from nerfscene.terminal import Live

if TYPE_CHECKING:
    from nerfscene.exporters.told import Told
    from nerfscene.scene.scene import Scene


@dataclass(frozen=True)
class Export:
    """Write a scene as a mesh, points, cameras or splats, for other programs."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file; its ending is the format.
    A mesh: .glb, .obj, .ply, .stl or .usdz. Points: .ply, .las or .laz.
    Cameras: transforms.json, or a folder, which holds COLMAP's files too.
    Splats: .ply, .spz, .sog, .glb, .usdz or .usdc."""
    to: Literal["mesh", "points", "cameras", "splats"] | None = None
    """What the file is to hold; needed where the ending leaves it open, as .ply does."""
    json: bool = False
    """Print only one JSON object that says what was written."""
    credentials: bool = False
    """Sign what is written with content credentials, which say that it was made from photos."""
    credentials_key: Path | None = None
    """With --credentials: the PEM file to sign with, as of nerfscene render."""
    source_type: SourceType = "captures"
    """With --credentials: the kind of source to name, as of nerfscene render."""
    export: Annotated[ExportConfig, tyro.conf.arg(name="")] = field(default_factory=ExportConfig)


@dataclass(frozen=True)
class Share:
    """Write a page that shows a scene in any browser, to send or to put on any web space."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the page; with --single a file that ends in .html."""
    json: bool = False
    """Print only one JSON object that says what was written."""
    page: Annotated[PageConfig, tyro.conf.arg(name="")] = field(default_factory=PageConfig)
    marks: Annotated[CredentialsConfig, tyro.conf.arg(name="")] = field(default_factory=CredentialsConfig)


def run_export(a: Export) -> None:
    """``nerfscene export``."""
    with leaving_at_once():
        from nerfscene import api
        from nerfscene.exporters.export import check_export, export, idle_settings
        from nerfscene.exporters.told import Told
        from nerfscene.scene import folder as scenes

    scene, file = home_expanded(a.scene), home_expanded(a.output)
    if not a.credentials and (a.credentials_key is not None or a.source_type != Export.source_type):
        raise NerfsceneError("--credentials-key and --source-type are for signing: add --credentials")
    signed = CredentialsConfig(a.credentials, a.source_type, a.credentials_key) if a.credentials else None
    kind = check_export(file, a.to, scene if scenes.is_scene(scene) else None)
    with Live(a.json) as live:
        for line in idle_settings(kind, file, a.export):
            live.warn(line)
        told = Told(live.show, live.warn, live.show)
        given, config = _scene_and_config(scene, file, kind, a.export, told)
        made = export(given, file, kind, config, told, signed)
        live.bar.stop()
        if a.json:
            print(api.as_json(made))
            return
        live.say(in_words(made))
        if made.get("fitted"):
            live.say(splats_in_words(made["fitted"]))
        live.say(OPENS[kind, file.suffix.lower()])


def _scene_and_config(
    folder: Path, file: Path, kind: str, config: ExportConfig, told: Told
) -> tuple[Scene, ExportConfig]:
    """The scene, and what is left to do for the export: a fit of as many splats as the photos need stays
    in the scene, so that the next export needs none."""
    with leaving_at_once():
        from nerfscene.scene import folder as scenes

    if kind != "splats" or not config.fit or config.count is not None:
        return scenes.load(folder), config
    with leaving_at_once():
        from nerfscene.exporters.export import INSTEAD, try_place
        from nerfscene.exporters.splat_fitting import kept_with_splats
        from nerfscene.exporters.splats import writer_for
        from nerfscene.films.video import make_folder_of

    writer_for(file)
    make_folder_of(file, INSTEAD)
    try_place(file)
    return kept_with_splats(folder, config, told), replace(config, fit=0.0)


def run_share(a: Share) -> None:
    """``nerfscene share``."""
    with leaving_at_once():
        from nerfscene import api
        from nerfscene.exporters.export import keep_out_of
        from nerfscene.exporters.page import check_page_name, page_of
        from nerfscene.exporters.share import share
        from nerfscene.exporters.told import Told
        from nerfscene.scene import folder as scenes
        from nerfscene.scene.atomic import telling

    scene, place = home_expanded(a.scene), home_expanded(a.output)
    with telling(place):  # a name can be too long
        check_page_name(place, a.page.single)
        if scenes.is_scene(scene):
            keep_out_of(place, scene)
    with Live(a.json) as live:
        told, config = Told(live.show, live.warn), page_of(scene, a.page)
        made = share(scenes.load(scene), place, config, told, a.marks, live.say)
        live.bar.stop()
        if a.json:
            print(api.as_json(made))
            return
        live.say(in_words(made))
        live.say(f"open it in a browser: {made['open']}")


COUNTED = ("faces", "splats", "cameras", "photos", "points")  # in the order in which they are told


def in_words(made: dict[str, Any]) -> str:
    """What was written, in one line: the file, how much of everything is in it, and its size."""
    file = Path(made["file"])
    counts = [f"{made[name]:,} {name}" for name in COUNTED if made.get(name)]
    if made.get("texture"):
        counts.append(f"a texture of {made['texture']}×{made['texture']}")
    files = [Path(one) for one in made.get("files", (file,))]
    beside = file.with_name(f"{file.stem}_files")  # of a transforms.json
    if made.get("kind") == "cameras" and file.suffix and beside.is_dir():
        files.append(beside)
    counts.append(in_bytes(made.get("bytes") or sum(map(size_of, files))))
    others = [one.name for one in files if one != file]
    also = f"; {' and '.join(others)} beside it" if others else ""
    signed = [f"; content credentials in {one}" for one in made.get("credentials", ()) if one != str(file)]
    return f"{file}: {', '.join(counts)}{also}{''.join(signed[:1])}"


def in_bytes(count: int) -> str:
    """A number of bytes in kB or MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(count, 1000) / 1e3:.0f} kB"


def size_of(place: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files)
