"""What this machine has, what nerfscene will use, and the command that fixes what is missing."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerfscene.capture.json_text import parsed
from nerfscene.credentials.library import INSTALL as INSTALL_MARKS
from nerfscene.credentials.library import why_missing as why_no_credentials
from nerfscene.exporters.export import PURPOSES
from nerfscene.ops import backend

PACKAGES = (
    "torch",
    "numpy",
    "pillow-heif",
    "pycolmap",
    "av",
    "nerfacc",
    "viser",
    "trimesh",
    "safetensors",
    "tyro",
)
# CUDA's major version → the first NVIDIA driver that runs it.
FIRST_DRIVER = {12: 525, 13: 580}
CUDA_OF_PIP = 13  # major version of the CUDA compiler that pip can install
INSTALL = "NERFSCENE_CUDA=1 pip install ."


@dataclass(frozen=True)
class Verdict:
    """Whether and how the GPU can be used.

    state: works, no_gpu, hidden, driver_too_old, driver_fails, no_code, not_built or broken
    found, module: phrases about the GPU with its driver, and about the CUDA kernels
    missing, mend: what keeps the GPU from being used, and the command that fixes it; None if nothing does
    """

    state: str
    found: str
    module: str
    missing: str | None = None
    mend: str | None = None


def examine() -> dict[str, Any]:
    """Facts about the machine, as ``nerfscene doctor --json`` prints them.

    Changes nothing, and runs no program except nvidia-smi.
    """
    reason = backend.why_no_cpu()
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = None
    gpu = gpu_facts()
    try:
        will_use = None if reason else backend.describe("auto")
    except Exception as error:  # a GPU's driver may fail in any way
        will_use = f"nothing: {error}"
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": processor_name(),
        "cores": backend.thread_count(),
        "memory_gib": memory_gib(),
        "disk_free_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "kernels": None if reason else backend.load("cpu").instruction_sets(),
        "kernels_missing": reason,
        "gpu": gpu["name"],
        "nvcc": gpu["nvcc"],
        "cuda": gpu | vars(judge(gpu)),
        "tinycudann": importlib.util.find_spec("tinycudann") is not None,
        "tinycudann_missing": backend.why_no_tcnn(),
        "packages": packages,
        "film_codecs": film_codecs(),
        "exports_missing": [name for name in PURPOSES if importlib.util.find_spec(name) is None],
        "credentials_missing": why_no_credentials(),
        "will_use": will_use,
    }


def film_codecs() -> dict[str, bool]:
    """The codecs of films, and whether the installed PyAV can encode them; none if it can't be loaded."""
    try:
        from nerfscene.films.codecs import encoders
    except ImportError:
        return {}
    return encoders()


def processor_name() -> str:
    """The processor's model if the system gives it, else its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_gib() -> float | None:
    """Physical memory in GiB; None if the system doesn't give it."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def gpu_facts() -> dict[str, Any]:
    """The facts from which ``judge`` decides.

    name, driver, compute_capability: the first GPU's, from nvidia-smi
    driver_cuda: the newest CUDA version that the driver runs, as [13, 0]
    module: whether the CUDA kernels can be loaded; module_error: why not, if they are installed
    devices, devices_error: the devices that the kernels find, or the error
    build: the installation's record of the build; nvcc: the CUDA compiler found now
    visible: the environment variable CUDA_VISIBLE_DEVICES
    """
    facts: dict[str, Any] = {
        **nvidia_smi(),
        "driver_cuda": driver_cuda(),
        "module": False,
        "module_error": None,
        "devices": [],
        "devices_error": None,
        "build": build_record(),
        "nvcc": find_nvcc(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    try:
        if importlib.util.find_spec("nerfscene.ops._cuda") is not None:
            module = importlib.import_module("nerfscene.ops._cuda")
            facts["module"] = True
            facts["devices"] = module.devices()
    except Exception as error:  # a driver or a damaged module may fail in any way
        facts["devices_error" if facts["module"] else "module_error"] = str(error)
    return facts


def nvidia_smi() -> dict[str, str | None]:
    """The first NVIDIA GPU's name, driver and compute_capability; each None if there is no GPU."""
    keys = ("name", "driver", "compute_capability")
    nothing: dict[str, str | None] = dict.fromkeys(keys)
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return nothing
    try:
        done = subprocess.run(
            [tool, "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return nothing
    values = [value.strip() for value in done.stdout.strip().split("\n")[0].split(",")]
    return dict(zip(keys, values, strict=True)) if len(values) == len(keys) else nothing


def driver_cuda() -> list[int] | None:
    """The newest CUDA version that the NVIDIA driver runs, as [13, 0]; None if there is no driver."""
    try:
        version = ctypes.c_int()
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version)) == 0:
            return [version.value // 1000, version.value % 1000 // 10]
    except (OSError, AttributeError):
        pass
    return None


def find_nvcc() -> str | None:
    """The path of the CUDA compiler that an installation would use; None if there is none."""
    home = os.environ.get("CUDA_HOME")
    places = [f"{home}/bin" if home else None, None, "/usr/local/cuda/bin"]
    return next(filter(None, (shutil.which("nvcc", path=place) for place in places)), None)


def build_record() -> dict[str, Any] | None:
    """The installation's record of how the CUDA kernels were built; None if there is none."""
    try:
        record = parsed((Path(backend.__file__).parent / "_cuda_build.json").read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def judge(facts: dict[str, Any]) -> Verdict:
    """Decides what ``gpu_facts`` mean. A pure function: it doesn't look at the machine."""
    found, module = about_gpu(facts), about_module(facts)
    devices = facts["devices"]
    if devices:
        capability = devices[0]["compute_capability"]
        if has_code_for(capability, facts["build"]):
            return Verdict("works", found, module)
        missing = (
            f"the kernels were compiled for other GPUs, not for this one with compute capability {capability}"
        )
        return Verdict("no_code", found, module, missing, f"NERFSCENE_CUDA_ARCHS={capability} {INSTALL}")

    if facts["name"] is None and facts["driver_cuda"] is None:
        return Verdict("no_gpu", found, module)
    if facts["module"]:
        return Verdict(*unusable(facts, found, module))
    if facts["module_error"]:
        missing = f"the CUDA kernels can't be loaded ({facts['module_error']})"
        return Verdict("broken", found, module, missing, INSTALL)
    if facts["name"] is None:  # a driver without a GPU
        return Verdict("no_gpu", found, module)

    build = facts["build"] or {}
    if not build.get("nvcc"):
        if not facts["nvcc"] and driver_major(facts) < CUDA_OF_PIP:
            return Verdict("driver_too_old", found, module, *newer_driver(CUDA_OF_PIP))
        return Verdict("not_built", found, module, "the CUDA kernels are not built", INSTALL)
    missing = "the CUDA kernels could not be compiled when this was installed"
    from_pip = "PyPI" in build["nvcc"] or driver_major(facts) < CUDA_OF_PIP
    # The compiler from PyPI may succeed where the machine's own failed; if that one failed, show its output.
    mend = "NERFSCENE_CUDA=1 pip install -v ." if from_pip else f"NERFSCENE_NVCC=pypi {INSTALL}"
    return Verdict("not_built", found, module, missing, mend)


def unusable(facts: dict[str, Any], found: str, module: str) -> tuple[str, str, str, str | None, str | None]:
    """A Verdict's fields when kernels and driver are installed but no device can be used."""
    visible = facts["visible"]
    # CUDA stops reading the list at the first invalid entry: "", "-1" and "-1,0" hide every GPU.
    if visible is not None and (not visible.strip() or visible.strip()[0] in "-,"):
        missing = f"CUDA_VISIBLE_DEVICES is {visible!r}, which hides every GPU"
        return ("hidden", found, module, missing, "unset CUDA_VISIBLE_DEVICES")
    needed = major_of((facts["build"] or {}).get("version"))
    if driver_major(facts) < needed:
        return ("driver_too_old", found, module, *newer_driver(needed))
    if facts["name"] is None:
        return ("no_gpu", found, module, None, None)
    reason = facts["devices_error"] or "the driver reports no device"
    hint = f", and CUDA_VISIBLE_DEVICES is {visible!r}" if visible is not None else ""
    missing = f"the NVIDIA driver can't be used ({reason}{hint}); a restart helps after a driver update"
    return ("driver_fails", found, module, missing, "unset CUDA_VISIBLE_DEVICES" if hint else "sudo reboot")


def newer_driver(cuda: int) -> tuple[str, str]:
    """(what is missing, the command that fixes it) for a driver too old for a major version of CUDA."""
    first = FIRST_DRIVER.get(cuda)
    if first is None:
        return (f"the NVIDIA driver is too old for CUDA {cuda}", "sudo apt install nvidia-driver")
    return (
        f"the NVIDIA driver is too old: CUDA {cuda} needs {first} or newer (and a restart)",
        f"sudo apt install nvidia-driver-{first}",
    )


def driver_major(facts: dict[str, Any]) -> int:
    """The newest major version of CUDA that the driver runs; 99 if it is unknown."""
    if facts["driver_cuda"]:
        return int(facts["driver_cuda"][0])
    number = major_of(facts["driver"])
    if not number:
        return 99
    return max([major for major, first in FIRST_DRIVER.items() if number >= first], default=11)


def major_of(version: str | None) -> int:
    """The major version: 13 for "13.0"; 0 if there is no number."""
    digits = (version or "").split(".")[0]
    return int(digits) if digits.isdecimal() else 0


def has_code_for(capability: str, build: dict[str, Any] | None) -> bool:
    """Whether a build runs on a GPU: it has machine code of its generation, or PTX that isn't newer."""
    compiled = (build or {}).get("architectures")
    if not compiled:
        return True  # unknown, so assume that it does
    major, minor = (int(part) for part in capability.split("."))
    gpu = 10 * major + minor
    return max(compiled) <= gpu or any(a // 10 == major and a <= gpu for a in compiled)


def about_gpu(facts: dict[str, Any]) -> str:
    """The GPU and its driver as a phrase."""
    cuda = facts["driver_cuda"]
    runs = f" (CUDA {cuda[0]}.{cuda[1]})" if cuda else ""
    if facts["devices"]:
        first = facts["devices"][0]
        more = f", and {len(facts['devices']) - 1} more (the first is used)" if facts["devices"][1:] else ""
        version = facts["driver"] or f"for CUDA {first['driver']}"
        return (
            f"{first['name']}, {first['memory_gib']:.0f} GiB, compute capability "
            f"{first['compute_capability']}, driver {version}{runs if facts['driver'] else ''}{more}"
        )
    if facts["name"]:
        capability = f"compute capability {facts['compute_capability']}"
        return f"{facts['name']}, {capability}, driver {facts['driver']}{runs}"
    if cuda:
        return f"a driver{runs}, but no NVIDIA GPU found; none is needed"
    return "no NVIDIA GPU found; none is needed"


def about_module(facts: dict[str, Any]) -> str:
    """The CUDA kernels and what compiled them as a phrase."""
    build = facts["build"] or {}
    here = f"nvcc is {facts['nvcc']}" if facts["nvcc"] else "no nvcc here"
    if facts["module"]:
        codes = ", ".join(f"sm_{a}" for a in build.get("architectures") or [])
        by = f" by nvcc {build['version']}" if build.get("version") else ""
        return f"kernels built{by}{f' for {codes}' if codes else ''}; {here}"
    if facts["module_error"]:
        return f"kernels built, but they can't be loaded; {here}"
    why = f" ({build['reason']})" if build.get("reason") else ""
    return f"kernels not built{why}; {here}"


def about_tcnn(d: dict[str, Any]) -> str:
    """Whether --backend tcnn can be used, as a phrase; explains why not if there is a GPU for it."""
    if d["tinycudann_missing"] is None:
        return "tiny-cuda-nn is installed; --backend tcnn uses it"
    if d["tinycudann"] or d["cuda"]["name"]:
        return str(d["tinycudann_missing"])
    return "tiny-cuda-nn is not installed; only --backend tcnn needs it"


def about_films(codecs: dict[str, bool]) -> str:
    """How films can be encoded, as a phrase; codecs: what ``film_codecs`` returns."""
    there = [name for name, yes in codecs.items() if yes]
    missing = [name for name, yes in codecs.items() if not yes]
    ways = f"as {', '.join(there)}" if there else "only as pictures (--frames)"
    if codecs and not missing:
        return ways
    lack = f"this PyAV has no encoder for {', '.join(missing)}" if codecs else "PyAV can't be loaded"
    return f"{ways}; {lack}; to fix it: pip install --force-reinstall av"


def in_words(d: dict[str, Any]) -> str:
    """The facts of ``examine`` as lines of text for a person."""
    memory = f", {d['memory_gib']} GiB memory" if d["memory_gib"] else ""
    lines = [
        f"machine   {d['processor']}, {d['cores']} cores{memory}, {d['disk_free_gib']} GiB disk free",
        f"system    {d['system']}, Python {d['python']}",
    ]
    if d["kernels_missing"]:
        lines += [
            f"kernels   {d['kernels_missing']}",
            "          to fix it: pip install .   (in the checkout; needs a C++17 compiler)",
            "          until then --backend torch works, about 30 times slower",
        ]
    else:
        others = ", ".join(d["kernels"][1:])
        lines.append(f"kernels   compiled; {d['kernels'][0]} fits this processor best (also: {others})")
    gpu = d["cuda"]
    lines += [f"GPU       {gpu['found']}", f"CUDA      {gpu['module']}"]
    if gpu["missing"]:
        lines += [f"          {gpu['missing']}", f"          to fix it: {gpu['mend']}"]
        if "pip install" in gpu["mend"]:
            lines[-1] += "   (in the checkout)"
        lines.append("          until then training and rendering run on the processor")
    lines.append(f"tcnn      {about_tcnn(d)}")
    missing = [name for name, version in d["packages"].items() if version is None]
    if missing:
        lines.append(f"packages  missing: {', '.join(missing)}; to fix it: pip install {' '.join(missing)}")
    else:
        lines.append("packages  all present: " + ", ".join(f"{n} {v}" for n, v in d["packages"].items()))
    lines.append(f"films     {about_films(d['film_codecs'])}")
    without = ", ".join(dict.fromkeys(PURPOSES[name] for name in d["exports_missing"]))
    if without:
        lines.append(f"exports   not possible: {without}; to fix it: pip install 'nerfscene[export]'")
    unsigned = d.get("credentials_missing")
    if unsigned:
        lines.append(f"marks     films are made without content credentials ({unsigned}): {INSTALL_MARKS}")
    if d["will_use"]:
        lines.append(f"will use  {d['will_use']}, {d['cores']} threads")
    return "\n".join(lines)
