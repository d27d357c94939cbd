"""Splats that were fitted to a scene, saved beside its field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nerfscene.scene.arrays import SPLATS_FILE, splats_entry, write_splats
from nerfscene.scene.atomic import telling, writing
from nerfscene.scene.folder import SCENE_JSON, read_manifest
from nerfscene.splatting import stored
from nerfscene.splatting.gaussians import Splats


def save_splats(folder: Path, splats: Splats, figures: dict[str, Any]) -> None:
    """Saves splats beside the field in a scene's folder; what else is there stays.

    figures: of them, as ``Figures.splats``. Raises NerfsceneError as ``save`` and ``load`` do.
    """
    data, arrays = read_manifest(folder), stored.arrays_of(splats)
    data["figures"], data["splats"] = {**data["figures"], "splats": figures}, splats_entry(arrays)
    with writing(folder / SCENE_JSON) as manifest, writing(folder / SPLATS_FILE) as file:
        write_splats(arrays, file)
        with telling(folder / SCENE_JSON):
            manifest.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
