"""What the search is made over: small sets of events, acts of people, faults and sweeps, all interleavings of each."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from device_lockout.values import settings
from device_lockout.values.command import Cause, Command, Enroll, Lock, Release, Retire, Target, claim_id
from device_lockout.values.override import Override
from device_lockout.values.policy import MOST_CLAIMS
from device_lockout.values.record import Claim, Scope
from device_lockout.values.tag import HOLD, write_time

OWNER = "prod"
ORGANIZATION = "m-00000000000000000000000000000000"
START = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
"""Second 0 of every history."""

ALL_CALLS = frozenset(
    {"open", "get", "user", "save", "put", "delete", "save user", "devices of", "send", "enroll", "page", "records"}
)
"""Every call that a scenario may pause a process before."""
DEVICE_CALLS = frozenset({"put", "delete", "page", "send"})
"""Enough where one process at a time works on a device and nobody else writes its items."""


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def second_of(instant: datetime) -> str:
    """An instant as histories print it."""
    return "released" if instant == HOLD else f"{(instant - START).total_seconds():g}"


@dataclass(frozen=True, slots=True)
class Event:
    """A report: ``name`` in histories, the command the router makes of it, when it happened, who it is about.

    ``copy_of`` names the event that this is a copy of, long after the queue's own deduplication.
    """

    name: str
    command: Command = field(repr=False)
    at: float = field(repr=False)
    device: int = -1
    user: int = 0
    copy_of: str = ""

    @property
    def claim(self) -> Claim | None:
        return self.command.claim if isinstance(self.command, Lock) else None

    @property
    def releases(self) -> Scope | None:
        return self.command.scope if isinstance(self.command, Release) else None


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person does once, at any time from second ``after`` on.

    ``put`` and ``delete`` a row; ``edit`` our tag's ``until``; ``flip`` our row's effect to ALLOW, keeping the tag;
    ``disable`` or ``remove`` a user, or ``enable`` one again; ``lose`` the whole ledger; ``reap`` what TTL would
    remove.
    """

    kind: Literal["put", "delete", "edit", "flip", "disable", "enable", "remove", "lose", "reap"]
    device: int = 0
    override: Override | None = None
    until: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Scenario:
    """A small set of events, acts and faults, of which all interleavings are tried.

    ``instants``: the seconds that the clock shows, in turn. ``before``: events that were carried out before.
    ``rows``: what stands at the start, by device. ``devices``: (user, device ID) of each. ``runs``: how many sweeps may
    start, ``faults``: how many crashes, lost answers and failed pages a history may have.
    ``on_tampering``: the sweep's policy.
    ``guarded``: nothing may be let back in (a cap of none, or WorkMail's clock off by ``skew`` seconds).
    ``freezes``: a process may stop before its ledger write for so long that its message is delivered again.
    ``buries``: a command may go to the dead-letter queue and be redriven later. ``deduplicates``: the queue drops what
    processes send twice. ``readable``: WorkMail still answers for the overrides of a user who was deleted.
    ``most_claims``: how many an item keeps before it forgets those that another outlasts.
    ``small`` ones are the test suite's and those that broken guards are tried on first.
    """

    name: str
    about: str
    events: tuple[Event, ...] = ()
    acts: tuple[Act, ...] = ()
    instants: tuple[int, ...] = (10,)
    before: tuple[str, ...] = ()
    rows: tuple[Override | None, ...] = (None,)
    devices: tuple[tuple[int, str], ...] = ((0, "DEV1"),)
    runs: int = 0
    faults: int = 1
    guarded: bool = False
    skew: int = 0
    on_tampering: Literal["reassert", "alert"] = "reassert"
    max_removals: int = 50
    max_event_age: int = 30 * 86400
    most_claims: int = MOST_CLAIMS
    page_size: int = 100
    freezes: bool = False
    buries: bool = False
    deduplicates: bool = True
    readable: bool = True
    pauses: frozenset[str] = DEVICE_CALLS
    small: bool = True

    def __repr__(self) -> str:
        events = ", ".join(event.name for event in self.events)
        acts = ", ".join(act.kind for act in self.acts)
        return f"{self.name}: {self.about} ({len(self.devices)} devices; {events}; {acts})"


def user_name(user: int) -> str:
    """WorkMail's ID of a scenario's user."""
    return f"user{user}"


def lock(
    name: str, happened: float, until: int | None, device: int = 0, *, device_id: str = "DEV1", user: int = 0
) -> Event:
    """A device reported lost at second ``happened``, to be locked until ``until`` (None: until released)."""
    cause = _cause(name, "Device Lost", happened)
    claim = Claim(claim_id(name), "device", "lost", at(happened), HOLD if until is None else at(until))
    return Event(name, Lock(cause, _target(user, device_id), claim), happened, device, user)


def release(name: str, happened: float, device: int = 0, *, device_id: str = "DEV1", user: int = 0) -> Event:
    """A device reported recovered at second ``happened``."""
    command = Release(_cause(name, "Device Recovered", happened), _target(user, device_id), "device")
    return Event(name, command, happened, device, user)


def lock_user(name: str, happened: float, until: int | None, user: int = 0) -> Event:
    """A user reported compromised."""
    claim = Claim(claim_id(name), "user", "compromised", at(happened), HOLD if until is None else at(until))
    return Event(name, Lock(_cause(name, "User Compromised", happened), _target(user, ""), claim), happened, -1, user)


def release_user(name: str, happened: float, user: int = 0) -> Event:
    """A user restored."""
    command = Release(_cause(name, "User Restored", happened), _target(user, ""), "user")
    return Event(name, command, happened, -1, user)


def enroll(name: str, happened: float, device: int = 0, *, device_id: str = "DEV1", user: int = 0) -> Event:
    """A device enrolled."""
    return Event(
        name, Enroll(_cause(name, "Device Enrolled", happened), _target(user, device_id)), happened, device, user
    )


def retire(name: str, happened: float, device: int = 0, *, device_id: str = "DEV1", user: int = 0) -> Event:
    """A device retired."""
    return Event(
        name, Retire(_cause(name, "Device Retired", happened), _target(user, device_id)), happened, device, user
    )


def read_by(source: str, report: str, event: Event) -> Event:
    """A lock as ``source`` reads it in somebody else's event ``report``, which other sources read as well."""
    assert isinstance(event.command, Lock), "only locks have claims"
    cause = replace(event.command.cause, event_id=report, reader=source)
    return replace(
        event, command=replace(event.command, cause=cause, claim=replace(event.command.claim, id=claim_id(report)))
    )


def by_mail(event: Event) -> Event:
    """``event`` with its user named by mail address."""
    target = replace(event.command.target, user=f"{event.command.target.user}@example.com")
    return replace(event, command=replace(event.command, target=target))


def copy(event: Event) -> Event:
    """A second copy of ``event``, which comes long after the first one."""
    return replace(event, name=f"{event.name} again", copy_of=event.name)


def _cause(name: str, detail_type: str, happened: float) -> Cause:
    return Cause(name, "helpdesk", detail_type, at(happened), at(happened))


def _target(user: int, device: str) -> Target:
    return Target(ORGANIZATION, user_name(user), device)


def settings_of(scenario: Scenario) -> settings.Settings:
    return settings.parse(
        {
            "owner": OWNER,
            "bus": "device-security",
            "organizations": [{"id": ORGANIZATION, "alias": "main"}],
            "sources": [{"name": "helpdesk", "may": ["lock", "release"]}],
            "reasons": {},
            "sweep": {
                "every": 3600,
                "mode": "apply",
                "on_tampering": scenario.on_tampering,
                "max_removals": scenario.max_removals,
                "max_removals_percent": 100,
                "max_reasserts": 500,
                "portion": 100,
                "report_only_after_missed": 10**6,
            },
            "limits": {
                "settle_seconds": 60,
                "writer_timeout_seconds": 15,
                "workmail_timeout_seconds": 4,
                "clock_skew_seconds": 60,
                "max_event_age": scenario.max_event_age,
            },
        }
    )


def written(second: int, effect: Literal["ALLOW", "DENY"] = "DENY") -> Override:
    """What a person writes by hand, to be removed after ``second``."""
    return Override(effect, f"[until={write_time(at(second))}] travel")


VIP = Override("ALLOW", "vip, agreed with security")
OTHER_ALLOW = Override("ALLOW", None)
LEGAL_HOLD = Override("DENY", "legal hold")
BROKEN_ALLOW = Override("ALLOW", f"[lockout/1 by={OWNER} why=lost] tag cut off")
BROKEN_DENY = replace(BROKEN_ALLOW, effect="DENY")

L1, L1_15, L1_30 = (lock(name, 1, until) for name, until in (("L1(hold)", None), ("L1(15)", 15), ("L1(30)", 30)))
L5, L5_15, L5_30 = (lock(name, 5, until) for name, until in (("L5(hold)", None), ("L5(15)", 15), ("L5(30)", 30)))
R3, R5, R7 = release("R3", 3), release("R5", 5), release("R7", 7)
ONE_DEVICE = ((0, "DEV1"),)
TWO_DEVICES = ((0, "DEV1"), (0, "DEV2"))
USER_CALLS = frozenset({"user", "save user", "devices of", "send", "put", "delete", "page"})


SMALL = (
    Scenario(
        "order",
        "lost, recovered, lost again, in every order of arrival, with a copy of the first",
        (L1, R3, L5_15, copy(L1)),
        instants=(10, 16),
    ),
    Scenario("tie", "lost and recovered in the same instant", (L5, R5)),
    Scenario(
        "milliseconds",
        "recovered and lost within one second; the tag shows whole seconds",
        (release("R5.2", 5.2), lock("L5.5(15)", 5.5, 15), release("R5.7", 5.7)),
        instants=(10, 16),
        runs=1,
    ),
    Scenario("three", "two releases and a lock between them", (R5, R3, lock("L4(hold)", 4, None))),
    Scenario(
        "shorter",
        "a shorter lock after a longer one, and the sweep when it is over",
        (L1, L5_15, release("R2", 2)),
        instants=(10, 16),
        runs=1,
    ),
    Scenario("prior", "a lock over a foreign ALLOW, extended, then released", (L1_15, L5_30, R7), rows=(VIP,)),
    Scenario(
        "prior that ends",
        "a lock over an ALLOW that a person asked to be removed while the lock stands",
        (L1_15, R7),
        rows=(written(12, "ALLOW"),),
        instants=(10, 13, 16),
        runs=1,
    ),
    Scenario(
        "denied",
        "a lock where a person's DENY stands, which that person takes away",
        (L1_15, R3),
        (Act("delete"), Act("put", override=BROKEN_DENY)),
        rows=(LEGAL_HOLD,),
        instants=(10, 16),
        runs=1,
    ),
    Scenario(
        "hand-written",
        "a DENY that a person wrote an end to, and a lock that outlasts it",
        (L1,),
        rows=(written(12),),
        instants=(10, 13),
        runs=1,
    ),
    Scenario(
        "broken",
        "a lock over an ALLOW with a tag of ours that can't be read",
        (L1_15, R7),
        rows=(BROKEN_ALLOW,),
        instants=(10, 16),
        runs=1,
    ),
    Scenario(
        "edit",
        "a person cuts a lock short in its tag; a copy of the report follows",
        (L1_30, copy(L1_30)),
        (Act("edit", until=12),),
        before=("L1(30)",),
        instants=(10, 13),
        runs=1,
    ),
    Scenario(
        "longer edit",
        "a person prolongs a lock in its tag",
        (L1_15,),
        (Act("edit", until=40),),
        before=("L1(15)",),
        instants=(10, 16, 41),
        runs=1,
    ),
    Scenario(
        "tampered",
        "a person deletes a lock, or puts an ALLOW there, or turns it into one",
        (L1_30,),
        (Act("delete"), Act("put", override=VIP), Act("flip")),
        before=("L1(30)",),
        instants=(10, 31),
        runs=1,
    ),
    Scenario(
        "expiry",
        "a lock runs out over an ALLOW, while a report of before is still on its way",
        (L1_15, L5_30),
        rows=(VIP,),
        before=("L1(15)",),
        instants=(10, 16),
        runs=2,
    ),
    Scenario(
        "loss",
        "the ledger is lost while a lock stands over an ALLOW",
        (L1_30, R3),
        (Act("lose"),),
        rows=(VIP,),
        before=("L1(30)",),
        instants=(10, 31),
        runs=1,
    ),
    Scenario(
        "loss and tampering",
        "the ledger is lost, swept up from the tags, and then a person deletes the lock",
        (L1_30,),
        (Act("lose"), Act("delete", after=11)),
        before=("L1(30)",),
        instants=(10, 11),
        runs=1,
    ),
    Scenario(
        "end of life",
        "what a time to live would do: a copy of a report after its lock was released",
        (L1, R3, copy(L1)),
        (Act("reap"),),
        before=("L1(hold)", "R3"),
    ),
    Scenario(
        "age",
        "locks long over are forgotten, and events as old are refused",
        (L1_15, R3, copy(L1_15), L5_15),
        instants=(10, 20, 40),
        max_event_age=20,
    ),
    Scenario(
        "full item",
        "an item has room for one claim; of three the second outlasts the first, and the third is not like that",
        (L1_15, L5_30, lock("L6(15)", 6, 15), release("R5.5", 5.5)),
        rows=(VIP,),
        instants=(10, 16),
        most_claims=1,
    ),
    Scenario(
        "frozen",
        "a writer stands still before its ledger write, and its message is delivered again",
        (L1_15, L5_30, R3),
        freezes=True,
        faults=2,
        pauses=frozenset({"get", "save", "put", "delete"}),
    ),
    Scenario(
        "buried",
        "a command goes to the dead-letter queue and is redriven after others",
        (L1, R3, L5_15),
        rows=(VIP,),
        buries=True,
        faults=2,
    ),
    Scenario(
        "capped",
        "a sweep over its cap lets nothing in, and still puts back",
        (L1_15, lock("L2(hold)", 2, None, 1, device_id="DEV2")),
        (Act("delete", 1),),
        instants=(10, 16),
        before=("L1(15)", "L2(hold)"),
        rows=(None, None),
        devices=TWO_DEVICES,
        runs=1,
        max_removals=0,
        guarded=True,
    ),
    Scenario(
        "clock",
        "our clock is ahead of WorkMail's",
        (L1_15,),
        rows=(VIP,),
        before=("L1(15)",),
        instants=(10, 16),
        skew=-61,
        runs=1,
        guarded=True,
    ),
    Scenario(
        "pages",
        "a listing of two pages, of which one may fail, while locks come and go",
        (L1_15, lock("L2(15)", 2, 15, 1, device_id="DEV2"), lock("L8(30)", 8, 30, 1, device_id="DEV2")),
        before=("L1(15)", "L2(15)"),
        rows=(None, VIP),
        devices=TWO_DEVICES,
        instants=(10, 16),
        page_size=1,
        runs=1,
    ),
    Scenario(
        "pages, missing",
        "a person deletes a lock, and a page of the listing fails: that very sweep puts it back",
        (L1_15, lock("L2(15)", 2, 15, 1, device_id="DEV2")),
        (Act("delete", 1), Act("put", override=VIP)),
        before=("L1(15)", "L2(15)"),
        rows=(None, None),
        devices=TWO_DEVICES,
        instants=(10, 16),
        page_size=1,
        runs=1,
    ),
    Scenario(
        "clock, missing",
        "our clock is ahead of WorkMail's, and a person deletes a lock or puts an ALLOW there",
        (L1_15,),
        (Act("delete"), Act("put", override=VIP)),
        before=("L1(15)",),
        instants=(10, 16),
        skew=-61,
        runs=1,
        guarded=True,
    ),
    Scenario(
        "replaced",
        "somebody else's DENY takes the place of a lock, and goes away again, or has an end",
        (L1_30,),
        (Act("put", override=LEGAL_HOLD), Act("put", override=written(12)), Act("delete")),
        before=("L1(30)",),
        rows=(VIP,),
        instants=(10, 13, 31),
        runs=1,
    ),
    Scenario(
        "alert",
        "people undo a lock, which is told of and not mended, while a copy of its report comes",
        (L1_30, copy(L1_30)),
        (Act("delete"), Act("put", override=VIP), Act("flip")),
        before=("L1(30)",),
        instants=(10, 26, 31),
        on_tampering="alert",
        runs=1,
    ),
    Scenario(
        "alert, never set",
        "a lock is recorded and its command goes to the dead-letter queue before it is set: that is no tampering",
        (L1_30,),
        instants=(10, 26),
        on_tampering="alert",
        buries=True,
        pauses=DEVICE_CALLS | {"told", "alarm"},
        faults=2,
        runs=1,
    ),
    Scenario(
        "two readers",
        "one event that two sources read: a lock of the device and one of its user, released each by its own",
        (
            enroll("E0", 0),
            read_by("mdm", "X", lock("X lost(30)", 1, 30)),
            read_by("idp", "X", lock_user("X compromised(15)", 1, 15)),
            R3,
            release_user("RU3", 3),
        ),
        before=("E0",),
        pauses=USER_CALLS,
        faults=0,
    ),
    Scenario(
        "deleted and back",
        "a user is deleted while a lock over an ALLOW is extended for that user, and comes back",
        (enroll("E0", 0), L1_15, lock_user("U2(30)", 2, 30)),
        (Act("remove"), Act("enable")),
        rows=(VIP,),
        before=("E0", "L1(15)"),
        instants=(10, 31),
        runs=1,
        readable=False,
    ),
    Scenario(
        "same device ID",
        "two users with the same device ID: one group, two overrides",
        (L1_15, lock("L2(hold)", 2, None, 1, user=1), release("R3", 3, 1, user=1)),
        rows=(None, VIP),
        devices=((0, "DEV1"), (1, "dev1")),
        instants=(10, 16),
        runs=1,
    ),
    Scenario(
        "user",
        "a user locked and restored, with a phone that is lost as well",
        (enroll("E0", 0), lock_user("U1(hold)", 1, None), release_user("RU3", 3), lock("L2(15)", 2, 15)),
        before=("E0",),
        pauses=USER_CALLS,
    ),
    Scenario(
        "user, again",
        "a user locked, restored and locked again, in every order of arrival",
        (enroll("E0", 0), lock_user("U1(30)", 1, 30), release_user("RU3", 3), lock_user("U5(15)", 5, 15)),
        before=("E0",),
        pauses=USER_CALLS,
    ),
    Scenario(
        "recovered",
        "a phone recovered while its user is locked",
        (enroll("E0", 0), lock_user("U1(30)", 1, 30), R3, L1_15),
        before=("E0",),
        instants=(10,),
        runs=0,
        pauses=USER_CALLS,
    ),
    Scenario(
        "enrolment",
        "a device enrolled while its user is locked and restored",
        (lock_user("U1(hold)", 1, None), enroll("E2", 2), release_user("RU3", 3)),
        pauses=ALL_CALLS,
    ),
    Scenario(
        "unknown device",
        "a device that nobody knew is lost while its user is locked",
        (lock_user("U1(30)", 1, 30), lock("L2(15)", 2, 15)),
        pauses=ALL_CALLS,
    ),
    Scenario(
        "user's edit",
        "a person cuts a user's lock short on one of two devices",
        (
            enroll("E0", 0),
            enroll("E1", 0, 1, device_id="DEV2"),
            lock_user("U1(30)", 1, 30),
            copy(lock_user("U1(30)", 1, 30)),
        ),
        (Act("edit", until=12),),
        rows=(None, None),
        devices=TWO_DEVICES,
        before=("E0", "E1", "U1(30)"),
        instants=(10, 13),
        runs=1,
    ),
    Scenario(
        "disabled",
        "a user is disabled before a lock and enabled later",
        (L1_30,),
        (Act("disable"), Act("enable", after=11)),
        instants=(10, 11),
        runs=1,
    ),
    Scenario(
        "disabled, late",
        "a writer crashes twice on a lock, whose user is disabled meanwhile and whose end comes",
        (L1_15,),
        (Act("disable"),),
        instants=(10, 16),
        faults=2,
    ),
    Scenario(
        "deleted",
        "a user is deleted between a lock and its release, both by mail address",
        (by_mail(L1), by_mail(R3)),
        (Act("remove"),),
        runs=1,
    ),
    Scenario(
        "deleted, unreadable",
        "the same where WorkMail answers nothing about a deleted user, but lists the override",
        (by_mail(L1_15), by_mail(R3)),
        (Act("remove"),),
        instants=(10, 16),
        runs=1,
        readable=False,
    ),
)

LARGE = tuple(
    replace(scenario, small=False)
    for scenario in (
        Scenario(
            "order, sweeps",
            "lost, recovered, lost again, a copy, and sweeps that overlap",
            (L1, R3, L5_15, copy(L1)),
            instants=(10, 16),
            runs=2,
        ),
        Scenario(
            "full item, sweep",
            "an item has room for one claim of three, and a sweep runs",
            (L1_15, L5_30, lock("L6(15)", 6, 15), release("R5.5", 5.5)),
            rows=(VIP,),
            instants=(10, 16),
            most_claims=1,
            runs=1,
        ),
        Scenario(
            "order, two faults",
            "two crashes or lost answers in one history, over a foreign ALLOW",
            (L1_15, R3, L5_30, copy(R3)),
            instants=(10, 16),
            rows=(VIP,),
            faults=3,
        ),
        Scenario(
            "prior, people",
            "a lock over an ALLOW, extended and released, while people change the row and a sweep runs",
            (L1_15, L5_30, R7),
            (Act("delete"), Act("put", override=OTHER_ALLOW)),
            rows=(VIP,),
            instants=(10, 16),
            runs=1,
        ),
        Scenario(
            "overlapping sweeps",
            "two sweeps at once over a lock that ran out, while it is extended and released",
            (L1_15, L5_30, R3),
            (Act("delete"),),
            rows=(VIP,),
            before=("L1(15)",),
            instants=(10, 16),
            runs=2,
        ),
        Scenario(
            "edits",
            "a person cuts a lock short and prolongs it, between reports and sweeps",
            (L1_30, L5_15, R3),
            (Act("edit", until=12), Act("edit", until=40)),
            before=("L1(30)",),
            instants=(10, 13, 31),
            runs=1,
        ),
        Scenario(
            "denials",
            "people put a DENY with an end, and an ALLOW with one, around a lock",
            (L1_15, R7),
            (Act("put", override=written(12)), Act("put", override=written(13, "ALLOW")), Act("delete")),
            instants=(10, 14, 16),
            runs=1,
        ),
        Scenario(
            "tampering",
            "a person deletes a lock, flips it, puts an ALLOW, while it is extended",
            (L1_15, L5_30),
            (Act("delete"), Act("put", override=VIP), Act("flip")),
            before=("L1(15)",),
            instants=(10, 16),
            runs=1,
        ),
        Scenario(
            "loss, people",
            "the ledger is lost between reports, edits and sweeps",
            (L1_30, L5_15, R3),
            (Act("lose"), Act("edit", until=40)),
            rows=(VIP,),
            before=("L1(30)",),
            instants=(10, 31),
            runs=1,
        ),
        Scenario(
            "frozen, three",
            "a writer stands still before its ledger write while two others' commands go by",
            (L1_15, L5_30, R3, R7),
            rows=(VIP,),
            freezes=True,
            faults=2,
            pauses=frozenset({"get", "save", "put", "delete"}),
        ),
        Scenario(
            "buried, sweeps",
            "commands go to the dead-letter queue and come back, between sweeps",
            (L1_15, R3, L5_30),
            rows=(VIP,),
            instants=(10, 16),
            buries=True,
            faults=2,
            runs=1,
        ),
        Scenario(
            "buried, user",
            "commands of a user's lock and release go to the dead-letter queue and come back",
            (enroll("E0", 0), lock_user("U1(30)", 1, 30), release_user("RU3", 3), lock_user("U5(15)", 5, 15)),
            before=("E0",),
            buries=True,
            faults=2,
            pauses=USER_CALLS,
        ),
        Scenario(
            "two devices",
            "two devices on two pages, locked, released, tampered with, while a sweep lists",
            (
                L1_15,
                R3,
                lock("L2(15)", 2, 15, 1, device_id="DEV2"),
                lock("L8(30)", 8, 30, 1, device_id="DEV2"),
            ),
            (Act("delete", 1),),
            before=("L2(15)",),
            rows=(None, VIP),
            devices=TWO_DEVICES,
            instants=(10, 16),
            page_size=1,
            runs=1,
        ),
        Scenario(
            "user, device, sweep",
            "a user locked and restored, with a phone that is lost, and a sweep",
            (enroll("E0", 0), lock_user("U1(hold)", 1, None), release_user("RU3", 3), lock("L2(15)", 2, 15)),
            before=("E0",),
            instants=(10, 16),
            runs=1,
            pauses=USER_CALLS,
        ),
        Scenario(
            "user, two devices",
            "a user with two devices locked, restored and locked again; a person deletes one lock",
            (
                enroll("E0", 0),
                enroll("E1", 0, 1, device_id="DEV2"),
                lock_user("U1(30)", 1, 30),
                release_user("RU3", 3),
                lock_user("U5(15)", 5, 15),
            ),
            (Act("delete", 1),),
            rows=(VIP, None),
            devices=TWO_DEVICES,
            before=("E0", "E1", "U1(30)"),
            instants=(10, 16),
            faults=1,
            pauses=USER_CALLS,
        ),
        Scenario(
            "enrolment, retirement",
            "a device enrolled, retired and lost while its user is locked and restored",
            (
                lock_user("U1(30)", 1, 30),
                enroll("E2", 2),
                retire("T4", 4),
                lock("L2(15)", 2, 15),
                release_user("RU3", 3),
            ),
            pauses=ALL_CALLS,
        ),
        Scenario(
            "user, loss",
            "the ledger is lost while a user is locked",
            (enroll("E0", 0), lock_user("U1(30)", 1, 30), release_user("RU3", 3), L5_15),
            (Act("lose"),),
            before=("E0", "U1(30)"),
            rows=(VIP,),
            instants=(10, 31),
            runs=1,
            pauses=USER_CALLS,
        ),
        Scenario(
            "disabled, user",
            "a user is disabled and enabled between locks and a release",
            (L1_30, lock("L5(hold)", 5, None), R3),
            (Act("disable"), Act("enable")),
            rows=(VIP,),
            instants=(10, 31),
            runs=1,
        ),
        Scenario(
            "no deduplication",
            "copies of everything that a user's command and the sweeps send",
            (enroll("E0", 0), lock_user("U1(15)", 1, 15), R3, L1_30),
            before=("E0",),
            instants=(10, 16),
            runs=1,
            deduplicates=False,
            pauses=USER_CALLS,
        ),
        Scenario(
            "every call",
            "a stop before every single call, to see that running calls together hides nothing",
            (L1, R3, L5_15),
            instants=(10, 16),
            rows=(VIP,),
            runs=1,
            pauses=ALL_CALLS,
        ),
    )
)

DEEP = tuple(
    replace(scenario, name=f"{scenario.name} +1", faults=scenario.faults + 1, about=f"{scenario.about}; one fault more")
    for scenario in (*LARGE, *SMALL)
)

SCENARIOS = {scenario.name: scenario for scenario in (*SMALL, *LARGE, *DEEP)}
