"""Builds the CUDA sources for the emulated GPU, with the host's compiler."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "cuda_ext"
NAME = "_cuda_emulated"


def sources() -> list[Path]:
    """All sources of the module, except the part that calls the CUDA runtime."""
    import nanobind

    cuda = [p for p in sorted((KERNELS / "cuda").glob("*.cu")) if p.name != "runtime.cu"]
    combined = Path(nanobind.include_dir()).parent / "src/nb_combined.cpp"
    return [combined, KERNELS / "bind_cuda.cpp", *cuda, HERE / "emulate.cpp", HERE / "runtime.cpp"]


def build(folder: Path) -> Path:
    """Compiles into ``folder``; returns the module's path. Raises CalledProcessError with what g++ said."""
    import nanobind

    base = Path(nanobind.include_dir()).parent
    includes = [HERE, base / "include", base / "ext/robin_map/include", sysconfig.get_path("include")]
    # A fortified build would forbid _longjmp between the fibers' stacks.
    flags = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-w", "-U_FORTIFY_SOURCE",
             "-fno-strict-aliasing", "-ffp-contract=fast", "-DNS_EMULATE", "-DNB_DOMAIN=nerfscene_emulated",
             f"-DNS_MODULE={NAME}", *(f"-I{p}" for p in includes)]  # fmt: skip

    def compiled(source: Path) -> Path:
        out = folder / (source.stem + ".o")
        language = ["-x", "c++"] if source.suffix == ".cu" else []
        # The bindings take the longest to compile, and next to nothing of the time that kernels run.
        level = "-O1" if source.parent.name == "cuda" or source.parent == HERE else "-O0"
        command = ["g++", *flags, level, *language, "-c", str(source), "-o", str(out)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        return out

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, sources()))
    module = folder / (NAME + sysconfig.get_config_var("EXT_SUFFIX"))
    subprocess.run(["g++", "-shared", *map(str, objects), "-o", str(module), "-pthread"], check=True)
    return module


def cached() -> Path:
    """The module of these sources, from an earlier build if there is one, else built now (half a minute)."""
    digest = hashlib.sha256(sys.version.encode())
    for path in [*sources(), *sorted(KERNELS.rglob("*.h")), *sorted(HERE.glob("*.h")), Path(__file__)]:
        digest.update(path.read_bytes())
    folder = KERNELS.parent / "build/emulated_gpu" / digest.hexdigest()[:16]
    module = folder / (NAME + sysconfig.get_config_var("EXT_SUFFIX"))
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # if several processes want it, one of them builds it
        if not module.exists():
            with tempfile.TemporaryDirectory(dir=folder) as work:
                os.replace(build(Path(work)), module)
    return module


def load(module: Path) -> ModuleType:
    """Imports the module that ``build`` made."""
    spec = importlib.util.spec_from_file_location(NAME, module)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def on_device(module: ModuleType, array: NDArray[Any]) -> NDArray[Any]:
    """A copy of an array in the emulated device's memory, where it stays. Tests can read and change it."""
    allocate = ctypes.CDLL(module.__file__).emulated_allocate
    allocate.restype = ctypes.c_void_p
    memory = (ctypes.c_char * array.nbytes).from_address(allocate(ctypes.c_size_t(array.nbytes)))
    copy = np.frombuffer(memory, array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def refused(module: ModuleType, argument: NDArray[np.uint64]) -> bool:
    """Whether a kernel's argument with these contents is refused, because of an address on the host."""
    return bool(ctypes.CDLL(module.__file__).emulated_refuses(argument.ctypes.data_as(ctypes.c_void_p),
                                                              ctypes.c_size_t(argument.nbytes)))  # fmt: skip
