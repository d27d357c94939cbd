"""JSON from files that others wrote, and that may be damaged or made to do harm."""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 100  # lists and objects within each other; no format that is read has more than ten


def parsed(text: str | bytes) -> Any:
    """The value that a JSON text holds; bytes may be UTF-8 or UTF-16, with or without a byte-order mark.

    Raises ValueError, whose message is a clause that says where it is broken, for anything that is not JSON,
    or is nested more than DEEPEST deep: what handles such a value would run out of stack.
    """
    try:
        value = json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not text") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise ValueError("a number in it has too many digits") from error
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [v for v in item.values() if isinstance(v, dict | list)]
            elif isinstance(item, list):
                inner += [v for v in item if isinstance(v, dict | list)]
        if not inner:
            return
        level = inner
    raise ValueError("it is nested too deeply")
