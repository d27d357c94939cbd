#!/bin/sh
# gaussforge's read refuses splats whose colours don't depend on the view, though its convert takes them.
#
# Met with: gaussforge 0.6.0, numpy 2.4.6, Python 3.11, Linux x86-64.
# Valid input: a .ply in 3D Gaussian splatting's layout with f_dc_0 to f_dc_2 and no f_rest (degree 0), as many
# programs write it to save room.
# Seen: GaussForge().read(data, "ply") answers {"error": "std::bad_cast"}; the same with 9 f_rest is read. Splats of
# degree 0 as .spz and .sog are refused in the same way. GaussForge().convert(data, "ply", "spz") works for both.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check gaussforge==0.6.0 numpy
cat >look.py <<'P'
import sys

import gaussforge
import numpy as np

seen = {}
for rest in (0, 9):
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{i}" for i in range(rest))]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    lines = ["ply", "format binary_little_endian 1.0", "element vertex 3", *(f"property float {n}" for n in names)]
    rows = np.zeros((3, len(names)), "<f4")
    rows[:, names.index("rot_0")] = 1
    data = "\n".join([*lines, "end_header", ""]).encode() + rows.tobytes()
    program = gaussforge.GaussForge()
    read, converted = program.read(data, "ply"), program.convert(data, "ply", "spz")
    seen[rest] = read.get("error"), converted.get("error")
    print(f"{rest} f_rest: read says {read.get('error')}, convert says {converted.get('error')}")
sys.exit(seen != {0: ("std::bad_cast", None), 9: (None, None)})
P
v/bin/python look.py
