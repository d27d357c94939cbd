"""The wheel as others get it: built from the sdist, installed where no compiler is, making a picture.

NERFSCENE_WHEEL names a finished wheel to test instead, with what it depends on from the package index
(``make wheel-test``). Otherwise one is built here, for the processor alone, from the object files that the
installation left in build/cpp, and installed beside the packages that run this test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from pathlib import Path

import numpy as np
import picture
import pytest

import nerfscene
from build_support import wheel

ROOT = Path(__file__).parents[2]
GIVEN = os.environ.get("NERFSCENE_WHEEL", "")
# What a build takes, and tests, which it must leave alone.
COPIED = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py", "build_support", "cuda_ext",
          "nerfscene", "tests")  # fmt: skip
IN_SDIST = {*COPIED, "PKG-INFO", "nerfscene.egg-info", "setup.cfg"} - {"tests"}


def run(*words: object, path: str | None = None) -> None:
    """Runs a command that must succeed, with none of this tree's modules in its sight."""
    dropped = ("PYTHONPATH", "CC", "CXX", "NERFSCENE_CUDA")
    environment = {key: value for key, value in os.environ.items() if key not in dropped}
    environment |= {"NERFSCENE_CUDA": "0"} | ({"PATH": path} if path else {})
    done = subprocess.run([*map(str, words)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def build(kind: str, tree: Path, out: Path) -> Path:
    """The sdist or the wheel of a source tree."""
    run(sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", out, tree)
    (made,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of a copy of this tree, compiled modules and all."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("sdist")
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tree / name)
    return build("sdist", tree, out)


@pytest.fixture(scope="module")
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel to test."""
    if GIVEN:
        return Path(GIVEN).resolve()
    unpacked = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(request.getfixturevalue("sdist"), unpacked)
    (tree,) = unpacked.iterdir()
    kept = ROOT / "build/cpp"
    kept.mkdir(parents=True, exist_ok=True)
    (tree / "build").mkdir()
    (tree / "build/cpp").symlink_to(kept)
    return build("wheel", tree, tmp_path_factory.mktemp("wheel"))


def test_the_sdist_holds_what_a_build_takes_and_no_more(sdist: Path) -> None:
    with tarfile.open(sdist) as opened:
        files = {Path(*Path(name).parts[1:]) for name in opened.getnames()}
    assert {path.parts[0] for path in files if path.parts} == IN_SDIST
    assert not [path for path in files if path.suffix in {".so", ".pyc"} or path.name == "_cuda_build.json"]
    for pattern in ("*.cpp", "*.h", "*.cu"):
        assert {path.relative_to(ROOT) for path in (ROOT / "cuda_ext").rglob(pattern)} <= files


def test_the_wheel_serves_every_python_and_holds_the_package_alone(built: Path) -> None:
    assert wheel.faults(built, with_cuda=bool(GIVEN) and os.environ.get("NERFSCENE_CUDA") != "0") == []
    assert built.name.startswith(f"nerfscene-{nerfscene.__version__}-")


def test_the_wheel_holds_every_file_of_the_package(built: Path) -> None:
    made_here = {".so", ".pyc"}
    files = [
        path for path in (ROOT / "nerfscene").rglob("*") if path.is_file() and path.suffix not in made_here
    ]
    with zipfile.ZipFile(built) as opened:
        assert {path.relative_to(ROOT).as_posix() for path in files} <= set(opened.namelist())


def clean_environment(folder: Path, built: Path) -> Path:
    """An environment with the wheel in it; returns its Python."""
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    if GIVEN:
        run(*pip, os.environ.get("TORCH", "torch"))
        began = time.perf_counter()
        run(*pip, built, path=str(python.parent))
        print(f"\ninstalling {built.name} took {time.perf_counter() - began:.0f} s")
        return python
    run(*pip, "--no-index", "--no-deps", "--no-compile", built, path=str(python.parent))
    # A folder that a .pth names is searched, but its own .pth files are not read: an editable installation of
    # this tree stays out of sight.
    others = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "others.pth").write_text("\n".join(others) + "\n")
    return python


def test_an_environment_without_a_compiler_makes_the_same_picture(
    built: Path, trained: Path, tmp_path: Path
) -> None:
    python = clean_environment(tmp_path / "venv", built)
    site, out = tmp_path / "venv", tmp_path / "picture.npz"
    run(python, "-I", picture.__file__, trained, out, path=str(python.parent))
    with np.load(out) as made:
        assert Path(str(made["package"])).is_relative_to(site)
        assert Path(str(made["kernels"])).is_relative_to(site)
        assert str(made["version"]) == nerfscene.__version__
        theirs = made["picture"]
    ours = picture.taken(trained)
    assert ours.std() > 0.05, "there is something to see"
    assert np.array_equal(theirs, ours)
    assert (site / "bin/nerfscene").exists()
