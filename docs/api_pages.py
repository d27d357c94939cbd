"""How the API page reads the program: signatures as they are written, fields with their own docstrings.

autodoc does the work; it is told here to show annotations as in the source (``NDArray[np.float32]``, not what
it evaluates to), and a dataclass's fields below its docstring. A public name, or a field of a configuration,
without a docstring fails the build.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

import options
from sphinx.application import Sphinx
from sphinx.util import logging

import nerfscene

log = logging.getLogger(__name__)
LONG = 60  # characters of a dataclass's fields, from which on they are only listed below
# Where a docstring's paragraph says something new, as people read it: a line that begins with an argument's
# name, or with what comes back.
BEGINS = re.compile(r"(?:Raises|Returns) |``\w+``(?:, ``\w+``)*(?: \([^)]*\))*:")


def as_written(
    app: Sphinx, what: str, name: str, thing: Any, opts: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """The signature with its annotations' own text; a dataclass's fields by name alone: they follow below."""
    if inspect.isclass(thing):
        if issubclass(thing, Exception):
            return None  # autodoc has no signature for it, and none to put another in place of
        if dataclasses.is_dataclass(thing):
            fields = ", ".join(f.name for f in dataclasses.fields(thing))
            return f"({fields})" if len(fields) < LONG else "", None
        return "", None
    if not inspect.isroutine(thing):
        return None
    given = inspect.signature(thing)
    shown = []
    starred = False
    for p in given.parameters.values():
        if p.name == "self":
            continue
        if p.kind is p.KEYWORD_ONLY and not starred:
            shown.append("*")
            starred = True
        text = p.name if p.annotation is p.empty else f"{p.name}: {_spelled_out(p.annotation, thing)}"
        if p.default is not p.empty:
            text += f" = {_default(p.default)}" if p.annotation is not p.empty else f"={_default(p.default)}"
        shown.append(text)
    result = given.return_annotation
    return f"({', '.join(shown)})", None if result in (given.empty, "None") else str(result)


def _spelled_out(annotation: str, function: Any) -> str:
    """The annotation, with names for types of functions spelled out: one of them is a class elsewhere."""

    def spelled(name: re.Match[str]) -> str:
        alias = getattr(function, "__globals__", {}).get(name[0])
        if typing.get_origin(alias) is not Callable:
            return name[0]
        takes, gives = typing.get_args(alias)
        if any(typing.get_origin(kind) for kind in takes):  # arrays and the like are shorter by their name
            return name[0]
        given = ", ".join(kind.__name__ for kind in takes)
        return f"Callable[[{given}], {'None' if gives is None else gives.__name__}]"

    return re.sub(r"\w+", spelled, annotation)


def _default(value: Any) -> str:
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}()"
    return value.__name__ if inspect.isfunction(value) else repr(value)


def laid_out(app: Sphinx, what: str, name: str, thing: Any, opts: Any, lines: list[str]) -> None:
    """Sets paragraphs apart; lists arguments, and a dataclass's fields with types and defaults as written."""
    known = set()
    if inspect.isroutine(thing):
        known = set(inspect.signature(thing).parameters)
    elif dataclasses.is_dataclass(thing):
        known = {field.name for field in dataclasses.fields(thing)}
    text, said = parted(lines, known)
    for i in range(len(text) - 1, 0, -1):
        if BEGINS.match(text[i]) and text[i - 1].endswith((".", ":")):
            text.insert(i, "")
    if dataclasses.is_dataclass(thing) and what == "class":
        lines[:] = [line for line in text if line is not HERE] + _fields(thing, said)
        return
    at = text.index(HERE) if HERE in text else len(text)
    listed = [f"- {names}: {told}" for names, told in said.items()]
    lines[:] = [*text[:at], "", *listed, "", *(line for line in text[at:] if line is not HERE)]


HERE = "(what is said of names)"
NAMES = r"(\w+(?:, \w+)*): +"
SAID = re.compile(NAMES + r"(\S.*)")
FOR_CHANGERS = re.compile(r"\s*(?:So many parameters|Long) because [^.]*\.")  # a test asks for it


def parted(lines: list[str], known: set[str]) -> tuple[list[str], dict[str, str]]:
    """A docstring without what it says of names in ``known``, and that by these names, in double backquotes.

    That is in paragraphs which begin with ``name: …``, a name on each line or one after another. HERE stands
    where the first of them was.
    """
    text: list[str] = []
    said: dict[str, str] = {}
    for paragraph in "\n".join(lines).strip("\n").split("\n\n"):
        paragraph = FOR_CHANGERS.sub("", paragraph)
        found = SAID.match(paragraph)
        if found is None or not set(found[1].split(", ")) <= known:
            text += [*paragraph.split("\n"), ""]
            continue
        if not said:
            text += [HERE, ""]
        rest: list[str] = []
        own = paragraph.split("\n")
        each_on_a_line = all(line.startswith(" ") or SAID.match(line) for line in own)
        for line in own if each_on_a_line else _sentences(" ".join(line.strip() for line in own)):
            of = SAID.match(line)
            if of is not None and set(of[1].split(", ")) <= known:
                last = ", ".join(f"``{name}``" for name in of[1].split(", "))
                said[last] = of[2]
            elif line.startswith(BREAKS):
                rest.append(line)
            elif rest:
                rest[-1] += f" {line.strip()}"
            else:
                said[last] += f" {line.strip()}"
        text += [*rest, ""]
    return text, said


BREAKS = ("Raises ", "Returns ")


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.;]) +(?=[A-Za-z_])", text)


def _fields(cls: Any, said: dict[str, str]) -> list[str]:
    """A dataclass's fields, as directives; ``said`` goes before what stands in the source beside them."""
    texts = options.field_texts(cls)
    for names, told in said.items():
        texts |= dict.fromkeys(re.findall(r"\w+", names), told)
    lines = []
    for field in dataclasses.fields(cls):
        if field.name.startswith("_"):
            continue
        lines += ["", f".. py:attribute:: {field.name}", f"   :type: {field.type}", "   :no-contents-entry:"]
        if field.default is not dataclasses.MISSING:
            lines.append(f"   :value: {field.default!r}")
        lines += ["", f"   {texts.get(field.name, '')}", ""]
    return lines


def check_documented(app: Sphinx) -> None:
    """A warning, which fails the build, for each public name or configuration's field without a docstring."""
    for name in nerfscene.__all__:
        thing = getattr(nerfscene, name)
        if not inspect.getdoc(thing) or (thing.__doc__ or "").startswith(f"{name}("):  # a dataclass's own
            log.warning("nerfscene.%s has no docstring", name)
        if name.endswith("Config"):
            texts = options.field_texts(thing)
            for field in dataclasses.fields(thing):
                if field.name not in texts:
                    log.warning("nerfscene.%s.%s has no docstring under it", name, field.name)


def check_on_page(app: Sphinx, env: Any) -> None:
    """A warning for each public name that no page describes."""
    described = env.get_domain("py").objects
    for name in nerfscene.__all__:
        if f"nerfscene.{name}" not in described:
            log.warning("nerfscene.%s is on no page: add it to docs/api.md", name)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-signature", as_written)
    app.connect("autodoc-process-docstring", laid_out)
    app.connect("builder-inited", check_documented)
    app.connect("env-check-consistency", check_on_page)
    return {"parallel_read_safe": True}
