"""What the page of a scene offers to make, in words for people who don't know the formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# (what for, how it is called, kind and ending): what most people want, in the order in which they ask for it.
USES = (
    ("Blender, games and web pages", "A mesh with its texture in one file.", "mesh.glb"),
    ("Show it in your room", "An iPhone or iPad places it before you; tap the file.", "mesh.usdz"),
    ("3D printing", "The surface alone, for a slicer. Crop the scene to the object first.", "mesh.stl"),
    ("As it looks, with its reflections", "Splats, for SuperSplat and most other viewers.", "splats.ply"),
    ("Measuring", "A cloud of points, for CloudCompare, QGIS and survey programs.", "points.laz"),
)
# The others, by kind: (kind and ending, what opens it).
OTHERS = (
    ("Mesh", (("mesh.obj", "nearly every 3D program"), ("mesh.ply", "MeshLab, CloudCompare, Blender"))),
    (
        "Splats",
        (
            ("splats.spz", "SuperSplat, Spark; small"),
            ("splats.sog", "SuperSplat, PlayCanvas, Spark; smallest"),
            ("splats.glb", "glTF viewers that know splats"),
            ("splats.usdz", "programs with USD 26.03 or newer"),
            ("splats.usdc", "programs with USD 26.03 or newer"),
        ),
    ),
    ("Points", (("points.ply", "CloudCompare, MeshLab, Blender"), ("points.las", "as .laz, but larger"))),
    (
        "Cameras",
        (
            ("cameras.zip", "nerfstudio, gsplat, Brush, COLMAP"),
            ("cameras.json", "nerfstudio, Brush: transforms.json alone"),
        ),
    ),
)
FILMS = (
    ("auto", "Whatever suits the photos"),
    ("orbit", "Orbit: around the subject"),
    ("turntable", "Turntable: all the way round, at one height"),
    ("walkthrough", "Walkthrough: the way the photos were taken"),
    ("dolly", "Dolly: straight ahead"),
    ("boom", "Boom: from low to high"),
    ("spiral", "Spiral: a small circle before the subject"),
    ("figure-eight", "Figure eight"),
)
LENGTHS = ((5, "5 seconds"), (8, "8 seconds"), (15, "15 seconds"), (30, "30 seconds"))
LONGER = (("5min", "5 minutes"), ("20min", "20 minutes"))  # what a scene can be trained on to
ENDS = ((1, "a day"), (7, "a week"), (30, "a month"), (0, "until I take it back"))


@dataclass(frozen=True)
class Offer:
    """title: what it is for; what: kind and ending, such as "mesh.glb"."""

    title: str
    said: str
    what: str


OFFERS = tuple(Offer(*use) for use in USES)


def name_of(what: str) -> str:
    """An export in words: "mesh.glb" is "Mesh, .glb"."""
    kind, _, ending = what.partition(".")
    return f"{kind.capitalize()}, .{ending}"


def film_name(options: dict[str, Any]) -> str:
    """A film in a word or two: its camera's way, and its file unless that is the usual one."""
    path = "photos" if options.get("through") else options.get("path") or "auto"
    ways = {"auto": "Film", "saved": "Own path", "photos": "From photo to photo"}
    name = ways.get(path, path.capitalize().replace("-", " "))
    return f"{name}, .{options['ending']}" if options.get("ending") else name
