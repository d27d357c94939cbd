"""Which module computes: the compiled kernels or the torch implementation with the same signatures."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from nerfscene.errors import NerfsceneError

BACKENDS = ("auto", "cpu", "torch")


def why_no_cpu() -> str | None:
    """None when the compiled kernels can be used, else the reason in one sentence."""
    try:
        importlib.import_module("nerfscene.ops._cpu")
    except ImportError as error:
        return f"the compiled kernels can't be loaded ({error})"
    return None


def load(name: str = "auto") -> ModuleType:
    """The module for a backend's name.

    ``auto`` takes the compiled kernels and never falls back to something slower by itself: where they
    are missing, it raises NerfsceneError saying what to do.
    """
    if name not in BACKENDS:
        raise NerfsceneError(f"no backend is called {name!r}; choose one of {', '.join(BACKENDS)}")
    if name == "torch":
        return importlib.import_module("nerfscene.ops.torch_backend")
    reason = why_no_cpu()
    if reason:
        raise NerfsceneError(
            f"{reason}; run `pip install .` in the checkout to build them, or use --backend torch "
            "(some twenty times slower)"
        )
    return importlib.import_module("nerfscene.ops._cpu")


def describe(name: str = "auto") -> str:
    """What a backend is, for a person: "our kernels on the CPU (avx512)"."""
    module = load(name)
    if name == "torch":
        return "plain torch"
    return f"our kernels on the CPU ({module.instruction_set()})"


def thread_count(asked: int = 0) -> int:
    """Threads to use: as asked, or all that this process may run on."""
    if asked > 0:
        return asked
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
