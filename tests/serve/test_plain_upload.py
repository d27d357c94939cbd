"""The plain form, for browsers without script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request
from upload_cases import OwnProcess, Sender, picture, sending, wait_for

from nerfscene.serve import plain_upload, receiving
from nerfscene.serve.plain_upload import file_name


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    with sending(tmp_path) as made:
        yield made


def send(sender: Sender, *files: tuple[str, bytes], **more: str) -> httpx.Response:
    """Sends a form with files and a field, as a page without script does: the token is in the address."""
    token = sender.http.headers.pop("X-Token", None) or more.get("token", "")
    chosen = [("files", (name, content, "image/jpeg")) for name, content in files]
    answer: httpx.Response = sender.http.post(
        f"/scenes/{sender.scene.id}/upload?token={token}", files=chosen, data={"note": "hello"}
    )
    sender.http.headers["X-Token"] = token
    return answer


def test_a_form_with_files_leads_back_to_the_scene(sender: Sender) -> None:
    photos = [(f"Zoë {i}.jpg", picture(i)) for i in range(3)]
    answer = send(sender, *photos, ("notes.txt", b"hello"), ("empty.jpg", b""))
    assert (answer.status_code, answer.headers["location"]) == (303, f"/scenes/{sender.scene.id}")
    files = sender.checked()
    assert {n: f.state for n, f in files.items()} == {
        **{f"Zoë {i}.jpg": "whole" for i in range(3)},
        **{"notes.txt": "unusable", "empty.jpg": "unusable"},
    }
    assert "empty" in files["empty.jpg"].why and "no photo" in files["notes.txt"].why
    for name, content in photos:
        assert (sender.photos / name).read_bytes() == content
    assert not list((sender.shop.data / "uploads").iterdir())


def test_a_large_file_comes_in_blocks(sender: Sender) -> None:
    content = picture(width=1500, height=1500, quality=95)
    assert len(content) > 3 * 512 * 1024
    assert send(sender, ("large.jpg", content)).status_code == 303
    sender.checked()
    assert (sender.photos / "large.jpg").read_bytes() == content


def test_a_form_without_files_is_said(sender: Sender) -> None:
    answer = send(sender, ("", b""))
    assert answer.status_code == 400 and "files were chosen" in answer.text
    assert not sender.files()


def test_a_form_of_another_site_is_refused(sender: Sender) -> None:
    sender.http.headers.pop("X-Token")
    answer = send(sender, ("a.jpg", picture()), token="wrong")
    assert answer.status_code == 403 and not sender.files()


def test_a_form_that_is_too_large_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: list[bool] = []

    async def noted(request: Request, drain: Any = plain_upload._drain) -> bool:
        whole.append(await drain(request))
        return whole[-1]

    monkeypatch.setattr(plain_upload, "_drain", noted)
    with sending(tmp_path, quota="10kB", spare="1MB") as sender:
        answer = send(sender, ("a.jpg", bytes(20_000)))
        assert answer.status_code == 413 and "are used; delete scenes" in answer.text
        assert not sender.files() and not list((sender.shop.data / "uploads").iterdir())
    assert whole == [True]  # the answer didn't have to wait for more


@pytest.mark.parametrize(("kind", "body", "status"), [
    ("text/plain", b"hello", 415), ("multipart/form-data", b"hello", 415),
    ("multipart/form-data; boundary=x", b"hello", 400), ("multipart/form-data; boundary=x", b"--x\r\n", 400),
    ("multipart/form-data; boundary=x",
     b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n\xff\xd8\xff', 400),
])  # fmt: skip
def test_damaged_forms_leave_nothing(sender: Sender, kind: str, body: bytes, status: int) -> None:
    address = f"/scenes/{sender.scene.id}/upload"
    assert sender.http.post(address, content=body, headers={"Content-Type": kind}).status_code == status
    assert not sender.files() and not list((sender.shop.data / "uploads").iterdir())


def test_names_as_browsers_send_them() -> None:
    assert file_name('form-data; name="f"; filename="Zoë.jpg"'.encode()) == "Zoë.jpg"
    assert file_name(b'form-data; name="f"; filename="C:\\dir\\a.jpg"') == "a.jpg"
    assert file_name(b'form-data; name="f"; filename="a;b.jpg"') == "a;b.jpg"
    assert file_name(b'form-data; name="f"') == file_name(b"") == ""


def test_a_form_that_a_killed_server_was_reading_is_dropped_at_the_next_start(tmp_path: Path) -> None:
    with OwnProcess(tmp_path) as server:
        server.kill()
        file = receiving.begun(server.shop, server.scene, server.person, "a.jpg", 1000, receiving.FORM)
        part = receiving.part_of(server.shop, file.id, receiving.FORM)
        part.write_bytes(b"x")
        server.start()
        wait_for(lambda: not server.files())
        assert not part.exists()
