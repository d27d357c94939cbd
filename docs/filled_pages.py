"""Parts of the pages that are made of the program itself, so that they can't go stale.

A line ``<!-- fill: WHAT -->`` in a page is replaced before the page is read:

    commands             the list of commands
    command NAME         one command's arguments and options
    names NAME …         what the Python API says of these; a name that ``nerfscene`` itself has goes by that
    aliases              what short names in signatures stand for, as rows of a table
    quality              what the report calls a PSNR, as rows of a table
    left_out             what the report says of photos that were left out, as rows of a table
    examples             every script in examples/: its docstring as text, then its code
    file PATH            a Markdown file of the repository, with its links made to fit
"""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import options

import nerfscene
from nerfscene import intake, types
from nerfscene.measuring import advice, verdict

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"^<!-- fill: (\w+) ?(.*?) -->$", re.MULTILINE)
OUTSIDE = re.compile(r"\]\((\.\./[^)#\s]+\.md)\)")  # Markdown that is no page of the site
LINK = re.compile(r"(\]\()(?!https?:|#|mailto:)([^)\s]+)")


def commands(_: str) -> str:
    """One line for each command, with a link to its section."""
    rows = ["| Command | What it does |", "|---|---|"]
    for name, cls in options.commands().items():
        text = " ".join((inspect.getdoc(cls) or "").split())
        rows.append(f"| [`nerfscene {name}`](#nerfscene-{name}) | {text} |")
    return "\n".join(rows)


MEMBERS = {"Scene": "renderer, photo_renderer", "Viewer": "refresh, wait, close"}


def names(given: str) -> str:
    """autodoc's directives for names: public ones, or with their place in the package (types.Photo)."""
    lines = ["```{eval-rst}"]
    for home in given.split():
        module, _, name = home.rpartition(".")
        thing = (
            getattr(importlib.import_module(f"nerfscene.{module}"), name)
            if module
            else getattr(nerfscene, name)
        )
        kind = "function"
        if inspect.isclass(thing):
            kind = "exception" if issubclass(thing, Exception) else "class"
        place = f"nerfscene.{name}" if name in nerfscene.__all__ else f"nerfscene.{home}"
        lines += [f".. auto{kind}:: {place}"]
        if name in MEMBERS:
            lines += [f"   :members: {MEMBERS[name]}"]
        lines += [""]
    return "\n".join([*lines, "```"])


ALIASES = {
    "Array": "a numpy array of float64",
    "NDArray[np.float32]": "a numpy array of that kind of number; docstrings give the shape",
    "RadianceField": "the trained grid and networks in memory; `scene.renderer()` is the way to use them",
    "Seen": "a function that takes a view's figures, its photo and its render: (height, width, 3), 0…1",
}


def aliases(_: str) -> str:
    """Short names for types: those with a fixed set of words are read from the program."""
    words = {
        name: " or ".join(f'`"{word}"`' for word in typing.get_args(kind))
        for name, kind in (("Given", intake.Given), ("Split", types.Split), ("Lens", types.Lens))
    }
    words["Source"] = ", ".join(f'`"{word}"`' for word in typing.get_args(types.Source))
    return "\n".join(f"| `{name}` | {text} |" for name, text in (ALIASES | words).items())


def quality(_: str) -> str:
    """FLIP and the report's words for it, best first."""
    rows = []
    for bound, words in verdict.LOOKS:
        rows.append(f"| {f'below {bound:g}' if math.isfinite(bound) else 'more'} | {words} |")
    return "\n".join(rows)


def left_out(_: str) -> str:
    """Why photos are left out, and what to do about it."""
    return "\n".join(f"| photos {several} | {hint} |" for _, _, several, hint in advice.KINDS)


def examples(_: str) -> str:
    """Every numbered script, in order."""
    files = sorted((ROOT / "examples").glob("[0-9]*.py"))
    if not files:
        return "There are no examples in this checkout."
    return "\n\n".join(map(_example, files))


def _example(file: Path) -> str:
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    title, _, text = (ast.get_docstring(tree) or file.stem).partition("\n")
    code = source
    if tree.body and ast.get_docstring(tree):
        code = "\n".join(source.splitlines()[tree.body[0].end_lineno :]).strip("\n") + "\n"
    number = file.stem.split("_")[0]
    place = file.relative_to(ROOT).as_posix()
    return (
        f"## {number}. {title.rstrip('.')}\n\n{_as_markdown(text)}\n\n[`{place}`](../{place})\n\n"
        f"````python\n{code}````"
    )


def _as_markdown(docstring: str) -> str:
    """A docstring's text: double backquotes become single ones; what is indented stays code."""
    return docstring.strip("\n").replace("``", "`")


def file(path: str) -> str:
    """A Markdown file of the repository; its links are relative to where it lies."""
    source = ROOT / path
    if not source.is_file():
        return f"# {Path(path).stem.capitalize()}\n\n`{path}` is not in this checkout."

    def moved(link: re.Match[str]) -> str:
        target, mark, anchor = link[2].partition("#")
        place = (source.parent / target).resolve().relative_to(ROOT).as_posix()
        inside = place.removeprefix("docs/")
        return f"{link[1]}{inside if inside != place else '../' + place}{mark}{anchor}"

    return LINK.sub(moved, source.read_text(encoding="utf-8"))


FILL: dict[str, Callable[[str], str]] = {
    "commands": commands,
    "command": options.section,
    "names": names,
    "aliases": aliases,
    "quality": quality,
    "left_out": left_out,
    "examples": examples,
    "file": file,
}


def filled(text: str) -> str:
    """The page with its marks replaced. Raises KeyError for a mark that is not known."""
    return MARK.sub(lambda mark: FILL[mark[1]](mark[2]), text)


def fill(app: Any, docname: str, content: list[str]) -> None:
    """Before a page is read. ``path:`` tells MyST that some Markdown is a file, and no page of the site."""
    content[0] = OUTSIDE.sub(r"](path:\1)", filled(content[0]))


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
