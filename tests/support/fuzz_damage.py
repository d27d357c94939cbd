"""Damages files at random: bits, numbers, entries and lines, by what the file holds."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

Random = np.random.Generator
NUMBER = re.compile(rb"-?\d+(\.\d*)?([eE][-+]?\d+)?")
WORDS = [
    *(b"0", b"-1", b"1e-310", b"1e-30", b"1e300", b"-1e308", b"1e400", b"NaN", b"-inf", b"null", b"", b"x"),
    *(b'"', b"99999999999999999999", b"0.001", b"1e12", b"2147483648", b"-0.5", b"../../x", b"\xff\xfe"),
]
VALUES: list[Any] = [
    *(0, -1, 1e-310, 1e-30, 0.001, 1e12, 1e300, -1e308, 10**30, 10**400, 2**31, 2**63, 0.5, True, None, ""),
    *(float("nan"), float("inf"), -float("inf"), "x", "1.5", "../../x", "a\0b", "\ud800", "a\nb", "/"),
    *([], {}, [[]], [1, 2, 3], {"a": 1}, [None] * 4, [[1.0, 0, 0, 0]] * 4, "x" * 5000, "images"),
]
BINARY = [
    *(b"\xff" * 8, b"\0" * 8, b"\xff" * 4, np.float64(1e300).tobytes(), np.float64("nan").tobytes()),
    *(np.float64(1e-310).tobytes(), np.uint64(2**40).tobytes(), np.float32("inf").tobytes(), b"\x80"),
]


def damage(path: Path, rng: Random) -> str:
    """Damages a file in one to three ways; returns them in words."""
    done = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        data = path.read_bytes()
        own = {".json": _json, ".npy": _npy, ".safetensors": _arrays}.get(path.suffix, _text)
        if path.suffix in (".bin", ".zip", ".mp4") or _is_picture(path) or rng.random() < 0.25:
            own = _bytes
        try:
            changed, words = own(data, rng)
        except Exception:  # what is left of it has another form
            changed, words = _bytes(data, rng)
        path.write_bytes(changed)
        done.append(words)
    return f"{path.name}: {', '.join(done)}"


def _is_picture(path: Path) -> bool:
    return path.suffix in (".png", ".jpg", ".webp", ".heic", ".tiff", ".avif")


def _at(rng: Random, data: bytes) -> int:
    return int(rng.integers(0, max(len(data), 1)))


def _bytes(data: bytes, rng: Random) -> tuple[bytes, str]:
    at, size = _at(rng, data), int(rng.integers(1, 64))
    match int(rng.integers(0, 8)):
        case 0 | 1:
            changed = bytearray(data)
            for _ in range(int(rng.integers(1, 9))):
                if changed:
                    changed[_at(rng, data)] ^= 1 << int(rng.integers(0, 8))
            return bytes(changed), "bits flipped"
        case 2:
            return data[:at], f"cut off at {at}"
        case 3:
            return data[:at] + rng.bytes(size) + data[at:], f"{size} bytes put in at {at}"
        case 4:
            return data[:at] + data[at + size :], f"{size} bytes taken out at {at}"
        case 5:
            return data + data[at:], "its end doubled"
        case 6:
            word = BINARY[int(rng.integers(0, len(BINARY)))]
            at -= at % 4
            return data[:at] + word + data[at + len(word) :], f"{word.hex()} at {at}"
        case _:
            word = BINARY[int(rng.integers(0, len(BINARY)))]
            at = int(rng.integers(0, 96))  # where counts and sizes are
            return data[:at] + word + data[at + len(word) :], f"{word.hex()} at {at}"


def _text(data: bytes, rng: Random) -> tuple[bytes, str]:
    lines = data.split(b"\n")
    line = int(rng.integers(0, len(lines)))
    match int(rng.integers(0, 8)):
        case 0:
            return b"\n".join(lines[:line] + lines[line + 1 :]), f"line {line} removed"
        case 1:
            return b"\n".join(lines[:line] + [lines[line]] * 2 + lines[line:]), f"line {line} repeated"
        case 2:
            at, word = _at(rng, data), WORDS[int(rng.integers(0, len(WORDS)))]
            return data[:at] + word + data[at:], f"{word!r} put in at {at}"
        case 3:
            tags = list(re.finditer(rb"<[^>]*>|[,; ]", data))
            if not tags:
                return data[: len(data) // 2], "cut in half"
            tag = tags[int(rng.integers(0, len(tags)))]
            return data[: tag.start()] + data[tag.end() :], f"{tag[0][:40]!r} removed"
        case _:
            found = list(NUMBER.finditer(data))
            if not found:
                return data + b"x", "x added"
            number, word = found[int(rng.integers(0, len(found)))], WORDS[int(rng.integers(0, len(WORDS)))]
            return data[: number.start()] + word + data[number.end() :], f"{number[0]!r} becomes {word!r}"


def _json(data: bytes, rng: Random) -> tuple[bytes, str]:
    value = json.loads(data)
    if rng.random() < 0.02:
        return b"[" * 100_000, "100,000 brackets"
    holder: Any = value
    key: Any = None
    words = ""
    while isinstance(holder, dict | list) and len(holder):
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = keys[int(rng.integers(0, len(keys)))]
        words += f"/{key}"
        if not isinstance(holder[key], dict | list) or not holder[key] or rng.random() < 0.15:
            break
        holder = holder[key]
    if key is None:
        return json.dumps(VALUES[int(rng.integers(0, len(VALUES)))]).encode(), "all replaced"
    match int(rng.integers(0, 8)):
        case 0:
            del holder[key]
            return json.dumps(value).encode(), f"{words} removed"
        case 1:
            holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}
            return json.dumps(value).encode(), f"{words} nested"
        case 2:
            holder[key] = str(holder[key])
            return json.dumps(value).encode(), f"{words} made a string"
        case 3 if isinstance(holder[key], int | float):
            factor = float(rng.choice([-1, 1e-6, 1e-3, 1e3, 1e6, 1e15]))
            holder[key] = holder[key] * factor
            return json.dumps(value).encode(), f"{words} times {factor:g}"
        case _:
            holder[key] = VALUES[int(rng.integers(0, len(VALUES)))]
            return json.dumps(value).encode(), f"{words} becomes {holder[key]!r:.40}"


def _changed_array(array: np.ndarray, rng: Random) -> tuple[np.ndarray, str]:
    array = array.copy()
    match int(rng.integers(0, 5)):
        case 0 if array.size:
            word = rng.choice([np.nan, np.inf, 1e30, -1e30, 0, 1e-38]) if array.dtype.kind == "f" else 7
            with np.errstate(all="ignore"):
                array.reshape(-1)[int(rng.integers(0, array.size))] = word
            return array, f"a number becomes {word}"
        case 1:
            return array[1:], "a row removed"
        case 2:
            return array.T.copy(), "transposed"
        case 3:
            kind = str(rng.choice(["float32", "float64", "int32", "uint8", "float16", "bool"]))
            with np.errstate(all="ignore"):
                return array.astype(kind), f"as {kind}"
        case _:
            return array[..., None], "one dimension more"


def _npy(data: bytes, rng: Random) -> tuple[bytes, str]:
    array, words = _changed_array(np.load(io.BytesIO(data)), rng)
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue(), words


def _arrays(data: bytes, rng: Random) -> tuple[bytes, str]:
    arrays, size = load(data), int.from_bytes(data[:8], "little")
    notes = json.loads(data[8 : 8 + size]).get("__metadata__")
    if notes and rng.random() < 0.3:
        name = sorted(notes)[int(rng.integers(0, len(notes)))]
        changed, words = _json(notes[name].encode(), rng)
        return save(arrays, notes | {name: changed.decode()}), f"{name}{words}"
    name = sorted(arrays)[int(rng.integers(0, len(arrays)))]
    if rng.random() < 0.15:
        del arrays[name]
        return save(arrays, notes), f"{name} removed"
    arrays[name], words = _changed_array(arrays[name], rng)
    arrays[name] = np.ascontiguousarray(arrays[name])
    return save(arrays, notes), f"{name}: {words}"
