"""The commands ``nerfscene serve`` and ``nerfscene submit``."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from nerfscene.config import ServeConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.given import home_expanded
from nerfscene.loading import INTERRUPTED, leaving_at_once

NEEDED = (
    *("fastapi", "uvicorn", "jinja2", "itsdangerous"),
    *("python_multipart", "httpx", "websockets", "segno"),
)
FIGURES = ("photos", "photos_posed", "psnr", "ssim", "flip", "train_seconds", "steps")  # told as JSON


@dataclass(frozen=True)
class Serve:
    """Serve a page to which photos are uploaded from any phone or computer, and become scenes to share."""

    folder: tyro.conf.Positional[Path] = Path("nerfscene-data")
    """Folder for uploads, scenes and people; made if it isn't there."""
    open: bool = False
    """Open the page in this machine's browser."""
    serve: Annotated[ServeConfig, tyro.conf.arg(name="")] = field(default_factory=ServeConfig)


@dataclass(frozen=True)
class Submit:
    """Have a server make the scene: upload photos to it, wait with progress, and bring the scene home."""

    photos: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="PATH", help_behavior_hint="(required)"),
    ]
    """Folder of photos, a video, or a .zip of photos."""
    to: str
    """The server's address, such as http://192.168.1.5:8000, or the link that `nerfscene serve` printed."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the scene. Default: NAME-scene in the current folder, where NAME is the photos' name."""
    title: str = ""
    """The scene's title on the server. Default: the photos' name."""
    time: float | None = None
    """Training time in seconds; overrides --quality's."""
    quality: Literal["1min", "5min", "20min"] | None = None
    """How long to train, and how large the photos are taken: as of nerfscene train, 5min when not given."""
    key: str = ""
    """Your key on the server. Default: what NERFSCENE_KEY says, or the key in the link.
    Others on this machine can see what a command was given, but not NERFSCENE_KEY."""
    no_wait: bool = False
    """Only upload the photos and begin the training; the same command without it brings the scene home."""
    json: bool = False
    """Print only one JSON object that says what was made."""


def run_submit(a: Submit) -> None:
    """``nerfscene submit``."""
    with leaving_at_once():
        check_installed()
        from nerfscene.serve.client import open_server
        from nerfscene.serve.submit import Wish, submit
        from nerfscene.terminal import Live

    if not a.photos:
        raise NerfsceneError("say what to make a scene of: a folder of photos, a .zip of them, or a video")
    paths = [home_expanded(path) for path in a.photos]
    first = paths[0].absolute() if len(paths) == 1 else paths[0].absolute().parent
    name = (first.stem if first.is_file() else first.name) or "photos"
    output = home_expanded(a.output or Path(f"{name}-scene"))
    given = {k: v for k, v in (("time", a.time), ("quality", a.quality)) if v is not None}
    TrainConfig(**given)  # type: ignore[arg-type]
    with Live(a.json) as live:
        server = open_server(a.to, a.key or os.environ.get("NERFSCENE_KEY", ""), live.warn)
        try:
            made = submit(paths, server, output, Wish(a.title or name, given, not a.no_wait), live)
        except KeyboardInterrupt:
            live.bar.stop()
            live.say("interrupted; the same command goes on where it was")
            sys.exit(INTERRUPTED)
        live.bar.stop()
    figures = made.facts["figures"]
    if a.json:
        told = {"scene": made.scene and str(made.scene), "page": made.page, "unusable": list(made.unusable)}
        print(json.dumps({**told, **{name: figures.get(name) for name in FIGURES}}))
    elif made.scene is None:
        live.say(f"the server makes the scene: {made.page}")
        live.say("next:  the same command without --no-wait brings it home")
    else:
        live.say(f"scene: {made.scene}   (on the server: {made.page})")
        live.say(f"next:  nerfscene view {made.scene}, or nerfscene render {made.scene} -o film.mp4")


def run_serve(a: Serve) -> None:
    """``nerfscene serve``."""
    with leaving_at_once():
        check_installed()
        if a.serve.ray and importlib.util.find_spec("ray") is None:
            raise NerfsceneError("--ray needs Ray: pip install 'nerfscene[ray]'")
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
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise NerfsceneError("nerfscene serve needs more packages: pip install 'nerfscene[serve]'")
