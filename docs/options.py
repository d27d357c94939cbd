"""The tables of the command line, as Markdown, from the dataclasses that the command line hands to tyro.

Names, defaults and texts are those of ``nerfscene COMMAND --help``; tests/whole/test_docs.py compares them.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import re
import textwrap
import types
import typing
from pathlib import Path
from typing import Any, Literal, Union
from unittest import mock

from nerfscene import cli

OPTION = re.compile(r"(?<!`)(--[a-z][a-z-]*)")  # in a text


@dataclasses.dataclass(frozen=True)
class Option:
    """One row: as it is written, what it is when not given, what it does."""

    names: tuple[str, ...]
    value: str  # "" for a flag
    default: str
    text: str


def field_texts(cls: type) -> dict[str, str]:
    """What a class's source says of its fields: the docstring under each, or a comment beside or above it."""
    source = textwrap.dedent(inspect.getsource(cls))
    lines = source.splitlines()
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    texts = {}
    for field, below in zip(body, [*body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign):
            continue
        said = getattr(below.value, "value", None) if isinstance(below, ast.Expr) else None
        if not isinstance(said, str):
            said = _comment(lines, field.lineno - 1, (field.end_lineno or field.lineno) - 1)
        texts[field.target.id] = " ".join(said.split())  # type: ignore[union-attr]
    return {name: text for name, text in texts.items() if text}


def _comment(lines: list[str], first: int, last: int) -> str:
    """The comment on a field's last line, else the whole lines of comment above its first."""
    _, mark, beside = lines[last].partition("  # ")
    if mark:
        return beside
    above = []
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
        above.insert(0, lines[first].lstrip("# "))
    return " ".join(above)


class _Handed(Exception):
    """Carries what the command line hands to tyro out of it."""


@functools.cache
def commands() -> dict[str, type]:
    """Each command's name and the dataclass of its options, as the command line hands them to tyro."""

    def caught(given: dict[str, type], **settings: object) -> None:
        raise _Handed(given)

    with mock.patch("tyro.extras.subcommand_cli_from_dict", caught):
        try:
            cli.main([])
        except _Handed as handed:
            found: dict[str, type] = handed.args[0]
            return found
    raise RuntimeError("nerfscene.cli.main hands its commands to tyro in another way: change this too")


def options(
    cls: type, prefix: str = "", given: object = None
) -> tuple[list[Option], list[Option], dict[str, list[Option]]]:
    """A command's arguments by place, its options, and groups of finer options by how they begin.

    given: a ``cls`` with the defaults of this command, if they aren't those of the class.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    texts = field_texts(cls)
    placed: list[Option] = []
    plain: list[Option] = []
    groups: dict[str, list[Option]] = {}
    for field in dataclasses.fields(cls):
        kind, marks = _unwrapped(hints[field.name])
        said = {key: value for mark in marks for key, value in vars(mark).items() if value}
        name = str(said.get("name", field.name)) if not _is_nameless(marks) else ""
        if dataclasses.is_dataclass(kind):
            inner = f"{prefix}{name}." if name else prefix
            made = field.default_factory() if callable(field.default_factory) else None
            _, within, _ = options(kind, inner, made)  # type: ignore[arg-type]
            if name:
                groups[f"--{inner}"] = within
            else:
                plain += within
            continue
        dashed = (prefix + name).replace("_", "-")
        text = texts.get(field.name, "")
        if _is_positional(hints[field.name]):
            placed.append(Option((str(said.get("metavar", _value(kind))),), "", "", text))
        elif kind is bool:
            if getattr(given, field.name, field.default) is True:
                off = f"--no-{dashed}"
                plain.append(Option((off,), "", "", text if off in text else f"Turns this off: {text}"))
            else:
                plain.append(Option((f"--{dashed}",), "", "", text))
        else:
            names = (*said.get("aliases", ()), f"--{dashed}")
            plain.append(Option(names, _value(kind), _default(field), text))
    return placed, plain, groups


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type itself, and what tyro is told about it."""
    marks: tuple[Any, ...] = ()
    while typing.get_origin(hint) is typing.Annotated:
        marks += hint.__metadata__
        hint = typing.get_args(hint)[0]
    return hint, tuple(mark for mark in marks if hasattr(mark, "metavar"))


def _is_nameless(marks: tuple[Any, ...]) -> bool:
    return any(mark.name == "" for mark in marks)


def _is_positional(hint: Any) -> bool:
    return "positional" in repr(getattr(hint, "__metadata__", "")).lower()


def _value(kind: Any) -> str:
    """What is written behind the option: NUMBER, PATH, or one of some words."""
    origin, args = typing.get_origin(kind), [a for a in typing.get_args(kind) if a is not type(None)]
    if origin is Literal:
        return "|".join(map(str, args))
    if origin in (Union, types.UnionType):
        return "|".join(map(_value, args))
    if origin is tuple:
        return _value(args[0])
    return {int: "INT", float: "FLOAT", str: "TEXT"}.get(kind, "PATH" if kind is Path else str(kind))


def _default(field: dataclasses.Field[Any]) -> str:
    return "" if field.default in (None, dataclasses.MISSING) else str(field.default)


def table(rows: list[Option]) -> str:
    """Options as a Markdown table."""
    lines = ["| Option | When not given | What it does |", "|---|---|---|"]
    for row in rows:
        names = ", ".join(f"`{n}`" for n in row.names)
        # A bar would end the table's cell, in code too.
        words = row.value.split("|")
        value = (" one of " if len(words) > 1 else " ") + ", ".join(f"`{word}`" for word in words)
        value = value if row.value else ""
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| {names}{value} | {default} | {_cell(row.text)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return OPTION.sub(r"`\1`", text.replace("|", "\\|"))


def section(name: str) -> str:
    """All of one command, as Markdown: what it does, how it is written, its options."""
    cls = commands()[name]
    placed, plain, groups = options(cls)
    usage = " ".join(["nerfscene", name, *(p.names[0] for p in placed), "[options]"])
    parts = [inspect.getdoc(cls) or "", f"```text\n{usage}\n```"]
    parts += [f"`{p.names[0]}`: {p.text}" for p in placed]
    parts.append(table(plain))
    abouts = {f"--{field.name}.": typing.get_type_hints(cls)[field.name] for field in dataclasses.fields(cls)}
    for begin, rows in groups.items():
        about = (inspect.getdoc(abouts[begin]) or "").splitlines()[0]
        parts += [f"### Options that begin with `{begin}`", about, table(rows)]
    return "\n\n".join(parts)
