"""The command ``nerfscene paths``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from nerfscene.config import Backend
from nerfscene.given import home_expanded
from nerfscene.loading import leaving_at_once
from nerfscene.terminal import Live


@dataclass(frozen=True)
class Paths:
    """Show every preset of films in one picture: frames of each, and its way from above."""

    scene: tyro.conf.Positional[Path]
    """Folder that `nerfscene train` made."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("paths.jpg")
    """The picture; its name ends in .jpg or .png."""
    json: bool = False
    """Print only one JSON object: the picture, and of each preset its name or why there is none."""
    backend: Backend = "auto"
    """What computes: the choices of nerfscene train."""


def run_paths(a: Paths) -> None:
    """``nerfscene paths``."""
    with leaving_at_once():
        from nerfscene import api
        from nerfscene.films.path_sheet import path_sheet
        from nerfscene.films.presets import suited
        from nerfscene.measuring.contact_sheet import check_sheet_name
        from nerfscene.scene import folder as scenes

    file = home_expanded(a.output)
    check_sheet_name(file)
    with Live(a.json) as live:
        scene = scenes.load(a.scene)
        rows = path_sheet(
            scene,
            file,
            a.backend,
            lambda done, total: live.show("rendering", done / total, f"frame {done} of {total}"),
        )
        live.bar.stop()
        made = [row.name for row in rows if row.path is not None]
        refused = {row.name: row.refusal for row in rows if row.path is None}
        if a.json:
            told = {"sheet": str(file), "paths": made, "not_possible": refused, "auto": suited(scene.views)}
            print(api.as_json(told))
            return
        live.say(f"{file}: {', '.join(made)}")
        for name, refusal in refused.items():
            live.say(f"{name}: {refusal}")
        live.say(f"next:  nerfscene render {a.scene} -o film.mp4 --path {made[0]}")
