"""The pages for people: logging in, the gallery, the bin, notes, and what all pages hold to."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import serve_cases as cases
from support.html_cases import Page

from nerfscene.errors import NerfsceneError
from nerfscene.serve import people, scenes
from nerfscene.serve.gate import COOKIE
from nerfscene.serve.pages_html import STATIC
from nerfscene.serve.shop import Shop

STATES = ("collecting", "waiting", "running", "paused", "ready", "failed", "stopped")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return cases.shop(tmp_path)


@pytest.fixture
def full(shop: Shop) -> dict[str, str]:
    """A scene in each state, with something in every list; returns their ids."""
    found = {state: cases.scene(shop, state.capitalize(), state) for state in STATES}
    cases.photo(shop, found["collecting"], "notes.pdf", "unusable", "it is no photo")
    cases.photo(shop, found["collecting"], "IMG_9.jpg", "coming", size=5_000_000)
    scenes.note(shop.db, found["ready"].person, found["ready"].id, "Ready is ready")
    return {state: scene.id for state, scene in found.items()}


def addresses(full: dict[str, str]) -> list[str]:
    each = [f"/scenes/{scene}" for scene in full.values()]
    return ["/", "/new", "/bin", "/people", "/nothing", f"/scenes/{full['ready']}/photos", *each]


def test_all_pages_keep_to_the_policy_and_can_be_used_by_keyboard_and_screen_reader(
    shop: Shop, full: dict[str, str]
) -> None:
    browser = cases.logged_in(shop)
    for address in [*addresses(full), "/login?key=abc"]:
        page = Page(browser.get(address).text)
        assert page.one("html")["lang"] == "en" and page.one("title").said, address
        assert len(page.all("h1")) == 1 and len(page.all("main")) == 1, address
        check_headings(page, address)
        for e in page.elements:
            assert "style" not in e and e.tag != "style", f"{address}: a style within the page"
            assert not any(name.startswith("on") for name in e.attributes), (
                f"{address}: a script within the page"
            )
            if e.tag == "script":
                assert e["src"].startswith("/static/"), address
            if e.tag == "img":
                assert "alt" in e, f"{address}: {e['src']} has no alt text"
            if e.tag in ("button", "a", "summary"):
                assert e.said or e["aria-label"], f"{address}: a {e.tag} without a name"
        ids = [e["id"] for e in page.elements if e["id"]]
        assert len(ids) == len(set(ids)), f"{address}: an id twice"
        for e in page.elements:
            for other in e["aria-describedby"].split() + e["aria-labelledby"].split():
                assert other in ids, f"{address}: nothing is called {other}"


def check_headings(page: Page, address: str) -> None:
    levels = [int(e.tag[1]) for e in page.elements if e.tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1, address
    for before, after in itertools.pairwise(levels):
        assert after <= before + 1, f"{address}: h{before}, then h{after}"


def test_every_field_has_a_label_and_every_form_that_changes_something_the_token(
    shop: Shop, full: dict[str, str]
) -> None:
    browser = cases.logged_in(shop)
    forms = 0
    for address in addresses(full):
        page = Page(browser.get(address).text)
        labelled = {e["for"] for e in page.all("label")}
        for e in page.elements:
            if e.tag not in ("input", "select", "progress", "meter") or e["type"] == "hidden":
                continue
            around = any(o.tag == "label" for o in e.inside)
            assert around or e["aria-label"] or e["id"] in labelled, f"{address}: {e.tag} {e['name']}"
        for form in page.all("form", method="post"):
            forms += 1
            sent = page.fields(form)
            token = sent.get("token") or form["action"].partition("token=")[2]
            assert token == browser.headers["X-Token"], f"{address}: {form['action']}"
    assert forms > 40


def test_a_guest_sees_the_same_scenes_and_no_form_that_changes_them(shop: Shop, full: dict[str, str]) -> None:
    browser = cases.logged_in(shop, cases.guest(shop))
    for state, scene in full.items():
        answer = browser.get(f"/scenes/{scene}")
        assert answer.status_code == 200, state
        assert {f["action"] for f in Page(answer.text).all("form")} == {"/logout"}, state
    gallery = Page(browser.get("/").text)
    assert gallery.one("h1").said == "Scenes of You"
    assert {f["action"] for f in gallery.all("form")} == {"/logout"}
    assert not gallery.all("a", href="/new")
    for refused in ("/new", "/people", f"/scenes/{full['ready']}/photos"):
        assert browser.get(refused).status_code == 403
    assert browser.post("/new", data={"title": "Mine"}).status_code == 403


def test_a_scene_of_someone_else_is_not_there(shop: Shop, full: dict[str, str]) -> None:
    other, _ = people.invited(shop.db, people.first_person(shop.db), "Jonas", "owner")
    browser = cases.logged_in(shop, other)
    assert browser.get(f"/scenes/{full['ready']}").status_code == 404
    assert not Page(browser.get("/").text).all("li", class_="card ready")
    for change in ("title", "train", "films", "exports", "pages", "links", "webhook", "delete", "restore"):
        assert browser.post(f"/scenes/{full['ready']}/{change}", data={"title": "x"}).status_code == 404


def test_who_is_not_logged_in_is_sent_to_the_login_and_back(shop: Shop, full: dict[str, str]) -> None:
    browser = cases.client(shop)
    for address in addresses(full):
        if address == "/nothing":
            continue
        answer = browser.get(address)
        assert answer.status_code == 303 and answer.headers["location"] == f"/login?next={address}"
    key = people.key_of_first(shop.db, shop.data)
    page = Page(browser.get(f"/login?next=/bin&key={key}").text)
    assert "data-at-once" in page.form("/login")
    answer = browser.post("/login", data=page.fields(page.form("/login")))
    assert answer.status_code == 303 and answer.headers["location"] == "/bin"
    assert COOKIE in answer.cookies and browser.get("/bin").status_code == 200
    assert browser.post("/logout", data={"token": "wrong"}).status_code == 403
    page = Page(browser.get("/bin").text)
    browser.post("/logout", data=page.fields(page.form("/logout")))
    assert browser.get("/bin").status_code == 303


def test_a_wrong_key_is_said_and_not_kept(shop: Shop) -> None:
    answer = cases.client(shop).post("/login", data={"key": "guess", "next": "//evil.example/"})
    page = Page(answer.text)
    assert answer.status_code == 403 and "not a key" in page.one("p", role="alert").said
    assert page.one("input", id="key")["value"] == "" and page.one("input", name="next")["value"] == "/"


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example", "/\\evil.example", "/\tx", ""])
def test_the_login_leads_nowhere_else(shop: Shop, next_: str) -> None:
    key = people.key_of_first(shop.db, shop.data)
    answer = cases.client(shop).post("/login", data={"key": key, "next": next_})
    assert answer.headers["location"] == "/"


def test_another_site_cannot_log_someone_in(shop: Shop) -> None:
    key = people.key_of_first(shop.db, shop.data)
    answer = cases.client(shop).post("/login", data={"key": key}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403 and COOKIE not in answer.cookies


def test_the_gallery_says_of_each_scene_what_it_is_doing(shop: Shop, full: dict[str, str]) -> None:
    page = Page(cases.logged_in(shop).get("/").text)
    cards = {e["class"].split()[1]: e for e in page.all("li") if e["class"].startswith("card ")}
    assert set(cards) == set(STATES)
    assert "60 photos · good, soft in places · today" in cards["ready"].said
    assert "Next in the queue" in cards["waiting"].said and "Not started yet" in cards["collecting"].said
    assert [e.tag for e in page.within(cards["running"])].count("progress") == 1
    assert any(e["href"] == f"/scenes/{full['ready']}/view/" for e in page.within(cards["ready"]))
    turning = [e["data-turning"] for e in page.within(cards["ready"]) if "data-turning" in e]
    assert turning and turning[0].startswith(f"/scenes/{full['ready']}/turning.jpg?")
    assert len(page.all("noscript")) == 1  # something runs: asked for again without script


def test_many_scenes_come_on_several_pages(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nerfscene.serve.cards.PAGE", "nerfscene.serve.pages.PAGE"):
        monkeypatch.setattr(name, 3)
    for i in range(7):
        cases.scene(shop, f"Scene {i}", photos=0)
    browser = cases.logged_in(shop)
    shown = []
    address: str | None = "/"
    while address:
        page = Page(browser.get(address).text)
        shown += [e.said for e in page.all("h2")]
        address = next((e["href"] for e in page.all("a") if e.said == "Older scenes"), None)
    assert shown == [f"Scene {i}" for i in range(6, -1, -1)]


def test_a_deleted_scene_can_be_had_back_at_once_and_from_the_bin(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    browser = cases.logged_in(shop)
    page = Page(browser.get(f"/scenes/{scene.id}").text)
    delete = page.form(f"/scenes/{scene.id}/delete")
    address = browser.post(delete["action"], data=page.fields(delete)).headers["location"]
    page = Page(browser.get(address).text)
    undo = page.form(f"/scenes/{scene.id}/restore")
    assert "“Kitchen” is in the bin for a day." in undo.said
    assert not page.all("li", class_="card ready")
    assert "Here for 24 hours more" in Page(browser.get("/bin").text).said
    assert Page(browser.get(f"/scenes/{scene.id}").text).form(f"/scenes/{scene.id}/restore")
    browser.post(undo["action"], data=page.fields(undo))
    assert Page(browser.get("/").text).all("li", class_="card ready")
    assert "empty" in Page(browser.get("/bin").text).said


def test_notes_are_shown_until_they_are_put_away(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    scenes.note(shop.db, scene.person, scene.id, "“Kitchen” is ready")
    browser = cases.logged_in(shop)
    page = Page(browser.get("/bin").text)
    note = page.one("form", class_="note")
    assert note.said.startswith("“Kitchen” is ready.")
    assert browser.post(note["action"], data=page.fields(note)).headers["location"] == "/bin"
    assert not Page(browser.get("/bin").text).all("form", class_="note")


def test_who_looks_at_a_scene_has_read_its_notes(shop: Shop) -> None:
    scene, other = cases.scene(shop, "Kitchen", "ready"), cases.scene(shop, "Cellar", "ready")
    for one in (scene, other):
        scenes.note(shop.db, one.person, one.id, f"{one.title} is ready")
    browser = cases.logged_in(shop)
    cases.logged_in(shop, cases.guest(shop)).get(f"/scenes/{scene.id}")
    assert len(Page(browser.get("/").text).all("form", class_="note")) == 2
    page = Page(browser.get(f"/scenes/{scene.id}").text)
    assert page.one("form", class_="note").said.startswith("Cellar is ready.")


def test_letters_that_are_joined_stay_joined(shop: Shop) -> None:
    family, persian = "\U0001f468\u200d\U0001f469\u200d\U0001f467 at home", "\u0645\u06cc\u200c\u062e"
    for title in (family, persian):
        assert cases.scene(shop, title).title == title
    assert cases.scene(shop, "a\u202eb\x00c").title == "a b c"
    with pytest.raises(NerfsceneError, match="title"):
        cases.scene(shop, "\u200d \u200c")


def test_titles_are_shown_as_typed(shop: Shop) -> None:
    cases.scene(shop, "<b>Bold</b> & “so”", "ready")
    page = Page(cases.logged_in(shop).get("/").text)
    assert "<b>Bold</b> & “so”" in page.said and not page.all("b")


def test_files_of_pages_are_kept_by_browsers_under_an_address_with_their_version(shop: Shop) -> None:
    browser = cases.client(shop)
    style = Page(browser.get("/login").text).one("link", rel="stylesheet")["href"]
    assert "immutable" in browser.get(style).headers["cache-control"]
    plain = browser.get("/static/style.css")
    assert plain.headers["cache-control"] == "no-cache"
    tag = {"If-None-Match": plain.headers["etag"]}
    assert browser.get("/static/style.css", headers=tag).status_code == 304


def test_scripts_import_only_files_that_are_there() -> None:
    for script in STATIC.glob("*.js"):
        for line in script.read_text().splitlines():
            if line.startswith("import "):
                assert (STATIC / line.split('"')[1]).is_file(), f"{script.name}: {line}"
