"""Values by key, as people write them: one for a whole film, or several at times in seconds.

``0:60,8:35`` is 60 at the film's beginning and 35 at 8 seconds. A value may have commas itself, as a point
has: a key begins where a number and a colon follow a comma. What is in double quotes is no key in any case.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from nerfscene.errors import NerfsceneError

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
KEY = re.compile(rf"(?:^|,)\s*({NUMBER})\s*s?\s*:")
QUOTED = re.compile(r'"[^"]*"')
MOST_KEYS = 1000


@dataclass(frozen=True)
class Range:
    """The numbers that something may have by key: least, most, the same in words, and keys as an example."""

    least: float
    most: float
    words: str
    example: str


RANGES = {
    "fov": Range(1e-6, 360.0, "above 0 and at most 360 degrees", "0:60,8:35"),
    "roll": Range(-3600.0, 3600.0, "-3600 to 3600 degrees", "0:0,4:15"),
    "aperture": Range(0.01, 1000.0, "an f-number, 0.01 to 1000", "0:8,4:1.4"),
    "exposure": Range(-10.0, 10.0, "-10 to 10 stops", "0:0,4:-1"),
}


def keys_of(text: str, where: str) -> list[tuple[float, str]] | None:
    """The (seconds, value) of each key; None for a text that isn't by key.

    The value of a key keeps its quotes, see ``unquoted``. where: what the text was given for, for messages.
    Raises NerfsceneError for keys without a value, or whose times don't go up from 0.
    """
    text = text.strip()
    hidden = QUOTED.sub(lambda found: '"' * len(found[0]), text)
    starts = list(KEY.finditer(hidden))
    if not starts:
        return None
    if starts[0].start() > 0:
        raise NerfsceneError(f"{where} must have a time before its first value too, such as 0:{text:.80}")
    ends = [start.start() for start in starts[1:]] + [len(text)]
    keys = [
        (float(start[1]), text[start.end() : end].strip()) for start, end in zip(starts, ends, strict=True)
    ]
    if len(keys) > MOST_KEYS:
        raise NerfsceneError(f"{where} must have at most {MOST_KEYS} keys, not {len(keys)}")
    before = -math.inf
    for time, value in keys:
        if not value:
            raise NerfsceneError(f"{where} must have a value at each time, and has none at {time:g} s")
        if not 0 <= time < 1e6:
            raise NerfsceneError(f"{where} must have its keys from 0 seconds on, not at {time:g} s")
        if time <= before:
            raise NerfsceneError(
                f"{where} must have its keys in the order of their times, not {time:g} s after {before:g} s"
            )
        before = time
    return keys


def unquoted(text: str) -> str:
    """The text without the double quotes around it, if it has them."""
    text = text.strip()
    return text[1:-1] if QUOTED.fullmatch(text) else text


def numbers_of(given: float | str | None, name: str, where: str) -> list[tuple[float, float]]:
    """The (seconds, number) of each key of a setting in RANGES; a number alone is a key at 0, None is none.

    where: as in ``keys_of``. Raises NerfsceneError for anything else, and for numbers out of range.
    """
    if given is None:
        return []
    allowed = RANGES[name]
    keys = keys_of(given, where) if isinstance(given, str) else None
    made = []
    for time, value in [(0.0, given)] if keys is None else keys:
        try:
            number = float(value)
        except ValueError:
            raise NerfsceneError(
                f"{where} must be {allowed.words}, or such values at times in seconds, as in "
                f"{allowed.example}, not {given!r:.80}"
            ) from None
        if not allowed.least <= number <= allowed.most:
            at = "" if keys is None else f" at {time:g} s"
            raise NerfsceneError(f"{where} must be {allowed.words}, not {number:g}{at}")
        made.append((time, number))
    return made


def check_numbers_by_key(config: Any, names: tuple[str, ...]) -> None:
    """Checks fields that are numbers or text with numbers by key; a single number in a text becomes one.

    Raises NerfsceneError as ``numbers_of`` does.
    """
    for name in names:
        given = getattr(config, name)
        keys = numbers_of(given, name, f"{type(config).__name__}.{name}")
        if isinstance(given, str) and len(keys) == 1 and keys[0][0] == 0:
            object.__setattr__(config, name, keys[0][1])
