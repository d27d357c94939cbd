"""The CUDA module's compiler: finds nvcc or requests it from PyPI, compiles, and records the outcome.

Three environment variables control it:

NERFSCENE_CUDA        0: no CUDA module; 1: build it even if there is no NVIDIA driver
NERFSCENE_CUDA_ARCHS  compute capabilities to compile for, such as "90" or "80,9.0"; default: all supported
NERFSCENE_NVCC        the nvcc to use; "pypi": only the one from PyPI's packages
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
# No --use_fast_math: division, square roots and subnormal numbers follow IEEE 754, as the reference's do.
FLAGS = ["-O3", "-std=c++17", "--expt-relaxed-constexpr", "-lineinfo",
         "-Xcompiler", "-fPIC,-fvisibility=hidden"]  # fmt: skip
# Makes the assembler report each kernel's registers, spills and shared memory.
REPORTING = ["-Xptxas", "-v"]
REPORT_LINES = re.compile(r"^(?:ptxas info *:.*| +\d+ bytes stack frame.*)$\n?", re.MULTILINE)
AT_ONCE = 2  # each nvcc takes up to a gigabyte
# The first driver for CUDA 13. PyPI's packages for CUDA 12 contain only ptxas, not nvcc.
FIRST_DRIVER = 580
PACKAGES = ("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-runtime", "nvidia-cuda-cccl")


class CudaBuildError(Exception):
    """The reason why there is no CUDA module, in one sentence."""


@dataclass(frozen=True)
class Toolkit:
    """An nvcc: its version (such as "13.0"), its runtime's folder if known, the architectures it supports."""

    nvcc: Path
    version: str
    libraries: str | None
    supported: tuple[int, ...]
    from_pypi: bool


@dataclass
class Record:
    """The outcome of building the CUDA module, stored next to the modules for ``nerfscene doctor``."""

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
    """The sources that nvcc compiles; empty if the tree has no CUDA module."""
    return sorted((KERNELS / "cuda").glob("*.cu")) if BINDINGS.exists() else []


def headers() -> list[Path]:
    """Every header that a CUDA source may include."""
    return sorted([*(KERNELS / "include").glob("*.h"), *(KERNELS / "cuda").glob("*.h")])


def text_of(source: Path) -> str:
    """A source and the headers in its folder that it includes, each once, as one text."""
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
    """Whether the environment turns the CUDA module off."""
    return environ.get("NERFSCENE_CUDA", "") == "0"


def find_nvcc(environ: Mapping[str, str] = os.environ, packages: Sequence[str] = ()) -> Path | None:
    """The machine's nvcc, or else the one that PyPI's packages installed among the Python packages."""
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
    """The newest CUDA version that the NVIDIA driver supports, such as (13, 0); None without a driver."""
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
    """Whether PyPI's nvcc packages run on this machine; they are for Linux with glibc."""
    machine = platform.machine().lower() in {"x86_64", "aarch64"}
    return sys.platform == "linux" and machine and platform.libc_ver()[0] == "glibc"


def requirements(
    environ: Mapping[str, str] = os.environ,
    driver_here: Callable[[], tuple[int, int] | None] = driver,
    fits: Callable[[], bool] = pypi_fits,
) -> list[str]:
    """The packages to request from PyPI; none if nvcc is present or not needed.

    They are never newer than the driver, so that it can compile the PTX for a GPU without precompiled machine
    code.
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
    """Why ``find_nvcc`` found nothing, and what to do about it."""
    asked = environ.get("NERFSCENE_NVCC", "")
    if asked and asked != "pypi":
        return f"NERFSCENE_NVCC is {asked}, which is not an executable; set it to an nvcc, or unset it"
    if newest is None:
        return "there was no nvcc and no NVIDIA driver; set NERFSCENE_CUDA=1 to download nvcc from PyPI"
    if newest < (13, 0):
        return (
            f"there was no nvcc, and the NVIDIA driver is too old for PyPI's; update the driver to "
            f"{FIRST_DRIVER} or newer, or install the CUDA 12 toolkit"
        )
    return "there was no nvcc; let pip build in isolation (omit --no-build-isolation) and it downloads nvcc"


def toolkit(nvcc: Path) -> Toolkit:
    """Asks nvcc for its version, folders and architectures. Raises CudaBuildError if it can't be run."""
    said = ask(nvcc, "--version")
    version = re.search(r"release (\d+\.\d+)", said)
    if version is None:
        raise CudaBuildError(f"{nvcc} --version printed no version; is it really nvcc?")
    # The folders come from nvcc's output, not from its path: it may be a script that calls another nvcc.
    own_words = ask(nvcc, "-dryrun", "none.cu")
    named = re.search(r"^#\$ LIBRARIES=(.*)$", own_words, re.MULTILINE)
    top = re.search(r"^#\$ TOP=(.*)$", own_words, re.MULTILINE)
    folders = [flag.removeprefix("-L") for flag in shlex.split(named[1] if named else "")]
    # PyPI's packages of CUDA 13.0 have lib, and an nvcc that looks in lib64.
    folders += [f"{top[1].strip()}/{name}" for name in ("lib64", "lib") if top]
    # If none of them has it, the linker's own folders may.
    holding = next((f for f in folders if Path(f, "libcudart_static.a").exists()), None)
    supported = sorted({int(n) for n in re.findall(r"sm_(\d+)\b", ask(nvcc, "--list-gpu-code"))})
    return Toolkit(nvcc, version[1], holding, tuple(supported), "nvidia" in nvcc.parts[-4:-2])


def ask(nvcc: Path, *arguments: str) -> str:
    """What nvcc prints to stdout and stderr. Raises CudaBuildError if it fails."""
    try:
        done = subprocess.run([nvcc, *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise CudaBuildError(f"{nvcc} can't be run ({error})") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
        raise CudaBuildError(f"{nvcc} {arguments[0]} failed ({said}); set NERFSCENE_NVCC to use another")
    return done.stdout + done.stderr


def architectures(supported: Sequence[int], asked: str = "") -> list[int]:
    """The architectures to compile for: all of ARCHITECTURES that nvcc supports, or those in ``asked``.

    Raises CudaBuildError if there are none, or if ``asked`` is malformed or names an unsupported one.
    """
    if not asked.strip():
        ours = [a for a in ARCHITECTURES if a in supported]
        if not ours:
            raise CudaBuildError(
                "this nvcc supports none of the GPUs that nerfscene supports; use a newer one"
            )
        return ours
    numbers = [
        text.lower().removeprefix("sm_").replace(".", "") for text in re.split(r"[,;\s]+", asked) if text
    ]
    if not numbers or not all(n.isdecimal() for n in numbers):
        raise CudaBuildError(
            f'NERFSCENE_CUDA_ARCHS is {asked!r}; it must be compute capabilities, such as "80,90"'
        )
    wanted = sorted({int(n) for n in numbers})
    unknown = [a for a in wanted if a not in supported]
    if unknown:
        raise CudaBuildError(
            f"NERFSCENE_CUDA_ARCHS asks for {', '.join(map(str, unknown))}, which this nvcc doesn't support; "
            f"it supports {', '.join(map(str, supported))}"
        )
    return wanted


def code_flags(wanted: Sequence[int]) -> list[str]:
    """Flags for machine code for each architecture, and PTX of the newest for future GPUs."""
    flags = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in wanted]
    return [*flags, f"-gencode=arch=compute_{wanted[-1]},code=compute_{wanted[-1]}"]


def object_files(kit: Toolkit, wanted: Sequence[int], folder: Path) -> dict[Path, Path]:
    """Each source's object file, named by a hash of everything that determines its contents."""
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
    """The file with the assembler's report on an object file's kernels."""
    return file.with_suffix(".ptxas.txt")


def compile_sources(kit: Toolkit, wanted: Sequence[int], folder: Path = OBJECTS) -> list[Path]:
    """Object files in ``folder``, recompiled unless cached for these exact sources and options.

    Raises CudaBuildError with the compiler's first error; its whole output goes to stderr.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = object_files(kit, wanted, folder)

    def compiled(source: Path) -> Path:
        out = files[source]
        if out.exists():
            return out
        for old in folder.glob(f"{source.stem}-{'?' * 16}.o"):  # spares files that another build is writing
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

    # The largest first: if it started last, the whole build would wait for it.
    largest_first = sorted(sources(), key=lambda path: -len(text_of(path)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(compiled, largest_first))


def run_nvcc(command: list[str], name: str) -> str:
    """Runs nvcc and returns its output. Prints the output, except the assembler's report, to stderr.

    Raises CudaBuildError if nvcc fails; then all of its output goes to stderr.
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
    """The most useful line of a compiler's output, as one sentence."""
    refused = re.search(r"unsupported (?:GNU|clang)[^\n]*?! ?([^!\n]*)", output)
    if refused:
        return (
            f"nvcc doesn't support this g++ ({refused[1].strip() or 'unsupported version'}); install again "
            "with an older one, for example NVCC_CCBIN=g++-12"
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return f"nvcc could not compile {name}: {(errors or lines[-1:] or ['it printed no reason'])[0]}"


def host_compiler() -> list[str]:
    """The environment variables that choose the compiler that nvcc calls, and that compiler's version."""
    name = os.environ.get("NVCC_CCBIN", "g++")
    said = [os.environ.get(key, "") for key in ("NVCC_CCBIN", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS")]
    try:
        version = subprocess.run([name, "-dumpfullversion"], capture_output=True, text=True, check=False)
    except OSError:
        return said
    return [*said, version.stdout]


def link_flags(kit: Toolkit) -> list[str]:
    """Flags that link the CUDA runtime into the module with hidden symbols.

    They must be hidden: a process that also loads torch has another CUDA runtime with the same symbols.
    """
    found = [f"-L{kit.libraries}"] if kit.libraries else []
    return [*found, "-Wl,--exclude-libs,ALL", "-lcudart_static", "-ldl", "-lrt", "-lpthread"]


def check_import(module: Path) -> None:
    """Raises CudaBuildError if the linked module can't be loaded."""
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
    """Architectures in words, such as "sm_80, sm_90"."""
    return ", ".join(f"sm_{a}" for a in wanted)


def say(line: str) -> None:
    """Prints a line to the build's log in one piece, even if two threads print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
