#!/bin/sh
# pycolmap 4.2.1 lists the names of a lens model's parameters as "a, b", but those of EQUIRECTANGULAR as "a,b".
#
# Met with: pycolmap 4.2.1, numpy 2.3.5, Python 3.11, Linux x86-64.
# Valid input: a camera of each lens model. Camera.params_info is the only place that names the parameters.
# Seen: params_info is 'w,h' for EQUIRECTANGULAR, and separated by comma and space for the seventeen others, so
# that code that splits at ", " finds one name for two parameters.
# RAD_TAN_THIN_PRISM_FISHEYE counts its radial terms from k0, all others from k1.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >look.py <<'P'
import pycolmap

odd, from_0 = [], []
for name, kind in pycolmap.CameraModelId.__members__.items():
    if name == "INVALID":
        continue
    camera = pycolmap.Camera.create_from_model_id(1, kind, 100.0, 200, 100)
    if len(camera.params_info.split(", ")) != len(camera.params):
        odd.append((name, camera.params_info))
    if "k0" in camera.params_info:
        from_0.append(name)
print(f"pycolmap {pycolmap.__version__}: {odd}, radial terms from k0: {from_0}")
raise SystemExit(0 if odd == [("EQUIRECTANGULAR", "w,h")] and from_0 == ["RAD_TAN_THIN_PRISM_FISHEYE"] else 1)
P
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check pycolmap==4.2.1 numpy==2.3.5
v/bin/python look.py || { echo "changed"; exit 1; }
