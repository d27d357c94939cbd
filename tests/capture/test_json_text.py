"""JSON is parsed, or refused with a clause, whatever the text holds."""

from __future__ import annotations

import pytest

from nerfscene.capture.json_text import DEEPEST, parsed


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_in_the_encodings_of_windows(encoding: str) -> None:
    assert parsed('{"ä": [1.5, null]}'.encode(encoding)) == {"ä": [1.5, None]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b'{"a": "\xff"}', "byte 7 is not text"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "nested too deeply"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested too deeply"),
        (b"9" * 5000, "too many digits"),
    ],
)
def test_what_is_no_json_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parsed(text)
    assert parsed(b"[" * DEEPEST + b"]" * DEEPEST)[0] is not None
