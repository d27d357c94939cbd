"""The pages agree with the program, and with each other. ``make docs`` checks more, but needs more to run."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import nerfscene as ns
from nerfscene import cli, types
from nerfscene.capture import folder, masks
from nerfscene.films import video

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
READMES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "bench/README.md", "cuda_ext/README.md")]
PAGES = sorted(DOCS.glob("*.md"))
MARKDOWN = [path for path in (*PAGES, *READMES, ROOT / "data/README.md") if path.is_file()]
FLAG = re.compile(r"--[a-z][a-z0-9.-]*[a-z0-9]")


def module(path: Path) -> ModuleType:
    """A file of Python that is in no package."""
    spec = importlib.util.spec_from_file_location(f"of_the_pages_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def filled_pages() -> Iterator[ModuleType]:
    sys.path.insert(0, str(DOCS))
    yield module(DOCS / "filled_pages.py")
    sys.path.remove(str(DOCS))


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def help_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setenv("COLUMNS", "300")  # no option is broken into two lines
    with pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    return capsys.readouterr().out


# --- links ----------------------------------------------------------------------------------------


def without_code(markdown: str) -> str:
    markdown = re.sub(r"^(`{3,}).*?^\1`*$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^    .*$", "", markdown, flags=re.MULTILINE)


def anchors(markdown: str) -> set[str]:
    """What headings are linked to by: lower case, spaces as dashes, other signs gone."""
    titles = re.findall(r"^#+ +(.+?) *$", without_code(markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    own = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", without_code(own))):
        if re.match(r"https?:|mailto:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.is_file(), f"{path.name} links to {link}, which is not there"
        assert target.is_relative_to(ROOT), f"{path.name} links to {link}, outside of the repository"
        if anchor:
            known = anchors(target.read_text(encoding="utf-8"))
            assert anchor in known, f"{path.name}: no heading for {link}"


def test_a_broken_anchor_would_be_found() -> None:
    assert anchors("# What it's for\n\n```sh\n# no heading\n```\n## `--a` b\n") == {"what-its-for", "--a-b"}


def test_each_page_is_in_the_navigation() -> None:
    trees = re.findall(r"```\{toctree\}(.*?)```", text("index.md"), re.DOTALL)
    listed = re.findall(r"^(?:.*<)?([\w-]+)>?$", "".join(trees), re.MULTILINE)
    assert {page.stem for page in PAGES} == {"index" if name == "self" else name for name in listed}


def test_each_picture_is_shown_somewhere() -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in MARKDOWN)
    for picture in (p for p in DOCS.rglob("*") if p.suffix in (".jpg", ".png", ".svg")):
        assert picture.relative_to(DOCS).as_posix() in shown, f"no page shows {picture.name}"


# --- what is generated ----------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_what_is_made_of_the_program_can_be_made(filled_pages: ModuleType, page: Path) -> None:
    made = filled_pages.filled(page.read_text(encoding="utf-8"))
    assert "<!-- fill" not in made and made.startswith("# ")


def test_every_command_is_on_the_page_with_all_its_options(
    filled_pages: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = text("command-line.md")
    whole = help_of(capsys, monkeypatch)
    listed = re.search(r"\{([a-z,-]+)\}", whole)
    assert listed is not None, whole
    names = listed[1].split(",")
    assert names == list(filled_pages.options.commands())
    assert re.findall(r"^<!-- fill: command (\S+) -->$", page, re.M), "the page lists no command"
    assert sorted(re.findall(r"^<!-- fill: command (\S+) -->$", page, re.M)) == sorted(names)
    assert set(FLAG.findall(whole)) - {"--help"} <= set(FLAG.findall(page))
    for name in names:
        known = set(FLAG.findall(help_of(capsys, monkeypatch, name))) - {"--help"}
        _, plain, groups = filled_pages.options.options(filled_pages.options.commands()[name])
        rows = [*plain, *(row for group in groups.values() for row in group)]
        told = {option for row in rows for option in row.names if option.startswith("--")}
        assert told == known, name
        assert all(row.text for row in rows), f"{name} has options that nothing is said of"
        assert all(f"`{option}`" in filled_pages.options.section(name) for option in told)


# --- the Python API -------------------------------------------------------------------------------


def test_every_public_name_has_a_docstring_and_is_on_the_page(filled_pages: ModuleType) -> None:
    marks = re.findall(r"^<!-- fill: names (.+) -->$", text("api.md"), re.M)
    on_page = [name.rpartition(".")[2] for mark in marks for name in mark.split()]
    assert len(set(on_page)) == len(on_page), "a name is on the page twice"
    for name in ns.__all__:
        assert name in on_page, f"{name} is on no page: add it to docs/api.md"
        thing = getattr(ns, name)
        said = inspect.getdoc(thing) or ""
        generated = said.startswith(f"{name}(")  # by dataclasses, where there is no docstring
        assert said and not generated, f"{name} has no docstring"
        if dataclasses.is_dataclass(thing) and name.endswith("Config"):
            texts = filled_pages.options.field_texts(thing)
            fields = [field.name for field in dataclasses.fields(thing)]
            assert fields == list(texts), f"a field of {name} has no docstring"


# --- what is written by hand ----------------------------------------------------------------------


def test_the_wings_are_listed_as_they_are() -> None:
    shape = module(ROOT / "tests/whole/test_imports.py")
    rows = [row for row in text("change-it.md").splitlines() if re.match(r"\| `\w+` \|", row)]
    cells = {c[0].strip("`"): c for c in ([c.strip() for c in row.strip("|").split("|")] for row in rows)}
    assert tuple(cells) == shape.WINGS
    for wing, (_, _, out, first, alone) in cells.items():
        assert out, f"nothing is said of {wing}"
        kept = {package for package, homes in shape.KEPT_IN.items() if wing in homes}
        assert set(re.findall(r"`(\w+)`", alone.partition("(")[0])) == kept, wing
        told = inspect.cleandoc(getattr(sys.modules.get(f"nerfscene.{wing}"), "__doc__", "") or "")
        in_wing = re.search(r"Read first: ``(\S+?\.py)``", told)
        if in_wing:
            assert f"](../nerfscene/{wing}/{in_wing[1]})" in first, wing


def test_every_ending_and_kind_of_cameras_is_on_the_page_of_formats() -> None:
    page = text("formats.md")
    for ending in (*folder.PHOTO_SUFFIXES, *folder.VIDEO_SUFFIXES, *folder.ARCHIVE_SUFFIXES, *video.SUFFIXES):
        assert f"`{ending}`" in page, f"{ending} is read or written, and the page doesn't say so"
    for kind in masks.KINDS:
        assert kind.strip(".")[:3] in page.lower()
    for source in types.Source.__args__:  # type: ignore[attr-defined]
        assert source in page.lower(), f"cameras of {source} are read, and the page doesn't say so"


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 85
    commands = [line.split("#")[0].strip() for line in lines if line.startswith("    ")]
    assert commands[:2] == ["make demo", "make test"]
