"""The photos' exposures in a fit: those that the field found, refined a little.

Only where the field found any (``training/exposures.py`` says when they matter). What all photos together
would become brighter or darker is left to the splats, so that the scene's brightness stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nerfscene.ops.splatting import BETAS, EPSILON

Gains = tuple[float, float, float]
PULL = 0.1  # back to the field's exposures: the loss's gradient that holds against a change by e
FARTHEST = 0.3  # changes of a logarithm beyond are no exposure's, but a picture's that the splats can't show


@dataclass
class Exposures:
    """By how much each photo's exposure differs from the field's.

    changes: (m, 3), of the gains' natural logarithms; their mean over all photos is 0. moments: (2, m, 3),
    Adam's.
    """

    changes: NDArray[np.float64]
    moments: NDArray[np.float64]

    def gains(self, given: Gains, photo: int) -> Gains:
        """A photo's gains, of those that the field found. photo: its number; -1 for one that has none."""
        if photo < 0:
            return given
        r, g, b = (float(x) for x in np.asarray(given) * np.exp(self.changes[photo]))
        return r, g, b

    def improve(self, photo: int, d_logs: NDArray[np.float64], rate: float) -> None:
        """One step of Adam on a photo's exposure, from the loss's gradient (3,) by its gains' logarithms.

        rate: the length of a first step. Gradients that are no numbers count as 0.
        """
        if photo < 0:
            return
        gradient = np.nan_to_num(d_logs, nan=0.0, posinf=0.0, neginf=0.0) + PULL * self.changes[photo]
        first, second = self.moments[:, photo]
        first += (1 - BETAS[0]) * (gradient - first)
        second += (1 - BETAS[1]) * (gradient**2 - second)
        self.changes[photo] -= rate * first / (np.sqrt(second) + EPSILON)
        self.changes -= self.changes.mean(0)
        np.clip(self.changes, -FARTHEST, FARTHEST, out=self.changes)


def unchanged(photos: int) -> Exposures:
    """The exposures of this many photos before the first step."""
    return Exposures(np.zeros((photos, 3)), np.zeros((2, photos, 3)))
