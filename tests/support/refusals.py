"""How ``nerfscene`` refuses: exit code 2, one sentence, nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Refused = Callable[..., str]


def check_refusal(code: object, out: str, err: str, quiet: bool) -> None:
    """Checks exit code 2 and a single sentence, after progress if that was to be shown."""
    assert code == 2, err
    assert "Traceback" not in err and not out
    lines = [line for line in err.splitlines() if line.strip()]
    assert lines[-1].startswith("nerfscene: ") and len(lines[-1]) > 30
    assert not quiet or len(lines) == 1, lines


def nothing_in(folder: Path) -> bool:
    """Whether there is no scene, not even its folder."""
    return not folder.exists()
