#!/usr/bin/env bash
# Builds, tests and times all GPU code with one command, in under ten minutes and without a network:
#   bench/gpu.sh [OUT] > gpu.md
# It prints Markdown to append to docs/benchmarks-history.md. Logs and ncu's table stay in OUT (out/gpu).
#
# It needs a GPU, nvcc, g++, and Python 3.11+ with torch (CUDA), numpy, scipy, Pillow and safetensors. Other
# packages can be put into the folder wheels/. For Python 3.12 on Linux x86-64 (4 MB):
#   pip download --no-deps --only-binary :all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
#       -d wheels nanobind nanobind-backend setuptools nerfacc rich markdown-it-py mdurl pygments \
#       pytest iniconfig pluggy packaging
# It trains on NERFSCENE_DATA/chair or scratch/data/chair, or on the demo capture if neither is there.
# `python -m bench.captures scratch/data` makes a copy of chair to bring along (39 MB, every eighth test photo).
# git ignores wheels/ and scratch/.
#
# NERFSCENE_GPU_SECONDS: time limit in seconds (570); parts that no longer fit are skipped and say so.
# NERFSCENE_COMMIT: the commit to print if git can't tell.
set -uo pipefail
exec 2>&1
cd "$(dirname "$0")/.."
out="${1:-out/gpu}"
deadline=$(($(date +%s) + ${NERFSCENE_GPU_SECONDS:-570}))
mkdir -p "$out"
extra=$(mktemp -d)
trap 'rm -rf "$extra"' EXIT
export PYTHONPATH="$extra${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1
[ -z "${NERFSCENE_DATA:-}" ] && [ -d scratch/data/chair ] && export NERFSCENE_DATA="$PWD/scratch/data"

left() { echo $((deadline - $(date +%s))); }
# part TITLE LEAST MOST COMMAND...: runs a command for at most MOST seconds; skips it if fewer than LEAST are left.
part() {
    local title=$1 least=$2 most=$3 began rest status
    shift 3
    printf '\n### %s\n\n' "$title"
    rest=$(left)
    if [ "$rest" -lt "$least" ]; then
        echo "Skipped: $rest s were left, and it needs $least."
        return 0
    fi
    began=$(date +%s)
    timeout -k 5 $((rest < most ? rest : most)) "$@"
    status=$?
    printf '\n'
    case $status in
        0) echo "Took $(($(date +%s) - began)) s." ;;
        124 | 137) echo "Stopped after $(($(date +%s) - began)) s: no more time." ;;
        *) echo "Failed after $(($(date +%s) - began)) s, with status $status." ;;
    esac
    return $status
}
# logged LOG LINES COMMAND...: writes a command's output to LOG and prints its last LINES lines.
logged() {
    local log=$1 lines=$2 status
    shift 2
    "$@" >"$log" 2>&1
    status=$?
    printf '```\n%s\n```\n' "$(tail -n "$lines" "$log")"
    return $status
}
export -f logged

printf '## GPU, %s, commit %s\n\n' "$(date +%F)" \
    "${NERFSCENE_COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}"
nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader || exit 1
for wheel in wheels/*.whl; do
    [ -e "$wheel" ] && python3 -m zipfile -e "$wheel" "$extra"
done
python3 --version
python3 -m bench.needs "$extra" || exit 1

arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
export NERFSCENE_CUDA=1 NERFSCENE_CUDA_ARCHS="${NERFSCENE_CUDA_ARCHS:-$arch}"
broken() { tail -n 30 "$out/build.log"; exit 1; }
part "Build for sm_$NERFSCENE_CUDA_ARCHS" 30 300 \
    bash -c "logged '$out/build.log' 4 python3 setup.py build_ext --inplace" || broken
python3 -c 'from nerfscene.ops import _cpu, _cuda; print(_cuda.devices())' || broken

# All tests of kernels on a GPU; those of tiny-cuda-nn run at the end.
tests=$(grep -lE '\b(device|kernels): Any' tests/*/test_*.py | grep -v tcnn | tr '\n' ' ')
pytest="python3 -m pytest -q -m gpu --tb=short -p no:cacheprovider"
part "Tests" 20 150 bash -c "logged '$out/tests.log' 40 $pytest --durations=3 $tests"

part "Memory" 20 40 python3 -m bench.gpu memory
part "Steps" 30 80 python3 -m bench.gpu rates
part "Pictures, and quality after 5 s" 30 60 python3 -m bench.gpu scene 5
part "Quality after 60 s" 90 130 python3 -m bench.gpu scene 60
part "Where a step's time goes" 20 40 python3 -m bench.gpu kernels
part "Compared with plain torch and tiny-cuda-nn" 20 80 python3 -m bench.gpu peers
part "Posing's features" 10 40 python3 -m bench.gpu features
if command -v compute-sanitizer >/dev/null; then
    few="any_number_of_samples and 33 or rays_without_room or cancelled_picture or goes_on_where"
    few+=" or large_arrays or small_arrays"
    for tool in memcheck racecheck; do
        part "compute-sanitizer, $tool" 20 45 bash -c "logged '$out/$tool.log' 6 compute-sanitizer \
            --tool $tool --error-exitcode 9 --print-limit 20 $pytest -x tests/ops/test_cuda.py tests/ops/test_cuda_memory.py -k '$few'"
    done
else
    printf '\ncompute-sanitizer is not installed: nothing was checked with it.\n'
fi

if command -v ncu >/dev/null; then
    metrics=gpu__time_duration.sum,lts__t_sectors.sum,dram__bytes.sum
    metrics+=,sm__warps_active.avg.pct_of_peak_sustained_active
    metrics+=,sm__throughput.avg.pct_of_peak_sustained_elapsed
    part "The same by ncu, 16 steps" 30 60 bash -c "ncu --csv --profile-from-start off \
        --graph-profiling node --clock-control none --print-units base --print-kernel-base demangled \
        --metrics $metrics --log-file '$out/ncu.csv' python3 -m bench.gpu steps 16 >'$out/ncu.log' 2>&1
        tail -n 1 '$out/ncu.log'; python3 -m bench.gpu ncu '$out/ncu.csv'"
fi
if python3 -c 'import tinycudann' 2>/dev/null; then
    part "Tests with tiny-cuda-nn" 20 90 \
        bash -c "logged '$out/tcnn.log' 25 $pytest tests/ops/test_tcnn_backend.py"
fi
printf '\nDone, with %s s left.\n' "$(left)"
