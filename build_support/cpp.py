"""Compiles C++ sources to object files, cached in build/cpp until a source, header or flag changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "cuda_ext"
OBJECTS = ROOT / "build/cpp"

Macros = Sequence[tuple[str, str | None]]


def headers(with_cuda: bool) -> list[Path]:
    """All headers that the CPU module may include; with ``with_cuda``, also those of the CUDA module."""
    return [path for path in sorted(KERNELS.rglob("*.h")) if with_cuda or path.parent.name != "cuda"]


def compiler_command(compiler: Any) -> list[str]:
    """The command that setuptools runs for C++, with the flags that Python was built with."""
    return [*(getattr(compiler, "compiler_so_cxx", None) or compiler.compiler_so)]


def deciding(
    command: list[str], flags: Sequence[str], macros: Macros, included: list[Path]
) -> Iterator[bytes]:
    """Everything that determines an object file, except its source."""
    try:
        said = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:  # compiling will report it
        said = ""
    for text in (*command, said, sys.version, version("nanobind"), *flags, *map(str, macros)):
        yield text.encode() + b"\0"
    for header in included:
        yield header.name.encode() + b"\0" + header.read_bytes()


def compiled(
    compiler: Any,
    sources: Sequence[Path],
    included: list[Path],
    flags: Sequence[str],
    macros: Macros = (),
    label: str = "",
    folder: Path = OBJECTS,
) -> list[str]:
    """The object files of ``sources``, recompiled unless cached for these exact sources and options.

    ``compiler`` is setuptools' compiler object, and ``included`` the headers that the sources may include.
    ``label`` distinguishes several objects of one source. Sources are relative to the working directory.
    Raises setuptools' CompileError.
    """
    same = hashlib.sha256()
    for part in deciding(compiler_command(compiler), flags, macros, included):
        same.update(part)
    found = []
    for source in sources:
        digest = same.copy()
        digest.update(source.read_bytes())
        stem = f"{source.stem}-{label}" if label else source.stem
        out = folder / f"{stem}-{digest.hexdigest()[:16]}.o"
        if not out.exists():
            for old in folder.glob(f"{stem}-{'?' * 16}.o"):
                old.unlink(missing_ok=True)
            # Another build may be writing the same file, so each uses a folder of its own.
            unfinished = folder / f"unfinished-{os.getpid()}"
            try:
                made = compiler.compile(
                    [str(source)], output_dir=str(unfinished), macros=[*macros], extra_postargs=[*flags]
                )
                Path(made[0]).replace(out)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        found.append(os.path.relpath(out))
    return found
