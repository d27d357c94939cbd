"""Folders that an export fills: complete or not there, and what others put there stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nerfscene.errors import NerfsceneError
from nerfscene.exporters.folders import filling

OWN = ("index.html", "data", "old.txt")


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def fill(folder: Path, text: str) -> None:
    with filling(folder, OWN) as new:
        (new / "index.html").write_text(text)
        (new / "data").mkdir()
        (new / f"data/{text}").write_text(text)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A folder of an earlier export, in which somebody keeps things of his own; a backup lies beside it."""
    folder = tmp_path / "page"
    fill(folder, "first")
    for name in ("old.txt", "CNAME", ".git/config", "../page.old/index.html", "../page.partial/index.html"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_only_own_entries_are_replaced(page: Path) -> None:
    fill(page, "second")
    kept = {"CNAME": "CNAME", ".git/config": ".git/config"}
    assert content(page) == {"index.html": "second", "data/second": "second", **kept}
    backups = {"page", "page.old", "page.partial"}
    assert {p.name for p in page.parent.iterdir()} == backups, "nothing is left over, and nothing taken"
    assert len(content(page.parent)) == 6


def test_a_link_to_a_folder_stays(page: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(page)
    fill(tmp_path / "link", "second")
    assert (tmp_path / "link").is_symlink() and (page / "index.html").read_text() == "second"


def test_the_current_folder(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page)
    fill(Path("."), "second")
    assert Path("index.html").read_text() == "second" and Path("CNAME").exists()


def test_leftovers_of_killed_processes_go(page: Path) -> None:
    for name in (".page.999999999.tmp/new", ".page.1.tmp/new", ".other.999999999.tmp/new"):
        (page.parent / name).mkdir(parents=True)
    fill(page, "second")
    assert {p.name for p in page.parent.glob(".*")} == {".page.1.tmp", ".other.999999999.tmp"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_block_that_fails_changes_nothing(page: Path, error: type[BaseException]) -> None:
    before = content(page.parent)
    with pytest.raises(error), filling(page, OWN) as new:
        (new / "index.html").write_text("half")
        raise error
    assert content(page.parent) == before and not list(page.parent.glob(".*"))


@pytest.mark.parametrize("failing_one", range(5))
def test_an_exchange_that_fails_is_undone(
    page: Path, monkeypatch: pytest.MonkeyPatch, failing_one: int
) -> None:
    """Whichever of the entries can't be moved: three own ones that were there, and two new ones."""
    before, rename, calls = content(page.parent), os.rename, []

    def once(*names: str) -> None:
        calls.append(names)
        if len(calls) == failing_one + 1:
            raise OSError(errno.ENOSPC, "no space")
        rename(*names)

    monkeypatch.setattr(os, "rename", once)
    with pytest.raises(NerfsceneError, match="full"):
        fill(page, "second")
    assert content(page.parent) == before and not list(page.parent.glob(".*"))


def test_what_could_not_be_put_back_is_kept(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as when a disk fails for good amid the exchange."""
    before, rename, calls = sorted(content(page).values()), os.rename, []

    def first(*names: str) -> None:
        calls.append(names)
        if len(calls) > 2:
            raise OSError(errno.EIO, "input/output error")
        rename(*names)

    monkeypatch.setattr(os, "rename", first)
    with pytest.raises(NerfsceneError, match="input/output error"):
        fill(page, "second")
    assert sorted([*content(page).values(), *content(next(page.parent.glob(".page.*"))).values()]) == before
