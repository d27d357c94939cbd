"""Checks that bench/gpu.sh has what it needs, before anything is built.

Some packages are imported there but not used. For each of them that is missing, ``python -m bench.needs
FOLDER`` writes a stand-in module to the folder, which raises ImportError when something uses it. Exits with
status 1 if a needed package or compiler is missing.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from build_support import cuda

NEEDED = {
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "PIL": "Pillow",
    "safetensors": "safetensors",
    "nanobind": "nanobind",
    "nanobind_backend": "nanobind-backend",
    "setuptools": "setuptools",
    "pytest": "pytest",
    "rich": "rich",
    "nerfacc": "nerfacc",
}
# For HEIC photos, posing and videos, none of which is built, tested or timed on a GPU.
REPLACED = ("pillow_heif", "pycolmap", "av")
STANDIN = '''"""Stands in for {name}, which is not installed: it can be imported but not used."""


def _missing(*arguments, **options):
    raise ImportError("{name} is not installed here, and something uses it: install it")


class _Named(type):
    __call__ = _missing
    __getattr__ = _missing


def register_heif_opener() -> None:
    """HEIC photos can't be read."""


def __getattr__(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Named(name, (), {{}})
'''
# What tests and benchmarks import, without the compiled modules, which are built later.
USED = ("bench.gpu", "nerfscene.api", "nerfscene.ops.torch_backend")


def why_not(name: str) -> str | None:
    """None if a module can be imported, otherwise Python's error."""
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken package counts as missing
        return f"{type(error).__name__}: {error}"
    return None


def missing(why: Callable[[str], str | None] = why_not) -> list[str]:
    """A sentence for each needed package that can't be imported."""
    found = [(package, why(name)) for name, package in NEEDED.items()]
    return [f"{package} can't be imported ({reason})" for package, reason in found if reason]


def without_compilers() -> list[str]:
    """A sentence for each compiler that is missing."""
    found = [] if shutil.which("g++") else ["there is no g++ here"]
    if cuda.find_nvcc() is None:
        found.append("there is no nvcc here: put it on PATH, or set NERFSCENE_NVCC to it")
    return found


def stand_in(folder: Path, names: Sequence[str]) -> None:
    """Writes a stand-in module for each name to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.py").write_text(STANDIN.format(name=name))


def main(folder: Path) -> None:
    """Checks everything and writes the stand-ins; raises SystemExit if something is missing."""
    sentences = missing() + without_compilers()
    absent = [name for name in REPLACED if why_not(name)]
    stand_in(folder, absent)
    sys.path.insert(0, str(folder))
    for name in absent:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    if not sentences:
        found = [(name, why_not(name)) for name in USED]
        sentences = [f"{name} can't be imported ({reason})" for name, reason in found if reason]
    if sentences:
        raise SystemExit(
            "\n".join([*sentences, "The first lines of bench/gpu.sh say how to bring packages along."])
        )
    print(f"Everything needed can be imported; stand-ins for {', '.join(absent) or 'nothing'}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
