"""EventBridge's event patterns: what is wrong with one, and whether an event matches it, without asking AWS.

No maintained package on PyPI has the semantics alone: AWS's event-ruler is Java, its Python binding ended with
Python 3.12. MiniStack models what EventBridge accepts, refuses and says; it has a virtual environment of its own
(`.local/ministack`, see the Makefile), so it is asked in a process of its own, once for all patterns.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

MINISTACK = Path(__file__).parent.parent / ".local" / "ministack"

Pattern = Mapping[str, Any]

KEYS = ("source", "detail-type", "detail", "resources", "account", "region", "time", "id", "version", "replay-name")
"""What an event has at its top, and with `$or` a pattern: https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html"""

_ENVELOPE = {
    "id": "00000000-0000-0000-0000-000000000000",
    "detail-type": "",
    "source": "",
    "account": "000000000000",
    "time": "2026-01-01T00:00:00Z",
    "region": "eu-west-1",
    "resources": [],
    "detail": {},
}
"""What `TestEventPattern` demands of an event; a sample may leave it out."""

_answers: dict[tuple[str, str], dict[str, Any]] = {}

_ASK = """
import json, sys
from ministack.services.eventbridge import _test_event_pattern as test
for question in json.load(sys.stdin):
    status, _, body = test(question)
    print(json.dumps(json.loads(body)))
"""


def faults(patterns: Sequence[Pattern]) -> list[str]:
    """What EventBridge has against each pattern, in its words; "" where nothing.

    Where MiniStack is not installed only the outer shape is checked; the deployment refuses what is wrong inside.
    """
    shapes = [_fault_of_shape(pattern) for pattern in patterns]
    if not patterns or not (MINISTACK / "installed").exists():
        return shapes
    answers = _ask((pattern, _ENVELOPE) for pattern in patterns)
    said = [str(answer.get("message", "")) for answer in answers]
    return [
        shape or message.removeprefix("Event pattern is not valid. Reason: ")
        for shape, message in zip(shapes, said, strict=True)
    ]


def matching(patterns: Sequence[Pattern], event: Mapping[str, Any]) -> list[bool | None]:
    """Whether the event matches each pattern; None where nobody can say, because MiniStack is not installed."""
    if not patterns or not (MINISTACK / "installed").exists():
        return [None] * len(patterns)
    whole = {**_ENVELOPE, **event}
    return [bool(answer.get("Result")) for answer in _ask((pattern, whole) for pattern in patterns)]


def unknown_keys(pattern: Pattern) -> list[str]:
    """The keys at the top of a pattern that no event has: EventBridge takes them, and the pattern matches nothing."""
    alternatives = pattern.get("$or")
    tops = (
        [pattern, *(each for each in alternatives if isinstance(each, dict))]
        if isinstance(alternatives, list)
        else [pattern]
    )
    return [key for top in tops for key in top if key not in (*KEYS, "$or")]


def sources(pattern: Pattern) -> tuple[str, ...]:
    """The exact `source` values that a pattern asks for; none if it asks for others, or in another way, too."""
    named = pattern.get("source")
    exact = isinstance(named, list) and all(isinstance(each, str) for each in named)
    return tuple(named) if isinstance(named, list) and exact else ()


def _ask(pairs: Iterable[tuple[Pattern, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return MiniStack's answer to each pair of a pattern and an event. It is asked once about the same pair."""
    questions = [(json.dumps(pattern), json.dumps(event)) for pattern, event in pairs]
    new = [question for question in dict.fromkeys(questions) if question not in _answers]
    if new:
        answered = subprocess.run(
            [MINISTACK / "bin" / "python", "-I", "-c", _ASK],
            input=json.dumps([{"EventPattern": pattern, "Event": event} for pattern, event in new]),
            capture_output=True,
            text=True,
            check=True,
        )
        _answers.update(zip(new, map(json.loads, answered.stdout.splitlines()), strict=True))
    return [_answers[question] for question in questions]


def _fault_of_shape(value: object, path: str = "") -> str:
    """A pattern is an object of objects whose leaves are lists that are not empty: the first place where it is not."""
    if isinstance(value, list):
        return "" if value else f"{path} is an empty list"
    if not isinstance(value, dict):
        return f"{path} must be an object or an array"
    if not value:
        return f"{path or 'the pattern'} is an empty object"
    below = (_fault_of_shape(each, f"{path}.{key}".lstrip(".")) for key, each in value.items())
    return next((fault for fault in below if fault), "")
