"""The rows of the fault matrix."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

type Json = dict[str, Any]

GET, PUT, DELETE = (f"{verb}MobileDeviceAccessOverride" for verb in ("Get", "Put", "Delete"))
DESCRIBE, LIST = "DescribeUser", "ListMobileDeviceAccessOverrides"
WRITES = [PUT, DELETE]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the matrix: what goes wrong for the user of this row.

    Attributes:
        name: the row's name on the command line and in the result.
        description: the fault in words.
        faults: the emulator's faults by kind. They hit calls of this row's user only.
        kills: pairs of operation and device. The worker is killed once during such a call.
        redelivered: every event comes again, the newest first, and every command again once it is done.
        until_queued: the faults end as soon as all reports wait in the queue, because nothing gets through them.
    """

    name: str
    description: str
    faults: Mapping[str, Json] = field(default_factory=dict)
    kills: tuple[tuple[str, str], ...] = ()
    redelivered: bool = False
    until_queued: bool = False

    @property
    def short_locks_first(self) -> bool:
        """Whether short locks are reported before the fault starts: they would expire before they got through."""
        return self.until_queued or bool(self.kills)


def _unanswered(effect: str, **more: Any) -> Mapping[str, Json]:
    return {"no_answer": {"operations": WRITES, "effect": effect, "probability": 0.6, **more}}


MATRIX = (
    Row("none", "nothing goes wrong"),
    Row("throttled", "WorkMail throttles 3 calls of 10", {"throttle": {"probability": 0.3}}),
    Row("broken", "3 calls of 10 are answered 500, nothing done", {"error": {"probability": 0.3}}),
    Row(
        "broken-done",
        "6 writes of 10 are answered 500, and done",
        {"error": {"operations": WRITES, "effect": "applied", "probability": 0.6}},
    ),
    Row("slow", "every call takes 0.5 s longer", {"latency": {"ms": 500}}),
    Row("silent", "6 writes of 10 are not answered, nothing done", _unanswered("not_applied")),
    Row("silent-done", "6 writes of 10 are not answered, and done", _unanswered("applied")),
    Row("silent-late", "6 writes of 10 are not answered, and done 3 s later", _unanswered("late", after_seconds=3)),
    Row("away", "WorkMail answers 503 until all reports wait", {"error": {"status": 503}}, until_queued=True),
    Row("doubled", "every event comes twice, the newest first, and every command once more", redelivered=True),
    Row(
        "killed",
        "the worker is killed in each kind of call",
        {"latency": {"ms": 700}},
        kills=((DESCRIBE, "LOST"), (GET, "LOSTAGAIN"), (PUT, "FOUND"), (PUT, "EXTENDED"), (DELETE, "SHORT")),
    ),
)
SHORT_MATRIX = ("throttled", "silent-late", "doubled")
"""The rows that the end-to-end tests run."""


@dataclass(frozen=True, slots=True)
class ListingFault:
    """A fault of WorkMail's listing, which belongs to no user.

    Attributes:
        description: the fault in words.
        guard: the guard that must refuse the sweep.
        settings: the emulator's settings for it.
    """

    description: str
    guard: str
    settings: Json


def _failing_list(**fault: Any) -> Json:
    return {"faults": {"listing": {"kind": "error", "operations": [LIST], **fault}}}


LISTING_AWAY = ListingFault("the listing is away", "list", _failing_list(status=503))
LISTING = (
    LISTING_AWAY,
    ListingFault("the second page of the listing fails", "list", _failing_list(status=500, skip=1)),
    ListingFault("WorkMail's clock is two minutes ahead", "clock", {"date_header_skew_seconds": 120}),
)
