#!/usr/bin/env bash
# Builds, tests and times all GPU work in one call, in under ten minutes and without a network:
#   bench/gpu.sh [OUT]
# Needs Python 3.11+ with torch, numpy, nanobind, setuptools, pytest, Pillow, scipy, scikit-image, safetensors and
# rich, an nvcc and a GPU. Other packages are taken from wheels/ where that folder holds them. NERFSCENE_DATA may
# say where chair is. What it prints belongs into bench/README.md, with the card, the date and the commit.
set -uo pipefail
cd "$(dirname "$0")/.."
out="${1:-out/gpu}"
mkdir -p "$out"
step() { echo; echo "== $1 ($(date +%T))"; }

step "machine"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
git rev-parse --short HEAD 2>/dev/null
python3 --version
[ -d wheels ] && python3 -m pip install --quiet --no-index --no-deps wheels/*.whl

step "build"
major=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
export NERFSCENE_CUDA_ARCHS="${NERFSCENE_CUDA_ARCHS:-$major}"
python3 setup.py build_ext --inplace >"$out/build.log" 2>&1 || { tail -30 "$out/build.log"; exit 1; }
ls nerfscene/ops/*.so
python3 -c 'from nerfscene.ops import _cuda; print(_cuda.devices())' || { tail -30 "$out/build.log"; exit 1; }

step "tests on the GPU"
timeout 150 python3 -m pytest -q -m gpu -p no:cacheprovider tests/test_cuda.py tests/test_march.py \
    tests/test_encode.py tests/test_lens.py tests/test_adam.py >"$out/tests.log" 2>&1
tail -25 "$out/tests.log"

step "tests with tiny-cuda-nn, where it is installed"
if python3 -c 'from nerfscene.ops import backend; import sys; sys.exit(backend.why_no_tcnn())'; then
    timeout 90 python3 -m pytest -q -m gpu -p no:cacheprovider tests/test_tcnn_backend.py >"$out/tcnn.log" 2>&1
    tail -25 "$out/tcnn.log"
fi

step "speed and quality"
timeout 330 python3 -m bench.gpu 2>&1 | tee "$out/bench.log"

if command -v ncu >/dev/null; then
    step "where a step's time goes"
    timeout 90 ncu --csv --clock-control none --launch-skip 200 --launch-count 70 \
        --metrics gpu__time_duration.sum,lts__t_sectors.sum,dram__bytes.sum,sm__warps_active.avg.pct_of_peak_sustained_active \
        --graph-profiling node python3 -m bench.gpu steps 20 >"$out/ncu.csv" 2>"$out/ncu.err"
    python3 - "$out/ncu.csv" <<'PY'
import collections, csv, sys
rows = [r for r in csv.reader(l for l in open(sys.argv[1]) if l.startswith('"'))]
if len(rows) < 2:
    sys.exit("the profiler wrote nothing")
head = rows[0]
name, metric, value, unit = (head.index(x) for x in ("Kernel Name", "Metric Name", "Metric Value", "Metric Unit"))
sums = collections.defaultdict(list)
for r in rows[1:]:
    if len(r) == len(head):
        sums[r[name].split("(")[0][:60], f"{r[metric]} [{r[unit]}]"].append(float(r[value].replace(",", "")))
for (kernel, what), all in sorted(sums.items()):
    print(f"{kernel:60s} {what:70s} {sum(all) / len(all):14.1f}  ×{len(all)}")
PY
fi
step "done"
