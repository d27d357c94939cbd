"""Runs the server until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.scene.folder_lock import only_one
from nerfscene.serve import people
from nerfscene.serve.addresses import own_address
from nerfscene.serve.app import create_app
from nerfscene.serve.shop import opened

TRIED_PORTS = 100
LOCK = ".server.lock"  # in the folder: one server at a time


def serve(folder: Path, config: ServeConfig, told: Callable[[list[str]], None]) -> None:
    """Serves until Ctrl-C. folder: what the server keeps. told: called with the addresses once it answers.

    Raises NerfsceneError if the folder or the address can't be used, or another server has the folder.
    """
    shop = opened(folder, config)
    with only_one(folder, LOCK, "serving"), listening(config.host, config.port) as sockets:
        port = sockets[0].getsockname()[1]
        key = people.key_of_first(shop.db, shop.data)
        settings = uvicorn.Config(
            create_app(shop), log_level="warning", timeout_graceful_shutdown=3, server_header=False,
            access_log=False, proxy_headers=bool(config.url),
            # What browsers tell a viewer is short; what it shows them is compressed already.
            ws_max_size=1 << 20, ws_per_message_deflate=False,
        )  # fmt: skip
        server = uvicorn.Server(settings)
        told([f"{base}/login?key={key}" for base in addresses(config, port)])
        server.run(sockets=sockets)
    shop.db.close()


def addresses(config: ServeConfig, port: int) -> list[str]:
    """Where the server answers, the best address for others first."""
    if config.url:
        return [config.url.rstrip("/")]
    host = ipaddress.ip_address(config.host) if config.host != "localhost" else None
    if host is None or not host.is_unspecified:
        shown = f"[{host}]" if host is not None and host.version == 6 else config.host
        return [f"http://{shown}:{port}"]
    return [f"http://{own_address()}:{port}", f"http://127.0.0.1:{port}"]


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """A socket on the port, or on the next free one. Raises NerfsceneError if there is none."""
    found: socket.socket | None = None
    for number in range(port, min(port + TRIED_PORTS, 65536) if port else 1):
        try:
            found = socket.create_server(
                (host, number), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
            )
            break
        except (OSError, OverflowError) as error:
            reason = error
            if getattr(error, "errno", None) not in (errno.EADDRINUSE, errno.EACCES):
                break  # another port of an address that isn't there wouldn't help
    if found is None:
        raise NerfsceneError(
            f"can't serve on {host}:{port} ({reason}); choose another address with --host and --port"
        )
    # With the protocol named, asyncio sends answers at once (TCP_NODELAY); else parts of them wait 40 ms.
    found = socket.socket(found.family, found.type, socket.IPPROTO_TCP, fileno=found.detach())
    try:
        yield [found]
    finally:
        found.close()
