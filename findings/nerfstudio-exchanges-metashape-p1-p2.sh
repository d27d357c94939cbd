#!/bin/sh
# nerfstudio 1.1.5's converter for Metashape writes the tangential terms p1 and p2 the wrong way round.
#
# Met with: nerfstudio 1.1.5, opencv-python-headless 4.10.0.84, numpy 1.26.4, Python 3.11, Linux x86-64. Read, not run,
# in nerfstudio's repository of July 2025: the same.
# Valid input: cameras exported from Metashape as XML, one "frame" sensor with p1 = 1e-3 and p2 = 0.
# By Metashape's user manual (appendix on camera models) p1 belongs to r² + 2x² along x. In OpenCV that is p2, and p1
# belongs to 2xy. nerfstudio copies p1 to p1, and later gives it to cv2.undistort as OpenCV's p1.
# Seen: transforms.json has p1 = 0.001, p2 = 0. At the corner of a picture of 4000 × 3000 pixels with a focal length of
# 3000, OpenCV puts a point 3.17 pixels from where Metashape puts it; with the two exchanged, 0.00 pixels.
# Nothing warns of it.
# open3d, which the converter imports for point clouds only, is an empty module here: the package has 400 MB.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check numpy==1.26.4 opencv-python-headless==4.10.0.84 \
    imageio==2.36.0 rawpy==0.23.2 rich==13.9.4
v/bin/pip install --quiet --disable-pip-version-check --no-deps nerfstudio==1.1.5
: >open3d.py
cat >cameras.xml <<'X'
<?xml version="1.0" encoding="UTF-8"?>
<document version="2.0.0">
  <chunk label="Chunk 1" enabled="true">
    <sensors next_id="1">
      <sensor id="0" label="camera" type="frame">
        <resolution width="4000" height="3000"/>
        <calibration type="frame" class="adjusted">
          <resolution width="4000" height="3000"/>
          <f>3000</f><cx>0</cx><cy>0</cy><p1>0.001</p1>
        </calibration>
      </sensor>
    </sensors>
    <cameras next_id="1" next_group_id="0">
      <camera id="0" sensor_id="0" label="a"><transform>1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1</transform></camera>
    </cameras>
  </chunk>
</document>
X
cat >look.py <<'P'
import json
from pathlib import Path

import cv2
import numpy as np
from nerfstudio.process_data.metashape_utils import metashape_to_json

metashape_to_json({"a": Path("images/a.jpg")}, Path("cameras.xml"), Path("."))
frame = json.loads(Path("transforms.json").read_text())["frames"][0]
x, y = 2000 / 3000, 1500 / 3000
r2 = x * x + y * y
theirs = np.array([2000 + 3000 * (x + 1e-3 * (r2 + 2 * x * x)), 1500 + 3000 * (y + 2e-3 * x * y)])  # p1 = 1e-3, p2 = 0
lens = np.array([[3000.0, 0, 2000], [0, 3000.0, 1500], [0, 0, 1]])


def off(p1, p2):
    terms = np.array([frame["k1"], frame["k2"], p1, p2, frame["k3"]])
    point, _ = cv2.projectPoints(np.array([[x, y, 1.0]]), np.zeros(3), np.zeros(3), lens, terms)
    return float(np.linalg.norm(point.ravel() - theirs))


as_written, exchanged = off(frame["p1"], frame["p2"]), off(frame["p2"], frame["p1"])
print(f"p1 {frame['p1']}, p2 {frame['p2']}: off by {as_written:.2f} pixels, exchanged {exchanged:.2f}")
raise SystemExit(0 if as_written > 1 and exchanged < 0.01 else 1)
P
PYTHONPATH=. v/bin/python look.py 2>&1
