"""What can be set: one frozen dataclass a stage; a field's docstring is its text in --help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PoseConfig:
    """How cameras are found from photos."""

    max_image_size: int = 1000
    """Longest side, in pixels, at which features are looked for; larger photos are shrunk to it."""
    max_features: int = 4096
    """Most features kept in one photo; more helps photos with little texture and takes longer."""
    matcher: Literal["auto", "exhaustive", "sequential"] = "auto"
    """Which photos are compared: all with all, neighbours by name, or chosen by their number."""
    seed: int = 0
    """Random seed; the same photos, settings and machine give the same cameras."""


@dataclass(frozen=True)
class FootageConfig:
    """What is taken from a video."""

    frames: int = 150
    """Most frames to take from a video, or from several together; a short one gives fewer."""


@dataclass(frozen=True)
class FieldConfig:
    """The radiance field: a multi-resolution hash grid and small networks."""

    levels: int | None = None
    """Levels of the hash grid, coarse to fine (1 to 16); when not given 4, for cut-outs on a GPU 8."""
    features: int | None = None
    """Numbers stored in each row of the grid: 2, 4 or 8; when not given 8, for cut-outs on a GPU 4. Few wide
    levels suit a CPU's caches."""
    log2_table: int | None = None
    """A level has at most 2 to this many rows; chosen from the photos' size when not given (for cut-outs,
    more on a GPU)."""
    base_resolution: int = 16
    """Cells along a side of the coarsest level."""
    finest_resolution: int | None = None
    """Cells along a side of the finest level; chosen from the photos' size when not given (for cut-outs,
    more on a GPU)."""
    hidden: int = 32
    """Width of the density network's hidden layer, a multiple of 16 up to 128."""
    color: Literal["harmonics", "network"] = "harmonics"
    """How colour depends on direction: degree-2 spherical harmonics (fast) or a network."""
    color_hidden: int = 64
    """Width of the colour network's hidden layers."""
    color_layers: int = 2
    """Hidden layers of the colour network, 1 or 2."""
    occupancy_resolution: int = 128
    """Cells along a side of the occupancy grid, a multiple of 32."""


@dataclass(frozen=True)
class TrainConfig:
    """How long and how finely to train."""

    time: float | None = None
    """Seconds to train for (posing and reading photos come on top); overrides the quality's."""
    steps: int | None = None
    """Steps to train for, instead of seconds."""
    quality: Literal["1min", "5min", "20min"] = "5min"
    """Named by what training takes: also bounds the photos' longest side to 640, 1000, 1600 px."""
    downscale: float | None = None
    """Train on photos shrunk by this factor, instead of by the quality's longest side."""
    holdout: int = 8
    """Every n-th photo is kept from training to measure with (of fewer than twice n, the middle one); 0 for
    none."""
    backend: Literal["auto", "cpu", "cuda", "torch", "tcnn"] = "auto"
    """What computes: our kernels on an NVIDIA GPU or on the processor, plain torch (slow, readable), or
    tiny-cuda-nn (where it is installed) with torch around it."""
    threads: int = 0
    """Threads to use; 0 for all of them. With 1, a seed gives the same scene again."""
    refine_cameras: bool = True
    """Let training correct cameras a little where they are of a real capture, and before it move those that
    came with the photos and don't fit them."""
    seed: int = 0
    """Random seed."""


@dataclass(frozen=True)
class RenderConfig:
    """What a film shows and how large it is."""

    path: str = "auto"
    """orbit, spiral, walkthrough, or a camera_path.json (nerfstudio's format); auto: orbit, but walkthrough
    where the photos were taken walking ahead or look all over a room."""
    width: int | None = None
    """Width in pixels; the photos' aspect gives what is left out, at most 960 on the longer side."""
    height: int | None = None
    """Height in pixels."""
    fps: float | None = None
    """Frames a second; 30, or what the path's file says."""
    seconds: float | None = None
    """Length of the film; 8, or what the path's file says."""
    samples: int = 0
    """Rays along a pixel's side, up to 8; 0: as many as the photos have pixels there, against shimmering."""
    depth: bool = False
    """Film depth in colours instead; frames get 16-bit depth pictures beside them."""
    backend: Literal["auto", "cpu", "cuda", "torch", "tcnn"] = "auto"
    """What computes."""
    threads: int = 0
    """Threads to use; 0 for all of them."""
