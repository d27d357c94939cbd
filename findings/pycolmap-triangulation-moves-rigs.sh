#!/bin/sh
# pycolmap's triangulate_points moves the cameras of a rig, though it triangulates "from known camera poses".
#
# Met with: pycolmap 4.2.1, numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: COLMAP's own synthetic data set of one rig of two cameras, six frames, features of 1 pixel noise, and
# the true model as the given cameras.
# Seen: the poses of the frames stay, and lenses stay (refine_intrinsics is False), but the second camera moves in its
# rig: its views no longer stand where they were given. An option of incremental mapping decides it:
# ba_refine_sensor_from_rig, which is True unless told otherwise; with False, nothing moves. Cameras without a rig never
# move, so the same call keeps them all.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pycolmap==4.2.1 numpy==2.3.5
cat >look.py <<'P'
from pathlib import Path

import numpy as np
import pycolmap

pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value


def moved(cameras: int, refine: bool) -> float:
    """The farthest that a view moves in triangulation, in the model's units."""
    name = Path(f"{cameras}-{refine}")
    name.mkdir()
    pycolmap.set_random_seed(1)
    given = pycolmap.SyntheticDatasetOptions(
        num_rigs=1, num_cameras_per_rig=cameras, num_frames_per_rig=6, num_points3D=200
    )
    database = pycolmap.Database.open(name / "database.db")
    model = pycolmap.synthesize_dataset(given, database)
    noise = pycolmap.SyntheticNoiseOptions(point2D_stddev=1.0)
    pycolmap.synthesize_noise(noise, model, database)
    database.close()
    options = pycolmap.IncrementalPipelineOptions()
    assert options.ba_refine_sensor_from_rig
    options.ba_refine_sensor_from_rig = refine
    found = pycolmap.triangulate_points(
        pycolmap.Reconstruction(model), name / "database.db", name, name, True, options
    )
    steps = [
        np.linalg.norm(found.image(key).projection_center() - model.image(key).projection_center())
        for key in found.reg_image_ids()
    ]
    assert len(steps) == 6 * cameras and len(found.points3D) > 100
    return float(max(steps))


rig, fixed, alone = moved(2, True), moved(2, False), moved(1, True)
print(f"pycolmap {pycolmap.__version__}: views move by {rig:.4f}; told to keep the rig, {fixed:.1e}; alone, {alone:.1e}")
print("moved" if rig > 1e-4 else "kept", "moved" if max(fixed, alone) > 1e-9 else "kept", file=open("seen", "w"))
P
venv/bin/python look.py
[ "$(cat seen)" = "moved kept" ] || { echo "changed: expected moved kept, saw $(cat seen)"; exit 1; }
