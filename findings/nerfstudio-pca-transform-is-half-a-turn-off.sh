#!/bin/sh
# With --orientation-method pca, nerfstudio may save a transform that is half a turn off from what it trained in; 1.1.5
# also mirrors two cameras.
#
# Met with: nerfstudio 1.1.4 and 1.1.5, torch 2.13.0, numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: twelve cameras round a subject, as a transforms.json gives them (rotations, OpenGL axes), in eight worlds.
# Seen: where the principal axes come out upside down, auto_orient_and_center_poses of 1.1.4 turns all cameras by half a
# turn about x and leaves the transform as it was. 1.1.5 turns the transform instead, and of the cameras only number 1
# and 2 of the list, by negating them whole: their determinant is -1. Either way the transform, which ns-train saves in
# dataparser_transforms.json, does not lead to the coordinates of the other cameras, nor of paths drawn in the viewer.
# Whether it happens depends on the capture; nothing warns of it. The default orientation, up, is not affected.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
import sys

import numpy as np
import torch
from nerfstudio.cameras.camera_utils import auto_orient_and_center_poses

poses = []
for i in range(12):
    angle = 2 * np.pi * i / 12
    back = np.array([np.cos(angle), np.sin(angle), 0.3 + 0.1 * np.sin(2 * angle)])
    place = back * [3.0, 2.0, 1.0]
    back = back / np.linalg.norm(back)
    right = np.cross([0, 0, 1], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.column_stack([right, np.cross(back, right), back, place])
    poses.append(pose)
poses = np.stack(poses)
turns = []
for angle in range(0, 360, 45):  # COLMAP's world is turned in any way
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.eye(4)
    turn[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    turns.append(turn)
seen = []
for turn in turns:  # whether a capture comes out upside down depends on LAPACK's signs
    given = torch.tensor(turn @ poses, dtype=torch.float32)
    made, transform = auto_orient_and_center_poses(given.clone(), method="pca", center_method="poses")
    mirrored = torch.linalg.det(made[:, :3, :3]) < 0
    off = (transform @ given - made[:, :3]).abs().amax((1, 2)) > 1e-3
    seen.append((mirrored.nonzero().ravel().tolist(), int(off.sum())))
print(f"nerfstudio {sys.argv[1]}, (cameras mirrored, how many of 12 not where the transform says) by world: {seen}")
wrong = [one for one in seen if one != ([], 0)]
mirrored = sorted({i for cameras, _ in wrong for i in cameras})
print(f"{'off' if wrong else 'right'} {mirrored}", file=open("seen", "w"))
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5 opencv-python-headless jaxtyping
changed=0
see() {  # version, what is expected
    v/bin/pip install --quiet --disable-pip-version-check --no-deps "nerfstudio==$1"
    v/bin/python look.py "$1"
    [ "$(cat seen)" = "$2" ] || { echo "changed: expected $2, saw $(cat seen)"; changed=1; }
}
see 1.1.4 "off []"
see 1.1.5 "off [1, 2]"
exit $changed
