"""What doctor says about every kind of machine, given its facts."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nerfscene import doctor
from nerfscene.films import codecs
from nerfscene.ops import backend

NOTHING: dict[str, Any] = {
    "name": None,
    "driver": None,
    "compute_capability": None,
    "driver_cuda": None,
    "module": False,
    "module_error": None,
    "devices": [],
    "devices_error": None,
    "build": None,
    "nvcc": None,
    "visible": None,
}
GPU = {
    "name": "NVIDIA H100",
    "driver": "580.82.07",
    "compute_capability": "9.0",
    "driver_cuda": [13, 0],
}
OLD_DRIVER = {**GPU, "driver": "550.54.14", "driver_cuda": [12, 4]}
NOT_BUILT = {
    "built": False,
    "nvcc": None,
    "version": None,
    "architectures": [],
    "reason": "there was no nvcc",
}
FAILED = {**NOT_BUILT, "nvcc": "/usr/bin/nvcc", "version": "13.0", "reason": "nvcc refuses this g++"}
BUILT = {
    "built": True,
    "nvcc": "/usr/bin/nvcc",
    "version": "13.0",
    "architectures": [80, 90],
    "reason": None,
}
MODULE = {"module": True, "build": BUILT}
DEVICE = {
    "name": "NVIDIA H100",
    "compute_capability": "9.0",
    "memory_gib": 79.2,
    "driver": "13.0",
    "runtime": "13.0",
}
NO_DEVICE = "the GPU failed while looking for devices: no CUDA-capable device is detected"
INSTALL = "NERFSCENE_CUDA=1 pip install ."
DRIVER = "sudo apt install nvidia-driver-580"
UNSET = "unset CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize(
    ("facts", "state", "mend"),
    [
        ({}, "no_gpu", None),
        (MODULE, "no_gpu", None),
        ({**MODULE, "visible": ""}, "no_gpu", None),
        ({"driver_cuda": [13, 0]}, "no_gpu", None),
        ({**MODULE, "driver_cuda": [13, 0], "devices_error": NO_DEVICE}, "no_gpu", None),
        (GPU, "not_built", INSTALL),
        ({**GPU, "build": NOT_BUILT}, "not_built", INSTALL),
        ({**GPU, "build": NOT_BUILT, "nvcc": "/usr/bin/nvcc"}, "not_built", INSTALL),
        ({**GPU, "build": FAILED}, "not_built", f"NERFSCENE_NVCC=pypi {INSTALL}"),
        ({**OLD_DRIVER, "build": FAILED}, "not_built", "NERFSCENE_CUDA=1 pip install -v ."),
        (
            {**GPU, "build": {**FAILED, "nvcc": "nvidia-cuda-nvcc from PyPI"}},
            "not_built",
            "NERFSCENE_CUDA=1 pip install -v .",
        ),
        ({**OLD_DRIVER, "build": NOT_BUILT}, "driver_too_old", DRIVER),
        ({**OLD_DRIVER, "build": NOT_BUILT, "driver_cuda": None}, "driver_too_old", DRIVER),
        ({**OLD_DRIVER, "build": NOT_BUILT, "nvcc": "/usr/bin/nvcc"}, "not_built", INSTALL),
        ({**GPU, "build": BUILT, "module_error": "undefined symbol: x"}, "broken", INSTALL),
        ({**OLD_DRIVER, **MODULE, "devices_error": "insufficient"}, "driver_too_old", DRIVER),
        (
            {**GPU, "module": True, "build": {**BUILT, "version": "14.0"}, "devices_error": "insufficient"},
            "driver_too_old",
            "sudo apt install nvidia-driver",
        ),
        ({**GPU, **MODULE, "devices_error": NO_DEVICE, "visible": ""}, "hidden", UNSET),
        ({**GPU, **MODULE, "devices_error": NO_DEVICE, "visible": "-1"}, "hidden", UNSET),
        ({**GPU, **MODULE, "devices_error": NO_DEVICE, "visible": "7"}, "driver_fails", UNSET),
        ({**GPU, **MODULE, "devices_error": NO_DEVICE, "visible": "GPU-1b2c,0"}, "driver_fails", UNSET),
        ({**GPU, **MODULE, "devices_error": "unknown error"}, "driver_fails", "sudo reboot"),
        ({**GPU, **MODULE}, "driver_fails", "sudo reboot"),
        ({**GPU, **MODULE, "name": None, "devices_error": "lost"}, "no_gpu", None),
        ({**GPU, **MODULE, "devices": [DEVICE]}, "works", None),
        ({**MODULE, "devices": [DEVICE, DEVICE]}, "works", None),
        ({**GPU, "module": True, "devices": [DEVICE]}, "works", None),
        (
            {**GPU, **MODULE, "devices": [{**DEVICE, "compute_capability": "7.5"}]},
            "no_code",
            f"NERFSCENE_CUDA_ARCHS=7.5 {INSTALL}",
        ),
    ],
)
def test_verdict(facts: dict[str, Any], state: str, mend: str | None) -> None:
    verdict = doctor.judge(NOTHING | facts)
    assert (verdict.state, verdict.mend) == (state, mend)
    assert (verdict.missing is None) == (mend is None)
    assert verdict.found and verdict.module and "None" not in verdict.found + verdict.module
    if verdict.missing:
        assert "None" not in verdict.missing and "\n" not in verdict.missing


def test_sentences_name_what_is_there() -> None:
    verdict = doctor.judge(NOTHING | GPU | MODULE | {"devices": [DEVICE, DEVICE], "nvcc": "/opt/nvcc"})
    assert verdict.found == (
        "NVIDIA H100, 79 GiB, compute capability 9.0, driver 580.82.07 (CUDA 13.0), "
        "and 1 more (the first is used)"
    )
    assert verdict.module == "kernels built by nvcc 13.0 for sm_80, sm_90; nvcc is /opt/nvcc"
    assert "driver for CUDA 13.0" in doctor.judge(NOTHING | {"devices": [DEVICE], "module": True}).found
    verdict = doctor.judge(NOTHING | GPU | {"build": NOT_BUILT})
    assert verdict.found == "NVIDIA H100, compute capability 9.0, driver 580.82.07 (CUDA 13.0)"
    assert verdict.module == "kernels not built (there was no nvcc); no nvcc here"
    assert "none is needed" in doctor.judge(NOTHING).found


@pytest.mark.parametrize(
    ("capability", "compiled", "runs"),
    [
        ("9.0", [80, 90], True),
        ("8.9", [80, 90], True),  # machine code of its own generation
        ("12.0", [80, 90], True),  # PTX of the newest
        ("7.5", [80, 90], False),
        ("9.0", [80, 100], False),  # neither its generation's code nor PTX old enough
        ("8.0", [86], False),
        ("9.0", [], True),
    ],
)
def test_machine_code_for_a_card(capability: str, compiled: list[int], runs: bool) -> None:
    assert doctor.has_code_for(capability, {"architectures": compiled}) is runs


def doctor_says(facts: dict[str, Any]) -> str:
    facts = NOTHING | facts
    return doctor.in_words(
        {
            "processor": "a processor",
            "cores": 2,
            "memory_gib": 8,
            "disk_free_gib": 10,
            "system": "Linux",
            "python": "3.12",
            "kernels_missing": None,
            "kernels": ["avx2", "portable"],
            "tinycudann": False,
            "tinycudann_missing": "tiny-cuda-nn can't be used",
            "packages": {"torch": "2.9"},
            "film_codecs": {"H.264": True},
            "exports_missing": [],
            "will_use": "nerfscene's kernels on the CPU (avx2)",
            "cuda": facts | vars(doctor.judge(facts)),
        }
    )


def test_doctor_ends_with_one_command_to_run() -> None:
    said = doctor_says(GPU)
    assert f"to fix it: {INSTALL}   (in the checkout)" in said and said.count("to fix it") == 1
    assert "on the processor" in said
    said = doctor_says({**GPU, **MODULE, "visible": ""})
    assert f"to fix it: {UNSET}\n" in said
    for fine in ({}, {**GPU, **MODULE, "devices": [DEVICE]}):
        assert "to fix it" not in doctor_says(fine)


def module_with(devices: Any) -> ModuleType:
    module = ModuleType("nerfscene.ops._cuda")
    module.__spec__ = importlib.util.spec_from_loader(module.__name__, None)
    module.devices = devices  # type: ignore[attr-defined]
    return module


def test_facts_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> list[Any]:
        raise RuntimeError("the driver sleeps")

    monkeypatch.setitem(sys.modules, "nerfscene.ops._cuda", module_with(lambda: [DEVICE]))
    facts = doctor.gpu_facts()
    assert facts["module"] and facts["devices"] == [DEVICE] and facts["devices_error"] is None
    monkeypatch.setitem(sys.modules, "nerfscene.ops._cuda", module_with(fails))
    facts = doctor.gpu_facts()
    assert facts["module"] and facts["devices"] == [] and facts["devices_error"] == "the driver sleeps"


def test_a_module_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> ModuleType:
        raise ImportError(f"{name}: undefined symbol: x")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(name=name))
    monkeypatch.setattr(importlib, "import_module", fails)
    facts = doctor.gpu_facts()
    assert not facts["module"] and "undefined symbol" in facts["module_error"]


def test_facts_without_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    facts = doctor.gpu_facts()
    assert not facts["module"] and facts["module_error"] is None


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("echo 'NVIDIA H100 80GB HBM3, 580.82.07, 9.0'; echo second, 1, 2", "NVIDIA H100 80GB HBM3"),
        ("echo No devices were found; exit 6", None),
        ("echo No devices were found", None),
        ("", None),
    ],
)
def test_nvidia_smi(script: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = doctor.nvidia_smi()
    assert found["name"] == name
    if name:
        assert found == {"name": name, "driver": "580.82.07", "compute_capability": "9.0"}


def test_no_error_of_a_gpu_ends_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str = "auto") -> str:
        raise RuntimeError("the GPU fell off the bus")

    monkeypatch.setattr(backend, "describe", fails)
    d = doctor.examine()
    assert "fell off the bus" in d["will_use"] and d["cuda"]["state"]
    assert "fell off the bus" in doctor.in_words(d)


def test_doctor_says_which_exports_lack_a_package() -> None:
    assert "exports" not in doctor_says({})
    said = doctor.in_words({**doctor.examine(), "exports_missing": ["laspy", "pxr"]})
    assert "exports   not possible: a .las or .laz file, a USD file; to fix it: pip install" in said


def test_doctor_says_how_films_can_be_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    d = doctor.examine()
    assert list(d["film_codecs"]) == [codec.words for codec in codecs.CODECS]
    facts = {**d, "film_codecs": {"H.264": True, "AV1": True}}
    assert "films     as H.264, AV1\n" in doctor.in_words(facts)
    monkeypatch.setattr(codecs, "has", lambda codec: codec.name not in ("av1", "h265"))
    said = doctor.in_words({**d, "film_codecs": doctor.film_codecs()})
    line = next(line for line in said.split("\n") if line.startswith("films"))
    assert line.startswith("films     as H.264, VP9, ProRes 4444") and "no encoder for H.265, AV1; to" in line
    monkeypatch.setitem(sys.modules, "nerfscene.films.codecs", None)  # as where PyAV isn't installed
    assert doctor.film_codecs() == {}
    assert "films     only as pictures (--frames); PyAV can't be loaded" in doctor.in_words(
        {**d, "film_codecs": {}}
    )
