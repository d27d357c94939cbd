#!/bin/sh
# COLMAP's max_num_features saves matching, not extraction: all features are described first, then the smallest dropped.
#
# Met with: pycolmap 4.2.1 (CPU), numpy 2.3.5, Pillow 12.0.0, Python 3.11, Linux x86-64.
# Valid input: one picture of blurred noise, 1000×1000, with more than 4,000 features.
# Seen: with SiftExtractionOptions.max_num_features = 500 the database has 500 to 700 features, and finding them takes
# as much processor time as finding them all. Nothing in the option's name or help says so; who has
# plenty of features and sets it to save time saves none. A higher peak_threshold does save time.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv v
v/bin/pip install --quiet --disable-pip-version-check pycolmap==4.2.1 numpy==2.3.5 Pillow==12.0.0
mkdir photos
cat >look.py <<'P'
import resource
import sys

import numpy as np
import pycolmap
from PIL import Image, ImageFilter

if sys.argv[1] == "make":
    noise = np.random.default_rng(1).integers(0, 256, (1000, 1000), np.uint8)
    picture = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3))
    grey = np.asarray(picture, np.float32)
    grey = (grey - grey.mean()) * 5 + 128
    Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save("photos/one.png")
    sys.exit()
pycolmap.logging.minloglevel = 2
options = pycolmap.FeatureExtractionOptions()
options.num_threads, options.use_gpu = 1, False
options.sift.max_num_features = int(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
pycolmap.extract_features(f"{sys.argv[1]}-{sys.argv[2]}.db", "photos", extraction_options=options)
seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
with pycolmap.Database.open(f"{sys.argv[1]}-{sys.argv[2]}.db") as database:
    found = len(database.read_keypoints(database.read_all_images()[0].image_id))
print(found, seconds)
P
v/bin/python look.py make
for round in 1 2 3; do
    v/bin/python look.py 20000 $round >>all
    v/bin/python look.py 500 $round >>few
done
cat >compare.py <<'P'
rows = {name: [line.split() for line in open(name)] for name in ("all", "few")}
counts = {name: int(lines[0][0]) for name, lines in rows.items()}
times = {name: min(float(line[1]) for line in lines) for name, lines in rows.items()}
share = times["few"] / times["all"]
print(f"{counts['all']} features in {times['all']:.2f} s of a core; {counts['few']} in {times['few']:.2f} s ({share:.2f})")
raise SystemExit(0 if counts["few"] < 1000 < 4000 < counts["all"] and share > 0.8 else 1)
P
v/bin/python compare.py || { echo "changed"; exit 1; }
