#!/bin/sh
# pycolmap 4.2.1 takes poses from frames.bin even where images.bin says otherwise, and reports the old error.
#
# Met with: pycolmap 4.2.1, numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: since version 3.12, COLMAP writes rigs.bin and frames.bin beside cameras.bin, images.bin and
# points3D.bin. A program that only knows these three (COLMAP up to 3.11, tried with pycolmap 3.11.1, and many others) and
# is given the same folder for its output leaves the former as they were. Each of the files is valid.
# Seen: the poses are those of the old frames.bin, the points those of the new points3D.bin. Nothing is said;
# compute_mean_reprojection_error() gives what points3D.bin says (0.0 here), update_point_3d_errors() hundreds of pixels.
# Without rigs.bin and frames.bin the poses of images.bin are used, and the error is 0.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
import os
import shutil

import numpy as np
import pycolmap

pycolmap.set_random_seed(1)
options = pycolmap.SyntheticDatasetOptions()
options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig, options.num_points3D = 1, 2, 4, 60
options.camera_width, options.camera_height = 640, 480
options.camera_params = [600.0, 320.0, 240.0, 0.01]
model = pycolmap.synthesize_dataset(options)
moved = pycolmap.Reconstruction(model)  # in another world, as a program aligns or scales a model
turn = np.array([0.1, 0.2, 0.3, 0.9])
turn /= np.linalg.norm(turn)
moved.transform(pycolmap.Sim3d(1.5, pycolmap.Rotation3d(turn), np.array([1.0, 2.0, 3.0])))
for folder, which in (("old", model), ("new", moved)):
    os.mkdir(folder)
    which.write_binary(folder)
shutil.copytree("old", "mixed")
for part in ("cameras", "images", "points3D"):
    shutil.copy(f"new/{part}.bin", "mixed")


def poses(rec):
    return np.stack([rec.images[i].cam_from_world().matrix() for i in sorted(rec.images)])


def errors(folder):
    rec = pycolmap.Reconstruction(folder)
    told = rec.compute_mean_reprojection_error()
    rec.update_point_3d_errors()
    return rec, told, rec.compute_mean_reprojection_error()


mixed, told, real = errors("mixed")
print(f"pycolmap {pycolmap.__version__}: poses are those of the old frames.bin: {np.allclose(poses(mixed), poses(model))}")
print(f"error as reported {told:.3f}, computed anew {real:.1f} pixels")
still = np.allclose(poses(mixed), poses(model)) and told < 1e-6 and real > 10
for part in ("rigs", "frames"):
    os.remove(f"mixed/{part}.bin")
plain, _, real = errors("mixed")
print(f"without rigs.bin and frames.bin: computed anew {real:.3f} pixels")
still &= np.allclose(poses(plain), poses(moved)) and real < 1e-6
raise SystemExit(0 if still else 1)
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check pycolmap==4.2.1 numpy==2.3.5
v/bin/python look.py || { echo "changed"; exit 1; }
