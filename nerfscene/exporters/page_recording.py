"""A scene's splats as viser records them for pages without a server, in as many bytes as there may be."""

from __future__ import annotations

import base64
import gzip
import math
import re
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerfscene.errors import NerfsceneError
from nerfscene.exporters.page_cameras import Place
from nerfscene.exporters.viser_server import free_port, quiet
from nerfscene.loading import loading
from nerfscene.splatting.gaussians import C0
from nerfscene.types import Array

LAYERS = 400  # of distances, in which splats are put in order
NODE = "/splats"  # their name in viser's scene; page.js waits for it
NARROWEST, WIDEST = 1e-3, 200.0  # units; half floats hold the squares of 2.5e-4 to 256
RANGE = 4.0  # the largest harmonics that a page holds
EMBEDDED = re.compile(r'"([A-Za-z0-9+/]{64,}={0,2})"')


@dataclass(frozen=True)
class PageSplats:
    """Gaussians: centers (n, 3), covariances (n, 3, 3), in page units; rgbs (n, 3), opacities (n,), 0…1.

    harmonics: (n, 4, 3), those to degree 1 of fitted ones, for which ``rgbs`` stand in browsers that can't
    have them; None: splats have one colour each.
    """

    centers: NDArray[np.float32]
    covariances: NDArray[np.float32]
    rgbs: NDArray[np.float32]
    opacities: NDArray[np.float32]
    harmonics: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.centers)


@dataclass(frozen=True)
class Precision:
    """How finely splats are written. Rounded numbers take fewer bytes, because viser compresses them.

    grid: of positions, units. shape: bits of the covariances' fractions. colour: bits of a colour. steps: of
    harmonics, from 0 to the largest. bytes_each: what a splat about takes, in a page.
    """

    name: str
    grid: float
    shape: int
    colour: int
    steps: int
    bytes_each: float


# From the finest to the coarsest; bytes as measured on splats of rooms and tables.
PRECISIONS = (
    Precision("fine", 2.0**-12, 6, 8, 127, 29.0),
    Precision("medium", 2.0**-10, 5, 7, 63, 25.5),
    Precision("coarse", 2.0**-9, 4, 6, 31, 22.5),
)


@dataclass(frozen=True)
class Recording:
    """A page of viser's in three parts: ``before`` and ``after`` stand around ``scene``, base64 in quotes.

    harmonics: base64 too, see ``packed_harmonics``; "" without any.
    """

    before: str
    scene: str
    after: str
    harmonics: str = ""

    def __len__(self) -> int:
        return len(self.before) + len(self.after) + self.data

    @property
    def data(self) -> int:
        """How long all that grows with the number of splats is."""
        return len(self.scene) + len(self.harmonics)


def recorded(splats: PageSplats, precision: Precision, opening: Place) -> Recording:
    """viser's own page for a scene that holds these splats, as precise, first seen from a place."""
    splats = rounded(splats, precision, opening)
    with loading():
        import viser
    with quiet(threading.current_thread()):
        server = viser.ViserServer(host="127.0.0.1", port=free_port(), verbose=False)
    try:
        # Objects are lit by it, and there are none.
        server.scene.configure_environment_map(hdri=None)
        first = server.initial_camera
        first.position, first.look_at, first.up = (
            _triple(v) for v in (opening.position, opening.target, opening.up)
        )
        first.fov = 2 * math.atan(opening.lens)
        server.scene.add_gaussian_splats(
            NODE, splats.centers, splats.covariances, splats.rgbs, splats.opacities[:, None]
        )
        page = server.scene.as_html(dark_mode=True)
    finally:
        with quiet(server._websock_server._server_thread):
            server.stop()
    found = EMBEDDED.search(page, page.find("__VISER_EMBED_DATA__"))
    if found is None:
        raise NerfsceneError(
            f"viser {viser.__version__} writes pages in a way that is not known here; "
            "pip install 'viser>=1.1,<1.2'"
        )
    harmonics = packed_harmonics(splats, precision)
    return Recording(page[: found.start()], found[1], page[found.end() :], harmonics)


def packed_harmonics(splats: PageSplats, precision: Precision) -> str:
    """What ``splats.js`` adds to each splat's colour, gzip in base64; "" for splats of one colour each.

    Twelve planes of a signed byte for each splat: what red's constant is beyond its colour, and red's three
    coefficients of degree 1, then green's and blue's. A byte b stands for RANGE · b · |b| / 127².
    """
    if splats.harmonics is None:
        return ""
    values = splats.harmonics.transpose(2, 1, 0).copy()  # (3, 4, n)
    values[:, 0] = 0.5 + C0 * values[:, 0] - splats.rgbs.T
    steps = np.round(np.sqrt(np.minimum(np.abs(values) / RANGE, 1)) * precision.steps)
    bytes_ = np.round(np.copysign(steps, values) * (127 / precision.steps)).astype(np.int8)
    return base64.b64encode(gzip.compress(bytes_.tobytes(), 9, mtime=0)).decode()


def rounded(splats: PageSplats, precision: Precision, opening: Place) -> PageSplats:
    """The splats as precisely as said, within what half floats hold.

    The farthest from the first view come first, because viser draws them once before it has sorted them. Of
    those about as far, neighbours come one after another, which compresses better.
    """
    depths = splats.centers @ (opening.target - opening.position)
    layers = np.searchsorted(np.quantile(depths, np.linspace(0, 1, LAYERS + 1)[1:-1]), depths)
    order = np.lexsort([_along_curve(splats.centers), -layers])
    centers = np.round(splats.centers[order] / precision.grid) * precision.grid
    levels = 2**precision.colour - 1
    return PageSplats(
        centers.astype(np.float32),
        _shapes(splats.covariances[order], precision.shape),
        np.round(np.clip(splats.rgbs[order], 0, 1) * levels).astype(np.float32) / levels,
        np.clip(splats.opacities[order], 0, 1),
        None if splats.harmonics is None else splats.harmonics[order],
    )


def _shapes(covariances: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Covariances with rounded fractions. They are first made thicker by as much as rounding may take away.

    Otherwise a thin splat's could come to have a negative extent, and then it isn't drawn.
    """
    whole = covariances.astype(np.float64)
    most = np.trace(whole, axis1=1, axis2=2)
    shrink = np.minimum(1, WIDEST**2 / np.maximum(most, 1e-30))
    thickness = np.maximum(most * shrink * 2.0**-bits / 2, NARROWEST**2)
    whole = whole * shrink[:, None, None] + thickness[:, None, None] * np.eye(3)
    fractions, exponents = np.frexp(whole)
    kept = 2.0 ** (bits + 1)
    return np.ldexp(np.round(fractions * kept) / kept, exponents).astype(np.float32)


def _along_curve(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Numbers (n,) that are close for points (n, 3) that are close: their coordinates' bits interleaved."""
    low, high = np.percentile(points, [1, 99], axis=0)
    cells = ((points - low) / max(float((high - low).max()), 1e-9) * 1023).clip(0, 1023).astype(np.int64)
    code = np.zeros(len(points), np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return code


def _triple(v: Array) -> tuple[float, float, float]:
    return float(v[0]), float(v[1]), float(v[2])
