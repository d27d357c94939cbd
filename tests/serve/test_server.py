"""Where the server listens, and who can look into its folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.serve.server import listening
from nerfscene.serve.shop import opened


def test_a_port_that_is_taken_is_passed_over() -> None:
    with listening("127.0.0.1", 0) as taken:
        port = taken[0].getsockname()[1]
        with listening("127.0.0.1", port) as found:
            assert found[0].getsockname()[1] > port


@pytest.mark.parametrize("host", ["203.0.113.7", "nowhere.invalid"])
def test_an_address_that_is_not_here_is_tried_once(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refused(address: tuple[str, int], **options: Any) -> socket.socket:
        tried.append(address)
        if host.endswith("invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket, "create_server", refused)
    with pytest.raises(NerfsceneError, match=f"{host}:8000 .*choose another"), listening(host, 8000):
        pass
    assert len(tried) == 1


@pytest.mark.skipif(os.name == "nt", reason="there are no such permissions")
def test_nobody_else_on_the_machine_looks_into_the_folder(tmp_path: Path) -> None:
    opened(tmp_path / "made", ServeConfig()).db.close()
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
    there = tmp_path / "there"
    there.mkdir(0o755)
    before = there.stat().st_mode
    opened(there, ServeConfig()).db.close()
    assert there.stat().st_mode == before  # whoever made it decides
