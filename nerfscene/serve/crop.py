"""Crops a scene to an upright box, as the viewer does when its crop is saved.

Where up is takes the scene's cameras, so that a process of its own does it: the server loads no scene.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from nerfscene.errors import NerfsceneError
from nerfscene.serve import actions, jobs
from nerfscene.serve.facts import SCENE_FILE
from nerfscene.serve.scenes import SceneRow, places
from nerfscene.serve.shop import Shop

LONGEST = 120.0  # seconds; it takes one or two


def set_crop(shop: Shop, scene: SceneRow, box: dict[str, Any] | None) -> None:
    """Saves a box with a scene, or that it has none. box: size, centre (3) and turn, as the API has them.

    Raises NerfsceneError if there is no scene yet, or it is being trained, which would write it anew.
    """
    actions.refuse_binned(scene)
    folder = places(shop.data, scene.id).scene
    if not (folder / SCENE_FILE).exists():
        raise jobs.NotNow("the scene isn't there yet; wait until it has been trained")
    if any(job.kind == "train" and job.state == "running" for job in jobs.jobs_of(shop.db, scene.id)):
        raise jobs.NotNow("the scene is being trained; crop it in the viewer, or pause the training first")
    words = [sys.executable, "-m", "nerfscene.serve.crop", str(folder.absolute()), json.dumps(box)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        raise NerfsceneError("cropping took too long, since the machine is busy; try again later") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["the scene can't be cropped; train it again"]
        raise NerfsceneError(
            said[-1] if done.returncode == 2 else "the scene can't be cropped; train it again"
        )


def main(folder: Path, box: dict[str, Any] | None) -> None:
    """What the process does. Raises NerfsceneError for a scene that can't be read or written."""
    import numpy as np

    from nerfscene.exporters.placement import placed
    from nerfscene.scene import folder as scenes

    if box is None:
        scenes.save_crop(folder, None)
        return
    scene = scenes.load(folder)
    world_from_upright = np.linalg.inv(scene.scene_from_world) @ placed(scene).scene_from_world
    turn, half = np.radians(box["turn"]), np.array(box["size"]) / 2
    upright_from_box = np.eye(4)
    upright_from_box[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    upright_from_box[:3, :3] *= half
    upright_from_box[:3, 3] = box["centre"]
    scenes.save_crop(folder, world_from_upright @ upright_from_box)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), json.loads(sys.argv[2]))
    except NerfsceneError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
