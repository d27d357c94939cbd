"""Who is told when work ends, and who never is."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from job_cases import a_scene, a_shop

from nerfscene.config import ServeConfig
from nerfscene.errors import NerfsceneError
from nerfscene.serve import jobs, scenes, webhooks


class Site(HTTPServer):
    """A site of this machine that remembers what it was told and answers with the next of ``answers``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[dict[str, Any]] = []
        self.hosts: list[str] = []
        self.answers: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.told.append(json.loads(self.rfile.read(length)))
        self.server.hosts.append(self.headers["Host"])
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(webhooks, "APART", 0.0)
    monkeypatch.setattr(webhooks, "TIMEOUT", 300.0)  # who answers late on a busy machine isn't told again
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield site
        site.shutdown()
        thread.join()


def test_the_end_of_a_job_is_told(site: Site, tmp_path: Path) -> None:
    opened = a_shop(tmp_path)
    row = a_scene(opened)
    job = jobs.add(opened.db, row.id, row.person, "train", {})
    assert webhooks.tell_in_background(opened, job) is None  # nobody is to be told
    scenes.set_webhook(opened.db, row.id, f"{site.url}/hook")
    jobs.begin_next(opened.db, "here")
    jobs.end(opened.db, job.id, "done", "One photo was left out.")
    thread = webhooks.tell_in_background(opened, jobs.job_of(opened.db, job.id))
    assert thread is not None
    thread.join()
    expected = {
        "scene": row.id, "title": row.title, "job": job.id, "kind": "train", "state": "done",
        "message": "One photo was left out.",
    }  # fmt: skip
    assert site.told == [expected]
    config = ServeConfig(url="https://scenes.example.org/")
    assert webhooks.told_of(row, job, config)["address"] == f"https://scenes.example.org/scenes/{row.id}"


def test_a_site_in_trouble_is_told_again_and_one_that_refuses_is_not(site: Site) -> None:
    site.answers = [500, 503]
    assert webhooks.tell(site.url, {"a": 1}, own=True)
    assert site.told == [{"a": 1}] * 3
    site.told.clear()
    site.answers = [500, 500, 500]
    assert not webhooks.tell(site.url, {}, own=True) and len(site.told) == 3
    site.told.clear()
    site.answers = [410]
    assert not webhooks.tell(site.url, {}, own=True) and len(site.told) == 1


def test_nobody_listens(site: Site) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert not webhooks.tell(f"http://127.0.0.1:{free.getsockname()[1]}/", {}, own=True)


def test_redirects_are_not_followed(site: Site) -> None:
    site.answers = [302]
    assert not webhooks.tell(site.url, {}, own=True) and len(site.told) == 1


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"])
def test_the_servers_own_network_is_never_reached_for_others(site: Site, name: str) -> None:
    assert not webhooks.tell(f"http://{name}:{site.server_port}/", {})
    assert not site.told


def test_names_keep_their_host_and_are_looked_up_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def found(host: str, port: int, **options: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    lookup = socket.getaddrinfo
    monkeypatch.setattr(webhooks.socket, "getaddrinfo", lambda h, p, *a, **o: (
        found(h, p) if h == "hook.example" else lookup(h, p, *a, **o)
    ))  # fmt: skip
    assert webhooks.tell(f"http://hook.example:{site.server_port}/x", {}, own=True)
    assert asked == ["hook.example"] and site.hosts == [f"hook.example:{site.server_port}"]
    assert not webhooks.tell(f"http://hook.example:{site.server_port}/x", {}) and len(site.told) == 1


@pytest.mark.parametrize(
    ("number", "public"),
    [
        ("93.184.215.14", True), ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("10.0.0.1", False), ("172.16.3.4", False), ("192.168.1.1", False), ("169.254.169.254", False),
        ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False),
        ("::1", False), ("::", False), ("fe80::1", False), ("fd00::1", False), ("ff02::1", False),
        ("::ffff:10.0.0.1", False), ("64:ff9b::a00:1", False), ("2002:a00:1::1", False),
    ],
)  # fmt: skip
def test_which_numbers_are_everybodys(number: str, public: bool) -> None:
    assert webhooks.is_public(ipaddress.ip_address(number)) is public


def test_who_may_reach_the_servers_network() -> None:
    assert webhooks.own_network(ServeConfig())
    assert not webhooks.own_network(ServeConfig(host="0.0.0.0"))
    assert not webhooks.own_network(ServeConfig(url="https://scenes.example.org"))


@pytest.mark.parametrize(
    "address",
    ["ftp://a.example/", "example.org", "http://", "javascript:alert(1)", "http://a b/", "http://[::1"],
)
def test_what_is_no_webhook_is_refused(address: str) -> None:
    with pytest.raises(NerfsceneError, match="https://"):
        webhooks.check_webhook(address)


def test_a_webhook_is_kept_as_typed_and_none_is_none() -> None:
    assert webhooks.check_webhook(" https://a.example:8443/x?y=z ") == "https://a.example:8443/x?y=z"
    assert webhooks.check_webhook("  ") == ""
