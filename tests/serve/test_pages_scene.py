"""The page of a scene in all its states, and what its forms do."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import serve_cases as cases
from fastapi.testclient import TestClient
from support.html_cases import Element, Page

from nerfscene.export_commands import OPENS
from nerfscene.films import codecs, settings
from nerfscene.films.presets import PRESETS
from nerfscene.measuring import verdict
from nerfscene.scene import output_folder
from nerfscene.serve import (
    actions,
    film_form,
    film_kinds,
    jobs,
    links,
    offers,
    pages_changes,
    pages_scene,
    people,
    scenes,
    words,
)
from nerfscene.serve.scenes import places
from nerfscene.serve.shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return cases.shop(tmp_path)


def shown(browser: TestClient, scene: str, part: str = "") -> Page:
    answer = browser.get(f"/scenes/{scene}{part}")
    assert answer.status_code == 200
    return Page(answer.text)


def send(browser: TestClient, page: Page, form: Element | str, **fields: str) -> str:
    """Sends a form as a browser without script does; returns where it leads."""
    found = page.form(form) if isinstance(form, str) else form
    sent = {**page.fields(found), **fields}
    del browser.headers["X-Token"]  # the form's own token must do
    answer = browser.post(found["action"], data=sent)
    browser.headers["X-Token"] = sent["token"]
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def test_a_running_scene_says_how_far_it_is_and_can_be_paused_and_stopped(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "running")
    job = jobs.jobs_of(shop.db, scene.id)[0].id
    jobs.tell(shop.db, job, "finding the cameras", 0.25, 130.0)
    browser = cases.logged_in(shop)
    page = shown(browser, scene.id)
    assert page.one("strong", id="stage-name").said == "Finding the cameras"
    assert "about 2 minutes left" in page.said
    assert page.one("progress")["value"] == "0.250"
    assert page.one("div", id="stage")["data-live"] == "2000"
    assert "first picture" in page.said
    assert send(browser, page, f"/scenes/{scene.id}/jobs/{job}/pause") == f"/scenes/{scene.id}"
    assert jobs.tell(shop.db, job, "training", 0.3) == "pause"
    jobs.end(shop.db, job, "paused")
    page = shown(browser, scene.id)
    assert page.one("strong", id="stage-name").said == "Paused"
    send(browser, page, f"/scenes/{scene.id}/jobs/{job}/go-on")
    assert jobs.job_of(shop.db, job).state == "waiting"
    page = shown(browser, scene.id)
    assert page.one("strong", id="stage-name").said == "Next in the queue"
    send(browser, page, f"/scenes/{scene.id}/jobs/{job}/stop")
    page = shown(browser, scene.id)
    assert "Nothing had been trained yet." in page.said
    assert page.form(f"/scenes/{scene.id}/jobs/{job}/go-on")


def test_the_newest_picture_of_a_training_is_shown(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "running")
    places(shop.data, scene.id).now.write_bytes(b"jpeg")
    page = shown(cases.logged_in(shop), scene.id)
    pictures = [e["src"] for e in page.all("img") if "/now.jpg?" in e["src"]]
    assert len(pictures) == 1 and "first picture" not in page.said


def test_a_failed_scene_says_why_and_what_to_do(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen")
    job = cases.train(shop, scene, "failed", "only 4 of 31 photos fit together; take more of them")
    page = shown(cases.logged_in(shop), scene.id)
    alert = page.one("section", role="alert")
    assert "Only 4 of 31 photos fit together; take more of them." in alert.said
    assert page.form(f"/scenes/{scene.id}/jobs/{job}/go-on")
    assert any(e["href"] == f"/scenes/{scene.id}/photos" for e in page.within(alert))
    guest = shown(cases.logged_in(shop, cases.guest(shop)), scene.id)
    assert "Only 4 of 31" in guest.said


def test_a_ready_scene_offers_all_that_can_be_made(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    page = shown(cases.logged_in(shop), scene.id)
    targets = {e["href"] for e in page.all("a")}
    base = f"/scenes/{scene.id}"
    assert {f"{base}/view/", f"{base}/report.html", f"{base}/page/", f"{base}/photos"} <= targets
    assert f"/api{base}/scene.zip" in targets
    figures = {dt.said: dd.said for dt, dd in zip(page.all("dt"), page.all("dd"), strict=True)}
    assert figures == {
        "Photos used": "58 of 60", "How it looks": "Good, soft in places", "Trained for": "5 minutes"
    }  # fmt: skip
    choices = {e["value"] for form in page.all("form", action=f"{base}/exports") for e in page.within(form)}
    everything = {f"{kind}.{ending}" for kind, endings in actions.ENDINGS.items() for ending in endings}
    assert everything == choices - {""} - {page.one("meta", name="token")["content"]}
    assert not page.all("noscript")  # nothing runs


def test_what_was_made_is_described_and_can_be_removed(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    browser, base = cases.logged_in(shop), f"/scenes/{scene.id}"
    film, export = (jobs.add(shop.db, scene.id, scene.person, kind, {"to": "mesh", "ending": "glb"}).id
                    for kind in ("film", "export"))  # fmt: skip
    at = places(shop.data, scene.id)
    at.films.mkdir()
    (at.films / f"{film}.mp4").write_bytes(b"x" * 2_300_000)
    facts = {"seconds": 8.0, "width": 960, "height": 720}
    cases.change(shop, film, "done", files=[f"films/{film}.mp4"], **facts)
    cases.change(shop, export, "stopped")
    page = shown(browser, scene.id)
    assert "8 s, 960 × 720, 2.3 MB" in page.said and film not in page.said and "Stopped" in page.said
    guest = shown(cases.logged_in(shop, cases.guest(shop)), scene.id)
    assert "2.3 MB" in guest.said and not guest.all("form", action=f"{base}/jobs/{film}/remove")
    assert send(browser, page, f"{base}/jobs/{film}/remove") == f"{base}#films"
    assert send(browser, page, f"{base}/jobs/{export}/remove") == f"{base}#exports"
    assert send(browser, page, f"{base}/jobs/{film}/remove") == base  # twice, as by two taps
    assert [job.kind for job in jobs.jobs_of(shop.db, scene.id)] == ["train"]
    assert not list(at.films.iterdir())


def test_a_queue_that_waits_for_room_says_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = cases.scene(shop, "Kitchen", "waiting")
    browser = cases.logged_in(shop)
    assert "disk is full" not in Page(browser.get("/").text).said
    monkeypatch.setattr(type(shop), "room", lambda shop: -3e9)
    for page in (Page(browser.get("/").text), shown(browser, scene.id)):
        assert "disk is full, so work waits: 3.0 GB more must be free" in page.said


def test_offers_keep_to_what_the_program_makes() -> None:
    offered = [use.what for use in offers.OFFERS] + [what for _, some in offers.OTHERS for what, _ in some]
    everything = {f"{kind}.{ending}" for kind, endings in actions.ENDINGS.items() for ending in endings}
    assert sorted(offered) == sorted(everything)
    known = {f"{kind}{ending}" for kind, ending in OPENS} | {"cameras.zip"}
    assert everything <= known
    assert {path for path, _ in offers.FILMS} == {"auto", *PRESETS}


def test_films_exports_and_pages_are_ordered_by_forms(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    browser, base = cases.logged_in(shop), f"/scenes/{scene.id}"
    page = shown(browser, scene.id)
    assert send(browser, page, f"{base}/films", path="orbit", seconds="5", width="1920") == f"{base}#films"
    glb = next(f for f in page.all("form", action=f"{base}/exports") if page.fields(f)["what"] == "mesh.glb")
    assert send(browser, page, glb) == f"{base}#exports"
    send(browser, page, f"{base}/pages")
    made = {job.kind: job for job in jobs.jobs_of(shop.db, scene.id) if job.kind != "train"}
    assert made["film"].options == {"path": "orbit", "seconds": 5.0, "width": 1920}
    assert made["export"].options == {"to": "mesh", "ending": "glb"}
    assert set(made) == {"film", "export", "page"}
    page = shown(browser, scene.id)
    assert "Orbit Next in the queue" in page.one("div", id="films-made").said
    cases.change(shop, made["film"].id, "done", files=[f"films/{made['film'].id}.mp4"])
    cases.change(shop, made["export"].id, "failed", "the mesh is empty")
    page = shown(browser, scene.id)
    film = f"{base}/films/{made['film'].id}.mp4"
    assert page.one("video")["src"] == film and page.one("a", href=f"{film}?download")
    assert "The mesh is empty." in page.one("div", id="exports-made").said
    guest = shown(cases.logged_in(shop, cases.guest(shop)), scene.id)
    assert guest.one("video")["src"] == film and not guest.all("section", id="exports")


def test_the_rest_of_a_film_is_under_more(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    browser, base = cases.logged_in(shop), f"/scenes/{scene.id}"
    page = shown(browser, scene.id)
    first = page.fields(page.form(f"{base}/films"))
    assert (first["width"], first["seconds"]) == ("960", "8")
    assert not any(first[name] for name in ("through", "lens", "motion_blur", "aperture", "exposure", "file"))
    chosen = {
        "width": "hd", "through": "0001.jpg, 0017.jpg", "loop": "1", "look_at": "subject",
        "motion_blur": "180", "aperture": "2.8", "focus": "0004.jpg", "exposure": "-1",
        "background": "transparent", "file": "webm vp9", "fps": "24",
    }  # fmt: skip
    send(browser, page, f"{base}/films", **chosen)
    (job,) = (job for job in jobs.jobs_of(shop.db, scene.id) if job.kind == "film")
    assert job.options == {
        "through": "0001.jpg, 0017.jpg", "loop": True, "look_at": "subject", "seconds": 8.0, "preset": "hd",
        "fps": 24.0, "motion_blur": 180.0, "aperture": 2.8, "focus": "0004.jpg", "exposure": -1.0,
        "background": "transparent", "codec": "vp9", "ending": "webm",
    }  # fmt: skip
    page = shown(browser, scene.id)
    assert "From photo to photo, .webm Next in the queue" in page.one("div", id="films-made").said
    cases.change(shop, job.id, "done", files=[f"films/{job.id}.webm"])
    assert shown(browser, scene.id).one("video")["src"] == f"{base}/films/{job.id}.webm"
    cases.change(shop, job.id, "done", files=[f"films/{job.id}.gif"])
    page = shown(browser, scene.id)
    assert not page.all("video") and page.one("img", src=f"{base}/films/{job.id}.gif")
    cases.change(shop, job.id, "done", files=[f"films/{job.id}.mov"])  # which browsers don't play
    page = shown(browser, scene.id)
    assert not page.all("video") and page.one("a", href=f"{base}/films/{job.id}.mov?download")


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"background": "transparent", "file": "mp4 h264"}, "h264 keeps no transparency; choose webm"),
        ({"width": "prores", "file": "mp4 h264"}, "the preset prores makes .mov, not .mp4"),
        ({"motion_blur": "400"}, "motion_blur must be 0 to 360 degrees"),
        ({"aperture": "wide"}, "aperture must be a number"),
        ({"through": "IMG_1.jpg," * 5000}, "through is longer than 20000 characters"),
        ({"width": "4k", "file": "mkv ffv1", "seconds": "120"}, "this film would take about"),
    ],
)
def test_a_film_that_cant_be_is_refused_in_a_sentence(shop: Shop, chosen: dict[str, str], said: str) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    answer = cases.logged_in(shop).post(f"/scenes/{scene.id}/films", data=chosen)
    assert answer.status_code == 400 and said.lower() in Page(answer.text).said.lower()
    assert not [job for job in jobs.jobs_of(shop.db, scene.id) if job.kind == "film"]


def test_the_server_knows_the_codecs_and_presets_that_there_are() -> None:
    for ending, known in film_kinds.CODECS.items():
        assert set(known) == {c.name for c in codecs.CODECS if f".{ending}" in c.endings}
        assert known[0] == codecs.USUAL[f".{ending}"][0]
    assert {f".{ending}" for ending in film_kinds.CODECS} == set(codecs.KINDS)
    assert {c.name for c in codecs.CODECS if c.clear} == set(film_kinds.CLEAR)
    assert {name: ready.width for name, ready in settings.READY.items()} == film_kinds.WIDTHS
    for name, ready in settings.READY.items():
        assert film_kinds.RATES.get(name, 30.0) == ready.fps
        assert f".{film_kinds.OF_PRESET.get(name, 'mp4')}" == (ready.endings or (".mp4",))[0]
    for file, _ in film_form.FILES[1:]:
        ending, codec = file.split()
        assert film_kinds.ending_of({"codec": codec}, ending) == ending
    assert {size for size, _ in film_form.SIZES} == {"960", *film_kinds.WIDTHS}


def test_a_saved_camera_path_is_offered_first(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    browser, base = cases.logged_in(shop), f"/scenes/{scene.id}"
    page = shown(browser, scene.id)
    assert page.fields(page.form(f"{base}/films"))["path"] == "auto"
    (places(shop.data, scene.id).scene / "camera_path.json").write_text("{}")
    scenes.rename(shop.db, scene.id, "Cellar")
    page = shown(browser, scene.id)
    assert page.fields(page.form(f"{base}/films"))["path"] == "saved"


@pytest.mark.parametrize("text", ["soon", "-3", "nan", "1e9"])
def test_numbers_that_are_none_are_refused_in_a_sentence(shop: Shop, text: str) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    answer = cases.logged_in(shop).post(f"/scenes/{scene.id}/links", data={"days": text})
    assert answer.status_code == 400 and "days must be a number" in Page(answer.text).said.replace(
        "Days", "days"
    )


def test_links_are_made_shown_with_a_code_and_taken_back(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    browser, base = cases.logged_in(shop), f"/scenes/{scene.id}"
    page = shown(browser, scene.id)
    assert send(browser, page, f"{base}/links") == f"{base}#share"
    send(browser, page, f"{base}/links", days="0")
    week, ever = links.links_of(shop.db, scene.id)
    assert ever.ends is None and week.ends is not None
    assert abs(week.ends - time.time() - 7 * 86400) < 60
    page = shown(browser, scene.id)
    assert page.one("input", id="link-1")["value"] == f"http://localhost/s/{week.token}"
    assert "Works for 7 days more." in page.said and "Works until you take it back." in page.said
    code = browser.get(f"{base}/links/{week.token}/qr.svg")
    assert code.headers["content-type"] == "image/svg+xml" and b"style=" not in code.content
    send(browser, page, f"{base}/links/{week.token}/take-back")
    assert [link.token for link in links.links_of(shop.db, scene.id)] == [ever.token]
    assert browser.get(f"{base}/links/{week.token}/qr.svg").status_code == 404
    guest = cases.logged_in(shop, cases.guest(shop))
    assert ever.token not in guest.get(base).text
    assert guest.get(f"{base}/links/{ever.token}/qr.svg").status_code == 403


def test_links_name_the_address_that_others_use(tmp_path: Path) -> None:
    shop = cases.shop(tmp_path, url="https://scenes.example.org/")
    scene = cases.scene(shop, "Kitchen", "ready")
    link = links.new_link(shop.db, scene.id, None)
    page = shown(cases.logged_in(shop), scene.id)
    assert page.one("input", id="link-1")["value"] == f"https://scenes.example.org/s/{link.token}"
    assert "answers only on the machine" not in page.said


def test_that_nobody_else_can_follow_a_link_is_said(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    assert "answers only on the machine it runs on" in shown(cases.logged_in(shop), scene.id).said


def test_only_what_is_allowed_is_offered(tmp_path: Path) -> None:
    shop = cases.shop(tmp_path, longest=400.0)
    browser = cases.logged_in(shop)
    offered = Page(browser.get("/new").text).all("input", name="quality")
    assert [(e["value"], "checked" in e) for e in offered] == [("1min", False), ("5min", True)]
    page = shown(browser, cases.scene(shop, "Kitchen", "ready").id)
    assert "5 minutes" in page.said and "20 minutes" not in page.said
    shop = cases.shop(tmp_path / "small", longest=60.0)
    browser = cases.logged_in(shop)
    (offered,) = Page(browser.get("/new").text).all("input", name="quality")
    assert offered["value"] == "1min" and "checked" in offered
    assert "Train on" not in shown(browser, cases.scene(shop, "Kitchen", "ready").id).said


def test_renaming_webhook_and_training_on(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    browser, base = cases.logged_in(shop), f"/scenes/{scene.id}"
    page = shown(browser, scene.id)
    send(browser, page, f"{base}/title", title="  Grandmother’s   kitchen ")
    send(browser, page, f"{base}/webhook", address="https://example.org/hook")
    on = next(f for f in page.all("form", action=f"{base}/train"))
    send(browser, page, on, quality="20min")
    page = shown(browser, scene.id)
    assert page.one("h1").said == "Grandmother’s kitchen"
    assert page.one("input", id="webhook")["value"] == "https://example.org/hook"
    newest = jobs.jobs_of(shop.db, scene.id)[0]
    assert newest.options == {"quality": "20min", "more": True} and newest.state == "waiting"
    answer = browser.post(f"{base}/webhook", data={"address": "file:///etc/passwd"})
    assert answer.status_code == 400
    answer = browser.post(
        f"{base}/title", data={"title": " "}, headers={"Referer": f"http://localhost{base}"}
    )
    assert answer.status_code == 400 and Page(answer.text).one("a", href=base).said == "Back"


def test_a_crop_can_be_taken_off(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    browser, base = cases.logged_in(shop), f"/scenes/{scene.id}"
    assert not shown(browser, scene.id).all("form", action=f"{base}/uncrop")
    file = places(shop.data, scene.id).scene / "scene.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "crop": {"size": [1, 1, 1]}}))
    scenes.rename(shop.db, scene.id, "Cellar")
    asked = []
    monkeypatch.setattr(pages_changes, "set_crop", lambda of, row, box: asked.append((row.id, box)))
    send(browser, shown(browser, scene.id), f"{base}/uncrop")
    assert asked == [(scene.id, None)]


def test_a_job_of_another_scene_is_left_alone(shop: Shop) -> None:
    mine = cases.scene(shop, "Kitchen", "running")
    other = cases.scene(shop, "Cellar", "running")
    job = jobs.jobs_of(shop.db, other.id)[0].id
    answer = cases.logged_in(shop).post(f"/scenes/{mine.id}/jobs/{job}/stop")
    assert answer.status_code == 404 and jobs.tell(shop.db, job, "training", 0.1) == ""


def test_a_forged_change_is_refused(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "ready")
    browser = cases.logged_in(shop)
    del browser.headers["X-Token"]
    answer = browser.post(f"/scenes/{scene.id}/delete", data={"token": "guess"})
    assert answer.status_code == 403 and scenes.scene_of(shop.db, scene.id).deleted is None


def test_a_scene_begins_with_a_form_and_without_script(shop: Shop) -> None:
    browser = cases.logged_in(shop)
    page = Page(browser.get("/new").text)
    assert "data-scene" in page.one("div", id="upload")
    where = send(browser, page, "/new", title="Garden", quality="1min")
    page = Page(browser.get(where).text)
    assert page.one("input", id="title")["value"] == "Garden"
    assert next(e for e in page.all("input", name="quality") if "checked" in e)["value"] == "1min"
    upload = page.one("form", enctype="multipart/form-data")
    files = next(e for e in page.within(upload) if e["type"] == "file")
    assert "multiple" in files and "image/*" in files["accept"]
    scene = where.split("/")[-1]
    found = scenes.scene_of(shop.db, scene)
    answer = browser.post(f"{where}/train", data={"quality": "1min"})
    assert answer.status_code == 409 and "no photos yet" in Page(answer.text).said
    cases.photo(shop, found, "a.jpg")
    assert send(browser, page, f"{where}/train", title="Front garden", quality="5min") == where
    assert jobs.jobs_of(shop.db, scene)[0].options["quality"] == "5min"
    assert scenes.scene_of(shop.db, scene).title == "Front garden"


def test_a_scene_without_a_title_gets_one(shop: Shop) -> None:
    browser = cases.logged_in(shop)
    where = send(browser, Page(browser.get("/new").text), "/new")
    assert Page(browser.get(where).text).one("input", id="title")["value"].startswith("Scene of ")


def test_uploads_are_listed_as_ready_to_finish_or_unusable(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", photos=3)
    cases.photo(shop, scene, "notes.pdf", "unusable", "it is neither a photo nor a video")
    coming = cases.photo(shop, scene, "IMG_9.jpg", "coming", size=5_000_000)
    (shop.data / "uploads" / coming).write_bytes(b"x" * 2_000_000)
    browser = cases.logged_in(shop)
    page = shown(browser, scene.id)
    assert page.one("section", id="whole")["data-count"] == "3"
    item = page.one("li", **{"data-coming": coming})
    assert item["data-name"] == "IMG_9.jpg" and item["data-size"] == "5000000"
    assert "2 MB of 5 MB" in item.said
    assert "notes.pdf It is neither a photo nor a video." in page.one("section", id="unusable").said
    send(browser, page, f"/scenes/{scene.id}/files/{coming}/remove")
    assert not shown(browser, scene.id).all("section", id="unfinished")
    assert not (shop.data / "uploads" / coming).exists()


def test_what_is_wrong_with_a_file_names_it_once() -> None:
    assert words.after_name("a.jpg", "a.jpg is the same file as b.jpg.") == "is the same file as b.jpg."
    assert words.after_name("a.jpg", "it is no photo") == "It is no photo."


def test_the_camera_path_of_the_viewer_is_looked_for_under_its_name() -> None:
    assert pages_scene.SAVED_PATH == output_folder.CAMERA_PATH_FILE


def test_files_that_have_come_are_looked_at_before_they_count(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", photos=0)
    coming = cases.photo(shop, scene, "a.jpg", "coming", size=5)
    (shop.data / "uploads" / coming).write_bytes(b"12345")
    page = shown(cases.logged_in(shop), scene.id)
    assert page.one("div", id="told")["data-checking"] == "1" and not page.all("section", id="unfinished")


def test_photos_are_not_changed_while_a_scene_is_trained_on_them(shop: Shop) -> None:
    scene = cases.scene(shop, "Kitchen", "running")
    page = shown(cases.logged_in(shop), scene.id, "/photos")
    assert {form["action"] for form in page.all("form")} == {"/logout"}
    assert "being trained on these photos" in page.said and page.all("ul", class_="thumbs")


def test_words_are_those_of_the_report() -> None:
    for number, (bound, said) in enumerate(verdict.LOOKS):
        flip = min(bound, 1.0) - 0.001
        assert said.startswith(words.quality({"psnr": 20.0, "flip": flip})), number
    assert words.quality({"psnr": 14.0, "psnr_matched": 33.0}) == "very clear"  # of an older version
    assert words.quality(None) == words.quality({"psnr": None}) == ""


def test_times_and_sizes_as_people_say_them() -> None:
    assert [words.length(s) for s in (2, 31, 55, 90, 3600, 90000)] == [
        "5 seconds", "30 seconds", "about 1 minute", "about 2 minutes", "about 1 hour", "about 25 hours"
    ]  # fmt: skip
    assert [words.size(n) for n in (0, 1, 2_000_000, 12_345_678, 20e9)] == [
        "0 kB", "1 kB", "2 MB", "12 MB", "20 GB"
    ]  # fmt: skip
    now = time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, -1))
    assert words.day(now, now) == "today" and words.day(now - 86400, now) == "yesterday"
    assert words.day(now - 3 * 86400, now) == "26 February"
    assert words.day(now - 365 * 86400, now) == "1 March 2025"
    assert words.until(now - 5, now) == "no longer"
    assert [words.queue(n) for n in (None, 0, 1, 5)] == [
        "Next in the queue", "Next in the queue", "1 job before yours", "5 jobs before yours"
    ]  # fmt: skip


def test_the_first_person_invites_gives_new_keys_and_sends_away(shop: Shop) -> None:
    browser = cases.logged_in(shop)
    page = Page(browser.get("/people").text)
    form = page.form("/people")
    answer = browser.post(
        "/people", data={**page.fields(form), "name": "Ada", "role": "owner", "quota": "5GB"}
    )
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    invited = Page(answer.text)
    link = invited.one("input", id="link")["value"]
    assert link.startswith("http://localhost/login?key=")
    assert invited.one("img", class_="code")["src"].startswith("data:image/svg+xml")
    ada = people.by_key(shop.db, link.partition("key=")[2])
    assert ada is not None and ada.role == "owner" and ada.quota == 5 * 10**9
    page = Page(browser.get("/people").text)
    assert link.partition("key=")[2] not in page.said and "0 kB of 5 GB" in page.said
    again = browser.post(f"/people/{ada.id}/key", data=page.fields(page.form(f"/people/{ada.id}/key")))
    assert people.by_key(shop.db, link.partition("key=")[2]) is None
    assert people.by_key(shop.db, Page(again.text).one("input", id="link")["value"].partition("key=")[2])
    send(browser, page, f"/people/{ada.id}/quota", quota="")
    found = people.person_of(shop.db, ada.id)
    assert found is not None and found.quota is None
    send(browser, page, f"/people/{ada.id}/away")
    assert people.person_of(shop.db, ada.id) is None


@pytest.mark.parametrize(
    ("name", "role", "quota", "said"),
    [(" ", "guest", "", "a name"), ("You", "guest", "", "already"), ("Ada", "boss", "", "owner or a guest"),
     ("Ada", "owner", "lots", "a size such as 20GB")],
)  # fmt: skip
def test_an_invitation_that_cannot_be_is_refused(
    shop: Shop, name: str, role: str, quota: str, said: str
) -> None:
    answer = cases.logged_in(shop).post("/people", data={"name": name, "role": role, "quota": quota})
    assert answer.status_code == 400 and said in Page(answer.text).said
    assert len(people.people(shop.db)) == 1


def test_others_cannot_look_after_people(shop: Shop) -> None:
    first = people.first_person(shop.db)
    other, _ = people.invited(shop.db, first, "Jonas", "owner")
    browser = cases.logged_in(shop, other)
    assert browser.get("/people").status_code == 403
    assert browser.post("/people", data={"name": "Eve", "role": "owner"}).status_code == 403
    assert browser.post(f"/people/{first.id}/key").status_code == 403
    assert cases.logged_in(shop).post(f"/people/{first.id}/away").status_code == 404
