"""Checks of what callers give: paths, settings and other arguments of the wrong type."""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import os
import re
import typing
from pathlib import Path
from typing import Any

from nerfscene.errors import NerfsceneError

IN_WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "text", Path: "a path"}
LONG = 10**15  # from where on a whole number is shown as 1e+15


def path_given(value: Any, name: str) -> Path:
    """A path that a caller gave as str or os.PathLike, with ``~`` expanded.

    name: the argument's, for messages. Raises TypeError for anything else, NerfsceneError for a path that no
    file can have.
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"{name} must be a path (str or os.PathLike), not {_shown(value)}")
    if not path or "\0" in path:
        raise NerfsceneError(f"{name} must be the path of a file or folder, not {path!r}")
    return home_expanded(Path(path))


def home_expanded(path: Path) -> Path:
    """``path`` with ``~`` expanded; unchanged if there is no such user, as in a shell."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def instance_given(value: Any, kind: type, name: str, hint: str = "") -> None:
    """Raises TypeError, naming the argument, unless ``value`` is a ``kind``; hint: how to get one."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        article = "an" if kind.__name__[0] in "AEIO" else "a"
        wanted = IN_WORDS.get(kind, f"{article} {kind.__name__}")
        raise TypeError(f"{name} must be {wanted}{hint}, not {_shown(value)}")


def callable_given(value: Any, name: str) -> None:
    """Raises TypeError, naming the argument, unless ``value`` can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {_shown(value)}")


def count_given(value: Any, name: str, least: int, most: int) -> None:
    """Raises TypeError, naming the argument, for no whole number, and NerfsceneError for one out of range."""
    if _converted(value, int) is None:
        raise TypeError(f"{name} must be {IN_WORDS[int]}, not {_shown(value)}")
    if not least <= value <= most:
        shown = value if abs(value) <= LONG else f"{_converted(value, float):g}"
        raise NerfsceneError(f"{name} must be {least} to {most}, not {shown}")


def seconds_given(value: Any, name: str) -> None:
    """Raises TypeError, naming the argument, for no number, NerfsceneError for one below 0 or not finite."""
    made = _converted(value, float)
    if made is None:
        raise TypeError(f"{name} must be {IN_WORDS[float]}, not {_shown(value)}")
    if not 0 <= made < math.inf:
        raise NerfsceneError(f"{name} must be 0 or more seconds, not {made:g}")


def check_settings(config: Any) -> None:
    """Checks the types of a dataclass's fields, and makes Python's own numbers of numpy's.

    Raises TypeError for a value of the wrong type, NerfsceneError for none of the allowed words.
    """
    for name, kind in _kinds(type(config)).items():  # type: ignore[arg-type]
        value = getattr(config, name)
        made = _setting(value, kind, f"{type(config).__name__}.{name}")
        if made is not value:
            object.__setattr__(config, name, made)


def check_ranges(config: Any, checks: list[tuple[str, bool, str]]) -> None:
    """Raises NerfsceneError for the first of (field, whether it is in range, the range) that isn't."""
    for name, ok, allowed in checks:
        if not ok:
            value = getattr(config, name)
            if isinstance(value, int) and abs(value) > LONG:  # whose digits would fill pages
                value = _converted(value, float)
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            raise NerfsceneError(f"{type(config).__name__}.{name} must be {allowed}, not {shown}")


@functools.cache
def _kinds(config: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(config)
    return {field.name: hints[field.name] for field in dataclasses.fields(config)}


def _setting(value: Any, kind: Any, name: str) -> Any:
    """``value`` as ``kind``, the annotation of the field ``name``."""
    kinds = typing.get_args(kind) if typing.get_origin(kind) is not typing.Literal else (kind,)
    optional = type(None) in kinds
    if value is None and optional:
        return None
    wanted, *others = [k for k in kinds if k is not type(None)] or [kind]
    if others and isinstance(value, str):  # a number, or text that stands for more
        wanted = others[0]
    if typing.get_origin(wanted) is typing.Literal:
        words = typing.get_args(wanted)
        value, wanted = _converted(value, str) or value, str
        if isinstance(value, str) and value not in words:
            raise NerfsceneError(f"{name} must be one of {', '.join(words)}, not {value!r:.80}")
    made = _converted(value, wanted)
    if made is None:
        allowed = " or ".join([*(IN_WORDS[k] for k in (wanted, *others)), *["None"] * optional])
        raise TypeError(f"{name} must be {allowed}, not {_shown(value)}")
    return made


def _converted(value: Any, wanted: type) -> Any:
    """``value`` as the type ``wanted``; None if it is of another kind: True is no number, 1 isn't True."""
    truth = type(value).__name__ in ("bool", "bool_")  # Python's and numpy's
    if wanted is bool:
        return bool(value) if truth else None
    if wanted in (str, Path):
        text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
        return wanted(text) if isinstance(text, str) else None
    if truth or not isinstance(value, numbers.Real):
        return None
    if wanted is int:
        return int(value) if isinstance(value, numbers.Integral) else None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: Any) -> str:
    """A value of the wrong type, for a message."""
    text = repr(value)
    kind = type(value).__name__
    return f"{text} ({kind})" if len(text) <= 40 and "\n" not in text else f"a value of type {kind}"


def size_of(text: str) -> int | None:
    """Bytes: "20MB", "20 MiB", "1.5GB", "500k" and "20000000" as people write them; None for anything else.

    k, M, G and T are powers of 1000, Ki, Mi, Gi and Ti of 1024.
    """
    found = re.fullmatch(r"\s*(\d+(?:[.,]\d+)?)\s*([kmgt]?)(i?)b?(?:ytes?)?\s*", text, re.IGNORECASE)
    if found is None or (found[3] and not found[2]):
        return None
    number = float(found[1].replace(",", "."))
    return round(number * (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " "))
