"""What this machine has, what will be used, and the one command that mends what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from nerfscene.ops import backend

PACKAGES = (
    "torch",
    "numpy",
    "pycolmap",
    "av",
    "nerfacc",
    "viser",
    "trimesh",
    "safetensors",
    "tyro",
)


def examine() -> dict[str, Any]:
    """Facts about the machine; nothing is changed and nothing but nvidia-smi is run."""
    reason = backend.why_no_cpu()
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": processor_name(),
        "cores": backend.thread_count(),
        "memory_gib": memory_gib(),
        "disk_free_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "kernels": None if reason else backend.load("cpu").instruction_sets(),
        "kernels_missing": reason,
        "gpu": gpu_name(),
        "nvcc": shutil.which("nvcc"),
        "tinycudann": importlib.util.find_spec("tinycudann") is not None,
        "packages": packages,
        "will_use": None if reason else backend.describe("auto"),
    }


def processor_name() -> str:
    """The processor's model, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_gib() -> float | None:
    """Physical memory, where the system tells it."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def gpu_name() -> str | None:
    """The first NVIDIA GPU's name, or None."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run(
            [tool, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None


def in_words(d: dict[str, Any]) -> str:
    """``examine``'s facts as a person reads them."""
    memory = f", {d['memory_gib']} GiB memory" if d["memory_gib"] else ""
    lines = [
        f"machine   {d['processor']}, {d['cores']} cores{memory}, {d['disk_free_gib']} GiB disk free",
        f"system    {d['system']}, Python {d['python']}",
    ]
    if d["kernels_missing"]:
        lines += [
            f"kernels   {d['kernels_missing']}",
            "          mend it: pip install .   (in the checkout; needs a C++17 compiler)",
            "          until then --backend torch works, some twenty times slower",
        ]
    else:
        others = ", ".join(d["kernels"][1:])
        lines.append(f"kernels   compiled; {d['kernels'][0]} fits this processor best (also: {others})")
    if d["gpu"]:
        lines.append(f"GPU       {d['gpu']}: not used yet, training and rendering run on the processor")
    else:
        lines.append("GPU       no NVIDIA GPU found; none is needed")
    missing = [name for name, version in d["packages"].items() if version is None]
    if missing:
        lines.append(f"packages  missing: {', '.join(missing)}; mend it: pip install {' '.join(missing)}")
    else:
        lines.append("packages  all present: " + ", ".join(f"{n} {v}" for n, v in d["packages"].items()))
    if d["will_use"]:
        lines.append(f"will use  {d['will_use']}, {d['cores']} threads")
    return "\n".join(lines)
