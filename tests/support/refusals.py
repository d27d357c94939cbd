"""How ``nerfscene`` refuses: exit code 2, one sentence, nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Refused = Callable[..., str]


def check_refusal(code: object, out: str, err: str, quiet: bool) -> None:
    """Exit code 2, and nothing but one sentence, after progress where that is to be shown."""
    assert code == 2, err
    assert "Traceback" not in err and not out
    lines = [line for line in err.splitlines() if line.strip()]
    assert lines[-1].startswith("nerfscene: ") and len(lines[-1]) > 30
    assert not quiet or len(lines) == 1, lines


def nothing_in(folder: Path) -> bool:
    """No scene, whole or half, nor its folder."""
    return not folder.exists()
