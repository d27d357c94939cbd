"""A tab's controls for exporting the scene and downloading what was made."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nerfscene.config import ExportConfig, PageConfig
from nerfscene.credentials import library
from nerfscene.errors import NerfsceneError
from nerfscene.exporters.export import FOLDER, FORMATS, Kind, check_export, export
from nerfscene.exporters.opens import OPENS
from nerfscene.exporters.told import Told
from nerfscene.scene.scene import Scene
from nerfscene.scene.world import in_world
from nerfscene.viewer import keyframes, path_files
from nerfscene.viewer.export_job import ExportJob
from nerfscene.viewer.keyframes import Editor
from nerfscene.viewer.outcome import send
from nerfscene.viewer.session import Session
from nerfscene.viewer.stage import BUSY, Say, Stage, guarded

# An export made in the page keeps the whole machine busy, and is held for its tab: it has its limits.
MOST_FACES, MOST_POINTS, MOST_SPLATS = 500_000, 2_000_000, 500_000
TEXTURES = {"none": 0, "1024": 1024, "2048": 2048, "4096": 4096}
PAGE = "page"
KINDS: tuple[Kind, ...] = ("mesh", "points", "splats")
COLMAP = "COLMAP"  # the format of cameras that is a folder
SHOWN_EVERY = 0.3  # seconds between two signs of progress in the tab
WHAT = "The scene as you see it, with its crop, for other programs."
PAGE_OPENS = "any browser opens it, on a phone too"
LIMIT = "At most {:,} here; `nerfscene export` has no such limit."
SIGNED = "Sign the page as rendered from photographs. The signature lies beside it, so both come as a .zip."


def plain(text: str) -> str:
    """A sentence as Markdown that shows it as it is.

    viser's page runs what stands in braces, and photos can have any name.
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", text)


class ExportPanel:
    """Exports the scene as the session shows it: with its crop, its world and what is behind it.

    ``say(title, body, color)`` shows a notification in the tab. owner: whether the tab is the owner's. Guests
    get no cameras: these name the files of this machine, and can bring the photos along.
    """

    def __init__(self, stage: Stage, session: Session, editor: Editor, say: Say, owner: bool) -> None:
        self.stage, self.session, self.client = stage, session, session.client
        self.editor, self.say = editor, say
        self.kinds: tuple[str, ...] = (*KINDS, *(("cameras",) if owner else ()), PAGE)
        self.job: ExportJob | None = None
        self.file: Path | None = None
        self._lock = threading.Lock()
        self._running = False
        self._said: list[str] = []  # about the present export
        self._shown = 0.0  # when progress was last shown, by time.monotonic

    def cancel(self) -> None:
        """Stops an export that is being made; its tab is told by its end."""
        if self.job is not None:
            self.job.cancel()

    def close(self) -> None:
        """Cancels an export that is being made, and removes what was."""
        self.cancel()
        if self.job is not None:
            self.job.wait(30)  # no thread may still run a kernel when the process ends
            self.job.discard()

    def add(self) -> None:
        """Adds the controls to the tab that is open."""
        gui = self.client.gui
        gui.add_markdown(WHAT)
        self.kind = gui.add_dropdown("What", self.kinds)
        self.kind.on_update(lambda _: self._show_options())
        self.format = gui.add_dropdown("Format", self._formats())
        self.format.on_update(lambda _: self._show_what_opens_it())
        self.opens = gui.add_markdown("")
        self.faces = gui.add_number(
            "Faces", 100_000, min=100, max=MOST_FACES, step=100, hint=LIMIT.format(MOST_FACES)
        )
        self.texture = gui.add_dropdown("Texture", tuple(TEXTURES), initial_value="2048")
        self.points = gui.add_number(
            "Points", 500_000, min=100, max=MOST_POINTS, step=100, hint=LIMIT.format(MOST_POINTS)
        )
        self.count = gui.add_number(
            "Splats", 200_000, min=100, max=MOST_SPLATS, step=100, hint=LIMIT.format(MOST_SPLATS)
        )
        self.degree = gui.add_dropdown("Harmonics", ("0", "1", "2", "3"), initial_value="1")
        self.photos = gui.add_checkbox("With the photos", False)
        self.title = gui.add_text("Title", "")
        self.signed = gui.add_checkbox("Credentials", True, visible=False, hint=SIGNED)
        self.options = {
            "mesh": (self.faces, self.texture),
            "points": (self.points,),
            "splats": (self.count, self.degree),
            "cameras": (self.photos,),
            PAGE: (self.title, *((self.signed,) if self.stage.credentials.credentials else ())),
        }
        self.start = gui.add_button("Export")
        self.start.on_click(guarded(self.say, lambda _: self.export()))
        self.bar = gui.add_progress_bar(0.0, visible=False)
        self.text = gui.add_markdown("", visible=False)
        self.stop = gui.add_button("Cancel", visible=False, color="gray")
        self.stop.on_click(lambda _: self.job.cancel() if self.job else None)
        self.download = gui.add_button("Download", visible=False)
        self.download.on_click(guarded(self.say, lambda _: self._download()))
        self._show_options()

    def _formats(self) -> tuple[str, ...]:
        if self.kind.value == PAGE:
            return (".html",)
        return tuple(COLMAP if ending == FOLDER else ending for ending in FORMATS[self.kind.value])

    def _show_options(self) -> None:
        self.format.options = self._formats()
        self.format.value = self._formats()[0]  # the usual one; a .glb, say, is that of meshes only
        for kind, handles in self.options.items():
            for handle in handles:
                handle.visible = kind == self.kind.value
        self._show_what_opens_it()

    def _show_what_opens_it(self) -> None:
        ending = FOLDER if self.format.value == COLMAP else self.format.value
        self.opens.content = OPENS.get((self.kind.value, ending), PAGE_OPENS)

    def export(self) -> None:
        """Starts an export in the background.

        Raises NerfsceneError if a package is missing, and while this tab's export, or as many as there may
        be, are being made.
        """
        name, make = self._wanted()  # fails before the controls change
        with self._lock:
            if self._running:
                raise NerfsceneError("an export is being made already")
            if not self.stage.films.acquire(blocking=False):
                raise NerfsceneError(BUSY)
            self._running = True
        try:
            self._start(name, make)
        except BaseException:
            self._done(None, "it could not be begun")
            raise

    def _wanted(self) -> tuple[str, Callable[[Path, Told], Any]]:
        """The file's name, and what makes it."""
        kind, ending = self.kind.value, self.format.value
        scene, backend = shown(self.stage, self.session), self.stage.backend
        if kind == PAGE:
            return "scene.html", self._page(scene)
        count = self.points.value if kind == "points" else self.count.value
        config = ExportConfig(
            faces=int(self.faces.value), texture=TEXTURES[self.texture.value], count=int(count),
            degree=int(self.degree.value), photos=bool(self.photos.value), backend=backend,  # type: ignore[arg-type]
        )  # fmt: skip
        name = {".json": "transforms.json", COLMAP: "cameras"}.get(ending, f"{kind}{ending}")
        check_export(Path(name), kind)
        return name, lambda file, told: export(scene, file, kind, config, told)

    def _page(self, scene: Scene) -> Callable[[Path, Told], Any]:
        """What makes the page; it plays the path of the tab, if there is one."""
        title, backend, folder = self.title.value, self.stage.backend, self.stage.folder
        keeper = self.stage.keeper
        plan = keyframes.transformed(self.editor.plan, self.stage.world.world_from_page)
        allowed = self.stage.credentials
        marks = replace(allowed, credentials=allowed.credentials and bool(self.signed.value))

        def make(file: Path, told: Told) -> Any:
            from nerfscene.exporters.page import page_of
            from nerfscene.exporters.share import share

            config = PageConfig(title=title, single=True, backend=backend)  # type: ignore[arg-type]
            if folder is not None and not (keeper and keeper.replaced):  # else that path is another scene's
                config = page_of(folder, config)
            if plan.keyframes:
                path = file.parent.parent / "path.json"  # not among what is downloaded
                path_files.save(plan, path)
                config = replace(config, path=str(path))
            missing = library.why_missing() if marks.credentials else None
            if missing is not None:
                told.warn(f"the page has no content credentials ({missing}): {library.INSTALL} adds them")
            return share(scene, file, config, told, marks)

        return make

    def _start(self, name: str, make: Callable[[Path, Told], Any]) -> None:
        if self.job is not None:
            self.job.discard()
        self.file = None
        self._said = []
        self.start.disabled, self.bar.visible, self.stop.visible = True, True, True
        self.text.content, self.text.visible, self.download.visible = "", True, False
        self.bar.value = 0.0
        self.job = ExportJob(make, name, self._progress, self._said.append, self._done)
        self.job.start()

    def _progress(self, stage: str, fraction: float) -> None:
        if fraction < 1 and time.monotonic() - self._shown < SHOWN_EVERY:
            return
        self._shown = time.monotonic()
        self.bar.value, self.text.content = 100 * fraction, stage

    def _done(self, file: Path | None, reason: str) -> None:
        self.file = file
        with self._lock:
            self._running = False
        self.stage.films.release()
        with contextlib.suppress(Exception):  # the tab may have been closed meanwhile
            self.bar.visible, self.stop.visible = False, False
            self.text.content = "\n\n".join(map(plain, self._said))
            self.text.visible = bool(self._said)
            if file is not None:
                self.download.label, self.download.visible = f"Download {file.name}", True
            self.start.disabled = False  # once all else is as it stays
            if file is None:
                self.say("No export", reason, "red")
            else:
                self.say("The export is ready", f"{file.stat().st_size / 1e6:.1f} MB")

    def _download(self) -> None:
        if self.file is not None:
            send(self.client, self.file, "export it again")


def shown(stage: Stage, session: Session) -> Scene:
    """The scene as the session shows it, in the world that the page gives coordinates in."""
    background, backdrop = session.behind(session.look)
    scene = replace(stage.scene, crop=stage.crop.page_from_box, background=background, backdrop=backdrop)
    scene = in_world(scene, stage.world.world_from_page)
    same = scene.world_from_capture is not None and np.allclose(
        scene.world_from_capture, np.eye(4), atol=1e-6
    )
    if scene.up is None and same:
        return replace(scene, world_from_capture=None)  # the page has only come and gone: nobody set a world
    up = stage.world.world_from_page[:3, :3] @ stage.world.up
    return replace(scene, up=up / np.linalg.norm(up))
