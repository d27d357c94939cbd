"""The address by which others reach this server, for links that are sent."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket

from fastapi import Request

from nerfscene.serve.shop import Shop

ONLY_HERE = "this server answers only on the machine it runs on; start it with --host 0.0.0.0 for others"


def outside(request: Request, shop: Shop) -> tuple[str, str]:
    """(the address without a slash at its end, a warning if others can't reach it or "").

    It is the one that the server was told, or the one it was asked by. If that only means this machine but
    the server listens to others, it is this machine's address in its network.
    """
    if shop.config.url:
        return shop.config.url.rstrip("/"), ""
    url = request.url
    if not only_here(url.hostname or ""):
        return f"{url.scheme}://{url.netloc}", ""
    if only_here(shop.config.host):
        return f"{url.scheme}://{url.netloc}", ONLY_HERE
    port = "" if url.port is None else f":{url.port}"
    return f"{url.scheme}://{own_address()}{port}", ""


def only_here(host: str) -> bool:
    """Whether a name or number means the machine that asks."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@functools.cache
def own_address() -> str:
    """This machine's address in its network; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, contextlib.suppress(OSError):
        s.connect(("192.0.2.1", 9))  # an address kept for documentation (RFC 5737)
        return str(s.getsockname()[0])
    return socket.gethostname()
