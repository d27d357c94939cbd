"""Numbers, times and states as people say them, for pages and notes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from nerfscene.measuring.verdict import LOOKS, looks_of

DAY = 86400


def quality(figures: Mapping[str, Any] | None) -> str:
    """What a scene with these figures looks like; "" if it wasn't measured."""
    psnr, flip = ((figures or {}).get(name) for name in ("psnr", "flip"))
    if psnr is None:
        return ""
    matched, flip_matched = ((figures or {}).get(f"{name}_matched") for name in ("psnr", "flip"))
    best = max(psnr, matched or psnr)
    return LOOKS[looks_of(best, flip if flip_matched is None else flip_matched)][1].partition(":")[0]


def count(number: int, one: str, many: str = "") -> str:
    """ "1 photo", "2,000 photos"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size(number: float) -> str:
    """Bytes in kB, MB or GB."""
    for unit, least in (("GB", 1e9), ("MB", 1e6)):
        if number >= least:
            shown = number / least
            return f"{shown:.0f} {unit}" if shown >= 10 else f"{shown:.1f} {unit}".replace(".0 ", " ")
    return f"{math.ceil(max(number, 0) / 1e3)} kB"


def length(seconds: float) -> str:
    """How long something lasts: "20 seconds", "about 3 minutes", "about 2 hours"."""
    if seconds < 50:
        return count(max(5, 5 * round(seconds / 5)), "second")
    if seconds < 50 * 60:
        return f"about {count(max(1, round(seconds / 60)), 'minute')}"
    if seconds < 36 * 3600:
        return f"about {count(max(1, round(seconds / 3600)), 'hour')}"
    return f"about {count(round(seconds / DAY), 'day')}"


def day(when: float, now: float | None = None) -> str:
    """The day of a time (seconds since 1970), here: "today", "yesterday", "3 May", "3 May 2026"."""
    then, today = time.localtime(when), time.localtime(now)
    if then[:3] == today[:3]:
        return "today"
    if then[:3] == time.localtime(time.mktime(today) - DAY)[:3]:
        return "yesterday"
    short = f"{then.tm_mday} {time.strftime('%B', then)}"
    return short if then.tm_year == today.tm_year else f"{short} {then.tm_year}"


def until(ends: float | None, now: float | None = None) -> str:
    """How long a link holds."""
    if ends is None:
        return "until you take it back"
    left = ends - (time.time() if now is None else now)
    return f"for {length(left).removeprefix('about ')} more" if left > 0 else "no longer"


def queue(ahead: int | None) -> str:
    """A place in the queue by the number of jobs before it."""
    if not ahead:
        return "Next in the queue"
    return f"{count(ahead, 'job')} before yours"


def after_name(name: str, why: str) -> str:
    """What is wrong with a file, to stand after its name, which ``why`` may begin with."""
    rest = why.removeprefix(name).strip()
    return f"{rest.rstrip('.')}." if rest and rest != why.strip() else sentence(why)


def sentence(text: str) -> str:
    """With a capital first letter and a full stop, as a page shows a message."""
    text = text.strip()
    if not text:
        return ""
    ended = text if text[-1] in ".!?…" else f"{text}."
    return ended[0].upper() + ended[1:]
