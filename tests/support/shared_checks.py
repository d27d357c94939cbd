"""What checks requests is built once and not for every application; importing this makes it so.

FastAPI builds the checks of all routes' parameters anew for each application, at its first request: a third
of a second, in each of some hundred tests.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

try:
    from fastapi._compat import v2
except ImportError:  # another version has it elsewhere: tests pass as well without this
    v2 = None

# By what they check. The types are kept too, as their texts may name objects by their addresses.
_BUILT: dict[str, tuple[Any, TypeAdapter[Any]]] = {}


def shared(kind: Any, *, config: Any = None) -> TypeAdapter[Any]:
    """The checks of a type, from before if there are some."""
    key = repr((kind, config))
    if key not in _BUILT:
        _BUILT[key] = kind, TypeAdapter(kind, config=config)
    return _BUILT[key][1]


if getattr(v2, "TypeAdapter", None) is TypeAdapter:
    v2.TypeAdapter = shared
