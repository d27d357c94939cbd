"""Building the CUDA module: finding a compiler, calling it, and the registers that the kernels take."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bench import cuda_resources
from build_support import cuda

SPILL_LIMIT = 64  # bytes a thread may spill
# Limits of single kernels, by name without template arguments.
SPILL_LIMITS = {"trace_kernel": 16, "color_kernel": 16, "table_kernel": 0, "ray_backward_kernel": 0}

REPORT = """
ptxas info    : 24 bytes gmem
ptxas info    : Compiling entry function '_Z3onePf' for 'sm_90a'
ptxas info    : Function properties for _Z3onePf
    200 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 200 bytes cumulative stack size, 1024 bytes smem
ptxas info    : Compile time = 155.195 ms
ptxas info    : Compiling entry function '_Z3twov' for 'sm_120'
ptxas info    : Function properties for _Z3twov
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Function properties for _Z6helperv
    8 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers
"""


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_kernels_fit_their_registers() -> None:
    nvcc = cuda.find_nvcc()
    if nvcc is None:
        pytest.skip("there is no nvcc here")
    if not cuda.sources():
        pytest.skip("there are no CUDA sources to compile")
    kit = cuda.toolkit(nvcc)
    unknown = set(cuda_resources.ARCHITECTURES) - set(kit.supported)
    if unknown:
        pytest.skip(f"nvcc {kit.version} can't compile for {cuda.names(sorted(unknown))}")
    rows = cuda_resources.measure(kit)
    assert {r.architecture for r in rows} == set(cuda_resources.ARCHITECTURES)
    limits = {r: SPILL_LIMITS.get(r.kernel.split("<")[0], SPILL_LIMIT) for r in rows}
    spilling = [
        f"{r.kernel} on sm_{r.architecture}: {r.spill}" for r, most in limits.items() if r.spill > most
    ]
    assert not spilling, "bytes spilled, more than allowed"


def test_report_of_the_assembler_is_read() -> None:
    one, two = cuda_resources.parse(REPORT, "some.cu")
    assert one == cuda_resources.Resources("_Z3onePf", "some.cu", 90, 168, 200, 12, 1024)
    assert two == cuda_resources.Resources("_Z3twov", "some.cu", 120, 12, 8, 8, 0)
    assert cuda_resources.parse("ptxas info    : 0 bytes gmem", "some.cu") == []
    with pytest.raises(ValueError, match="wording"):
        cuda_resources.parse("Compiling entry function '_Z1kv' for 'sm_90'\nwhat?", "some.cu")
    table = cuda_resources.markdown([one], "13.0")
    assert "| some.cu | `_Z3onePf` | sm_90 | 168 | 200 | 12 | 1024 |" in table


def test_names_are_short() -> None:
    name = "void a::b::(anonymous namespace)::train_kernel<a::b::Sizes<(int)32, (int)0>>(a::b::Input, int)"
    assert cuda_resources.short(name) == "train_kernel<Sizes<32, 0>>"
    assert cuda_resources.short("plain(float*)") == "plain"


def test_nvcc_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = program(tmp_path / "home/bin/nvcc")
    on_path = program(tmp_path / "path/nvcc")
    from_pypi = program(tmp_path / "packages/nvidia/cu13/bin/nvcc")
    packages = [str(tmp_path / "none"), str(tmp_path / "packages")]
    both = {"CUDA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path")}
    assert cuda.find_nvcc(both, packages) == home
    assert cuda.find_nvcc({"PATH": both["PATH"]}, packages) == on_path
    assert cuda.find_nvcc({**both, "NERFSCENE_NVCC": "pypi"}, packages) == from_pypi
    assert cuda.find_nvcc({**both, "NERFSCENE_NVCC": str(on_path)}, packages) == on_path
    assert cuda.find_nvcc({**both, "NERFSCENE_NVCC": str(tmp_path / "none")}, packages) is None
    assert cuda.find_nvcc({"NERFSCENE_NVCC": "pypi"}, packages[:1]) is None
    on_path.chmod(0o644)
    if os.geteuid() or not os.access(on_path, os.X_OK):
        assert cuda.find_nvcc({"PATH": both["PATH"]}, packages) != on_path


@pytest.mark.parametrize(
    ("asked", "driver", "below"),
    [
        ("", None, None),
        ("", (12, 8), None),
        ("", (13, 0), "13.1"),
        ("", (13, 2), "13.3"),
        ("", (14, 1), "14"),
        ("0", (13, 0), None),
        ("1", None, "13.1"),
        ("1", (12, 4), "13.1"),
        ("1", (13, 2), "13.3"),
    ],
)
def test_a_compiler_is_asked_of_pypi(
    asked: str, driver: tuple[int, int] | None, below: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "sources", lambda: [Path("some.cu")])
    environ = {"NERFSCENE_CUDA": asked, "NERFSCENE_NVCC": "/none"}
    found = cuda.requirements(environ, lambda: driver, lambda: True)
    assert found == ([f"{name}>=13.0,<{below}" for name in cuda.PACKAGES] if below else [])
    assert cuda.requirements(environ, lambda: driver, lambda: False) == [], "no packages for this system"


def test_no_compiler_is_asked_for_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"NERFSCENE_CUDA": "1", "NERFSCENE_NVCC": str(program(tmp_path / "nvcc"))}
    monkeypatch.setattr(cuda, "sources", lambda: [Path("some.cu")])
    assert cuda.requirements(environ, lambda: (13, 0), lambda: True) == []
    monkeypatch.setattr(cuda, "sources", list)
    assert cuda.requirements({"NERFSCENE_CUDA": "1"}, lambda: (13, 0), lambda: True) == []


def test_the_extra_has_the_packages_that_a_build_asks_for() -> None:
    import tomllib

    project = tomllib.loads((cuda.ROOT / "pyproject.toml").read_text())["project"]
    named = [re.split("[<>=]", text)[0] for text in project["optional-dependencies"]["cuda"]]
    assert named == list(cuda.PACKAGES)


def test_architectures() -> None:
    supported = [52, 75, 80, 86, 87, 89, 90]
    assert cuda.architectures(supported) == [75, 80, 86, 89, 90]
    assert cuda.architectures(supported, "90; sm_80,8.7") == [80, 87, 90]
    for bad in ("120", "ninety", ";"):
        with pytest.raises(cuda.CudaBuildError, match="NERFSCENE_CUDA_ARCHS"):
            cuda.architectures(supported, bad)
    with pytest.raises(cuda.CudaBuildError, match="newer"):
        cuda.architectures([35, 52])
    flags = cuda.code_flags([80, 90])
    assert [f.split(",code=")[1] for f in flags] == ["sm_80", "sm_90", "compute_90"]


def test_compiler_errors_become_one_sentence() -> None:
    refusal = (
        "In file included from <command-line>:\n"
        "crt/host_config.h:145:2: error: #error -- unsupported GNU version! gcc versions later than 15 are "
        "not supported! The nvcc flag '-allow-unsupported-compiler' can be used to override this check\n"
    )
    said = cuda.first_complaint(refusal, "a.cu")
    assert "gcc versions later than 15" in said and "NVCC_CCBIN" in said and "\n" not in said
    said = cuda.first_complaint(
        "a.cu(3): warning: hm\na.cu(7): error: no such name\n1 error detected", "a.cu"
    )
    assert said == "nvcc could not compile a.cu: a.cu(7): error: no such name"
    assert cuda.first_complaint("nvcc fatal   : Killed\n", "a.cu").endswith("nvcc fatal   : Killed")
    assert cuda.first_complaint("", "a.cu")


def test_what_is_not_nvcc_is_reported(tmp_path: Path) -> None:
    with pytest.raises(cuda.CudaBuildError, match="exit status 3"):
        cuda.toolkit(program(tmp_path / "fails", "#!/bin/sh\nexit 3\n"))
    with pytest.raises(cuda.CudaBuildError, match="is it really nvcc"):
        cuda.toolkit(program(tmp_path / "other", "#!/bin/sh\necho hello\n"))
    with pytest.raises(cuda.CudaBuildError, match="can't be run"):
        cuda.toolkit(tmp_path / "none")


def test_why_there_is_no_nvcc() -> None:
    assert "/none" in cuda.why_no_nvcc({"NERFSCENE_NVCC": "/none"}, None)
    assert "NERFSCENE_CUDA=1" in cuda.why_no_nvcc({}, None)
    assert "580" in cuda.why_no_nvcc({}, (12, 4))
    assert "no-build-isolation" in cuda.why_no_nvcc({}, (13, 0))


def test_objects_are_kept_while_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler here is a script that only counts its calls."""
    calls = tmp_path / "calls"
    text = f"""#!/bin/sh
case "$*" in
  *--version*) echo "release 13.0, V13.0.88" ;;
  *-dryrun*) echo "#$ TOP={tmp_path}" >&2 ;;
  *--list-gpu-code*) echo sm_80; echo sm_90 ;;
  *) echo once >> {calls}; for last; do :; done; echo object > "$last" ;;
esac
"""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libcudart_static.a").touch()
    kit = cuda.toolkit(program(tmp_path / "nvcc", text))
    assert kit.version == "13.0" and kit.supported == (80, 90) and not kit.from_pypi
    assert f"-L{tmp_path}/lib" in cuda.link_flags(kit)
    source, header, objects = tmp_path / "a.cu", tmp_path / "a.h", tmp_path / "objects"
    source.write_text("one")
    header.write_text("one")
    monkeypatch.setattr(cuda, "sources", lambda: [source])
    monkeypatch.setattr(cuda, "headers", lambda: [header])

    def count(wanted: list[int]) -> int:
        (only,) = cuda.compile_sources(kit, wanted, objects)
        assert set(objects.iterdir()) == {only, cuda.report_of(only)}, "older objects are gone"
        return len(calls.read_text().split())

    assert (count([80]), count([80])) == (1, 1)
    assert count([80, 90]) == 2
    source.write_text("two")
    assert (count([80, 90]), count([80, 90])) == (3, 3)
    header.write_text("two")
    assert count([80, 90]) == 4


def test_what_the_assembler_said_is_kept_for_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = tmp_path / "calls"
    said = tmp_path / "said"
    said.write_text(REPORT + "a.cu(3): warning: it may rain\n")
    text = f"""#!/bin/sh
case "$*" in
  *--version*) echo "release 13.0, V13.0.88" ;;
  *) echo once >> {calls}; cat {said}; for last; do :; done; echo object > "$last" ;;
esac
"""
    kit = cuda.Toolkit(program(tmp_path / "nvcc", text), "13.0", None, (90, 120), False)
    source = tmp_path / "a.cu"
    source.write_text("__global__")
    monkeypatch.setattr(cuda, "sources", lambda: [source])
    monkeypatch.setattr(cuda, "OBJECTS", tmp_path)
    monkeypatch.delenv("NERFSCENE_CUDA_ARCHS", raising=False)
    assert cuda_resources.kept_reports(kit, [90]) is None, "nothing was built yet"
    cuda.compile_sources(kit, [90, 120], tmp_path)
    assert capfd.readouterr().err.strip() == "a.cu(3): warning: it may rain"
    (one,) = cuda_resources.measure(kit, [90])
    assert (one.registers, one.spill) == (168, 12)
    assert calls.read_text() == "once\n", "compiled once, by the build"
    assert cuda_resources.kept_reports(kit, [80]) is None, "of another architecture"
    source.write_text("__global__ // changed")
    assert cuda_resources.kept_reports(kit, [90]) is None, "of another source"


def test_record_is_json_that_doctor_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nerfscene import doctor
    from nerfscene.ops import backend

    cuda.Record(nvcc="/bin/nvcc", reason="it rained").write(tmp_path)
    monkeypatch.setattr(backend, "__file__", str(tmp_path / "backend.py"))
    record = doctor.build_record()
    assert record == {"built": False, "nvcc": "/bin/nvcc", "version": None, "architectures": [],
                      "reason": "it rained"}  # fmt: skip
    (tmp_path / cuda.RECORD).write_text("{")
    assert doctor.build_record() is None
