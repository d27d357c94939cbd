"""Writes a scene's report.html: its figures, pictures and advice for better photos. One file, no network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nerfscene.films.panoramas import all_panoramas
from nerfscene.loading import loading
from nerfscene.measuring import svg
from nerfscene.measuring.advice import advice, standing, verdict
from nerfscene.measuring.moved_section import moved_section
from nerfscene.scene.atomic import writing
from nerfscene.scene.folder import Scene
from nerfscene.scene.output_folder import REPORT_FILE
from nerfscene.scene.scene import error_in_words, flip_in_words
from nerfscene.types import View

POSING_LABELS = {  # fields of types.PoseReport, in words
    "pairs_compared": "pairs of photos compared",
    "pairs_connected": "pairs that connect",
    "points": "points found",
    "track_length": "photos that see a point, on average",
    "agreement": "share of the matches that fit the cameras",
}
MOST_SHOWN, SHOWN_SIDE, JPEG_QUALITY = 24, 480, 80
KINDS_SHOWN = 4  # combinations of size and lens


@dataclass(frozen=True)
class Pictures:
    """A held-out view's figures, and its photo, render and difference as JPEG files."""

    figures: dict[str, Any]
    photo: bytes
    render: bytes
    error: bytes


@dataclass
class Gallery:
    """Collects small pictures while views are measured; ``add`` may be called from any thread."""

    pictures: list[Pictures] = field(default_factory=list)

    def add(
        self,
        figures: dict[str, Any],
        photo: NDArray[np.float32],
        render: NDArray[np.float32],
        error: NDArray[np.float32],
    ) -> None:
        """Adds a view: its figures, its photo and its render, both (height, width, 3) in 0…1, and their
        difference (height, width).
        """
        with loading():
            from nerfscene.films import video  # loads av

        pictures = (video.to_bytes(photo), video.to_bytes(render), video.color_error(error))
        small = [_jpeg(picture) for picture in pictures]
        self.pictures.append(Pictures(figures, *small))


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def write_report(scene: Scene, folder: Path, pictures: Sequence[Pictures] = ()) -> Path:
    """Writes report.html into the scene's folder; returns the file.

    Raises NerfsceneError when it can't be written.
    """
    file = folder / REPORT_FILE
    with writing(file) as temporary:
        temporary.write_text(page(scene, folder.name, pictures), encoding="utf-8", errors="replace")
    return file


def page(scene: Scene, name: str, pictures: Sequence[Pictures] = ()) -> str:
    """The report as one HTML document; names and texts from outside are escaped."""
    title = f"{html.escape(name)} – results"
    sections = [
        _headline(scene),
        _taken_in(scene),
        _advice(scene),
        _cameras(scene),
        _curve(scene),
        _pictures(pictures, any(view.mask is not None for view in scene.views)),
        moved_section(scene),
        _left_out(scene),
        _settings(scene),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>\n"
        + "\n".join(s for s in sections if s)
        + "\n</main></body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>\n{body}</section>"


def _headline(scene: Scene) -> str:
    f = scene.figures
    tiles = [
        (f"{f.photos_posed} of {f.photos}", "photos posed"),
        (f"{f.train_seconds:.0f} s", "of training"),
    ]
    summary = "No photo was held out, so nothing was measured."
    if f.psnr is not None and f.ssim is not None:
        flip = [] if f.flip is None else [(f"{f.flip:.3f}", "FLIP")]
        tiles = [(f"{f.psnr:.1f} dB", "PSNR"), (f"{f.ssim:.3f}", "SSIM"), *flip, *tiles]
        photos = "a photo" if f.views == 1 else f"{f.views} photos"
        found = verdict(scene)
        assert found is not None
        summary = f"On {photos} that training never saw, the scene is <strong>{found.looks}</strong>."
        summary += "".join(f" {html.escape(s)}" for s in (found.reason, found.then) if s)
    if f.reprojection_error is not None:
        side = f.reprojection_side(scene.views[0].intrinsics)
        tiles.append((error_in_words(f.reprojection_error, side), "reprojection error"))
    if not f.finished:
        summary += " Training was stopped early; <code>--resume</code> continues it."
    boxes = "".join(f"<li><b>{value}</b> {label}</li>" for value, label in tiles)
    return f'<p class="lead">{summary}</p>\n<ul class="tiles">{boxes}</ul>'


def _taken_in(scene: Scene) -> str:
    """Photos by size and lens; "" for a scene made before these were recorded."""
    found = scene.figures.taken_in
    if not found:
        return ""
    parts = []
    if all_panoramas(scene.views):
        k, count = found[0], len(scene.views)
        size = f"{k['width']}×{k['height']}"
        return (
            f"<p>Made of {scene.figures.photos_posed} panoramas, cut into {count} views of {size} pixels.</p>"
        )
    for k in found[:KINDS_SHOWN]:
        photos = "1 photo" if k["photos"] == 1 else f"{k['photos']} photos"
        parts.append(f"{photos} of {k['width']}×{k['height']} pixels at {k['focal']} mm")
    rest = sum(k["photos"] for k in found[KINDS_SHOWN:])
    if rest:
        parts.append(f"{rest} of other sizes or lenses")
    return f"<p>Made of {', '.join(parts)} (estimated focal lengths, as for a 35 mm camera).</p>"


def _advice(scene: Scene) -> str:
    found = advice(scene)
    if not found:
        return _section("Next time", "<p>Nothing to improve: these photos cover the scene well.</p>")
    return _section("Next time", "<ul>" + "".join(f"<li>{html.escape(s)}</li>" for s in found) + "</ul>")


def _cameras(scene: Scene) -> str:
    centres, axes = standing(scene)
    test = np.array([v.split == "test" for v in scene.views])
    fov = [_half_angle(v) for v in scene.views]
    points = scene.points.astype(float)
    body = '<div class="pair">'
    for flat, caption in (((0, 1), "from above"), ((0, 2), "from the side")):
        drawn = svg.cameras(centres, axes, test, fov, points, flat)
        body += f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>"
    key = '<p class="key"><i class="train"></i> trained on <i class="test"></i> held out to measure</p>'
    return _section("Where the photos were taken", body + "</div>" + key)


def _half_angle(view: View) -> float:
    """Half of a view's horizontal field of view, radians; at most 1."""
    k = view.intrinsics
    return float(min(np.arctan(k.width / 2 / k.fx), 1.0))


def _curve(scene: Scene) -> str:
    history = scene.figures.history
    if len(history) < 2:
        return ""
    drawn = svg.curve([h["seconds"] for h in history], [h["psnr"] for h in history])
    note = "<p>PSNR, in dB, on the training photos over seconds of training.</p>"
    return _section("Training", drawn + note)


def _pictures(pictures: Sequence[Pictures], masked: bool) -> str:
    if not pictures:
        return ""
    worst = sorted(pictures, key=_how_bad, reverse=True)
    rows = []
    for p in worst[:MOST_SHOWN]:
        name = html.escape(str(p.figures["photo"]))
        cells = "".join(
            f'<figure><img loading="lazy" alt="{alt} of {name}" src="data:image/jpeg;base64,'
            f'{base64.b64encode(data).decode()}"/><figcaption>{alt}</figcaption></figure>'
            for alt, data in (("photo", p.photo), ("render", p.render), ("difference", p.error))
        )
        figures = f"{p.figures['psnr']:.1f} dB, SSIM {p.figures['ssim']:.3f}{flip_in_words(p.figures)}"
        rows.append(f'<h3>{name} <small>{figures}</small></h3><div class="three">{cells}</div>')
    rest = worst[MOST_SHOWN:]
    if rest:
        lines = "".join(
            f"<tr><td>{html.escape(str(p.figures['photo']))}</td><td>{p.figures['psnr']:.1f}</td>"
            f"<td>{p.figures['ssim']:.3f}</td><td>{_cell(p.figures.get('flip'))}</td></tr>"
            for p in rest
        )
        rows.append(
            "<table><thead><tr><th>photo</th><th>PSNR, dB</th><th>SSIM</th><th>FLIP</th></tr></thead>"
            f"{lines}</table>"
        )
    intro = "The worst first. Difference: black means none, white a quarter of the range or more."
    if masked:
        intro += " What masks cover is dimmed and hatched, and not measured."
    return _section("Photos that training never saw", f"<p>{intro}</p>" + "".join(rows))


def _how_bad(pictures: Pictures) -> tuple[float, float]:
    """What sorts held-out views: by FLIP, and by PSNR where it was not measured."""
    return float(pictures.figures.get("flip") or 0.0), -float(pictures.figures["psnr"])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _left_out(scene: Scene) -> str:
    f = scene.figures
    warnings = "".join(f"<li>{html.escape(s)}</li>" for s in f.warnings)
    if warnings:
        warnings = _section("Warnings about the photos", f"<ul>{warnings}</ul>")
    if not f.left_out:
        return warnings
    rows = "".join(
        f"<tr><td>{html.escape(p['name'])}</td><td>{html.escape(p['reason'])}</td></tr>" for p in f.left_out
    )
    return warnings + _section("Left out", f"<table><tbody>{rows}</tbody></table>")


def _settings(scene: Scene) -> str:
    f = scene.figures
    k = scene.views[0].intrinsics
    posing = f.posing or {}
    facts = {
        "computed with": f.device,
        "cameras from": f.source,
        **(
            {"cameras found": f"{posing['found_by']} (tried: {', '.join(posing['tried'])})"} if posing else {}
        ),
        **{
            label: f"{posing[key]:.5g}" for key, label in POSING_LABELS.items() if posing.get(key) is not None
        },
        "trained at": f"{k.width}×{k.height} pixels, photos downscaled by {f.downscale:.3g}",
        **({"cameras moved by training": f"{f.cameras_moved:.2f} pixels"} if f.cameras_moved else {}),
        "steps": f"{f.steps}",
        "samples": f"{f.samples / 1e6:.0f} million",
        **{
            f"{part}.{key}": value
            for part, values in f.settings.items()
            for key, value in values.items()
            if value is not None
        },
    }
    rows = "".join(
        f"<tr><td>{html.escape(str(key))}</td><td>{html.escape(str(value))}</td></tr>"
        for key, value in facts.items()
    )
    return f"<details><summary>Settings</summary><table><tbody>{rows}</tbody></table></details>"


STYLE = """
:root{color-scheme:light dark;--ink:#1d2430;--soft:#667085;--line:#d8dde6;--paper:#fff;--card:#f5f7fa;
--train:#3b73d1;--test:#d9861a;--points:#9aa4b2;--box:#8a94a6}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#333b48;--paper:#14181f;
--card:#1d232c;--train:#6ea0f5;--test:#f0a94a;--points:#566070;--box:#77808f}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}main{max-width:1080px;margin:0 auto;padding:16px}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .4rem}
small,figcaption,.key{color:var(--soft);font-weight:400}.lead{font-size:1.15rem}
.tiles{display:flex;flex-wrap:wrap;gap:8px;padding:0;list-style:none}
.tiles li{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:8px 14px}
.tiles b{font-size:1.2rem;display:block}.pair,.three{display:grid;gap:8px}figure{margin:0;min-width:0}
.pair{grid-template-columns:repeat(auto-fit,minmax(280px,1fr))}
.three{grid-template-columns:repeat(3,minmax(0,1fr))}
.three img{max-height:440px;object-fit:contain}img,svg{width:100%;height:auto;display:block}
svg{background:var(--card);border:1px solid var(--line);border-radius:8px}
.key i{display:inline-block;width:12px;height:12px;border-radius:3px;margin:0 4px 0 12px}
i.train{background:var(--train)}i.test{background:var(--test)}
.key i:first-child{margin-left:0}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:4px 8px;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
summary{cursor:pointer;margin:2rem 0 .5rem;font-weight:600}
"""
