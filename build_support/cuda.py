"""The CUDA module's compiler: finding one, asking PyPI for one, compiling with it, a record of how it went.

Three variables of the environment steer it:

NERFSCENE_CUDA        0: no CUDA module; 1: build it even where no NVIDIA driver is
NERFSCENE_CUDA_ARCHS  compute capabilities to compile for, as in "90" or "80,9.0"; all, when not set
NERFSCENE_NVCC        the nvcc to use, or "pypi" for none but the one that PyPI's packages install
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "cuda_ext"
BINDINGS = KERNELS / "bind_cuda.cpp"
OBJECTS = ROOT / "build/cuda"
RECORD = "_cuda_build.json"

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
# No --use_fast_math: division, square roots and subnormal numbers stay as IEEE says, and as the oracle's are.
FLAGS = ["-O3", "-std=c++17", "--expt-relaxed-constexpr", "-lineinfo",
         "-Xcompiler", "-fPIC,-fvisibility=hidden"]  # fmt: skip
# Registers, spills and shared memory of each kernel, told by the assembler.
REPORTING = ["-Xptxas", "-v"]
REPORT_LINES = re.compile(r"^(?:ptxas info *:.*| +\d+ bytes stack frame.*)$\n?", re.MULTILINE)
AT_ONCE = 2  # one nvcc takes up to a gigabyte
# The first driver for CUDA 13. PyPI has nvcc of CUDA 13 only: of CUDA 12 it has ptxas alone.
FIRST_DRIVER = 580
PACKAGES = ("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-runtime", "nvidia-cuda-cccl")


class CudaBuildError(Exception):
    """Why there is no CUDA module, in one sentence."""


@dataclass(frozen=True)
class Toolkit:
    """An nvcc, its version as "13.0", the folder of its runtime where known, what it can compile for."""

    nvcc: Path
    version: str
    libraries: str | None
    supported: tuple[int, ...]
    from_pypi: bool


@dataclass
class Record:
    """How the build of the CUDA module went; kept beside the modules for ``nerfscene doctor``."""

    built: bool = False
    nvcc: str | None = None
    version: str | None = None
    architectures: list[int] = field(default_factory=list)
    reason: str | None = None

    def write(self, folder: Path) -> None:
        """Writes it as JSON."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).write_text(json.dumps(vars(self), indent=1) + "\n")


def sources() -> list[Path]:
    """What nvcc compiles; empty where the tree has no CUDA module to build."""
    return sorted((KERNELS / "cuda").glob("*.cu")) if BINDINGS.exists() else []


def headers() -> list[Path]:
    """Every header that a CUDA source may include."""
    return sorted([*(KERNELS / "include").glob("*.h"), *(KERNELS / "cuda").glob("*.h")])


def text_of(source: Path) -> str:
    """A source and the headers beside it that it includes, each once: what there is to compile of it."""
    seen: list[Path] = []
    left = [source]
    while left:
        path = left.pop()
        seen.append(path)
        included = re.findall(r'^#include "([^/"]+)"', path.read_text(), re.MULTILINE)
        beside = [source.parent / name for name in included]
        left += [p for p in beside if p.exists() and p not in (*seen, *left)]
    return "".join(path.read_text() for path in seen)


def turned_off(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for no CUDA module."""
    return environ.get("NERFSCENE_CUDA", "") == "0"


def find_nvcc(environ: Mapping[str, str] = os.environ, packages: Sequence[str] = ()) -> Path | None:
    """The machine's nvcc, else one that PyPI's packages put into a folder of Python packages."""
    asked = environ.get("NERFSCENE_NVCC", "")
    if asked and asked != "pypi":
        return Path(asked) if os.access(asked, os.X_OK) else None
    if not asked:
        places = [Path(home) / "bin/nvcc" for home in [environ.get("CUDA_HOME", "")] if home]
        on_path = shutil.which("nvcc", path=environ.get("PATH"))
        places += [Path(on_path)] if on_path else []
        places += [Path("/usr/local/cuda/bin/nvcc")]
        for place in places:
            if os.access(place, os.X_OK):
                return place
    for folder in packages or sys.path:
        for place in sorted(Path(folder or ".").glob("nvidia/cu*/bin/nvcc"), reverse=True):
            if os.access(place, os.X_OK):
                return place
    return None


def driver() -> tuple[int, int] | None:
    """The newest CUDA that the NVIDIA driver here runs, as (13, 0); None where there is no driver."""
    try:
        version = ctypes.c_int()
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version)) == 0:
            return version.value // 1000, version.value % 1000 // 10
    except (OSError, AttributeError):
        pass
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        asked = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
        return (13, 0) if int(said.split(".")[0]) >= FIRST_DRIVER else (12, 0)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def pypi_fits() -> bool:
    """Whether PyPI's packages of nvcc run here: they are for Linux with glibc."""
    machine = platform.machine().lower() in {"x86_64", "aarch64"}
    return sys.platform == "linux" and machine and platform.libc_ver()[0] == "glibc"


def requirements(
    environ: Mapping[str, str] = os.environ,
    driver_here: Callable[[], tuple[int, int] | None] = driver,
    fits: Callable[[], bool] = pypi_fits,
) -> list[str]:
    """The packages to ask PyPI for: none where nvcc is here already or would serve nothing.

    Never newer than the driver, so that it can compile the PTX for a card that no machine code is for.
    """
    if turned_off(environ) or not sources() or not fits() or find_nvcc(environ):
        return []
    newest = driver_here()
    if environ.get("NERFSCENE_CUDA", "") == "1":
        newest = max(newest or (13, 0), (13, 0))
    if newest is None or newest < (13, 0):
        return []
    below = f"13.{newest[1] + 1}" if newest[0] == 13 else "14"
    return [f"{name}>=13.0,<{below}" for name in PACKAGES]


def why_no_nvcc(environ: Mapping[str, str], newest: tuple[int, int] | None) -> str:
    """Why ``find_nvcc`` found nothing, and what to do."""
    asked = environ.get("NERFSCENE_NVCC", "")
    if asked and asked != "pypi":
        return f"NERFSCENE_NVCC names {asked}, which is no program; name an nvcc, or leave it unset"
    if newest is None:
        return "there was no nvcc and no NVIDIA driver; NERFSCENE_CUDA=1 brings a compiler from PyPI"
    if newest < (13, 0):
        return (
            f"there was no nvcc, and the NVIDIA driver is too old for the one on PyPI; update the driver to "
            f"{FIRST_DRIVER} or newer, or install the toolkit of CUDA 12"
        )
    return "there was no nvcc; without --no-build-isolation pip brings one from PyPI"


def toolkit(nvcc: Path) -> Toolkit:
    """Asks nvcc what it is. Raises CudaBuildError where it can't be run."""
    said = ask(nvcc, "--version")
    version = re.search(r"release (\d+\.\d+)", said)
    if version is None:
        raise CudaBuildError(f"{nvcc} tells no version: is it an nvcc?")
    # nvcc's own words rather than folders beside it: it may be a script that calls another.
    own_words = ask(nvcc, "-dryrun", "none.cu")
    named = re.search(r"^#\$ LIBRARIES=(.*)$", own_words, re.MULTILINE)
    top = re.search(r"^#\$ TOP=(.*)$", own_words, re.MULTILINE)
    folders = [flag.removeprefix("-L") for flag in shlex.split(named[1] if named else "")]
    # PyPI's packages of CUDA 13.0 have lib, and an nvcc that looks in lib64.
    folders += [f"{top[1].strip()}/{name}" for name in ("lib64", "lib") if top]
    # Where none of them has it, the linker's own folders may.
    holding = next((f for f in folders if Path(f, "libcudart_static.a").exists()), None)
    supported = sorted({int(n) for n in re.findall(r"sm_(\d+)\b", ask(nvcc, "--list-gpu-code"))})
    return Toolkit(nvcc, version[1], holding, tuple(supported), "nvidia" in nvcc.parts[-4:-2])


def ask(nvcc: Path, *arguments: str) -> str:
    """What nvcc says, on either stream."""
    try:
        done = subprocess.run([nvcc, *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise CudaBuildError(f"{nvcc} can't be run ({error})") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
        raise CudaBuildError(f"{nvcc} {arguments[0]} failed ({said}); NERFSCENE_NVCC names another")
    return done.stdout + done.stderr


def architectures(supported: Sequence[int], asked: str = "") -> list[int]:
    """Those to compile for: all that nvcc knows of ours, or as asked. Raises CudaBuildError."""
    if not asked.strip():
        ours = [a for a in ARCHITECTURES if a in supported]
        if not ours:
            raise CudaBuildError("this nvcc knows none of the GPUs that are supported; use a newer one")
        return ours
    numbers = [
        text.lower().removeprefix("sm_").replace(".", "") for text in re.split(r"[,;\s]+", asked) if text
    ]
    if not numbers or not all(n.isdecimal() for n in numbers):
        raise CudaBuildError(
            f'NERFSCENE_CUDA_ARCHS is {asked!r}; it takes compute capabilities, as in "80,90"'
        )
    wanted = sorted({int(n) for n in numbers})
    unknown = [a for a in wanted if a not in supported]
    if unknown:
        raise CudaBuildError(
            f"NERFSCENE_CUDA_ARCHS asks for {', '.join(map(str, unknown))}, which this nvcc doesn't know; "
            f"it knows {', '.join(map(str, supported))}"
        )
    return wanted


def code_flags(wanted: Sequence[int]) -> list[str]:
    """Machine code for each architecture, and PTX of the newest for cards still to come."""
    flags = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in wanted]
    return [*flags, f"-gencode=arch=compute_{wanted[-1]},code=compute_{wanted[-1]}"]


def object_files(kit: Toolkit, wanted: Sequence[int], folder: Path) -> dict[Path, Path]:
    """Where the object file of each source goes, named by all that decides what is in it."""
    flags = [*FLAGS, *code_flags(wanted)]
    same = hashlib.sha256("\n".join([*flags, ask(kit.nvcc, "--version"), *host_compiler()]).encode())
    for header in headers():
        same.update(header.name.encode() + b"\0" + header.read_bytes())
    files = {}
    for source in sources():
        digest = same.copy()
        digest.update(source.read_bytes())
        files[source] = folder / f"{source.stem}-{digest.hexdigest()[:16]}.o"
    return files


def report_of(file: Path) -> Path:
    """Where what the assembler said of an object file's kernels is kept."""
    return file.with_suffix(".ptxas.txt")


def compile_sources(kit: Toolkit, wanted: Sequence[int], folder: Path = OBJECTS) -> list[Path]:
    """Object files in ``folder``, compiled where none is there from these very sources and options.

    Raises CudaBuildError with the first thing that a compiler said; all it said goes to stderr.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = object_files(kit, wanted, folder)

    def compiled(source: Path) -> Path:
        out = files[source]
        if out.exists():
            return out
        for old in folder.glob(f"{source.stem}-{'?' * 16}.o"):  # none that another build is at
            old.unlink(missing_ok=True)
            report_of(old).unlink(missing_ok=True)
        say(f"nvcc {kit.version}: {source.name} for {names(wanted)}")
        begin = time.perf_counter()
        unfinished = out.with_suffix(f".{os.getpid()}.o")
        command = [str(kit.nvcc), *FLAGS, *code_flags(wanted), *REPORTING]
        said = run_nvcc([*command, "-c", str(source), "-o", str(unfinished)], source.name)
        report_of(out).write_text(said)
        unfinished.replace(out)
        say(f"nvcc {kit.version}: {source.name} took {time.perf_counter() - begin:.0f} s")
        return out

    # The largest first, or the last one to start may keep everybody waiting.
    largest_first = sorted(sources(), key=lambda path: -len(text_of(path)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(compiled, largest_first))


def run_nvcc(command: list[str], name: str) -> str:
    """Runs nvcc; what it says is returned, and goes to stderr but for the assembler's report.

    Raises CudaBuildError, with all that was said on stderr.
    """
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except OSError as error:
        raise CudaBuildError(f"{command[0]} can't be run ({error})") from error
    said = done.stdout if done.returncode else REPORT_LINES.sub("", done.stdout)
    if said.strip():
        print(said.strip(), file=sys.stderr, flush=True)
    if done.returncode:
        raise CudaBuildError(first_complaint(done.stdout, name))
    return done.stdout


def first_complaint(output: str, name: str) -> str:
    """What a person needs of a compiler's output, in one sentence."""
    refused = re.search(r"unsupported (?:GNU|clang)[^\n]*?! ?([^!\n]*)", output)
    if refused:
        return (
            f"nvcc refuses this g++ ({refused[1].strip() or 'unsupported version'}); install again "
            "with an older one, as in NVCC_CCBIN=g++-12"
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return f"nvcc could not compile {name}: {(errors or lines[-1:] or ['it says no more'])[0]}"


def host_compiler() -> list[str]:
    """What the environment says of the compiler that nvcc calls, and that compiler's version."""
    name = os.environ.get("NVCC_CCBIN", "g++")
    said = [os.environ.get(key, "") for key in ("NVCC_CCBIN", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")]
    try:
        version = subprocess.run([name, "-dumpfullversion"], capture_output=True, text=True, check=False)
    except OSError:
        return said
    return [*said, version.stdout]


def link_flags(kit: Toolkit) -> list[str]:
    """Links the CUDA runtime into the module, unseen from outside.

    Its names must stay hidden: a process that also holds torch has another CUDA runtime with the same names.
    """
    found = [f"-L{kit.libraries}"] if kit.libraries else []
    return [*found, "-Wl,--exclude-libs,ALL", "-lcudart_static", "-ldl", "-lrt", "-lpthread"]


def check_import(module: Path) -> None:
    """Raises CudaBuildError where a module that was linked can't be loaded."""
    program = (
        "import importlib.util as u, sys; s = u.spec_from_file_location('_cuda', sys.argv[1]); "
        "s.loader.exec_module(u.module_from_spec(s))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(module)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise CudaBuildError(f"the CUDA module was built but can't be loaded ({lines[-1]})")


def names(wanted: Sequence[int]) -> str:
    """Architectures as a person reads them."""
    return ", ".join(f"sm_{a}" for a in wanted)


def say(line: str) -> None:
    """Prints a line to the build's log, whole even where two threads do."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
