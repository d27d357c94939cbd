"""A picture of a scene, taken by whatever nerfscene the Python has that runs this.

    python -I picture.py SCENE PICTURE.npz

Beside the picture it writes where that nerfscene lies, and of which version it says it is.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import nerfscene as ns


def taken(folder: Path) -> NDArray[np.float32]:
    """What one of the scene's own cameras sees, (height, width, 3) in 0…1, by the processor's kernels."""
    scene = ns.load(folder)
    view = scene.views[1]
    return ns.render(scene.renderer("cpu"), ns.Camera(view.intrinsics, view.world_from_cam)).rgb


if __name__ == "__main__":
    kernels = importlib.import_module("nerfscene.ops._cpu")
    np.savez(
        sys.argv[2],
        picture=taken(Path(sys.argv[1])),
        package=ns.__file__,
        kernels=str(kernels.__file__),
        version=version("nerfscene"),
    )
