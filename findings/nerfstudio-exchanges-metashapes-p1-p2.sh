#!/bin/sh
# nerfstudio 1.1.5 writes Metashape's p1 and p2 to transforms.json as p1 and p2; they are OpenCV's p2 and p1.
#
# Met with: nerfstudio 1.1.5, opencv-python-headless 4.10.0.84, numpy 1.26.4, Python 3.11, Linux x86-64.
# Valid input: a cameras XML of Metashape with one frame camera, p1 = 0.01 and p2 = -0.02. By Metashape's manual
# (appendix on camera models) p1 multiplies r² + 2x² in x' and p2 multiplies 2xy; in OpenCV p2 and p1 do.
# nerfstudio's transforms.json is read by OpenCV's formula, in nerfstudio and by others.
# Seen: a point in the corner lands 75.7 pixels off by the file that ns-process-data's converter writes, and exactly
# right with p1 and p2 exchanged. Nothing warns of it: the photos are simply blurred towards their corners.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >cameras.xml <<'X'
<?xml version="1.0" encoding="UTF-8"?>
<document version="2.0.0">
  <chunk label="Chunk 1">
    <sensors>
      <sensor id="0" label="camera" type="frame">
        <resolution width="4000" height="3000"/>
        <calibration type="frame" class="adjusted">
          <resolution width="4000" height="3000"/>
          <f>3000</f><p1>0.01</p1><p2>-0.02</p2>
        </calibration>
      </sensor>
    </sensors>
    <cameras>
      <camera id="0" sensor_id="0" label="a"><transform>1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1</transform></camera>
    </cameras>
  </chunk>
</document>
X
: >open3d.py # the converter imports these two, but uses them only for point clouds and raw photos
: >rawpy.py
cat >look.py <<'P'
import json
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from nerfstudio.process_data.metashape_utils import metashape_to_json

metashape_to_json({"a": Path("images/a.jpg")}, Path("cameras.xml"), Path("."))
frame = json.loads(Path("transforms.json").read_text())["frames"][0]
x, y = 0.6, 0.4
r2 = x * x + y * y
p1, p2 = 0.01, -0.02  # Metashape's manual, with its names
right = np.array([x + p1 * (r2 + 2 * x * x) + 2 * p2 * x * y, y + p2 * (r2 + 2 * y * y) + 2 * p1 * x * y])
right = right * 3000 + [2000, 1500]


def seen(first, second):
    camera = np.array([[frame["fl_x"], 0, frame["cx"]], [0, frame["fl_y"], frame["cy"]], [0, 0, 1]])
    terms = np.array([frame["k1"], frame["k2"], first, second, frame["k3"]])
    point = cv2.projectPoints(np.array([[x, y, 1.0]]), np.zeros(3), np.zeros(3), camera, terms)[0]
    return float(np.linalg.norm(point.ravel() - right))


given, exchanged = seen(frame["p1"], frame["p2"]), seen(frame["p2"], frame["p1"])
print(f"nerfstudio {version('nerfstudio')}: off by {given:.1f} px as written, {exchanged:.1f} px if exchanged")
raise SystemExit(0 if given > 10 and exchanged < 0.01 else 1)
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check --no-deps nerfstudio==1.1.5
v/bin/pip install --quiet --disable-pip-version-check numpy==1.26.4 opencv-python-headless==4.10.0.84 imageio==2.37.0 rich==14.0.0
v/bin/python look.py || { echo "changed"; exit 1; }
