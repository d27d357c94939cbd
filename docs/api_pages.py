"""How the API page reads the program: signatures as they are written, fields with their own docstrings.

autodoc does the work; it is told here to show annotations as in the source (``NDArray[np.float32]``, not what
it evaluates to), and a dataclass's fields below its docstring. A public name without a docstring fails the
build, and so does a field of which neither the docstring nor a comment says anything.
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
    text = value.__name__ if inspect.isfunction(value) else repr(value)
    return "..." if text.startswith(("lambda", "<")) else text  # says nothing, or where it is in memory


def laid_out(app: Sphinx, what: str, name: str, thing: Any, opts: Any, lines: list[str]) -> None:
    """Sets paragraphs apart; lists arguments, and a dataclass's fields with types and defaults as written."""
    if dataclasses.is_dataclass(thing) and what == "class":
        text, told = parted(lines, {field.name for field in dataclasses.fields(thing)}, verbs=True)
        lines[:] = [line for line in text if line is not HERE] + _fields(thing, told)
        return
    takes = inspect.isroutine(thing) or (inspect.isclass(thing) and not issubclass(thing, Exception))
    known = set(inspect.signature(thing).parameters) if takes else set()
    text, told = parted(lines, known)
    for i in range(len(text) - 1, 0, -1):
        if BEGINS.match(text[i]) and text[i - 1].endswith((".", ":")):
            text.insert(i, "")
    at = text.index(HERE) if HERE in text else len(text)
    listed = [f"- {names}: {said}" for names, said in told.items()]
    lines[:] = [*text[:at], "", *listed, "", *(line for line in text[at:] if line is not HERE)]


HERE = "(what is said of names)"
NAMES = r"(\w+(?:, \w+)*): +"
SAID = re.compile(NAMES + r"(\S.*)")
QUOTED = re.compile(r"``(\w+)``((?: \([^)]*\))?): +(\S.*)")  # ``crop`` (4, 4): what it is
VERB = re.compile(r"``(\w+)`` +(\S.*)")  # ``depth`` is the distance …
FOR_CHANGERS = re.compile(r"\s*(?:So many parameters|Long) because [^.]*\.")  # a test asks for it
BREAKS = ("Raises ", "Returns ")


def parted(lines: list[str], known: set[str], verbs: bool = False) -> tuple[list[str], dict[str, str]]:
    """A docstring without what it says of names in ``known``, and that by these names, in double backquotes.

    A line, or a sentence within a paragraph, is about names where it begins with ``name: …`` or ``a, b: …``;
    with ``verbs`` also where it begins with a name in backquotes. What follows it belongs to it too, up to
    the next name or to what is returned or raised. HERE stands where the first name was.
    """
    text: list[str] = []
    told: dict[str, str] = {}
    for paragraph in "\n".join(lines).strip("\n").split("\n\n"):
        paragraph = FOR_CHANGERS.sub("", paragraph)
        units = _units(paragraph, known)
        if not any(_about(unit, known, verbs) for unit in units):
            text += [*paragraph.split("\n"), ""]
            continue
        before, after = [], []
        last = ""
        for i, unit in enumerate(units):
            about = _about(unit, known, verbs)
            if about is not None:
                last, told[about[0]] = about[0], about[1]
            elif unit.endswith(":"):  # a line that stands before several names
                following = [a[0] for a in (_about(u, known, verbs) for u in units[i + 1 :]) if a]
                after.append(f"{unit} {', '.join(following)}.")
            elif unit.startswith(BREAKS):
                after.append(unit)
            elif after:
                after[-1] += f" {unit}"
            elif last:
                told[last] += f" {unit}"
            else:
                before.append(unit)
        text += [" ".join(before), ""] if before else []
        if HERE not in text:
            text += [HERE, ""]
        text += [*after, ""]
    return text, {names: said.removesuffix(";") for names, said in told.items()}


def _units(paragraph: str, known: set[str]) -> list[str]:
    """The lines of a paragraph that has a name on each, with what continues them; else its sentences."""

    def named(line: str) -> bool:
        return (found := SAID.match(line)) is not None and set(found[1].split(", ")) <= known

    own = paragraph.split("\n")
    heads = [
        i
        for i, line in enumerate(own[:-1])
        if line[:1].isupper() and line.endswith(":") and named(own[i + 1])
    ]
    if not all(line.startswith(" ") or named(line) or i in heads for i, line in enumerate(own)):
        return re.split(r"(?<=[.;]) +(?=[A-Za-z_`])", " ".join(line.strip() for line in own))
    units: list[str] = []
    for line in own:
        if line.startswith(" ") and units:
            units[-1] += f" {line.strip()}"
        else:
            units += re.split(rf"; (?=(?:{'|'.join(sorted(known))}): )", line)
    return units


def _about(unit: str, known: set[str], verbs: bool) -> tuple[str, str] | None:
    """The names that a line or sentence begins with, in double backquotes, and what it says of them."""
    if (found := SAID.match(unit)) and set(found[1].split(", ")) <= known:
        return ", ".join(f"``{name}``" for name in found[1].split(", ")), found[2]
    if (found := QUOTED.match(unit)) and found[1] in known:
        return f"``{found[1]}``", f"{found[2].strip()} {found[3]}".strip()
    if verbs and (found := VERB.match(unit)) and found[1] in known:
        said = found[2].removeprefix("is ")
        return f"``{found[1]}``", re.sub(r"^(\([^)]*\)),? is ", r"\1: ", said)
    return None


def _texts(cls: Any, told: dict[str, str]) -> dict[str, str]:
    """What is said of each field: ``told`` by the docstring, else by what stands in the source beside it."""
    texts = options.field_texts(cls)
    for names, said in told.items():
        texts |= dict.fromkeys(re.findall(r"\w+", names), said)
    return texts


def _fields(cls: Any, told: dict[str, str]) -> list[str]:
    """A dataclass's fields, as directives. A warning for each of which nothing is said."""
    texts = _texts(cls, told)
    lines = []
    for field in dataclasses.fields(cls):
        if field.name.startswith("_"):
            continue
        if not texts.get(field.name, "").strip():
            log.warning("%s.%s: nothing is said of this field", cls.__qualname__, field.name)
        lines += ["", f".. py:attribute:: {field.name}", f"   :type: {field.type}", "   :no-contents-entry:"]
        if field.default is not dataclasses.MISSING and not inspect.isfunction(field.default):
            lines.append(f"   :value: {_default(field.default)}")
        lines += ["", f"   {texts.get(field.name, '')}", ""]
    return lines


def check_documented(app: Sphinx) -> None:
    """A warning, which fails the build, for each public name without a docstring."""
    for name in nerfscene.__all__:
        thing = getattr(nerfscene, name)
        if not inspect.getdoc(thing) or (thing.__doc__ or "").startswith(f"{name}("):  # a dataclass's own
            log.warning("nerfscene.%s has no docstring", name)


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
