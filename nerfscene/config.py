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
