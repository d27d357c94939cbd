"""``nerfscene serve`` as a command: what it refuses before anything is begun."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.serve_commands import Serve, run_serve


@pytest.mark.parametrize(
    ("missing", "config", "extra"),
    [
        ("fastapi", ServeConfig(), r"nerfscene\[serve\]"),
        ("ray", ServeConfig(ray="auto"), r"nerfscene\[ray\]"),
    ],
)
def test_what_is_not_installed_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, config: ServeConfig, extra: str
) -> None:
    found = importlib.util.find_spec

    def without(name: str, *given: Any) -> Any:
        return None if name == missing else found(name, *given)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(NerfsceneError, match=extra):
        run_serve(Serve(tmp_path / "data", serve=config))
    assert not (tmp_path / "data").exists()
