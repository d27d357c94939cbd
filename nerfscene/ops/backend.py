"""Chooses the module that computes: the compiled kernels, or torch code with the same signatures."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from nerfscene.errors import NerfsceneError
from nerfscene.loading import loading

BACKENDS = ("auto", "cpu", "cuda", "torch", "tcnn")
INSTALL_TCNN = (
    "pip install --no-build-isolation "
    '"git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch"'
)


def _module(name: str) -> ModuleType:
    with loading():
        return importlib.import_module(name)


def why_no_cpu() -> str | None:
    """Why the compiled CPU kernels can't be used, in one sentence; None if they can."""
    try:
        _module("nerfscene.ops._cpu")
    except ImportError as error:
        return f"the compiled kernels can't be loaded ({error})"
    return None


def why_no_cuda() -> str | None:
    """Why the CUDA kernels can't be used on this machine, in one sentence; None if they can."""
    try:
        module = _module("nerfscene.ops._cuda")
    except ImportError as error:
        return f"the CUDA kernels are not built ({error})"
    try:
        found = module.devices()
    except RuntimeError as error:
        return str(error)
    return None if found else "there is no NVIDIA GPU here"


def why_no_tcnn() -> str | None:
    """Why tiny-cuda-nn can't be used and how to fix that, in one sentence; None if it can be used."""
    try:
        _module("tinycudann")
    except (ImportError, OSError, RuntimeError) as error:  # importing it already looks for a GPU
        why = str(error).strip().rstrip(".")
        return (
            f"tiny-cuda-nn can't be used ({why}): it needs an NVIDIA GPU, torch with CUDA and nvcc; on a "
            f"machine that has them, install it with `{INSTALL_TCNN}`"
        )
    return None


def load(name: str = "auto") -> ModuleType:
    """Returns the module of the named backend, one of ``BACKENDS``.

    ``auto`` takes the CUDA kernels if they are built and a GPU is present, otherwise the CPU kernels. It
    never falls back to anything slower than these.
    Raises NerfsceneError, saying what to do, for an unknown name or a backend that can't be used here.
    """
    if name not in BACKENDS:
        raise NerfsceneError(f"no backend is called {name!r}; choose one of {', '.join(BACKENDS)}")
    if name == "torch":
        return _module("nerfscene.ops.torch_backend")
    if name == "tcnn":
        reason = why_no_tcnn()
        if reason:
            raise NerfsceneError(reason)
        return _module("nerfscene.ops.tcnn_backend")
    if name in ("auto", "cuda"):
        reason = why_no_cuda()
        if reason is None:
            return _module("nerfscene.ops._cuda")
        if name == "cuda":
            raise NerfsceneError(
                f"{reason}; run `nerfscene doctor` to see how to fix this, or use --backend cpu"
            )
    reason = why_no_cpu()
    if reason:
        raise NerfsceneError(
            f"{reason}; run `pip install .` in the checkout to build them, or use --backend torch "
            "(about 30 times slower)"
        )
    return _module("nerfscene.ops._cpu")


def on_gpu(module: Any) -> bool:
    """Whether a backend module computes on a GPU."""
    return hasattr(module, "devices")


@contextmanager
def device_errors() -> Iterator[None]:
    """Turns the GPU driver's errors (``DeviceError``) into NerfsceneError with the same message."""
    try:
        yield
    except RuntimeError as error:
        if type(error).__name__ != "DeviceError":
            raise
        raise NerfsceneError(str(error)) from error


def describe(name: str = "auto") -> str:
    """A backend's description for users, such as "nerfscene's kernels on the CPU (avx512)".

    Raises NerfsceneError as ``load`` does.
    """
    module = load(name)
    if name == "torch":
        return "plain torch"
    if name == "tcnn":
        return "tiny-cuda-nn's encoding and networks, and plain torch around them"
    if on_gpu(module):
        return f"nerfscene's kernels on {module.device_name()} ({module.instruction_set()})"
    return f"nerfscene's kernels on the CPU ({module.instruction_set()})"


def thread_count(requested: int = 0) -> int:
    """Number of threads to use: ``requested``, or if that is 0, one for each core this process may use."""
    if requested > 0:
        return requested
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
