"""Wrong keys have to wait, right ones don't; requests are small; nobody makes things without end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from serve_programs import Program, api

from nerfscene.serve import limits, throttle
from nerfscene.serve.jobs import add
from nerfscene.serve.links import new_link


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with api(tmp_path) as made:
        yield made


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("nerfscene.serve.throttle.monotonic", lambda: now[0])
    return now


def test_wrong_keys_have_to_wait(program: Program, clock: list[float]) -> None:
    http = program.http
    assert http.get("/api/me").status_code == 200
    tried = [http.get("/api/me", headers=bearer(f"wrong{i}")) for i in range(throttle.WRONG_KEYS + 1)]
    assert [answer.status_code for answer in tried] == [401] * throttle.WRONG_KEYS + [429]
    assert tried[-1].headers["retry-after"] == str(round(throttle.WRONG_WAIT))
    assert "wrong keys" in tried[-1].json()["detail"]
    # A key that was right before isn't held back by who guesses in the same network.
    assert http.get("/api/me").status_code == 200
    clock[0] += throttle.WRONG_WAIT
    assert http.get("/api/me", headers=bearer("again")).status_code == 401
    assert http.get("/api/me", headers=bearer("again")).status_code == 429


def test_wrong_keys_of_the_login_form_count_too(program: Program, clock: list[float]) -> None:
    http = program.http
    del http.headers["Authorization"]
    tried = [http.post("/login", data={"key": f"wrong{i}"}) for i in range(throttle.WRONG_KEYS + 1)]
    assert [answer.status_code for answer in tried] == [403] * throttle.WRONG_KEYS + [429]
    assert "<html" in tried[-1].text
    assert http.get("/login").status_code == 200  # only trying keys is held back
    clock[0] += throttle.WRONG_WAIT
    assert http.post("/login", data={"key": program.key}).status_code == 303


def test_a_key_is_not_taken_for_right_where_none_is_asked_for(program: Program, clock: list[float]) -> None:
    for _ in range(throttle.WRONG_KEYS):
        assert program.http.get("/login", headers=bearer("wrong")).status_code == 200
        program.http.get("/api/me", headers=bearer("wrong"))
    assert program.http.get("/api/me", headers=bearer("wrong")).status_code == 429


def test_addresses_of_one_network_count_together() -> None:
    one = throttle.address_of({"client": ("2001:db8::1", 1)})
    assert one == throttle.address_of({"client": ("2001:db8::2", 1)})
    assert one != throttle.address_of({"client": ("2001:db8:1::1", 1)})
    assert throttle.address_of({"client": ("192.0.2.1", 1)}) != throttle.address_of(
        {"client": ("192.0.2.2", 1)}
    )


def test_the_oldest_addresses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST_ADDRESSES", 3)
    keys = throttle.WrongKeys()
    for i in range(10):
        keys.wrong(str(i), "x")
        keys.right(f"k{i}")
    assert list(keys._tried) == ["7", "8", "9"] and len(keys._right) == 3


def test_requests_without_files_are_small(program: Program) -> None:
    large = b'{"title": "' + b"x" * throttle.LARGEST_BODY + b'"}'
    kind = {"Content-Type": "application/json"}
    said = program.http.post("/api/scenes", content=large, headers=kind)
    assert said.status_code == 413 and "MiB" in said.json()["detail"]
    pieces = (large[i : i + 65536] for i in range(0, len(large), 65536))  # without a length
    said = program.http.post("/api/scenes", content=pieces, headers=kind)
    assert said.status_code == 413 and "MiB" in said.json()["detail"]


@pytest.mark.parametrize("what", ["jobs", "links", "scenes"])
def test_nobody_makes_things_without_end(
    program: Program, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    scene = program.scene()
    other = program.of("owner")
    monkeypatch.setitem(limits.PER_HOUR, what, 3)
    numbers = itertools.count()  # the same film asked for twice is one
    make = {
        "jobs": lambda p, s: add(p.shop.db, s.id, p.person.id, "film", {"seed": next(numbers)}),
        "links": lambda p, s: new_link(p.shop.db, s.id, None),
        "scenes": lambda p, s: p.scene(),
    }[what]
    for _ in range(2 if what == "scenes" else 3):
        make(program, scene)
    with pytest.raises(limits.TooMany, match="within an hour"):
        make(program, scene)
    make(other, other.scene())  # has an own count
    monkeypatch.setitem(limits.PER_HOUR, "scenes", 0)
    said = program.http.post("/api/scenes", json={"title": "One more"})
    assert said.status_code == 429 and int(said.headers["retry-after"]) > 3000
