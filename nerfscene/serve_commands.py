"""The command ``nerfscene serve``."""

from __future__ import annotations

import ipaddress
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.given import home_expanded
from nerfscene.loading import leaving_at_once

NEEDED = (
    *("fastapi", "uvicorn", "jinja2", "itsdangerous"),
    *("python_multipart", "httpx", "websockets", "segno"),
)


@dataclass(frozen=True)
class Serve:
    """Serve a page to which photos are uploaded from any phone or computer, and become scenes to share."""

    folder: tyro.conf.Positional[Path] = Path("nerfscene-data")
    """Folder for uploads, scenes and people; made if it isn't there."""
    open: bool = False
    """Open the page in this machine's browser."""
    serve: Annotated[ServeConfig, tyro.conf.arg(name="")] = field(default_factory=ServeConfig)


def run_serve(a: Serve) -> None:
    """``nerfscene serve``."""
    with leaving_at_once():
        check_installed()
        from nerfscene.serve.server import serve

    def told(links: list[str]) -> None:
        print("Open this on the phone or computer that has the photos. It contains your key:")
        for link in links:
            print(f"  {link}")
        if not is_loopback(a.serve) and sys.stdout.isatty():
            show_code(links[0])
        if is_loopback(a.serve):
            print("Only this machine can open it; for phones in your network, add --host 0.0.0.0")
        print("Ctrl-C ends the server; what is under way goes on when it is started again", flush=True)
        if a.open:
            open_browser(links[-1])

    serve(home_expanded(a.folder), a.serve, told)


def is_loopback(config: ServeConfig) -> bool:
    """Whether only this machine reaches the server."""
    try:
        return not config.url and ipaddress.ip_address(config.host).is_loopback
    except ValueError:
        return not config.url and config.host == "localhost"


def show_code(link: str) -> None:
    """Prints a link as a QR code, to be opened by a phone's camera."""
    import segno

    segno.make(link, micro=False).terminal(compact=True)


def open_browser(link: str) -> None:
    """Opens a link in the browser, if this machine has a screen; not in one of the terminal's."""
    import webbrowser

    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(link)


def check_installed() -> None:
    """Raises NerfsceneError unless what the server needs is installed."""
    import importlib.util

    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise NerfsceneError("nerfscene serve needs more packages: pip install 'nerfscene[serve]'")
