#!/bin/sh
# pycolmap 4.2.1 cuts the names of images at their first space when it reads a text model, also one of its own.
#
# Met with: pycolmap 4.2.1, numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: COLMAP's images.txt has the name as the last thing in an image's line, and COLMAP writes names with
# spaces there as they are. Photos of drones, of RealityScan's exports and of everybody who names files by hand have
# such names.
# Seen: a model with the image "DJI 0001 (2).jpg" comes back from text with the image "DJI"; several such images get
# the same name. There is no warning. The binary form keeps the name.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
import os

import pycolmap

GIVEN = ["DJI 0001 (2).jpg", "DJI 0002 (2).jpg"]
model = pycolmap.Reconstruction()
model.add_camera_with_trivial_rig(pycolmap.Camera.create_from_model_name(1, "PINHOLE", 60.0, 64, 48))
for i, name in enumerate(GIVEN, 1):
    model.add_image_with_trivial_frame(pycolmap.Image(name=name, camera_id=1, image_id=i), pycolmap.Rigid3d())
seen = {}
for form in ("text", "binary"):
    os.mkdir(form)
    getattr(model, f"write_{form}")(form)
    seen[form] = sorted(image.name for image in pycolmap.Reconstruction(form).images.values())
lines = open("text/images.txt").read().splitlines()
written = [line.split(" ", 9)[9] for line in lines if line.endswith(".jpg")]
print(f"pycolmap {pycolmap.__version__}: written to text {written}, read back {seen['text']}, binary {seen['binary']}")
assert written == GIVEN, "the file itself lacks the names"
still = seen == {"text": ["DJI", "DJI"], "binary": GIVEN}
raise SystemExit(0 if still else 1)
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check pycolmap==4.2.1 numpy==2.3.5
v/bin/python look.py || { echo "changed"; exit 1; }
