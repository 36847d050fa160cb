"""Mutations of what a stranger writes: of texts, and of JSON documents.

A source of chance is an argument. It is a number's, for a million inputs fast, or Hypothesis's, which then makes a
broken input small.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

LONG = "x" * 3000
DEEP = "\ue000"
"""Stands for nested lists, which nobody can copy."""

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, 1e308, float("nan"), float("inf"), 1795338000, 1795338000123),
    *(
        "",
        " ",
        "null",
        "0",
        "[]",
        "*",
        "-",
        "\x00",
        "\n",
        "'",
        '"',
        "=1+1",
        "\u202e",
        "\ud800",
        "\U0001f4f1" * 70,
        LONG,
    ),
    *("2026-11-22T09:00:00Z", "2026-11-22T09:00:00", "2026-11-22 09:00:00,123456789 +0000", "2026-02-30T00:00:00Z"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.9999-14:00", "9999-12-31", "hold"),
    *("0001-01-01T00:00:00Z", "2026-11-22T09:00:00.125Z", "2026-11-22T09:00:00.125-00:00", "2026-11-22"),
    *("Sun, 22 Nov 2026 09:00:00 -0000", "Sun, 22 Nov 2026 09:00:00 +9999", "99999999999999", "\u0661" * 10),
    *("release", "lock-user", "device-lockout", "m-5eed5eed5eed5eed5eed5eed5eed5eed", "[lockout/1 by=local "),
    *([], {}, [[]], [{}], [None], {"": ""}, ["a"] * 60, {"each": {}}, DEEP),
)
"""Values that code tends to forget."""

PIECES = (
    *("\x00", "\n", "\r\n", "\t", "\x1b[2J", "\u202e", "\ufeff", "\u0661", "\U0001f4f1", "\u00e9", "\u0130", "\u2028"),
    *("{", "}", "[", "]", "[[", "(", ")", '"', "'", "`", "\\", ",", ";", ":", "=", "#", "|", "&&", "*", "@", ".", "-"),
    *("0", "-1", "1e999", "9" * 40, "NaN", "null", "true", " ", "  ", "T", "Z", "+00:00", "until=", "hold", LONG),
)
"""Texts that have a meaning somewhere."""

MOST = 20_000
"""Characters of a mutated text."""


def text(chance: Random, originals: Sequence[str], pieces: Sequence[str] = PIECES, most: int = 4) -> str:
    """Return one of the originals with a few cuts, insertions, repetitions, exchanges and changed characters."""
    made = chance.choice(originals)
    for _ in range(chance.randint(0, most)):
        how = chance.randint(0, 5)
        begin = chance.randint(0, len(made))
        end = chance.randint(begin, min(len(made), begin + (len(made) if how == 3 else 12)))
        match how:
            case 0:
                made = made[:begin] + made[end:]
            case 1 | 2:
                made = made[:begin] + chance.choice(pieces) + made[begin if how == 1 else end :]
            case 3:
                made = made[:end] + made[begin:end] + made[end:]
            case 4:
                made = made[:begin] + _character(chance) + made[begin + 1 :]
            case _:
                other = chance.choice(originals)
                made = made[:begin] + other[chance.randint(0, len(other)) :]
    return made[:MOST]


def document(chance: Random, originals: Sequence[Any], most: int = 4) -> str:
    """Return one of the originals as JSON, with a few values exchanged, removed, moved, wrapped, repeated or added."""
    made = copy.deepcopy(chance.choice(originals))
    for _ in range(chance.randint(0, most)):
        places = list(_places(made))
        if not places:
            break
        inside, at = chance.choice(places)
        match chance.randint(0, 7):
            case 0 | 1 | 2:
                inside[at] = _value(chance)
            case 3:
                del inside[at]
            case 4:
                other, there = chance.choice(places)
                inside[at] = copy.deepcopy(other[there])
            case 5:
                inside[at] = chance.choice([[inside[at]], {"x": inside[at]}, [inside[at]] * 3])
            case 6 if isinstance(inside[at], str):
                inside[at] = text(chance, [inside[at]], most=2)
            case _ if isinstance(inside, dict):
                inside[chance.choice([*inside, _character(chance)])] = _value(chance)
            case _:
                inside.append(chance.choice([copy.deepcopy(inside[at]), _value(chance)]))
    depth = chance.choice([300, 3000])
    return json.dumps(made).replace(json.dumps(DEEP), "[" * depth + "]" * depth)


def _value(chance: Random) -> Any:
    how = chance.randint(0, 9)
    if how == 0:
        return chance.randint(-(10**13), 10**13)
    return "".join(_character(chance) for _ in range(how)) if how == 1 else copy.deepcopy(chance.choice(ODD))


def _character(chance: Random) -> str:
    return chr(chance.randint(0, chance.choice([0x7F, 0x7F, 0x2FF, 0xD7FF])))


def _places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each place in a document: what it is in, and its key or index there."""
    for key in [*part] if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
        yield part, key
        yield from _places(part[key])
