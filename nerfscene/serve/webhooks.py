"""Tells the address that an owner has set when work on their scene ends."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.serve.jobs import Job
from nerfscene.serve.scenes import SceneRow, scene_of
from nerfscene.serve.shop import Shop

log = logging.getLogger(__name__)
TIMEOUT = 10.0  # seconds
TRIES, APART = 3, 2.0  # seconds before the second; twice as long before the third
LONGEST = 2000  # letters of an address
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")  # RFC 3056: one in bits 16 to 48


def check_webhook(address: str) -> str:
    """An address to tell, as it is kept; "" for none. Raises NerfsceneError for one that can't be told.

    Whether it is this machine or in its network is found out each time that it is told, since names move.
    """
    address = address.strip()
    if not address:
        return ""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or len(address) > LONGEST or not address.isprintable() or " " in address:
        raise NerfsceneError("a webhook is an address that begins with https:// or http://; check it")
    return address


def tell_in_background(shop: Shop, job: Job) -> threading.Thread | None:
    """Tells of a job that ended, in a thread of its own, which is returned; None if nobody is to be told."""
    scene = scene_of(shop.db, job.scene)
    if not scene.webhook:
        return None
    thread = threading.Thread(
        target=tell, args=(scene.webhook, told_of(scene, job, shop.config), own_network(shop.config)),
        name="nerfscene-webhook", daemon=True,
    )  # fmt: skip
    thread.start()
    return thread


def told_of(scene: SceneRow, job: Job, config: ServeConfig) -> dict[str, Any]:
    """What is sent: scene and job (ids), title, kind, state, message, and address where that is known."""
    said = {
        "scene": scene.id, "title": scene.title, "job": job.id, "kind": job.kind, "state": job.state,
        "message": job.message,
    }  # fmt: skip
    return {**said, "address": f"{config.url.rstrip('/')}/scenes/{scene.id}"} if config.url else said


def own_network(config: ServeConfig) -> bool:
    """Whether webhooks may reach this machine and its network: only where nobody else can set one."""
    if config.url:
        return False
    try:
        return config.host == "localhost" or ipaddress.ip_address(config.host).is_loopback
    except ValueError:
        return False


def tell(address: str, said: dict[str, Any], own: bool = False) -> bool:
    """Posts ``said`` as JSON to an address, with up to TRIES tries; returns whether that was taken.

    own: the address may be this machine, or one in its network. Never raises. Redirects are not followed.
    """
    for again in range(TRIES):
        if again:
            time.sleep(APART * 2 ** (again - 1))
        try:
            status = _post(address, said, own)
        except NerfsceneError as error:
            log.warning("webhook: %s", error)
            return False
        except Exception as error:  # whatever httpx, TLS or names do, the work itself is done
            log.warning("webhook: %s can't be told (%s)", _host(address), error)
            continue
        if status < 300:
            return True
        log.warning("webhook: %s answered %d", _host(address), status)
        if status < 500 and status != 429:
            return False
    return False


def _post(address: str, said: dict[str, Any], own: bool) -> int:
    """The status that the address answers. What follows is not read."""
    url = httpx.URL(check_webhook(address))
    port = url.port or (443 if url.scheme == "https" else 80)
    to = _resolved(url.host, port, own)
    # Sent to the number that was checked: a name could stand for another one the next moment.
    at = url.copy_with(host=str(to))
    headers = {"Host": url.netloc.decode("ascii"), "User-Agent": "nerfscene"}
    with (
        httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
        client.stream(
            "POST", at, json=said, headers=headers, extensions={"sni_hostname": url.raw_host.decode("ascii")}
        ) as answer,
    ):
        return answer.status_code


def _resolved(host: str, port: int, own: bool) -> Address:
    """Raises NerfsceneError if any number that the name stands for is private, unless ``own``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    numbers = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not own and not all(map(is_public, numbers)):
        raise NerfsceneError(f"{host} is in the server's own network, where webhooks don't go")
    return numbers[0]


def is_public(number: Address) -> bool:
    """Whether an address is one of the whole internet, also where it is an IPv4 one within an IPv6 one."""
    if isinstance(number, ipaddress.IPv6Address):
        inner = number.ipv4_mapped
        if inner is None and number in NAT64:
            inner = ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)
        if inner is None and number in SIX_TO_FOUR:
            inner = ipaddress.IPv4Address(int(number) >> 80 & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return number.is_global and not number.is_multicast and not number.is_reserved


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or "the webhook"
    except ValueError:
        return "the webhook"
