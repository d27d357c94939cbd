"""The address by which others reach this server, for links that are sent."""

from __future__ import annotations

import functools
import ipaddress

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
    return f"{url.scheme}://{_own()}{port}", ""


def only_here(host: str) -> bool:
    """Whether a name or number means the machine that asks."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@functools.cache
def _own() -> str:
    from nerfscene.serve import server  # which imports the pages

    return server.own_address()
