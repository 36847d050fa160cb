"""Check EventBridge's event patterns and match events against them, without AWS.

No maintained Python package does only this. AWS's event-ruler is Java, and its Python binding ended with Python 3.12.
MiniStack knows which patterns EventBridge accepts, and its messages about the others. It has its own virtual
environment, ``.local/ministack``. One process there answers about all patterns.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

MINISTACK = Path(__file__).parent.parent / ".local" / "ministack"

Pattern = Mapping[str, Any]

KEYS = ("source", "detail-type", "detail", "resources", "account", "region", "time", "id", "version", "replay-name")
"""The top-level keys of an event. A pattern may also have ``$or``: https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html"""

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
"""The keys that ``TestEventPattern`` requires of an event. A sample may leave them out."""

_answers: dict[tuple[str, str], dict[str, Any]] = {}

_ASK = """
import json, sys
from ministack.services.eventbridge import _test_event_pattern as test
for question in json.load(sys.stdin):
    status, _, body = test(question)
    print(json.dumps(json.loads(body)))
"""


def faults(patterns: Sequence[Pattern]) -> list[str]:
    """Return EventBridge's message about each pattern. It is "" for a pattern that EventBridge accepts.

    Without MiniStack only the shape is checked. EventBridge then refuses other mistakes at the deployment.
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
    """Return whether the event matches each pattern. Without MiniStack each answer is None."""
    if not patterns or not (MINISTACK / "installed").exists():
        return [None] * len(patterns)
    whole = {**_ENVELOPE, **event}
    return [bool(answer.get("Result")) for answer in _ask((pattern, whole) for pattern in patterns)]


def ask_ahead(patterns: Sequence[Pattern], events: Iterable[Mapping[str, Any]]) -> None:
    """Have one process answer for :func:`matching` about each event and pattern, since each process takes a moment."""
    if (MINISTACK / "installed").exists():
        _ask((pattern, {**_ENVELOPE, **event}) for event in events for pattern in patterns)


def unknown_keys(pattern: Pattern) -> list[str]:
    """Return the top-level keys that no event has. EventBridge accepts such a pattern, but it matches nothing."""
    alternatives = pattern.get("$or")
    tops = (
        [pattern, *(each for each in alternatives if isinstance(each, dict))]
        if isinstance(alternatives, list)
        else [pattern]
    )
    return [key for top in tops for key in top if key not in (*KEYS, "$or")]


def sources(pattern: Pattern) -> tuple[str, ...]:
    """Return the values of ``source`` that a pattern lists. Return none if it may match others."""
    named = pattern.get("source")
    exact = isinstance(named, list) and all(isinstance(each, str) for each in named)
    return tuple(named) if isinstance(named, list) and exact else ()


def _ask(pairs: Iterable[tuple[Pattern, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return MiniStack's answer to each pair of a pattern and an event. Answers are cached."""
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
    """Return the first fault in a pattern's shape, or "". Its values are objects or lists, and none is empty."""
    if isinstance(value, list):
        return "" if value else f"{path} is an empty list"
    if not isinstance(value, dict):
        return f"{path} must be an object or an array"
    if not value:
        return f"{path or 'the pattern'} is an empty object"
    below = (_fault_of_shape(each, f"{path}.{key}".lstrip(".")) for key, each in value.items())
    return next((fault for fault in below if fault), "")
