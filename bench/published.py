"""What others have published for captures that are measured here too, with where it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A method's figures on a capture. psnr: dB; ssim: None where it isn't given. source: where they stand.

    under: what is to be known before they are compared: the photos' size, the background, the machine.
    """

    method: str
    psnr: float
    ssim: float | None
    under: str
    source: str


NERF = "Mildenhall et al., NeRF, 2020, per scene in its appendix"
TENSORF = "Chen et al., TensoRF, 2022, per scene in its appendix"
KPLANES = "Fridovich-Keil et al., K-Planes, 2023, per scene in its appendix"
NGP = "Müller et al., instant-ngp, 2022"
MCMC = "Kheradmand et al., 3DGS-MCMC, 2024"
LLFF = "1008×756, every 8th photo held out"
WHITE = "800×800, laid on white, 200 test views"
BLACK = "as above, on black: 0.3 to 0.5 dB easier"


def _llff(nerf: float, nerf_ssim: float, tensorf: float, k_planes: float) -> tuple[Published, ...]:
    return (
        Published("NeRF", nerf, nerf_ssim, LLFF, NERF),
        Published("TensoRF VM-192", tensorf, None, LLFF, TENSORF),
        Published("K-Planes", k_planes, None, LLFF, KPLANES),
    )


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "room": _llff(32.70, 0.948, 32.35, 32.64),
    "fern": _llff(25.17, 0.792, 25.27, 25.38),
    "leaves": _llff(20.92, 0.690, 21.30, 21.30),
    "fortress": _llff(31.16, 0.881, 31.36, 30.44),
    "orchids": _llff(20.36, 0.641, 19.87, 20.26),
    "flower": _llff(27.40, 0.827, 28.60, 28.67),
    "trex": _llff(26.80, 0.880, 26.97, 28.01),
    "horns": _llff(27.45, 0.828, 28.14, 28.64),
    "chair": (
        Published("NeRF", 33.00, 0.967, WHITE, NERF),
        Published("instant-ngp, 5 min on an RTX 3090", 35.00, None, BLACK, NGP),
        Published("TensoRF VM-192", 35.76, 0.985, WHITE, TENSORF),
        Published("3DGS-MCMC", 36.51, None, WHITE, MCMC),
    ),
    "lego": (
        Published("NeRF", 32.54, 0.961, WHITE, NERF),
        Published("instant-ngp, 5 min on an RTX 3090", 36.39, None, BLACK, NGP),
        Published("TensoRF VM-192", 36.46, 0.983, WHITE, TENSORF),
        Published("3DGS-MCMC", 36.01, None, WHITE, MCMC),
    ),
}

# Captures on which a default was ever chosen, as docs/benchmarks-history.md has it. Others are only measured.
# trex is among them, because what is too light to be trained was chosen on its photos on 2026-11-27.
TUNED = frozenset(
    (
        *("fox", "demo", "chair", "trex", "fern", "tree", "sceaux", "kermit", "et", "bananas", "clock"),
        *("box", "figure", "office"),
    )
)
