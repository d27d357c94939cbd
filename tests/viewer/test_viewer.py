"""The viewer in a real browser: Chromium, headless, as a person would use it."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import trimesh
from browsers import chromium, wait
from numpy.typing import NDArray
from PIL import Image

from nerfscene.cameras.algebra import pose_in_scene, vertical_fov
from nerfscene.config import FieldConfig, TrainConfig
from nerfscene.errors import NerfsceneError
from nerfscene.field.rendering import render
from nerfscene.films import video
from nerfscene.formats.readers import find_posed
from nerfscene.scene import folder as scenes
from nerfscene.scene.world import in_world
from nerfscene.training.loop import train_posed
from nerfscene.types import Camera
from nerfscene.viewer import keyframes, splats
from nerfscene.viewer import session as sessions
from nerfscene.viewer.server import Viewer, view
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import pose_of, shot_of
from nerfscene.viewer.still import developed, lens_of, load_photo

DEMO = Path(__file__).parents[2] / "data/demo"  # its transforms.json has the true cameras, z up, in metres
# Free places on the table that the page, when it opens, shows beside its panel.
TABLE = ((-0.435, -0.13, 0.757), (-0.13, -0.05, 0.757), (-0.30, -0.28, 0.757))
TAKES_CLICKS = "[...document.querySelectorAll('canvas')].some(c => c.style.cursor === 'pointer')"
# Keeps in window.seen how opaque each picture was drawn.
NOTES_OPACITIES = (
    "window.seen = []; new MutationObserver(changes => changes.forEach(({target}) => "
    "{ if (target.tagName === 'CANVAS' && document.querySelector('[role=tab]')) "
    "seen.push(+getComputedStyle(target).opacity) }))"
    ".observe(document, {subtree: true, attributes: true, attributeFilter: ['style']})"
)
WINDOW = {"width": 800, "height": 600}
Tab = tuple[Viewer, Any, Session]
SMALL = (200, 150)  # what pictures are compared at
# The part of it that is compared: to the right lies the panel, above a notice about software WebGL.
CLEAR = (slice(45, 145), slice(20, 110))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(autouse=True)
def close_pages(browser: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    """Closes all pages but the shared tab: one that a failed test leaves open would slow down all others.

    The shared tab is closed before the first test that has no use for it.
    """
    shares = "tab" in request.fixturenames
    if not shares:
        close_all(browser)
    yield
    if not shares:
        close_all(browser)


def close_all(browser: Any) -> None:
    for context in browser.contexts:
        context.close()


@pytest.fixture(scope="module")
def formed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo scene, trained until there is no fog in it: fog is slow to render, and has no depth.

    By one thread, so that a machine makes the same one each time.
    """
    posed = find_posed(DEMO)
    assert posed is not None
    folder = tmp_path_factory.mktemp("formed")
    train_posed(posed, folder, TrainConfig(steps=600, downscale=4, threads=1), FieldConfig())
    return folder


@pytest.fixture
def few_splats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Software WebGL draws few splats in a second."""
    monkeypatch.setattr(splats, "LONGEST", 16)
    monkeypatch.setattr(splats, "VIEWS", 6)


@pytest.fixture
def viewer(trained: Path, tmp_path: Path, few_splats: None) -> Iterator[Viewer]:
    """A page of a copy of the small scene, which a test may change."""
    with view(shutil.copytree(trained, tmp_path / "scene"), port=18080) as running:
        yield running


@pytest.fixture
def of_demo(formed: Path, tmp_path: Path, few_splats: None) -> Iterator[Viewer]:
    """A page of a copy of the demo scene, which a test may change."""
    with view(shutil.copytree(formed, tmp_path / "scene"), port=18080) as running:
        yield running


@pytest.fixture(scope="module")
def opened(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Viewer, list[Any]]]:
    """A page of a copy of the small scene that no test changes, and its tab once it is open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splats, "LONGEST", 16)
        patch.setattr(splats, "VIEWS", 6)
        folder = shutil.copytree(trained, tmp_path_factory.mktemp("opened") / "scene")
        with view(folder, port=18090) as running:
            yield running, []


@pytest.fixture
def tab(browser: Any, opened: tuple[Viewer, list[Any]]) -> Tab:
    """A tab that tests in a row share, as opening one takes seconds. They leave its camera anywhere."""
    viewer, open_tabs = opened
    if not open_tabs or open_tabs[0][0].is_closed():
        open_tabs[:] = [open_tab(browser, viewer)]
    return viewer, *open_tabs[0]


def open_tab(browser: Any, viewer: Viewer) -> tuple[Any, Session]:
    """A page, and the session behind it, its first picture complete."""
    before = set(viewer.sessions)
    page = browser.new_page(viewport=WINDOW, device_scale_factor=0.5)
    page.add_init_script(NOTES_OPACITIES)
    page.goto(viewer.url)
    wait(page, lambda: set(viewer.sessions) - before, what="for a session")
    session = viewer.sessions[(set(viewer.sessions) - before).pop()]
    session.set_look(longest=256)
    wait(page, lambda: session.finished > 0 and at_rest(session), what="for a picture")
    return page, session


def at_rest(session: Session) -> bool:
    """The session knows where its tab's camera is, and its picture of that is complete."""
    shot = session._shot
    known = shot is not None and np.allclose(shot.world_from_cam, pose_of(session.client.camera))
    return known and session._done == session._version


def small(picture: Any) -> NDArray[np.float32]:
    return np.asarray(picture.convert("RGB").resize(SMALL, Image.Resampling.BOX), np.float32)[CLEAR] / 255


def seen(page: Any) -> NDArray[np.float32]:
    return small(Image.open(io.BytesIO(page.screenshot())))


def expected(viewer: Viewer, session: Session) -> NDArray[np.float32]:
    """What the page should show of the scene, in the mode that the tab is in, rendered here."""
    shot = session._shot  # its size is the canvas's, which a slow browser makes smaller
    assert shot is not None
    camera = Camera(lens_of(shot, *session._full_size(shot, session.look)), shot.world_from_cam)
    frame = render(viewer.renderer, camera)
    return small(Image.fromarray(developed(frame, session.look, camera, session._world_from_page)))


def drag(page: Any, dx: int, dy: int) -> None:
    """Turns the camera with the mouse. The server hears of it some time later."""
    page.mouse.move(250, 400)
    page.mouse.down()
    for i in range(1, 6):
        page.mouse.move(250 + dx * i // 5, 400 + dy * i // 5)
        page.wait_for_timeout(40)
    page.mouse.up()


def drag_and_rest(page: Any, session: Session, dx: int, dy: int) -> None:
    """Turns the camera, and waits until the server knows and has made its picture."""
    before = pose_of(session.client.camera)
    for _ in range(5):  # one can be lost while the page is busy, as for a person, who tries again
        drag(page, dx, dy)
        with contextlib.suppress(AssertionError):
            wait(page, lambda: not np.allclose(pose_of(session.client.camera), before, atol=1e-2), 30)
            break
    assert not np.allclose(pose_of(session.client.camera), before, atol=1e-2)
    wait(page, lambda: at_rest(session), what="for a picture after a move")


def settled(page: Any, viewer: Viewer, session: Session, tolerance: float = 0.03) -> None:
    """Waits until the page shows the scene from where its camera is, wherever that comes to rest."""
    known: tuple[Any, NDArray[np.float32]] | None = None  # the state of the tab, and what it should show

    def shows() -> bool:
        nonlocal known
        if not at_rest(session):
            return False
        state = session._version, session._shot
        if known is None or known[0] != state:
            known = state, expected(viewer, session)
        return bool(np.abs(seen(page) - known[1]).mean() < tolerance)

    wait(page, shows, what="for the page to show the scene")


def test_the_page_shows_the_scene_and_follows_the_camera(tab: Tab) -> None:
    viewer, page, session = tab
    settled(page, viewer, session)
    first = seen(page)
    assert first.std() > 0.05
    drag_and_rest(page, session, 120, 20)
    settled(page, viewer, session)
    assert np.abs(seen(page) - first).mean() > 0.02


def test_modes_by_their_keys(tab: Tab) -> None:
    viewer, page, session = tab
    settled(page, viewer, session)
    colour = seen(page)
    page.mouse.click(250, 400)
    for key, mode in (("2", "depth"), ("3", "accumulation"), ("4", "normals"), ("1", "colour")):
        page.keyboard.press(key)
        wait(page, lambda m=mode: session.look.mode == m, what=f"for {mode}")
        settled(page, viewer, session)
        difference = np.abs(seen(page) - colour).mean()
        assert difference < 0.03 if mode == "colour" else difference > 0.03, mode


def test_without_splats_a_moving_tab_gets_small_pictures(tab: Tab) -> None:
    viewer, page, session = tab
    session.set_look(splats=False)
    before = session.moving_frames

    def moved() -> bool:
        drag(page, 100, 0)  # a machine too busy for a picture during one drag makes one during another
        return session.moving_frames > before

    wait(page, moved, what="for a moving picture")
    settled(page, viewer, session)
    session.set_look(splats=True)


def test_a_click_into_nothing_is_told(tab: Tab) -> None:
    viewer, _, session = tab
    panel = viewer.panels[session.client.client_id].world
    panel.ask("The origin")
    with pytest.raises(NerfsceneError, match="nothing solid"):
        session.set_crop(np.diag([1e-6, 1e-6, 1e-6, 1.0]))
        session._with(session.look)
        panel.picked(pose_of(session.client.camera)[:3, 3], pose_of(session.client.camera)[:3, 2])
    panel.ask("The origin")
    assert panel.picking is None
    session.set_crop(None)


def test_standing_at_a_photo_and_comparing_with_it(tab: Tab) -> None:
    viewer, page, session = tab
    panels = viewer.panels[session.client.client_id]
    view_ = viewer.scene.views[3]
    panels.stand_at(3)
    wait(page, lambda: np.allclose(pose_of(session.client.camera), view_.world_from_cam, atol=1e-3))
    alone = session.look.compare
    session.set_look(compare="wipe", share=1.0)
    wait(page, lambda: at_rest(session))
    photo = load_photo(view_)
    assert photo is not None
    right = small(Image.fromarray(photo))
    wait(page, lambda: np.abs(seen(page) - right).mean() < 0.05, what="for the photo")
    session.set_look(compare=alone)


def test_an_error_in_a_picture_is_survived(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, page, session = tab
    right, tell = sessions.render_part, session._tell
    attempts, told = [], []

    def wrong(*_: Any) -> Any:
        attempts.append(1)
        raise RuntimeError("a wire came loose")

    def recorded(error: Exception) -> None:
        told.append(error)
        tell(error)

    monkeypatch.setattr(sessions, "render_part", wrong)
    monkeypatch.setattr(session, "_tell", recorded)
    session.refresh()
    page.get_by_text("a wire came loose").first.wait_for()
    before = len(attempts)
    drag(page, 40, 0)  # the same error at the next rest is not told again
    wait(page, lambda: len(attempts) > before and at_rest(session), what="for another attempt")
    assert len(told) == 1
    monkeypatch.setattr(sessions, "render_part", right)
    drag_and_rest(page, session, 80, 0)
    settled(page, viewer, session)


def test_the_first_picture_is_clear_at_once(tab: Tab) -> None:
    """viser's page would fade it in from white, frame by frame, which takes software WebGL many seconds."""
    viewer, page, session = tab
    settled(page, viewer, session)
    opacities = page.evaluate("window.seen")  # since the tab was opened
    opacities.append(page.evaluate("+getComputedStyle(document.querySelector('canvas')).opacity"))
    assert set(opacities) == {1}, opacities


@pytest.mark.long
def test_splats_stand_in_while_moving(browser: Any, viewer: Viewer) -> None:
    page, session = open_tab(browser, viewer)

    def made() -> bool:  # they may have been sent already, if the page moved its camera while it opened
        sent = session._splats is not None and len(session._splats.buffer) > 1
        return sent or session._waiting is not None

    wait(page, made, what="for splats")
    settled(page, viewer, session)
    marched = seen(page)
    wait(page, session._splats_ready, what="for splats to be sent")
    assert len(session._splats.buffer) > 100
    session._splats.visible = True

    def drawn() -> bool:
        now = seen(page)
        return bool(np.abs(now - marched).mean() > 0.003 and now.std() > 0.02 and now.mean() > 0.05)

    wait(page, drawn, what="for splats to be drawn")
    session.refresh()
    settled(page, viewer, session)
    assert not session._splats.visible
    page.close()


@pytest.mark.long
def test_a_colour_chosen_for_the_background_shows_instead_of_the_guess(browser: Any, of_demo: Viewer) -> None:
    page, session = open_tab(browser, of_demo)
    up = [view.world_from_cam[:3, :3] @ [0, -1, 0] for view in of_demo.scene.views]
    here = of_demo.scene.views[0].world_from_cam[:3, 3]
    with session.client.atomic():
        session.client.camera.position = here
        session.client.camera.look_at = here + np.mean(up, 0)  # at the sky, which the photos hardly show
    wait(page, lambda: np.allclose(pose_of(session.client.camera)[:3, 3], here, atol=1e-3))
    settled(page, of_demo, session, 0.02)  # it shows the backdrop, as the viewer's own renderer does
    session.set_look(background=(1.0, 0.0, 0.0))
    red = lambda: (np.abs(seen(page) - [1, 0, 0]) < 0.1).all(-1)  # noqa: E731
    wait(page, lambda: red().mean() > 0.3, what="for the colour")
    panels = of_demo.panels[session.client.client_id]
    path = panels.path
    path.add_keyframe()
    path.add_keyframe()
    path.edits.apply(replace(path.edits.plan, width=64, height=48, fps=5.0, seconds=0.4))
    panels.film.render()
    film = wait(page, lambda: panels.film.file, what="for the film")
    with av.open(str(film)) as container:
        first = next(container.decode(video=0)).to_ndarray(format="rgb24")
    # A film's codec preserves colours less well than a picture's.
    assert ((first[..., 0] > 200) & (first[..., 1:].max(-1) < 60)).mean() > 0.2, "films show it too"
    # Rounded as the page's panel rounds it.
    own = tuple(round(255 * c) / 255 for c in of_demo.scene.background)
    session.set_look(background=own)
    settled(page, of_demo, session, 0.02)
    # When training ends, a page that watched it gets the backdrop, and so do its films.
    of_demo.trained(replace(of_demo.scene, backdrop=np.full((32, 64, 3), (1.0, 0.0, 0.0), np.float32)))
    wait(page, lambda: red().mean() > 0.3, what="for another guess")
    assert of_demo.stage.scene.backdrop is not None and of_demo.stage.scene.backdrop[0, 0, 0] == 1
    page.close()


@pytest.mark.long
def test_a_path_made_by_hand_plays_and_is_filmed(
    browser: Any, of_demo: Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, session = open_tab(browser, of_demo)
    panels = of_demo.panels[session.client.client_id]
    page.get_by_role("tab", name="Path").click()
    add = page.get_by_role("button", name="Add a keyframe here")
    add.click()
    wait(page, lambda: len(panels.path.editor.plan.keyframes) == 1)
    drag_and_rest(page, session, 100, 0)
    add.click()
    wait(page, lambda: len(panels.path.editor.plan.keyframes) == 2)
    one, two = (k.world_from_cam for k in panels.path.editor.plan.keyframes)
    assert not np.allclose(one, two, atol=1e-2)
    panels.path.edits.apply(replace(panels.path.edits.plan, width=64, height=48, fps=10.0, seconds=1.0))
    played: list[NDArray[np.float64]] = []
    player = panels.path.player
    go_to, own = player.go_to, pose_of(session.client.camera)

    def recorded(world_from_cam: NDArray[np.float64], fov: float) -> None:
        played.append(world_from_cam[:3, 3])
        go_to(world_from_cam, fov)

    monkeypatch.setattr(player, "go_to", recorded)
    page.get_by_role("button", name="Play").click()
    wait(page, lambda: played and not player.playing.is_set(), what="for the end of playing")
    along = [np.linalg.norm(place - one[:3, 3]) for place in played]
    assert along == sorted(along) and np.allclose(played[-1], two[:3, 3], atol=1e-4)
    wait(page, lambda: np.allclose(pose_of(session.client.camera), own, atol=1e-2), what="for one's own view")
    page.get_by_role("tab", name="Film").click()
    page.get_by_role("button", name="Make the film").click()
    wait(page, lambda: panels.film.file is not None, what="for the film")
    button = page.get_by_role("button", name="Download film.mp4")
    with page.expect_download() as download:
        button.click()
    file = tmp_path / "film.mp4"
    download.value.save_as(file)
    facts = video.film_facts(file)
    assert facts["frames"] == 10 and (facts["width"], facts["height"]) == (64, 48)
    page.close()


@pytest.mark.long
def test_an_export_is_made_and_downloaded(browser: Any, of_demo: Viewer, tmp_path: Path) -> None:
    page, session = open_tab(browser, of_demo)
    panel = of_demo.panels[session.client.client_id].export
    page.get_by_role("tab", name="Export").click()
    panel.kind.value = "points"  # the list itself is viser's
    count = page.get_by_label("Points", exact=True)
    wait(page, lambda: count.is_visible() and not page.get_by_label("Faces", exact=True).is_visible())
    count.fill("2000")
    count.blur()
    wait(page, lambda: panel.points.value == 2000, what="for the number")
    page.get_by_role("button", name="Export", exact=True).click()
    wait(page, lambda: panel.file is not None, what="for the export")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download points.ply").click()
    file = tmp_path / "points.ply"
    download.value.save_as(file)
    cloud = trimesh.load(file)
    assert 1000 < len(cloud.vertices) <= 2000 and np.ptp(cloud.vertices, axis=0).min() > 0
    page.close()


@pytest.mark.long
def test_a_crop_crops_every_tab_and_is_saved(browser: Any, viewer: Viewer) -> None:
    page, session = open_tab(browser, viewer)
    settled(page, viewer, session)
    whole = seen(page)
    panels = viewer.panels[session.client.client_id]
    page.get_by_text("Crop", exact=True).click()
    page.get_by_label("Show only a box").click()
    wait(page, lambda: viewer.stage.crop.page_from_box is not None, what="for the box")
    viewer.renderer = replace(viewer.renderer, crop=viewer.stage.crop.page_from_box)  # as expected() sees it
    wait(page, lambda: at_rest(session))
    # The box's handle is drawn over the middle of the picture.
    wait(
        page,
        lambda: np.median(np.abs(seen(page) - expected(viewer, session))) < 0.03,
        what="for the cropped picture",
    )
    assert np.abs(expected(viewer, session) - whole).mean() > 0.02
    panels._save_crop()
    assert viewer.stage.folder is not None
    assert scenes.load(viewer.stage.folder).crop is not None
    scenes.save_crop(viewer.stage.folder, None)
    page.close()


@pytest.mark.long
def test_tabs_are_their_own(browser: Any, of_demo: Viewer) -> None:
    one, first = open_tab(browser, of_demo)
    two, second = open_tab(browser, of_demo)
    settled(one, of_demo, first)
    before, pose = seen(one), pose_of(first.client.camera)
    drag_and_rest(two, second, -120, 30)
    settled(two, of_demo, second)
    assert np.allclose(pose_of(first.client.camera), pose)
    assert np.abs(seen(one) - before).mean() < 0.01
    client = second.client.client_id
    two.close()
    wait(one, lambda: client not in of_demo.sessions, what="for the closed tab to go")
    wait(one, lambda: not second._thread.is_alive(), what="for its thread to end")
    drag(one, 60, 0)
    settled(one, of_demo, first)
    one.close()


def click_at(page: Any, viewer: Viewer, session: Session, point: NDArray[np.float64]) -> None:
    """Clicks where a point of the world (3,) shows."""
    shot = shot_of(session.client.camera)
    page_from_world = np.linalg.inv(viewer.stage.world.world_from_page)
    cam_from_page = np.linalg.inv(shot.world_from_cam)
    x, y, z, _ = cam_from_page @ page_from_world @ [*point, 1]
    f = WINDOW["height"] / 2 / np.tan(shot.fov / 2)
    page.mouse.click(WINDOW["width"] / 2 + f * x / z, WINDOW["height"] / 2 + f * y / z)


@pytest.mark.long
def test_up_origin_and_scale_by_clicking(browser: Any, of_demo: Viewer, tmp_path: Path) -> None:
    page, session = open_tab(browser, of_demo)
    settled(page, of_demo, session)
    panel = of_demo.panels[session.client.client_id].world
    stage, folder = of_demo.stage, of_demo.stage.folder
    assert folder is not None
    before = scenes.load(folder)
    true_world = stage.world.world_from_page
    home = pose_of(session.client.camera)
    # Three clicks on the table's top, as the page shows it.
    page.get_by_text("World", exact=True).click()
    page.get_by_role("button", name="Three points on the floor").click()
    wait(page, lambda: panel.picking is not None, what="for clicks to be taken")
    clicked = []
    for at in TABLE:
        page_from_world = np.linalg.inv(true_world)
        origin = pose_of(session.client.camera)[:3, 3]
        towards = (page_from_world @ [*at, 1])[:3] - origin
        met = session.pick(origin, towards)
        assert met is not None
        clicked.append((true_world @ [*met, 1])[:3])
        # The page takes clicks from a moment after it was told to, and shows so by its cursor.
        wait(page, lambda: page.evaluate(TAKES_CLICKS), what="for the page to take clicks")
        count = len(panel._picked)
        click_at(page, of_demo, session, np.array(at))
        wait(page, lambda n=count: panel.picking is None or len(panel._picked) > n, what="for the click")
    wait(page, lambda: panel.picking is None and len(panel._before) == 1, what="for the world to be set")
    world = stage.world.world_from_page
    new_from_old = world @ np.linalg.inv(true_world)
    assert np.allclose(new_from_old @ [*clicked[0], 1], [0, 0, 0, 1], atol=0.02)
    tilt = np.degrees(np.arccos(new_from_old[2, 2] / np.linalg.norm(new_from_old[2, :3])))
    assert tilt < 8  # z was up already and the table is level, but a scene trained this briefly is not quite
    settled(page, of_demo, session)
    # A scale: the same two points, said to be 5 apart.
    panel.distance.value = 5.0
    panel.ask("Two points, that far apart")
    for at in clicked[:2]:
        here = (np.linalg.inv(true_world) @ [*at, 1])[:3]
        origin = pose_of(session.client.camera)[:3, 3]
        panel.picked(origin, here - origin)
    wait(page, lambda: len(panel._before) == 2)
    at = np.stack([(stage.world.world_from_page @ np.linalg.inv(true_world) @ [*p, 1])[:3] for p in clicked])
    assert np.linalg.norm(at[1] - at[0]) == pytest.approx(5.0, rel=0.05)
    saved = scenes.load(folder)
    assert saved.up is not None and np.allclose(saved.up, [0, 0, 1], atol=1e-6)
    moved = pose_in_scene(
        stage.world.world_from_page @ np.linalg.inv(true_world), before.views[5].world_from_cam
    )
    assert np.allclose(saved.views[5].world_from_cam, moved, atol=1e-5)
    panel.undo()
    panel.undo()
    back = scenes.load(folder)
    assert np.allclose(back.views[5].world_from_cam, before.views[5].world_from_cam, atol=1e-6)
    wait(page, lambda: np.allclose(pose_of(session.client.camera), home, atol=0.05))
    page.close()


def test_the_films_frame_is_shown_and_is_what_is_filmed(browser: Any, viewer: Viewer) -> None:
    page, session = open_tab(browser, viewer)
    panels = viewer.panels[session.client.client_id]
    frame = page.locator(".nerfscene-film-frame")
    assert frame.count() == 0 or not frame.is_visible()
    for width, height in ((240, 60), (60, 120)):
        panels.path.edits.apply(replace(panels.path.edits.plan, width=width, height=height, keyframes=()))
        panels.path.add_keyframe()
        box = wait(page, lambda w=width, h=height: box_of(frame, w / h), what="for the frame")
        assert box["x"] + box["width"] / 2 == pytest.approx(WINDOW["width"] / 2, abs=2)
        assert box["y"] + box["height"] / 2 == pytest.approx(WINDOW["height"] / 2, abs=2)
        camera = keyframes.cameras(panels.path.editor.plan, 1).cameras[0]
        f = WINDOW["height"] / 2 / np.tan(session.client.camera.fov / 2)
        assert vertical_fov(camera.intrinsics) == pytest.approx(
            2 * np.arctan(box["height"] / 2 / f), rel=0.02
        )
        before = session.client.camera.fov
        panels.path.keys.act("Go to")
        assert session.client.camera.fov == pytest.approx(before, rel=1e-3)
    page.close()


def box_of(frame: Any, aspect: float) -> dict[str, float] | None:
    """The frame's box once it has this shape; None before that, and while the page draws it anew."""
    box: dict[str, float] | None = frame.bounding_box() if frame.count() else None
    if box is None or not box["height"] or abs(box["width"] / box["height"] - aspect) >= 0.05:
        return None
    return box


@pytest.mark.long
def test_keys_walk_at_the_pace_of_any_scene(
    browser: Any, formed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scene a thousand times as large is shown at the usual size, so keys walk at the usual pace."""
    monkeypatch.setattr(splats, "LONGEST", 8)
    large = np.diag([1000.0, 1000.0, 1000.0, 1.0])
    with view(in_world(scenes.load(formed), large), port=18080) as running:
        page, session = open_tab(browser, running)
        settled(page, running, session)
        before = pose_of(session.client.camera)[:3, 3]
        assert np.linalg.norm(before) == pytest.approx(3.0, rel=0.01)
        page.mouse.click(250, 400)
        page.keyboard.down("w")
        wait(page, lambda: np.linalg.norm(pose_of(session.client.camera)[:3, 3] - before) > 0.05)
        page.keyboard.up("w")
        page.close()


@pytest.mark.long
def test_a_keyframe_is_dragged_in_time_with_the_mouse(browser: Any, of_demo: Viewer) -> None:
    page, session = open_tab(browser, of_demo)
    path = of_demo.panels[session.client.client_id].path
    page.get_by_role("tab", name="Path").click()
    page.locator("input[value^='choose a path']").first.click()
    page.get_by_role("option", name="boom").click()
    wait(page, lambda: path.times.visible, what="for keyframes")
    before = path.times.value
    handle = page.locator(".multi-slider-thumb").nth(1)
    box = wait(page, handle.bounding_box, what="for their handles")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    wait(page, page.locator(".multi-slider-thumb.active").count, what="for the handle to be held")

    def dragged() -> bool:  # the page listens to the mouse from a moment later on
        page.mouse.move(x + 4, y)
        page.mouse.move(x + 8, y)
        return path.times.value[1] > before[1] + 0.1

    wait(page, dragged, what="for the drag")
    page.mouse.up()
    wait(page, lambda: path.edits.selected == 1, what="for the keyframe to be selected")
    assert path.times.value[0] == 0 and path.times.value[2:] == before[2:]
    page.close()
