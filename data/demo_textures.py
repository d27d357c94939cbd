"""Procedural textures of the demo still life: (height, width, 3) arrays in 0…1, sRGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, zoom

Texture = NDArray[np.float64]


def noise(rng: np.random.Generator, h: int, w: int, cells: int, octaves: int = 5) -> Texture:
    """Smooth, tileable fractal noise (h, w) in 0…1; the coarsest octave has ``cells`` cells per side."""
    out = np.zeros((h, w))
    for o in range(octaves):
        n = min(cells * 2**o, min(h, w))
        grid = rng.random((n, n))
        big = zoom(grid, (h / n, w / n), order=3, mode="grid-wrap", grid_mode=True)[:h, :w]
        out += big * 0.55**o
    out -= out.min()
    return out / out.max()


def mix(a: tuple[float, ...] | Texture, b: tuple[float, ...] | Texture, t: Texture) -> Texture:
    """Blends two colours by t (h, w): 0 gives a, 1 gives b."""
    t = np.clip(t, 0, 1)[..., None]
    return np.asarray(a) * (1 - t) + np.asarray(b) * t


def wood(
    seed: int,
    h: int = 1024,
    w: int = 1024,
    planks: int = 5,
    light: tuple[float, float, float] = (0.72, 0.50, 0.30),
    dark: tuple[float, float, float] = (0.36, 0.20, 0.10),
) -> Texture:
    """Planks with grain, knots and joints, grain along x."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    out = np.zeros((h, w, 3))
    ph = h // planks
    for p in range(planks):
        rows = slice(p * ph, (p + 1) * ph if p < planks - 1 else h)
        yy, xx = y[rows] / h * 6, x[rows] / w
        bend = noise(rng, h, w, 3)[rows] * 1.2
        for _ in range(2):
            kx, ky = rng.random(), (p + rng.random()) / planks * 6
            bend += 0.9 * np.exp(-(((xx - kx) * 9) ** 2 + ((yy - ky) * 2.5) ** 2))
        rings = 0.5 + 0.5 * np.sin((yy + bend) * 42 + rng.random() * 6)
        fibres = zoom(rng.random((h // 2, 16)), (2, w / 16), order=1)[:h, :w][rows]
        tone = 0.18 * (rng.random() - 0.5)
        out[rows] = mix(light, dark, 0.15 + 0.45 * rings**2 + 0.4 * (fibres - 0.4) + tone)
        out[rows][:3] *= 0.35
        joint = int(rng.random() * w)
        out[rows, joint : joint + 3] *= 0.4
    return np.clip(out * (0.9 + 0.2 * noise(rng, h, w, 4)[..., None]), 0, 1)


def bricks(seed: int, h: int = 1024, w: int = 1024, rows: int = 16, columns: int = 8) -> Texture:
    """Bricks in running bond with mortar, each in its own red."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    r = (y * rows) // h
    shifted = (x + (r % 2) * w // columns // 2) % w
    c = (shifted * columns) // w
    fx, fy = shifted * columns / w % 1, y * rows / h % 1
    wobble = 0.02 * noise(rng, h, w, 32)
    mortar = (np.minimum(fx, 1 - fx) < 0.022 + wobble) | (np.minimum(fy, 1 - fy) < 0.05 + wobble)
    tone = rng.random((rows, columns))[r, c]
    base = mix((0.66, 0.34, 0.25), (0.45, 0.22, 0.17), tone)
    base *= (0.7 + 0.6 * noise(rng, h, w, 24))[..., None]
    return np.clip(
        np.where(mortar[..., None], mix((0.70, 0.67, 0.62), (0.55, 0.52, 0.48), noise(rng, h, w, 48)), base),
        0,
        1,
    )


def wallpaper(seed: int, h: int = 1024, w: int = 1024) -> Texture:
    """Stripes with sprigs of flowers, each a little different."""
    rng = np.random.default_rng(seed)
    x = np.mgrid[0:h, 0:w][1]
    stripes = 0.5 + 0.5 * np.sign(np.sin(x / w * 2 * np.pi * 12))
    base = mix((0.86, 0.83, 0.74), (0.74, 0.80, 0.76), stripes)
    picture = Image.fromarray((base * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for i in range(9):
        for j in range(9):
            cx = (i + 0.5 + 0.5 * (j % 2) + 0.12 * rng.standard_normal()) * w / 9
            cy = (j + 0.5 + 0.12 * rng.standard_normal()) * h / 9
            colour = tuple(int(v) for v in rng.integers((150, 50, 60), (215, 130, 150)))
            stem = rng.uniform(0, 2 * np.pi)
            for k in range(3):
                a = stem + 0.7 * (k - 1)
                ex, ey = cx + 40 * np.cos(a), cy + 40 * np.sin(a)
                draw.line((cx, cy, ex, ey), fill=(70, 105, 70), width=3)
                draw.ellipse((ex - 9, ey - 5, ex + 9, ey + 5), fill=(88, 130, 80))
            for k in range(int(rng.integers(5, 8))):
                a = stem + k * 2 * np.pi / 6
                px, py = cx + 13 * np.cos(a), cy + 13 * np.sin(a)
                draw.ellipse((px - 10, py - 10, px + 10, py + 10), fill=colour, outline=(120, 40, 50))
            draw.ellipse((cx - 6, cy - 6, cx + 6, cy + 6), fill=(235, 200, 90))
    out = np.asarray(picture) / 255.0
    return np.clip(out * (0.88 + 0.2 * noise(rng, h, w, 6)[..., None]), 0, 1)


def plaster(seed: int, colour: tuple[float, float, float], h: int = 512, w: int = 512) -> Texture:
    """Painted plaster: blotches, trowel marks, speckles."""
    rng = np.random.default_rng(seed)
    n = 0.55 * noise(rng, h, w, 5) + 0.45 * noise(rng, h, w, 60, 3)
    return np.clip(np.asarray(colour) * (0.72 + 0.42 * n)[..., None], 0, 1)


def rug(seed: int, h: int = 768, w: int = 1024) -> Texture:
    """Nested borders of diamonds and zigzags around a field of medallions, with woven grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    u, v = x / w * 24, y / h * 18
    edge = np.minimum(np.minimum(u, 24 - u), np.minimum(v, 18 - v))
    diamond = (np.abs(u % 2 - 1) + np.abs(v % 2 - 1)) < 0.62
    medal = np.sin(u * 1.3) * np.sin(v * 1.3) + 0.4 * np.sin(u * 3.9 + v) > 0.25
    out = np.where(medal[..., None], (0.16, 0.22, 0.42), (0.62, 0.14, 0.13))
    out = np.where((diamond & (edge > 3))[..., None], (0.88, 0.74, 0.45), out)
    zig = (np.abs((u + v) % 1.0 - 0.5) < 0.25)[..., None]
    out = np.where((edge < 3)[..., None], np.where(zig, (0.86, 0.78, 0.60), (0.20, 0.32, 0.28)), out)
    out = np.where((np.abs(edge - 3) < 0.18)[..., None] | (edge < 0.25)[..., None], (0.08, 0.07, 0.08), out)
    weave = 0.85 + 0.15 * np.sin(x * np.pi / 2) * np.sin(y * np.pi / 2)
    return np.clip(out * (weave * (0.75 + 0.4 * noise(rng, h, w, 40, 3)))[..., None], 0, 1)


def runner(seed: int, h: int = 512, w: int = 1024) -> Texture:
    """A linen table runner: checks, embroidered crosses, a fringe of stripes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    a, b = (x // 32 % 2), (y // 32 % 2)
    out = mix((0.90, 0.87, 0.78), (0.35, 0.48, 0.62), 0.5 * a + 0.5 * b)
    cross = (np.abs(x % 128 - 64) + np.abs(y % 128 - 64) < 22) & ((x + y) % 8 < 4)
    out = np.where(cross[..., None], (0.70, 0.18, 0.16), out)
    out = np.where(((y < 26) | (y > h - 26))[..., None], (0.70, 0.18, 0.16), out)
    threads = 0.86 + 0.14 * np.sin(x * 1.6) * np.sin(y * 1.6)
    return np.clip(out * (threads * (0.85 + 0.25 * noise(rng, h, w, 30, 3)))[..., None], 0, 1)


def painted(seed: int, ground: tuple[float, float, float], ink: tuple[float, float, float]) -> Texture:
    """Pottery: bands of leaves, waves and dots in one ink, with brush unevenness. u is the angle."""
    rng = np.random.default_rng(seed)
    h, w = 768, 1024
    y, x = np.mgrid[0:h, 0:w]
    u, v = x / w * 2 * np.pi, y / h
    mask = np.zeros((h, w))
    for band in (0.08, 0.3, 0.7, 0.92):
        mask = np.maximum(mask, (np.abs(v - band) < 0.008).astype(float))
    wave = np.abs(v - 0.19 - 0.05 * np.sin(u * 9)) < 0.016
    dots = (((u * 20 / np.pi) % 2 - 1) ** 2 + ((v - 0.81) * 22) ** 2) < 0.45
    petals = np.abs(np.sin(u * 4)) * (1 - ((v - 0.5) / 0.19) ** 2) > 0.42 + 0.35 * np.abs(
        np.sin(u * 16 + v * 30)
    )
    mask = np.maximum(mask, (wave | dots | (petals & (np.abs(v - 0.5) < 0.19))).astype(float))
    mask = gaussian_filter(mask, 1.2) * (0.65 + 0.5 * noise(rng, h, w, 20))
    base = np.asarray(ground) * (0.86 + 0.2 * noise(rng, h, w, 8))[..., None]
    specks = noise(rng, h, w, 256, 1) > 0.93
    return np.clip(np.where(specks[..., None], base * 0.7, mix(base, ink, mask)), 0, 1)


def skin(seed: int, a: tuple[float, float, float], b: tuple[float, float, float], streaks: float) -> Texture:
    """Fruit: two colours blending, streaks from pole to pole, pores and a bruise or two."""
    rng = np.random.default_rng(seed)
    h, w = 512, 512
    lines = zoom(rng.random((8, 160)), (h / 8, w / 160), order=1)[:h, :w]
    t = 0.9 * noise(rng, h, w, 3) + streaks * (lines - 0.5)
    out = mix(a, b, t)
    pores = noise(rng, h, w, 128, 1)
    out = np.where((pores > 0.86)[..., None], out * 0.5 + 0.48 * np.array((0.95, 0.85, 0.6)), out)
    bruise = noise(rng, h, w, 4, 2) > 0.9
    return np.clip(
        np.where(bruise[..., None], out * 0.6, out) * (0.85 + 0.3 * noise(rng, h, w, 64, 2))[..., None], 0, 1
    )


def cover(seed: int, colour: tuple[float, float, float], title: str, w: int = 512, h: int = 384) -> Texture:
    """A book's cover or spine: cloth, a frame, lettering."""
    rng = np.random.default_rng(seed)
    base = np.asarray(colour) * (0.75 + 0.4 * noise(rng, h, w, 90, 2))[..., None]
    picture = Image.fromarray((np.clip(base, 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    gold = (224, 190, 110)
    m = h // 14
    draw.rectangle((m, m, w - m, h - m), outline=gold, width=max(h // 80, 2))
    draw.rectangle((2 * m, 2 * m, w - 2 * m, h - 2 * m), outline=gold, width=1)
    font = ImageFont.load_default(h // 4)
    box = draw.textbbox((0, 0), title, font=font)
    size = (min(1.0, (w - 6 * m) / max(box[2], 1))) * (h // 4)
    font = ImageFont.load_default(max(int(size), 8))
    draw.text((w / 2, h / 2), title, fill=gold, font=font, anchor="mm")
    for i in range(12):
        x = 3 * m + i * (w - 6 * m) / 11
        draw.regular_polygon((x, h - 3.4 * m, m * 0.6), 4, rotation=45, fill=gold)
        draw.regular_polygon((x, 3.4 * m, m * 0.6), 3, rotation=int(30 * (i % 2)), fill=gold)
    return np.asarray(picture) / 255.0


def pages(seed: int) -> Texture:
    """The cut edge of a book: thin uneven lines."""
    rng = np.random.default_rng(seed)
    lines = zoom(rng.random((128, 4)), (2, 64), order=1)
    return mix((0.92, 0.87, 0.75), (0.62, 0.54, 0.42), 0.8 * lines)


def landscape(seed: int, h: int = 512, w: int = 700) -> Texture:
    """A painted picture: sky, ranges of hills, fields, a low sun, a mount around it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w] / h
    out = mix((0.95, 0.70, 0.45), (0.35, 0.52, 0.75), 1 - y * 1.4 + 0.25 * noise(rng, h, w, 4))
    sun = (x - 0.9) ** 2 + (y - 0.33) ** 2 < 0.006
    out = np.where(sun[..., None], (0.99, 0.93, 0.70), out)
    for k in range(6):
        ridge = (
            0.35
            + 0.09 * k
            + 0.08 * np.sin(x * (3 + k) + rng.random() * 6)
            + 0.06 * noise(rng, h, w, 6)[h // 2][None]
        )
        shade = np.array((0.20 + 0.05 * k, 0.32 + 0.07 * k, 0.38 - 0.04 * k))
        hill = shade * (0.6 + 0.7 * noise(rng, h, w, 30))[..., None]
        out = np.where((y > ridge)[..., None], hill, out)
    border = (np.minimum(x, w / h - x) < 0.09) | (np.minimum(y, 1 - y) < 0.09)
    return np.clip(
        np.where(
            border[..., None], (0.93, 0.91, 0.85) * (0.9 + 0.1 * noise(rng, h, w, 80, 2))[..., None], out
        ),
        0,
        1,
    )


def letter(seed: int, char: str, ground: tuple[int, int, int], ink: tuple[int, int, int]) -> Texture:
    """One face of a wooden block: a letter in a frame on grain."""
    rng = np.random.default_rng(seed)
    base = wood(seed, 256, 256, 1, (0.85, 0.68, 0.45), (0.66, 0.46, 0.26))
    picture = Image.fromarray((base * 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((18, 18, 238, 238), outline=ink, width=12)
    draw.rectangle((40, 40, 216, 216), fill=ground)
    draw.text((128, 128), char, fill=ink, font=ImageFont.load_default(150), anchor="mm")
    return np.clip(np.asarray(picture) / 255.0 * (0.85 + 0.25 * noise(rng, 256, 256, 40, 2))[..., None], 0, 1)


def leaf(seed: int) -> Texture:
    """A leaf's upper side: veins on mottled green."""
    rng = np.random.default_rng(seed)
    h, w = 256, 256
    y, x = np.mgrid[0:h, 0:w] / h
    veins = (np.abs(y - 0.5) < 0.012) | (np.abs((x * 1.6 + np.abs(y - 0.5) * -1.6) * 7 % 1 - 0.5) < 0.05)
    out = mix((0.16, 0.38, 0.14), (0.38, 0.56, 0.22), noise(rng, h, w, 6))
    return np.where(veins[..., None], (0.62, 0.72, 0.42), out)


def weave(seed: int) -> Texture:
    """Basketwork: strands over and under."""
    rng = np.random.default_rng(seed)
    h, w = 512, 1024
    y, x = np.mgrid[0:h, 0:w]
    r, c = y // 24, x // 40
    over = ((r + c) % 2).astype(float)
    shade = np.where(over > 0, np.abs(np.sin(np.pi * (x % 40) / 40)), np.abs(np.sin(np.pi * (y % 24) / 24)))
    tone = rng.random((h // 24 + 1, w // 40 + 1))[r, c]
    out = mix((0.80, 0.62, 0.36), (0.52, 0.34, 0.17), tone)
    return np.clip(
        out * (0.3 + 0.75 * shade)[..., None] * (0.8 + 0.3 * noise(rng, h, w, 90, 2))[..., None], 0, 1
    )
