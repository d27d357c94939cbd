"""Which module computes: the compiled kernels or the torch implementation with the same signatures."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

from nerfscene.errors import NerfsceneError

Shared = TypeVar("Shared")
BACKENDS = ("auto", "cpu", "cuda", "torch", "tcnn")
INSTALL_TCNN = (
    "pip install --no-build-isolation "
    '"git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch"'
)


def why_no_cpu() -> str | None:
    """None when the compiled kernels can be used, else the reason in one sentence."""
    try:
        importlib.import_module("nerfscene.ops._cpu")
    except ImportError as error:
        return f"the compiled kernels can't be loaded ({error})"
    return None


def why_no_cuda() -> str | None:
    """None when the CUDA kernels can be used on a GPU that is here, else the reason in one sentence."""
    try:
        module = importlib.import_module("nerfscene.ops._cuda")
    except ImportError as error:
        return f"the CUDA kernels are not built ({error})"
    try:
        found = module.devices()
    except RuntimeError as error:
        return str(error)
    return None if found else "there is no NVIDIA GPU here"


def why_no_tcnn() -> str | None:
    """None when tiny-cuda-nn can be used, else the reason and what mends it in one sentence."""
    try:
        importlib.import_module("tinycudann")
    except (ImportError, OSError, RuntimeError) as error:  # it looks for a GPU while it is imported
        why = str(error).strip().rstrip(".")
        return (
            f"tiny-cuda-nn can't be used ({why}): it needs an NVIDIA GPU, torch with CUDA and nvcc, and "
            f"where they are, `{INSTALL_TCNN}` installs it"
        )
    return None


def load(name: str = "auto") -> ModuleType:
    """The module for a backend's name.

    ``auto`` takes the CUDA kernels where they and a GPU are there, else those for the processor, and never
    falls back to something slower than its own kernels: where they are missing, it raises NerfsceneError
    saying what to do. So does a backend that was asked for by name and can't be used.
    """
    if name not in BACKENDS:
        raise NerfsceneError(f"no backend is called {name!r}; choose one of {', '.join(BACKENDS)}")
    if name == "torch":
        return importlib.import_module("nerfscene.ops.torch_backend")
    if name == "tcnn":
        reason = why_no_tcnn()
        if reason:
            raise NerfsceneError(reason)
        return importlib.import_module("nerfscene.ops.tcnn_backend")
    if name in ("auto", "cuda"):
        reason = why_no_cuda()
        if reason is None:
            return importlib.import_module("nerfscene.ops._cuda")
        if name == "cuda":
            raise NerfsceneError(
                f"{reason}; `nerfscene doctor` tells what mends it, and --backend cpu works without"
            )
    reason = why_no_cpu()
    if reason:
        raise NerfsceneError(
            f"{reason}; run `pip install .` in the checkout to build them, or use --backend torch "
            "(some twenty times slower)"
        )
    return importlib.import_module("nerfscene.ops._cpu")


def on_gpu(module: Any) -> bool:
    """Whether a backend's module computes on a GPU."""
    return hasattr(module, "devices")


def shared(array: Shared, module: Any) -> Shared:
    """The array itself, or a copy of it that the GPU and numpy both read and write in place."""
    if not on_gpu(module):
        return array
    with device_errors():
        copy: Shared = module.shared(array)
    return copy


@contextmanager
def device_errors() -> Iterator[None]:
    """Turns what a GPU's driver raises into NerfsceneError with the same sentence."""
    try:
        yield
    except RuntimeError as error:
        if type(error).__name__ != "DeviceError":
            raise
        raise NerfsceneError(str(error)) from error


def describe(name: str = "auto") -> str:
    """What a backend is, for a person: "our kernels on the CPU (avx512)"."""
    module = load(name)
    if name == "torch":
        return "plain torch"
    if name == "tcnn":
        return "tiny-cuda-nn's encoding and networks, and plain torch around them"
    if on_gpu(module):
        return f"our kernels on {module.device_name()} ({module.instruction_set()})"
    return f"our kernels on the CPU ({module.instruction_set()})"


def thread_count(asked: int = 0) -> int:
    """Threads to use: as asked, or all that this process may run on."""
    if asked > 0:
        return asked
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
