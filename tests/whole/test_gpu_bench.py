"""What bench/gpu.sh relies on: its stand-ins, its list of tests, ncu's numbers as a table."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import captures, gpu, needs

ROOT = Path(__file__).parents[2]


def test_what_is_missing_is_named() -> None:
    said = needs.missing(lambda name: "it is not here" if name == "PIL" else None)
    assert said == ["Pillow can't be imported (it is not here)"]
    assert needs.why_not("bench.no_such_module") is not None


def test_a_standin_may_be_named_but_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs.stand_in(tmp_path, ["some_package"])
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("some_package")
    module.register_heif_opener()
    named = module.Reconstruction
    for use in (named, lambda: named.read, lambda: module.open("video.mp4")):
        with pytest.raises(ImportError, match="some_package is not installed here"):
            use()
    assert not hasattr(module, "__path__")


def test_everything_it_needs_can_be_imported_with_standins(tmp_path: Path) -> None:
    needs.stand_in(tmp_path, needs.REPLACED)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "".join(f"import {name}\n" for name in needs.USED)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=600)


def test_every_kernel_test_runs_on_a_gpu() -> None:
    """gpu.sh finds test files by searching their text; it must find all that have a test for a GPU."""
    script = (ROOT / "bench/gpu.sh").read_text()
    pattern = re.search(r"grep -lE '(.*?)' tests", script)
    assert pattern is not None
    files = sorted((ROOT / "tests").glob("*/test_*.py"))
    found = {p.name for p in files if re.search(pattern[1], p.read_text())}
    uses = r"(\bdef test_\w+|@pytest\.fixture\ndef \w+)\([^)]*\b(device|kernels)\b"  # a test or a fixture
    marked = {p.name for p in files if re.search(uses, p.read_text())}
    assert found == marked - {"test_tcnn_devices.py"} and "test_march.py" in found


def test_numbers_of_ncu_become_a_table() -> None:
    lines = [
        "==PROF== Connected to process 7",
        '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"',
        '"0","void a::(anonymous namespace)::trace_kernel<a::Sizes<(int)32>>(a::In)","time","ns","1,000"',
        '"1","void a::<unnamed>::trace_kernel<a::Sizes<32> >(a::In)","time","ns","3000"',
        '"2","void a::<unnamed>::table_kernel<4>(a::In)","time","ns","n/a"',
        '"2","void a::<unnamed>::table_kernel<4>(a::In)","bytes","byte","5"',
    ]
    table = gpu.ncu_table(lines).splitlines()
    assert table[0] == "| kernel | launches | bytes (byte) | time (ns) |"
    assert table[2:] == ["| `table_kernel<4>` | 1 | 5 |  |", "| `trace_kernel<Sizes<32>>` | 2 |  | 2000 |"]
    assert "no numbers" in gpu.ncu_table(lines[:2])


def test_the_benchmark_says_which_capture_it_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "DATA", tmp_path)  # without chair, which takes long to read
    posed, words = gpu.capture()
    assert posed.views and re.search(r"trained on \d+ photos \(.*tested on", words)


@pytest.mark.long
def test_a_copy_of_chair_is_read_whole(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (data_folder / "chair").is_dir():
        pytest.skip("there is no chair here")
    monkeypatch.setattr(captures, "DATA", data_folder)
    assert captures.copy_chair(tmp_path / "chair") == 125
    first = captures.short_chair()
    monkeypatch.setattr(captures, "DATA", tmp_path)
    copied = captures.short_chair()
    assert first is not None and copied is not None
    assert [v.path.name for v in copied.views] == [v.path.name for v in first.views]
