"""The demo still life for Mitsuba: a room, a table and the things on it. Metres, +z is up."""

from __future__ import annotations

from pathlib import Path

import demo_textures as tx
import mitsuba as mi
import numpy as np
from demo_meshes import Mesh, grid_faces, lathe, place, ring, sheet, sphere_profile, upright, write_ply
from PIL import Image


class Stage:
    """Collects textured shapes in ``scene``, a dictionary for Mitsuba; writes their files to ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.scene, self.count = folder, {"type": "scene"}, 0

    def material(self, texture: tx.Texture, gloss: float, repeat: tuple[float, float]) -> dict[str, object]:
        """A two-sided material: plastic of roughness ``gloss`` if that is above 0, otherwise diffuse."""
        file = self.folder / f"t{self.count}.png"
        # Mitsuba puts a picture's first row at v = 0, the bottom; our textures have it at the top.
        Image.fromarray((np.clip(texture[::-1], 0, 1) * 255).astype(np.uint8)).save(file)
        bitmap = {
            "type": "bitmap",
            "filename": str(file),
            "to_uv": mi.ScalarTransform4f().scale([repeat[0], repeat[1], 1]),
        }
        inner: dict[str, object]
        if gloss > 0:
            inner = {"type": "roughplastic", "diffuse_reflectance": bitmap, "alpha": gloss, "nonlinear": True}
        else:
            inner = {"type": "diffuse", "reflectance": bitmap}
        return {"type": "twosided", "inner": inner}

    def add(
        self, mesh: Mesh, texture: tx.Texture, gloss: float = 0.0, repeat: tuple[float, float] = (1, 1)
    ) -> None:
        """Adds a textured mesh."""
        self.count += 1
        file = self.folder / f"m{self.count}.ply"
        write_ply(mesh, file)
        bsdf = self.material(texture, gloss, repeat)
        self.scene[f"shape{self.count}"] = {"type": "ply", "filename": str(file), "bsdf": bsdf}

    def box(
        self,
        size: tuple[float, float, float],
        at: tuple[float, float, float],
        textures: list[tx.Texture],
        turn: float = 0.0,
        gloss: float = 0.0,
    ) -> None:
        """Adds a box whose base is centred at ``at``. Textures: top and bottom, front and back, sides."""
        x, y, z = size
        faces = [
            (place(sheet(x, y, n=2), (0, 0, z)), 0),
            (place(sheet(x, y, n=2), (0, 0, 0)), 0),
            (upright(x, z, (0, -y / 2, z / 2), 0), 1),
            (upright(x, z, (0, y / 2, z / 2), 180), 1),
            (upright(y, z, (x / 2, 0, z / 2), 90), 2),
            (upright(y, z, (-x / 2, 0, z / 2), -90), 2),
        ]
        for mesh, which in faces:
            self.add(place(mesh, at, turn), textures[min(which, len(textures) - 1)], gloss)

    def light(self, mesh: Mesh, radiance: tuple[float, float, float]) -> None:
        """Adds a mesh that emits light."""
        self.count += 1
        file = self.folder / f"m{self.count}.ply"
        write_ply(mesh, file)
        emitter = {"type": "area", "radiance": {"type": "rgb", "value": list(radiance)}}
        self.scene[f"light{self.count}"] = {"type": "ply", "filename": str(file), "emitter": emitter}


def build_room(s: Stage) -> None:
    """Floor, walls, ceiling, light from windows and a lamp, and the things along the walls."""
    half, high = 2.6, 2.7
    s.add(sheet(2 * half, 2 * half), tx.wood(1, planks=8, light=(0.62, 0.42, 0.25)), 0.25, (2, 2))
    s.add(place(sheet(2 * half, 2 * half), (0, 0, high)), tx.plaster(2, (0.90, 0.88, 0.84)), 0, (2, 2))
    s.add(upright(2 * half, high, (0, half, high / 2), 0), tx.wallpaper(3), 0, (2, 1))
    s.add(upright(2 * half, high, (half, 0, high / 2), 90), tx.bricks(4), 0, (2, 1))
    s.add(upright(2 * half, high, (-half, 0, high / 2), -90), tx.wallpaper(5), 0, (2, 1))
    s.add(upright(2 * half, high, (0, -half, high / 2), 180), tx.plaster(6, (0.72, 0.78, 0.74)), 0, (3, 2))
    s.add(place(sheet(2.6, 2.0), (0, 0, 0.006), 8), tx.rug(7))
    # A skirting board; then the light, from two windows and a soft lamp under the ceiling.
    for turn, at in (
        (0, (0, half - 0.01, 0.06)),
        (90, (half - 0.01, 0, 0.06)),
        (-90, (-half + 0.01, 0, 0.06)),
    ):
        s.add(
            upright(2 * half, 0.12, at, turn),
            tx.wood(8, 128, 1024, 1, (0.88, 0.84, 0.76), (0.7, 0.66, 0.58)),
            0.2,
        )
    for x in (-1.3, 1.3):
        s.light(upright(1.1, 1.3, (x, -half + 0.02, 1.55), 180), (9.0, 9.6, 10.5))
        for dx in (-0.6, 0.0, 0.6):
            s.box(
                (0.06, 0.06, 1.42),
                (x + dx, -half + 0.05, 0.84),
                [tx.wood(9, 256, 256, 1, (0.9, 0.88, 0.82), (0.7, 0.68, 0.6))],
            )
    s.light(place(sheet(1.6, 1.6, n=2), (0.3, 0.2, high - 0.03), tilt=180), (5.6, 4.9, 4.0))
    for i, (x, z, w) in enumerate(((-1.35, 1.65, 0.8), (0.1, 1.75, 0.95), (1.45, 1.6, 0.7))):
        s.box(
            (w + 0.1, 0.04, 0.73 * w + 0.1),
            (x, half - 0.03, z - 0.36 * w),
            [tx.wood(20 + i, 256, 256, 1)],
            gloss=0.2,
        )
        s.add(upright(w, 0.73 * w, (x, half - 0.055, z + 0.05), 0), tx.landscape(30 + i))
    build_shelf(s, half)
    # A chest under the pictures, and a cushion on it.
    s.box(
        (1.3, 0.42, 0.62),
        (-0.5, half - 0.24, 0),
        [tx.wood(12, 512, 512, 3), tx.wood(13, 512, 512, 2)],
        gloss=0.25,
    )
    s.add(
        place(lathe([(0, 0), (0.2, 0.01), (0.25, 0.06), (0.2, 0.12), (0, 0.13)]), (-0.8, half - 0.28, 0.62)),
        tx.runner(14),
    )
    pot = lathe([(0, 0), (0.12, 0), (0.17, 0.3), (0.19, 0.31), (0.15, 0.32), (0, 0.28)])
    s.add(place(pot, (-2.1, 1.9, 0)), tx.painted(15, (0.72, 0.40, 0.28), (0.25, 0.14, 0.10)), 0.3)
    plant(s, (-2.1, 1.9, 0.3), 16, 26, 0.5)


def build_shelf(s: Stage, half: float) -> None:
    """A bookcase full of books against the brick wall."""
    rng = np.random.default_rng(40)
    board = tx.wood(41, 256, 512, 1, (0.5, 0.33, 0.2), (0.3, 0.18, 0.1))
    y0, y1, x = -1.0, 0.9, half - 0.17
    for z in (0.05, 0.5, 0.95, 1.4, 1.85):
        s.box((0.3, y1 - y0, 0.035), (x, (y0 + y1) / 2, z), [board])
    for y in (y0, y1):
        s.box((0.3, 0.04, 1.9), (x, y, 0), [board])
    covers = [
        tx.cover(50 + i, tuple(rng.uniform(0.12, 0.62, 3)), name, 512, 128)
        for i, name in enumerate(("ATLAS", "GARDENS", "OPTICS", "RIVERS", "POEMS", "STONES", "WINDS", "MAPS"))
    ]
    spines = [np.rot90(c) for c in covers]
    paper = tx.pages(60)
    for z in (0.085, 0.535, 0.985, 1.435):
        y = y0 + 0.06
        while y < y1 - 0.12:
            thick, tall = rng.uniform(0.028, 0.065), rng.uniform(0.24, 0.38)
            if rng.random() < 0.08:
                y += 0.1
                continue
            i = int(rng.integers(len(covers)))
            s.box((0.2, thick, tall), (x - 0.03, y + thick / 2, z), [paper, covers[i], spines[i]])
            y += thick + 0.003


def plant(s: Stage, at: tuple[float, float, float], seed: int, leaves: int, length: float) -> None:
    """Leaves on stalks that bend outwards."""
    rng = np.random.default_rng(seed)
    textures = [tx.leaf(seed + k) for k in range(2)]
    for i in range(leaves):
        t, u = np.meshgrid(np.linspace(0, 1, 24), np.linspace(-1, 1, 9), indexing="ij")
        size = length * rng.uniform(0.7, 1.15)
        width = 0.16 * size * np.sin(np.pi * np.clip((t - 0.25) / 0.75, 0.02, 1)) ** 0.8 + 0.004
        lean = rng.uniform(0.25, 1.1)
        along, rise = size * t * np.sin(lean * (0.3 + 0.9 * t)), size * t * np.cos(lean * (0.3 + 0.9 * t))
        v = np.stack([along, u * width, rise + 0.25 * width * u**2], axis=-1).reshape(-1, 3)
        mesh = Mesh(v, np.stack([t, (u + 1) / 2], axis=-1).reshape(-1, 2), grid_faces(24, 9))
        s.add(place(mesh, at, i * 137.5 + rng.uniform(-15, 15)), textures[i % 2], 0.3)


def build_table(s: Stage) -> None:
    """The table and its cloth."""
    top = tx.wood(70, 1024, 1024, 6, (0.60, 0.38, 0.21), (0.30, 0.16, 0.08))
    leg = tx.wood(71, 256, 256, 1, (0.55, 0.34, 0.19), (0.30, 0.16, 0.08))
    s.box((1.5, 1.0, 0.045), (0, 0, 0.705), [top, leg], gloss=0.18)
    for x in (-0.66, 0.66):
        for y in (-0.42, 0.42):
            s.box((0.08, 0.08, 0.705), (x, y, 0), [leg])
    n = 65
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    folds = 0.0025 * (np.sin(x * 17 + y * 5) + np.sin(x * 7 - y * 9)) + 0.0062
    s.add(place(sheet(1.25, 0.5, folds, n), (0, -0.02, 0.75), 6), tx.runner(72))


def build_things(s: Stage) -> None:
    """The things on the table; the top of the cloth is at z = 0.757."""
    z = 0.757
    clay, blue = (0.90, 0.88, 0.82), (0.12, 0.22, 0.52)
    vase = [
        (0, 0),
        (0.055, 0),
        (0.06, 0.01),
        (0.105, 0.11),
        (0.10, 0.19),
        (0.045, 0.27),
        (0.042, 0.30),
        (0.06, 0.33),
        (0.053, 0.33),
        (0.036, 0.30),
        (0.04, 0.2),
    ]
    s.add(place(lathe(vase), (-0.12, 0.20, z)), tx.painted(80, clay, blue), 0.12)
    plant(s, (-0.12, 0.20, z + 0.27), 81, 15, 0.24)
    bowl = [
        (0, 0.0),
        (0.06, 0),
        (0.062, 0.012),
        (0.13, 0.05),
        (0.165, 0.095),
        (0.158, 0.097),
        (0.12, 0.055),
        (0.05, 0.02),
        (0, 0.018),
    ]
    s.add(place(lathe(bowl), (0.20, -0.08, z)), tx.painted(82, (0.80, 0.62, 0.40), (0.36, 0.15, 0.08)), 0.2)
    fruit(s, z)
    mug = [(0, 0), (0.04, 0), (0.043, 0.005), (0.043, 0.095), (0.038, 0.097), (0.037, 0.02), (0, 0.015)]
    at = (-0.36, -0.20, z)
    s.add(place(lathe(mug), at, 20), tx.painted(83, (0.82, 0.30, 0.22), (0.95, 0.90, 0.75)), 0.15)
    s.add(
        place(ring(0.03, 0.007, -1.5, 1.5), (at[0] + 0.04, at[1], z + 0.05), 0),
        tx.plaster(84, (0.82, 0.30, 0.22)),
        0.15,
    )
    basket = [
        (0, 0),
        (0.11, 0),
        (0.135, 0.06),
        (0.15, 0.14),
        (0.158, 0.15),
        (0.145, 0.152),
        (0.13, 0.06),
        (0.1, 0.012),
        (0, 0.012),
    ]
    a, t = np.meshgrid(np.linspace(0, 2 * np.pi, 193), np.linspace(0, 1, 96))
    bumps = 0.004 * np.sin(a * 24) * np.sign(np.sin(t * 60))
    s.add(place(lathe(basket, 192, bumps), (0.50, 0.24, z)), tx.weave(85), 0, (2, 2))
    for i in range(5):
        ball = lathe(
            sphere_profile(0.042),
            96,
            0.0018 * np.random.default_rng(90 + i).standard_normal((96, 97)).cumsum(0) / 6,
        )
        x, y, dz = (
            (0, 0, 0.057),
            (0.062, 0.018, 0.064),
            (-0.055, 0.045, 0.064),
            (-0.027, -0.063, 0.066),
            (0.02, 0.02, 0.128),
        )[i]
        wool = (
            tx.weave(95 + i)[:, :, [0, 1, 2] if i % 2 else [2, 1, 0]]
            * ((1.1, 0.6, 0.6), (0.7, 0.9, 1.2), (1.1, 1.0, 0.6), (0.6, 1.1, 0.7), (1.1, 0.7, 1.0))[i]
        )
        s.add(place(ball, (0.50 + x, 0.24 + y, z + dz), 40 * i, 30 * i), np.clip(wool, 0, 1), 0, (3, 3))
    books(s, z)
    blocks(s, z)


def fruit(s: Stage, z: float) -> None:
    """Apples, oranges and a pear in and beside the bowl."""
    rng = np.random.default_rng(100)
    red, yellow, green = (0.66, 0.10, 0.08), (0.90, 0.72, 0.25), (0.52, 0.66, 0.22)
    spots = [
        (0.14, -0.12, 0.045, "apple"), (0.25, -0.12, 0.045, "orange"), (0.20, -0.01, 0.045, "apple"),
        (0.205, -0.085, 0.115, "orange"), (0.10, -0.30, 0.0, "apple"),
        (0.36, -0.27, 0.0, "orange"), (-0.02, -0.24, 0.0, "pear"),
    ]  # fmt: skip
    stem = tx.wood(101, 64, 64, 1)
    for i, (x, y, dz, kind) in enumerate(spots):
        lumps = 0.0012 * tx.noise(rng, 96, 128, 4, 3)
        bumps = np.concatenate([lumps, lumps[:, :1]], axis=1)
        turn, tilt = float(rng.uniform(0, 360)), float(rng.uniform(-18, 18))
        if kind == "apple":
            mesh, texture = (
                lathe(sphere_profile(0.043, 0.012), 128, bumps),
                tx.skin(110 + i, red, yellow, 1.1),
            )
        elif kind == "orange":
            pits = 0.0006 * rng.random((96, 129))
            mesh, texture = (
                lathe(sphere_profile(0.042), 128, pits),
                tx.skin(110 + i, (0.93, 0.50, 0.10), (0.85, 0.38, 0.06), 0.2),
            )
        else:
            pear = [
                (0, 0.003),
                (0.03, 0),
                (0.046, 0.03),
                (0.042, 0.06),
                (0.024, 0.09),
                (0.018, 0.115),
                (0, 0.122),
            ]
            mesh, texture = lathe(pear, 128, bumps), tx.skin(110 + i, green, (0.78, 0.70, 0.28), 0.5)
        s.add(place(mesh, (x, y, z + dz), turn, tilt), texture, 0.16)
        if kind != "orange":
            top = 0.072 if kind == "apple" else 0.118
            stalk = lathe([(0, 0), (0.002, 0), (0.0018, 0.022), (0, 0.022)], 16)
            s.add(place(stalk, (x, y, z + dz + top), turn, 12), stem)


def books(s: Stage, z: float) -> None:
    """A pile of books, each turned a little differently."""
    paper = tx.pages(120)
    facts = [
        ((0.30, 0.21, 0.038), (0.16, 0.30, 0.42), "VOYAGES", 12),
        ((0.28, 0.20, 0.030), (0.52, 0.16, 0.14), "HERBAL", -6),
        ((0.26, 0.18, 0.045), (0.20, 0.38, 0.22), "TALES", 20),
        ((0.22, 0.15, 0.024), (0.60, 0.46, 0.16), "NOTES", 3),
    ]  # fmt: skip
    for i, (size, colour, title, turn) in enumerate(facts):
        cover = tx.cover(130 + i, colour, title)
        spine = tx.cover(140 + i, colour, title, 512, 80)
        s.box(size, (-0.48, 0.16, z), [cover, spine, paper], turn, 0.35)
        z += size[2] + 0.0008


def blocks(s: Stage, z: float) -> None:
    """Wooden blocks with letters, some of them stacked."""
    inks = [
        ((240, 222, 180), (160, 40, 36)),
        ((226, 235, 226), (32, 84, 60)),
        ((232, 228, 240), (40, 56, 130)),
    ]
    spots = [
        (0.02, -0.40, 0, 15),
        (0.085, -0.405, 0, -20),
        (0.05, -0.40, 0.056, 8),
        (-0.55, -0.32, 0, 33),
        (0.60, -0.12, 0, -12),
        (0.60, -0.20, 0, 25),
    ]
    for i, (x, y, dz, turn) in enumerate(spots):
        faces = [
            tx.letter(150 + 3 * i + k, "NERFSCPHOTAI"[(2 * i + k) % 12], *inks[(i + k) % 3]) for k in range(3)
        ]
        s.box((0.055, 0.055, 0.055), (x, y, z + dz), faces, turn, 0.3)
