"""As many splats, as exactly written, as a page of a given size can hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nerfscene.exporters.page_recording import PRECISIONS, PageSplats, Precision, recorded
from nerfscene.exporters.page_text import PageText, page_files
from nerfscene.exporters.told import Told

MOST_SPLATS = 400_000  # a phone of five years ago draws about as many smoothly
FEWEST_SPLATS = 2_000
OURS_TO_DRAW = 1_300_000  # bytes of a page apart from its splats and posters: viser's client, and ours
GUESS = 0.97  # of the room for splats that one aims at
FULL = 0.9  # of the limit that a page has to fill, if there is more to show
SPARSE = 0.9  # of the splats asked for: if fewer come, the scene has no more
TRIES = 8


@dataclass(frozen=True)
class Fitted:
    """A page's files by name, the number of its splats, their precision, and whether the limit cost any."""

    files: dict[str, bytes]
    count: int
    precision: Precision
    fewer: bool

    def __len__(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def room_for_splats(text: PageText, limit: int, single: bool) -> float:
    """About how many bytes of a page within a limit are left for splats."""
    return limit - OURS_TO_DRAW - sum(map(len, text.posters)) * (4 / 3 if single else 1)


def most_needed(room: float) -> int:
    """How many splats may fit in so many bytes, if they compress well."""
    return int(min(MOST_SPLATS, room / (0.7 * PRECISIONS[-1].bytes_each)))


def fitted(
    text: PageText, make: Callable[[int], PageSplats], limit: int, single: bool, told: Told
) -> Fitted | None:
    """The page that shows most within ``limit`` bytes; None: not even FEWEST_SPLATS fit.

    Precision goes first, because it hardly shows; then splats, which are made larger as they become fewer.
    How well a scene's splats compress is only known once they are packed, so this takes two or three tries.

    make: returns at most as many splats as it is asked for, fewer only if the scene has no more.
    """
    room = room_for_splats(text, limit, single)
    level = next((i for i, p in enumerate(PRECISIONS) if MOST_SPLATS * p.bytes_each <= room), -1)
    level %= len(PRECISIONS)
    wanted = min(MOST_SPLATS, int(GUESS * room / PRECISIONS[level].bytes_each))
    best: Fitted | None = None
    splats: PageSplats | None = None
    for _ in range(TRIES):
        if wanted < FEWEST_SPLATS:
            break
        splats = splats or make(wanted)
        told.progress("packing the splats", 0.0)
        recording = recorded(splats, PRECISIONS[level], text.opening)
        told.progress("packing the splats", 1.0)
        every = wanted >= MOST_SPLATS or len(splats) < SPARSE * wanted
        files = page_files(text, recording, len(splats), single)
        page = Fitted(files, len(splats), PRECISIONS[level], not every)
        data = recording.data
        room = limit - (len(page) - data)
        if len(page) <= limit:
            if best is None or level < PRECISIONS.index(best.precision) or page.count > best.count:
                best = page
            grown = PRECISIONS[level - 1].bytes_each / PRECISIONS[level].bytes_each * data
            if every and level > 0 and grown < GUESS * room:
                level -= 1
                continue
            if every or len(page) >= FULL * limit:
                break
        elif best is not None and best.precision != PRECISIONS[level]:
            break  # it was tried whether they fit more exactly
        elif every and level + 1 < len(PRECISIONS):
            level += 1
            continue
        wanted = min(MOST_SPLATS, int(GUESS * len(splats) * room / data))
        splats = None
    return best
