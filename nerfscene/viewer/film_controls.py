"""A tab's controls for what its film is to be: size, file, lens, light, quality and passes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from nerfscene.films.filming import film_size
from nerfscene.films.lenses import LEVEL, panorama
from nerfscene.films.passes import PASSES
from nerfscene.films.settings import READY
from nerfscene.types import Array
from nerfscene.viewer.edits import Edits
from nerfscene.viewer.film_settings import (
    EVERY_FORMAT,
    FORMATS,
    FilmSettings,
    format_name,
    preset_of,
    with_preset,
)
from nerfscene.viewer.key_panel import USUAL_APERTURE
from nerfscene.viewer.keyframes import tracks_of
from nerfscene.viewer.picking import Picker
from nerfscene.viewer.stage import Stage, triple

OWN = "my own"
LENSES = ("perspective", "fisheye", "equirectangular", "stereo180", "orthographic")
AUTO, POINT, DISTANCE = "the subject", "a point", "a distance"
AS_SHOWN, TRANSPARENT, COLOR = "as the page shows it", "transparent", "a colour"
NO_APERTURE = 0.0
SAMPLES = {"as many as needed": 0, "1": 1, "4": 2, "9": 3, "16": 4}  # rays a pixel; of its side


class FilmControls:
    """Shows and changes the film settings of ``edits``."""

    def __init__(self, stage: Stage, client: Any, edits: Edits, picker: Picker) -> None:
        self.stage, self.client, self.edits, self.picker = stage, client, edits, picker

    @property
    def film(self) -> FilmSettings:
        """The settings as they are now."""
        return self.edits.plan.film

    def add_first(self) -> None:
        """Adds what most people want to choose: what the film is for, its size and file."""
        gui, on, plan = self.client.gui, self.edits.by_visitor, self.edits.plan
        self.preset = gui.add_dropdown("Preset", (OWN, *READY), hint="Sets size, frames per second and file.")
        self.preset.on_update(on(lambda _: self._take_preset()))
        self.width = gui.add_number("Width", plan.width, min=16, max=8192, step=2)
        self.height = gui.add_number("Height", plan.height, min=16, max=8192, step=2)
        for handle in (self.width, self.height):
            handle.on_update(on(lambda _: self._read_size()))
        self.format = gui.add_dropdown("File", tuple(FORMATS))
        self.format.on_update(on(lambda _: self._read_format()))

    def add_more(self) -> None:
        """Adds the rest, in folders."""
        gui = self.client.gui
        with gui.add_folder("Light", expand_by_default=False):
            self._add_light()
        with gui.add_folder("Lens", expand_by_default=False):
            self._add_lens()
        with gui.add_folder("Quality", expand_by_default=False):
            self._add_quality()
        with gui.add_folder("For compositing", expand_by_default=False):
            self._add_compositing()
        self.edits.shows.append(self._show)

    def _add_light(self) -> None:
        gui, on = self.client.gui, self.edits.by_visitor
        self.motion_blur = gui.add_slider(
            "Motion blur (°)", 0, 360, 5, 0, hint="The shutter's angle: 180 is usual in films, 0 is none."
        )
        self.aperture = gui.add_number(
            "Aperture f/", NO_APERTURE, min=0.0, max=1000.0, step=0.1,
            hint="Such as 2.8; smaller numbers blur more. 0: everything is sharp.",
        )  # fmt: skip
        self.focus = gui.add_dropdown("Sharp is", (AUTO, POINT, DISTANCE))
        self.focus.on_update(on(lambda _: self._focus()))
        self.distance = gui.add_number("Distance", 1.0, min=1e-6, max=1e6, step=0.001, visible=False)
        self.click = gui.add_button("Focus on what I click on", color="gray")
        self.click.on_click(on(lambda _: self._ask_focus()))
        self.exposure = gui.add_slider(
            "Exposure (stops)", -5.0, 5.0, 0.1, 0.0, hint="Each stop doubles or halves the light."
        )
        self.background = gui.add_dropdown("Background", (AS_SHOWN, TRANSPARENT, COLOR))
        self.by_key = gui.add_markdown("", visible=False)
        self.color = gui.add_rgb("Colour", (255, 255, 255), visible=False)
        self._read_all(self.motion_blur, self.aperture, self.exposure, self.background, self.color)
        self.distance.on_update(on(lambda _: self._read_distance()))

    def _add_lens(self) -> None:
        gui = self.client.gui
        self.lens = gui.add_dropdown(
            "Lens", LENSES, hint="equirectangular is 360°; stereo180 is VR180, for two eyes."
        )
        self.lens.on_update(self.edits.by_visitor(lambda _: self._take_lens()))
        self.angle = gui.add_number("Field of view (°)", 180.0, min=1.0, max=360.0, step=1.0, visible=False)
        self.view_width = gui.add_number(
            "Width shown", 0.0, min=0.0, max=1e6, step=0.001, visible=False, hint="0: all of the subject."
        )
        self.eyes = gui.add_number(
            "Between the eyes", 0.0, min=0.0, max=1e6, step=0.001, visible=False, hint="0: as suits it."
        )
        self._read_all(self.angle, self.view_width, self.eyes)

    def _add_quality(self) -> None:
        gui = self.client.gui
        self.samples = gui.add_dropdown("Rays a pixel", tuple(SAMPLES), hint="More rays shimmer less.")
        self.preview = gui.add_checkbox(
            "Only a quick look", False, hint="A quarter of the pixels, and every third frame."
        )
        self.depth = gui.add_checkbox("Film the depth", False, hint="In false colours.")
        self._read_all(self.samples, self.preview, self.depth)

    def _add_compositing(self) -> None:
        gui = self.client.gui
        self.frames = gui.add_checkbox("PNG frames too", False, hint="They come with the film, as a .zip.")
        self.passes = {name: gui.add_checkbox(f"{name.capitalize()} of each frame", False) for name in PASSES}
        self.passes_as = gui.add_dropdown("These as", ("exr", "png"))
        self._read_all(self.frames, *self.passes.values(), self.passes_as)

    def _read_all(self, *handles: Any) -> None:
        for handle in handles:
            handle.on_update(self.edits.by_visitor(partial(self._read, handle)))

    # --- what the visitor does ----------------------------------------------------------------------

    def _apply(self, film: FilmSettings, drag: object = None, **plan: Any) -> None:
        self.edits.apply(replace(self.edits.plan, film=film, **plan), drag=drag)

    def _take_preset(self) -> None:
        name = self.preset.value
        if name != OWN:
            ready = READY[name]
            height = ready.height or film_size(self.stage.scene, ready.width, None)[1]
            film = replace(with_preset(self.film, name), lens="perspective")
            self._apply(film, width=ready.width, height=height, fps=ready.fps)

    def _read_size(self) -> None:
        width, height = (int(handle.value) // 2 * 2 for handle in (self.width, self.height))
        self._apply(self.film, width=width, height=height)

    def _read_format(self) -> None:
        ending, codec = EVERY_FORMAT[self.format.value]
        self._apply(replace(self.film, ending=ending, codec=codec))

    def _take_lens(self) -> None:
        """Takes another lens, and a size that it can have."""
        lens, before, plan = self.lens.value, self.film.lens, self.edits.plan
        views = self.stage.scene.views
        size = plan.width, plan.height
        if lens in LEVEL and plan.width != 2 * plan.height:
            k = panorama(lens, views, None, None)
            size = k.width, k.height
        elif before in LEVEL and lens not in LEVEL:
            size = film_size(self.stage.scene, None, None)
        self._apply(replace(self.film, lens=lens), width=size[0], height=size[1])

    def _focus(self) -> None:
        if self.focus.value == POINT:
            if not isinstance(self.film.focus, tuple):
                self._ask_focus()
            return
        self._sharp(None if self.focus.value == AUTO else float(self.distance.value) / self._unit)

    def _read_distance(self) -> None:
        self._sharp(float(self.distance.value) / self._unit)

    @property
    def _unit(self) -> float:
        """World units in one of the page's, in which the plan is."""
        return self.stage.world.unit

    def _sharp(self, focus: Any) -> None:
        aperture = self.film.aperture
        if focus is not None and aperture is None:
            aperture = USUAL_APERTURE
        self._apply(replace(self.film, focus=focus, aperture=aperture))

    def _ask_focus(self) -> None:
        def clicked(point: Array) -> None:
            self._sharp(triple(point))

        self.picker.ask(self.click, "Focus", "Click on what is to be sharp.", clicked)

    def _read(self, handle: Any, _: Any) -> None:
        """Takes the values of all other controls; handle: the one that was used."""
        chosen = self.background.value
        red, green, blue = self.color.value
        color = f"#{red:02x}{green:02x}{blue:02x}"
        unit = self._unit
        film = replace(
            self.film,
            motion_blur=float(self.motion_blur.value),
            aperture=float(self.aperture.value) if self.aperture.value >= 0.01 else None,
            exposure=float(self.exposure.value),
            background={AS_SHOWN: "auto", TRANSPARENT: "transparent"}.get(chosen, color),
            fov=float(self.angle.value) if self.lens.value == "fisheye" else None,
            view_width=float(self.view_width.value) / unit or None,
            eye_distance=float(self.eyes.value) / unit or None,
            samples=SAMPLES[self.samples.value],
            preview=self.preview.value,
            depth=self.depth.value,
            frames=self.frames.value,
            passes=",".join(name for name, box in self.passes.items() if box.value),
            passes_as=self.passes_as.value,
        )
        self._apply(film, drag=handle)

    # --- what is shown ------------------------------------------------------------------------------

    def _show(self) -> None:
        plan, film, unit = self.edits.plan, self.film, self._unit
        k = self.stage.scene.views[0].intrinsics
        preset = preset_of(film, (plan.width, plan.height), plan.fps, k.width / k.height)
        kind = format_name(film.ending, film.codec)
        self.edits.put_options(self.format, tuple(FORMATS) if kind in FORMATS else (*FORMATS, kind))
        focus, background = film.focus, film.background
        sharp = POINT if isinstance(focus, tuple) else DISTANCE if isinstance(focus, float) else AUTO
        behind = {"auto": AS_SHOWN, "transparent": TRANSPARENT}.get(background, COLOR)
        samples = {n: name for name, n in SAMPLES.items()}
        for handle, value in (
            (self.preset, preset or OWN), (self.width, plan.width), (self.height, plan.height),
            (self.format, kind), (self.motion_blur, round(film.motion_blur)),
            (self.aperture, film.aperture or NO_APERTURE), (self.focus, sharp),
            (self.exposure, film.exposure), (self.background, behind), (self.lens, film.lens),
            (self.angle, film.fov or 180.0), (self.view_width, (film.view_width or 0.0) * unit),
            (self.eyes, (film.eye_distance or 0.0) * unit),
            (self.samples, samples.get(film.samples, next(iter(SAMPLES)))), (self.preview, film.preview),
            (self.depth, film.depth), (self.frames, film.frames), (self.passes_as, film.passes_as),
            *((box, name in film.passes.split(",")) for name, box in self.passes.items()),
        ):  # fmt: skip
            self.edits.put(handle, value)
        tracks = tracks_of(plan)
        names = [name for name in ("focus", "exposure", "aperture") if getattr(tracks, name)]
        self._say_by_key(f"By keyframe in the tab Path: {', '.join(names)}." if names else "")
        if isinstance(focus, float):
            self.edits.put(self.distance, focus * unit)
        if behind == COLOR and len(background) == 7:
            self.edits.put(self.color, tuple(int(background[i : i + 2], 16) for i in (1, 3, 5)))
        for handle, wanted in (
            (self.distance, sharp == DISTANCE), (self.color, behind == COLOR),
            (self.angle, film.lens == "fisheye"), (self.view_width, film.lens == "orthographic"),
            (self.eyes, film.lens == "stereo180"),
        ):  # fmt: skip
            if handle.visible != wanted:
                handle.visible = wanted

    def _say_by_key(self, text: str) -> None:
        if text != self.by_key.content:
            self.by_key.content, self.by_key.visible = text, bool(text)
