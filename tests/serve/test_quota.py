"""What has room is said before it comes, and what is still coming counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from upload_cases import TUS, picture, sending

from nerfscene.serve import people, quota, scenes
from nerfscene.serve.quota import in_words


def test_a_persons_quota_counts_what_is_still_coming(tmp_path: Path) -> None:
    with sending(tmp_path, quota="1kB", spare="1MB") as sender:
        first = sender.begin("a.jpg", 600)
        assert first.status_code == 201
        answer = sender.begin("b.jpg", 600)
        assert answer.status_code == 413
        assert answer.json()["detail"].startswith(
            "b.jpg (600 bytes) doesn't fit: 600 bytes of your 1 kB are used"
        )
        sender.http.delete(first.headers["location"], headers=TUS)
        assert sender.begin("b.jpg", 600).status_code == 201


def test_a_person_may_have_another_quota(tmp_path: Path) -> None:
    with sending(tmp_path, quota="1kB", spare="1MB") as sender:
        first = people.first_person(sender.shop.db)
        ada, key = people.invited(sender.shop.db, first, "Ada", "owner", 5000)
        made = scenes.new_scene(sender.shop.db, sender.shop.data, ada.id, "Attic", {})
        sender.http.cookies.clear()
        about = {"Authorization": f"Bearer {key}"}
        from upload_cases import begin

        assert begin(sender.http, made.id, "a.jpg", 4000, **about).status_code == 201
        assert begin(sender.http, made.id, "a.jpg", 4000, **about).status_code == 413


def test_all_together_have_a_limit(tmp_path: Path) -> None:
    with sending(tmp_path, total="1kB", spare="1MB") as sender:
        answer = sender.begin("a.jpg", 1001)
        assert answer.status_code == 413 and "all may keep" in answer.json()["detail"]


def test_a_disk_without_room_refuses_and_counts_what_is_coming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room: Any = lambda self: 1000  # noqa: E731
    monkeypatch.setattr("nerfscene.serve.shop.Shop.room", room)
    with sending(tmp_path) as sender:
        assert sender.begin("a.jpg", 1001).status_code == 507
        assert sender.begin("a.jpg", 600).status_code == 201
        answer = sender.begin("b.jpg", 600)
        assert answer.status_code == 507 and "disk" in answer.json()["detail"]


def test_what_was_made_of_photos_counts_and_unusable_files_do_not(tmp_path: Path) -> None:
    with sending(tmp_path) as sender:
        person = people.first_person(sender.shop.db)
        content = picture()
        sender.send("a.jpg", content)
        sender.send("b.jpg", b"no photo at all")
        sender.checked()
        home = scenes.places(sender.shop.data, sender.scene.id)
        home.films.mkdir()
        (home.films / "film.mp4").write_bytes(bytes(1000))
        quota._weights.clear()
        thumbnails = sum(p.stat().st_size for p in home.thumbnails.iterdir())
        use = quota.use_of(sender.shop, person)
        assert use.own == use.everyone == len(content) + 1000 + thumbnails
        assert use.left <= use.quota - use.own


def test_sizes_are_said_as_people_say_them() -> None:
    sizes = (0, 1, 999, 1000, 1_500_000, 20_000_000_000)
    assert [in_words(s) for s in sizes] == ["0 bytes", "1 bytes", "999 bytes", "1 kB", "1.5 MB", "20 GB"]
