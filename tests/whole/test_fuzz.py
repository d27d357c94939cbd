"""Damaged inputs of every kind are taken or refused with one sentence (``make fuzz`` gives a thousand)."""

from __future__ import annotations

from pathlib import Path

import fuzz
import fuzz_damage
import numpy as np
import pytest

SEED = 20


@pytest.mark.parametrize("numbers", [range(50), pytest.param(range(50, 100), marks=pytest.mark.long)])
def test_damaged_inputs_are_taken_or_refused(tmp_path: Path, numbers: range) -> None:
    results = fuzz.fuzz(SEED, numbers, tmp_path)
    assert len(results) == len(numbers) and all(r.fine for r in results), fuzz.in_words(results, SEED)
    outcomes = {r.outcome for r in results}
    assert outcomes == {"taken", "refused"}, "the damage is too small or too large to test anything"


def test_the_same_seed_gives_the_same_damage(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text('{"a": [1, 2, 3], "b": {"c": 4.5}}')
        for _ in range(5):
            fuzz_damage.damage(tmp_path / f"{name}.json", np.random.default_rng([SEED, 1]))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_crash_and_what_was_printed_are_told(tmp_path: Path) -> None:
    """A process that dies is not taken for an input that was refused."""
    crashed = fuzz.Result(3, "LLFF", "cut off", "crash", "exit code -11", 0.1, 0)
    assert not crashed.fine and "WRONG (crash): number 3" in fuzz.in_words([crashed], SEED)
