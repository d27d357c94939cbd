"""C++ object files: kept while nothing changes, compiled again when anything does that decides on them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from build_support import cpp


class Compiler:
    """What setuptools' compiler is asked for, with a program that isn't there; it counts."""

    def __init__(self) -> None:
        self.compiler_so_cxx = ["no-such-compiler", "-O2"]
        self.calls = 0

    def compile(self, sources: list[str], output_dir: str, **options: object) -> list[str]:
        self.calls += 1
        made = Path(output_dir) / "object.o"
        made.parent.mkdir(parents=True)
        if "cannot" in Path(sources[0]).read_text():
            raise ValueError("it can't")
        made.write_text(f"{sources} {options}")
        return [str(made)]


def test_objects_are_kept_while_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, header, objects = tmp_path / "a.cpp", tmp_path / "a.h", tmp_path / "objects"
    source.write_text("one")
    header.write_text("one")
    compiler = Compiler()

    def calls(flags: tuple[str, ...] = (), macro: str = "1", label: str = "") -> int:
        before = compiler.calls
        (made,) = cpp.compiled(compiler, [source], [header], flags, [("A", macro)], label, objects)
        assert {path.resolve() for path in objects.glob(f"a-{label}*.o")} == {Path(made).resolve()}
        return compiler.calls - before

    def again() -> int:
        first = calls()
        assert calls() == 0
        return first

    assert again() == 1
    assert again() == 0
    source.write_text("two")
    assert again() == 1
    header.write_text("two")
    assert again() == 1
    compiler.compiler_so_cxx.append("-g")
    assert again() == 1
    monkeypatch.setattr(sys, "version", "another")
    assert again() == 1
    assert calls(flags=("-mavx2",)) == 1
    assert calls(flags=("-mavx2",), macro="2") == 1


def test_one_source_has_an_object_for_each_label(tmp_path: Path) -> None:
    source, compiler = tmp_path / "a.cpp", Compiler()
    source.write_text("one")
    for _ in range(2):
        for label in ("portable", "avx2"):
            cpp.compiled(compiler, [source], [], [label], (), label, tmp_path / "objects")
    assert compiler.calls == 2


def test_what_failed_leaves_nothing(tmp_path: Path) -> None:
    source, objects = tmp_path / "a.cpp", tmp_path / "objects"
    source.write_text("cannot")
    with pytest.raises(ValueError, match="can't"):
        cpp.compiled(Compiler(), [source], [], [], folder=objects)
    assert list(objects.iterdir()) == []


def test_the_bindings_of_cuda_are_compiled_again_with_its_headers() -> None:
    with_cuda, without = ({path.parent.name for path in cpp.headers(w)} for w in (True, False))
    assert with_cuda - without == {"cuda"}
