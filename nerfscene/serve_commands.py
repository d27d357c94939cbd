"""The command ``nerfscene serve``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.given import home_expanded
from nerfscene.loading import leaving_at_once

NEEDED = [
    "fastapi",
    "uvicorn",
    "jinja2",
    "itsdangerous",
    "multipart",
    "tuspyserver",
    "httpx",
    "websockets",
    "segno",
]


@dataclass(frozen=True)
class Serve:
    """Serve a page to which photos are uploaded from any phone or computer, and become scenes to share."""

    folder: tyro.conf.Positional[Path] = Path("nerfscene-data")
    """Folder for uploads, scenes and people; made if it isn't there."""
    serve: Annotated[ServeConfig, tyro.conf.arg(name="")] = field(default_factory=ServeConfig)


def run_serve(a: Serve) -> None:
    """``nerfscene serve``."""
    with leaving_at_once():
        check_installed()
        from nerfscene.serve.server import serve

    def told(links: list[str]) -> None:
        print("open this on the phone or computer that has the photos; it contains your key:")
        for link in links:
            print(f"  {link}")
        print("Ctrl-C ends the server; what is under way goes on when it is started again", flush=True)

    serve(home_expanded(a.folder), a.serve, told)


def check_installed() -> None:
    """Raises NerfsceneError unless what the server needs is installed."""
    import importlib.util

    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise NerfsceneError("nerfscene serve needs more packages: pip install 'nerfscene[serve]'")
