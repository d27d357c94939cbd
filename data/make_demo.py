"""Makes the demo capture: a still life in a room, composed here and path-traced with Mitsuba.

    pip install mitsuba
    python data/make_demo.py --out data/demo

writes images/0001.jpg … and transforms.json (OpenGL camera-to-world axes). Existing photos are kept, so an
interrupted run continues where it stopped. ``demo_scene.py`` holds the scene, ``demo_meshes.py`` its
shapes and ``demo_textures.py`` its textures. Units are metres, +z is up.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from pathlib import Path

import mitsuba as mi
import numpy as np
from demo_meshes import Array
from demo_scene import Stage, build_room, build_table, build_things
from PIL import Image

# MITSUBA_VARIANT=llvm_ad_rgb is twice as fast. It needs LLVM 17 or newer (set DRJIT_LIBLLVM_PATH to it).
mi.set_variant(os.environ.get("MITSUBA_VARIANT", "scalar_rgb"))
FOCUS = np.array([0.0, 0.0, 0.90])  # the middle of the things on the table
FOV = 58.0  # degrees across


def camera_poses(views: int) -> list[Array]:
    """World-from-camera (4, 4), OpenGL axes: three walks around the table, unsteady as if by hand."""
    rng = np.random.default_rng(7)
    poses = []
    heights, distances = (1.28, 1.62, 1.02), (1.28, 1.45, 1.12)
    per = math.ceil(views / 3)
    for i in range(views):
        walk, k = divmod(i, per)
        n = min(per, views - walk * per)
        f = k / max(n - 1, 1)
        f = f if walk % 2 == 0 else 1 - f  # every second walk goes back
        angle = math.radians(-172 + 164 * f + rng.normal(0, 2.0))
        d = distances[walk] * (1 + 0.06 * rng.standard_normal())
        eye = np.array(
            [d * math.cos(angle), d * math.sin(angle), heights[walk] + 0.04 * rng.standard_normal()]
        )
        target = FOCUS + rng.normal(0, (0.05, 0.05, 0.03))
        back = (eye - target) / np.linalg.norm(eye - target)
        roll = math.radians(rng.normal(0, 1.2))
        up = np.array([math.sin(roll) * back[1], -math.sin(roll) * back[0], 1.0])
        right = np.cross(up, back)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
        pose[:3, 3] = eye
        poses.append(pose)
    return poses


def photograph(scene: object, pose: Array, width: int, height: int, spp: int, seed: int) -> Image.Image:
    """Path-traces one view, then applies exposure, white balance, a tone curve, and sRGB."""
    flip = pose @ np.diag([-1.0, 1.0, -1.0, 1.0])  # Mitsuba looks along +z with x to the left
    sensor = mi.load_dict(
        {
            "type": "perspective",
            "fov": FOV,
            "fov_axis": "x",
            "near_clip": 0.01,
            "to_world": mi.ScalarTransform4f(flip.tolist()),
            "film": {"type": "hdrfilm", "width": width, "height": height, "rfilter": {"type": "gaussian"}},
            "sampler": {"type": "multijitter", "sample_count": spp},
        }
    )
    linear = np.array(mi.render(scene, sensor=sensor, spp=spp, seed=seed))[..., :3].astype(np.float64)
    x = np.maximum(linear * np.array((1.35, 1.5, 1.62)), 0)
    x = x * (1 + x / 6.0) / (1 + x)  # Reinhard's shoulder, white at about 6
    srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)
    return Image.fromarray((np.clip(srgb, 0, 1) * 255 + 0.5).astype(np.uint8))


def main() -> None:
    """Renders the photos that are missing and writes transforms.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "demo")
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--spp", type=int, default=48)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480))
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the photos to render, from 1")
    a = parser.parse_args()
    width, height = a.size
    (a.out / "images").mkdir(parents=True, exist_ok=True)
    poses = camera_poses(a.views)
    with tempfile.TemporaryDirectory() as folder:
        s = Stage(Path(folder))
        build_room(s)
        build_table(s)
        build_things(s)
        s.scene["integrator"] = {"type": "path", "max_depth": 6}
        scene = mi.load_dict(s.scene)
        for i, pose in enumerate(poses):
            file = a.out / "images" / f"{i + 1:04d}.jpg"
            if file.exists() or (a.only and i + 1 not in a.only):
                continue
            temporary = file.with_suffix(".tmp")
            photograph(scene, pose, width, height, a.spp, i).save(temporary, format="JPEG", quality=92)
            os.replace(temporary, file)
            print(file, flush=True)
    focal = 0.5 * width / math.tan(math.radians(FOV) / 2)
    frames = [
        {"file_path": f"images/{i + 1:04d}.jpg", "transform_matrix": p.round(9).tolist()}
        for i, p in enumerate(poses)
    ]
    data = {
        "w": width,
        "h": height,
        "fl_x": focal,
        "fl_y": focal,
        "cx": width / 2,
        "cy": height / 2,
        "frames": frames,
    }
    (a.out / "transforms.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
