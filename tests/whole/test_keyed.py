"""Values by key, as people write them: what is understood, and what is said of the rest."""

from __future__ import annotations

import pytest

import nerfscene as ns
from nerfscene.errors import NerfsceneError
from nerfscene.keyed import keys_of, numbers_of, unquoted


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("0:60,8:35", [(0, "60"), (8, "35")]),
        (" 0 : 60 , 8.5s: 35 ", [(0, "60"), (8.5, "35")]),
        ("0:0001.jpg,4:subject", [(0, "0001.jpg"), (4, "subject")]),
        ("0:1,-2.5,3,.5:4,5,6", [(0, "1,-2.5,3"), (0.5, "4,5,6")]),
        ("0:a, b.jpg,2:c:d.jpg", [(0, "a, b.jpg"), (2, "c:d.jpg")]),
        ('0:"a,2:b.jpg",3:c.jpg', [(0, '"a,2:b.jpg"'), (3, "c.jpg")]),
        ("1e1:2", [(10, "2")]),
        ("60", None),
        ("0001.jpg", None),
        ("1,2,3", None),
        ("photo 12:30.jpg", None),
        ('"12:30.jpg"', None),
        ("", None),
    ],
)
def test_a_key_begins_where_a_number_and_a_colon_follow_a_comma(
    text: str, keys: list[tuple[float, str]] | None
) -> None:
    assert keys_of(text, "--focus") == keys


def test_quotes_are_not_of_the_name() -> None:
    assert (unquoted(' "a,2:b.jpg" '), unquoted("a"), unquoted('"a" and "b"')) == (
        "a,2:b.jpg",
        "a",
        '"a" and "b"',
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0:,4:1", "a value at each time, and has none at 0 s"),
        ("0:1,4:", "none at 4 s"),
        ("4:1,0:2", "in the order of their times, not 0 s after 4 s"),
        ("0:1,0:2", "not 0 s after 0 s"),
        ("-1:1,0:2", "from 0 seconds on, not at -1 s"),
        ("1e999:1", "from 0 seconds on, not at inf s"),
        ("60,8:35", r"a time before its first value too, such as 0:60,8:35"),
        (",".join(f"{i}:1" for i in range(1001)), "at most 1000 keys"),
    ],
)
def test_keys_that_cannot_be_are_told(text: str, said: str) -> None:
    with pytest.raises(NerfsceneError, match=rf"^--roll must have .*{said}"):
        keys_of(text, "--roll")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, []),
        (2.5, [(0, 2.5)]),
        ("2.5", [(0, 2.5)]),
        ("0:0,4:-1", [(0, 0), (4, -1)]),
        ("2:+1.5", [(2, 1.5)]),
    ],
)
def test_numbers_by_key(given: float | str | None, found: list[tuple[float, float]]) -> None:
    assert numbers_of(given, "exposure", "--exposure") == found


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        (
            "fov",
            "wide",
            "above 0 and at most 360 degrees, or such values at times in seconds, as in 0:60,8:35",
        ),
        ("fov", "0:60,8:wide", "not '0:60,8:wide'"),
        ("fov", "0:60,8", "not '0:60,8'"),
        ("fov", "0:60;8:35", "not '0:60;8:35'"),
        ("fov", "0:60,8:0", r"at most 360 degrees, not 0 at 8 s"),
        ("fov", 361, "at most 360 degrees, not 361"),
        ("exposure", "0:0,4:99", "-10 to 10 stops, not 99 at 4 s"),
        ("exposure", "nan", "-10 to 10 stops, not nan"),
        ("aperture", "0:2.8,4:0", "an f-number, 0.01 to 1000, not 0 at 4 s"),
        ("roll", "0:0,4:inf", "-3600 to 3600 degrees, not inf at 4 s"),
    ],
)
def test_settings_that_cannot_be_are_told_by_name(name: str, given: float | str, said: str) -> None:
    with pytest.raises(NerfsceneError, match=rf"^RenderConfig\.{name} must be .*{said}"):
        ns.RenderConfig(**{name: given})  # type: ignore[arg-type]


def test_a_number_in_a_text_is_one() -> None:
    config = ns.RenderConfig(fov="60", exposure="0:-1", roll="0:0,1:3")
    assert (config.fov, config.exposure, config.roll) == (60.0, -1.0, "0:0,1:3")
