"""The protocol's two tables: row by row, and in every combination against a second statement of them.

The second statement (:func:`expected`) shares no line with the code. It works on words and numbers (seconds after the
tests' start). Like the tables it takes the first row that fits.
"""

import itertools
import os
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any

import pytest

from device_lockout.decisions.decision import (
    TOO_MANY,
    TOO_MANY_RELEASES,
    Delete,
    Put,
    decide,
    decide_for_user,
    must_be_recorded,
)
from device_lockout.values.command import Cause, Change, Expire, Lock, Reassert, Release, Target, command_id
from device_lockout.values.outcome import Outcome
from device_lockout.values.override import Override
from device_lockout.values.policy import Rules
from device_lockout.values.record import MOST_RELEASES, Claim, DeviceRecord, Ending, Last, UserRecord
from device_lockout.values.tag import HOLD, write_time
from local.in_memory import BOB, DAY, DEVICE, ORGANIZATION, at
from tests.functions.releases import released

NOW = 100
FOREVER = 10**9
"""``hold``, in seconds."""
RULES = Rules("local", timedelta(days=30), timedelta(minutes=1))
TARGET = Target(ORGANIZATION, BOB, DEVICE, resolved=True)


def moment(seconds):
    return HOLD if seconds == FOREVER else at(seconds)


def tag_text(claim_id, until, when, was, why="lost"):
    return (
        f"[lockout/1 by=local why={why} until={write_time(moment(until))} at={write_time(at(when))}"
        f" id={claim_id} was={was}]"
    )


@dataclass(frozen=True)
class Observed:
    """An override or nothing, described by hand."""

    name: str
    effect: str = ""
    kind: str = "nothing"
    description: str | None = None
    id: str = ""
    until: int = 0
    at: int = 0
    was: str = ""

    @property
    def override(self):
        return Override(self.effect, self.description) if self.effect else None


def ours(effect, claim_id, when, until, was):
    name = f"ours {effect} {claim_id[0]} at {when} until {until} was {was}"
    return Observed(name, effect, "ours", tag_text(claim_id, until, when, was), claim_id, until, when, was)


A, B, C, D, U, X = "aaaaaaaa", "bbbbbbbb", "eeeeeeee", "dddddddd", "cccccccc", "99999999"
"""Claims: a lock's, the device's two with a change's between, the user's, and one unknown to the ledger."""

NOTHING = Observed("nothing")
FOREIGN_ALLOW = Observed("foreign ALLOW", "ALLOW", "foreign", "CEO's travel phone")
FOREIGN_DENY = Observed("foreign DENY", "DENY", "foreign", "quarantine, see SEC-9")
HAND_PAST_ALLOW = Observed("hand-written past ALLOW", "ALLOW", "hand-written", "[until=2026-11-21] trip", until=-27000)
HAND_PAST_DENY = Observed("hand-written past DENY", "DENY", "hand-written", "[until=2026-11-22T07:31:40Z]", until=NOW)
HAND_FUTURE_ALLOW = Observed("hand-written future ALLOW", "ALLOW", "hand-written", "[until=2026-12-01]", until=10**6)
HAND_FUTURE_DENY = Observed(
    "hand-written future DENY", "DENY", "hand-written", "[until=2026-11-22T07:31:41Z]", until=NOW + 1
)
OTHERS = [
    Observed("broken DENY without an ID", "DENY", "broken", "[lockout/1 by=local why=lost until=2026-"),
    Observed("another's broken DENY", "DENY", "foreign", "[lockout/1 by=prod why=lost until=2026-"),
    FOREIGN_ALLOW,
    FOREIGN_DENY,
    HAND_PAST_ALLOW,
    HAND_PAST_DENY,
    HAND_FUTURE_ALLOW,
    HAND_FUTURE_DENY,
    Observed("ALLOW without words", "ALLOW", "foreign", None),
    Observed("another owner's DENY", "DENY", "foreign", tag_text(B, 200, 15, "none").replace("by=local", "by=prod")),
    Observed("another owner's ALLOW", "ALLOW", "foreign", tag_text(B, 200, 15, "none").replace("by=local", "by=prod")),
    Observed("newer version DENY", "DENY", "foreign", tag_text(B, 200, 15, "none").replace("lockout/1", "lockout/2")),
    Observed("newer version ALLOW", "ALLOW", "foreign", tag_text(B, 200, 15, "none").replace("lockout/1", "lockout/2")),
    Observed("broken DENY", "DENY", "broken", tag_text(B, 200, 15, "none").replace("why=", "wy="), B),
    Observed("broken ALLOW", "ALLOW", "broken", tag_text(B, 200, 15, "none").replace("why=", "wy=")),
]
OURS = [
    ours(effect, claim_id, when, until, was)
    for effect in ("DENY", "ALLOW")
    for claim_id, when in ((A, 50), (B, 15), (U, 15), (X, 5))
    for until in (200, 90)
    for was in ("none", "allow")
] + [ours("DENY", B, 15, FOREVER, "none"), ours("DENY", B, 15, NOW, "none")]
ALL_OBSERVED = [NOTHING, *OTHERS, *OURS]

PRIORS = [
    None,
    Observed("words", "ALLOW", "foreign", "CEO's travel phone"),
    Observed("run out", "ALLOW", "hand-written", "[until=2026-11-22T07:31:40Z]", until=NOW),
]


@dataclass(frozen=True)
class Record:
    """A record in plain words: claims are (id, scope, at, until)."""

    own: tuple = ()
    released_device: int | None = None
    released_user: int | None = None
    users: tuple = ()
    users_release: int | None = None
    prior: Observed | None = None
    last: str = "none"

    def value(self, command):
        if self.last == "this":
            return replace(
                self.without_last, last=Last(command_id(command), command.cause.event_id, REMEMBERED, at(60))
            )
        return self.with_another if self.last == "another" else self.without_last

    @cached_property
    def with_another(self):
        return replace(
            self.without_last, last=Last("f" * 64, "an event", Outcome("locked", after=OURS_LIVE.override), at(40))
        )

    @cached_property
    def without_last(self):
        return DeviceRecord(
            claims=claims_of(self.own),
            released=released_at(self.released_device, self.released_user),
            prior=self.prior.override if self.prior else None,
            version=7,
            user=UserRecord(claims_of(self.users), released_at(None, self.users_release), version=3),
        )


def released_at(device, user):
    return released(None if device is None else at(device), None if user is None else at(user))


def claims_of(rows):
    return tuple(Claim(one, scope, "lost", at(when), moment(until)) for one, scope, when, until in rows)


REMEMBERED = Outcome("extended", because="remembered", after=Override("DENY", tag_text(B, 200, 15, "none")))
DECIDED = {"this": 60, "another": 40}
"""When the record's last command was decided. It left a lock of ours."""


def told_by(event_id, happened, source="helpdesk"):
    return Cause(event_id, source, "Told by a test", at(happened), at(happened + 5), reference="INC-7")


def lock(when, until, scope="device"):
    return Lock(told_by("event", when), TARGET, Claim(A, scope, "lost", at(when), moment(until)))


def release(when, scope="device"):
    return Release(told_by("event", when), TARGET, Ending(scope))


def change(when, until, scope="device", *, longer=True):
    claim = Claim(C, scope, "", at(when), at(until))
    return Change(told_by("change", when), TARGET, Ending(scope), claim, longer)


def expire(planned):
    return Expire(told_by("run", NOW, "device-lockout"), TARGET, planned)


REASSERT = Reassert(told_by("run", NOW, "device-lockout"), TARGET)
FOLLOW_UP = Reassert(told_by("event", 50), TARGET)

COMMANDS: dict[str, Any] = {
    "Lock": lambda _: lock(50, 300),
    "Lock until released": lambda _: lock(50, FOREVER),
    "Lock of long ago": lambda _: lock(10, 300),
    "Lock as old as a release": lambda _: lock(20, 300),
    "Lock that is over": lambda _: lock(50, NOW),
    "Lock, user": lambda _: lock(50, 300, "user"),
    "Release": lambda _: release(30),
    "Release as old as a claim": lambda _: release(15),
    "Release of long ago": lambda _: release(8),
    "Release, user": lambda _: release(30, "user"),
    "Change, sooner": lambda _: change(30, 120),
    "Change, later": lambda _: change(30, 500),
    "Change, later than it may": lambda _: change(30, 500, longer=False),
    "Change that is over by now": lambda _: change(30, 95),
    "Change of long ago": lambda _: change(15, 120),
    "Change, user": lambda _: change(30, 120, "user"),
    "Expire as planned": expire,
    "Expire otherwise": lambda _: expire(Override("DENY", "as it was")),
    "Reassert": lambda _: REASSERT,
    "Reassert for a user's lock": lambda _: FOLLOW_UP,
}

# The second statement of the tables.


@dataclass
class Situation:
    """All that the write table looks at."""

    command: str
    observed: Observed
    live: bool
    now: int
    names_an_unreleased_claim: bool
    names_a_claim: bool
    prior: Observed | None

    @property
    def past(self):
        return self.observed.kind == "hand-written" and self.observed.until <= self.now


WRITE_TABLE = [
    # live claim?; command   observed                               when it fits, and the write
    ("yes, Expire", "hand-written, past", lambda s: s.live and s.command == "Expire" and s.past, "DENY, was=none"),
    ("yes", "nothing", lambda s: s.live and s.observed.kind == "nothing", "DENY, was=none; forget the prior"),
    (
        "yes",
        "ours, either effect",
        lambda s: s.live and s.observed.kind == "ours",
        "DENY, was kept, if different",
    ),
    ("yes", "ALLOW not ours", lambda s: s.live and s.observed.effect == "ALLOW", "DENY, was=allow; save it as prior"),
    ("yes", "other DENY not ours", lambda s: s.live, "none"),
    ("no; Lock, Reassert, Change", "anything", lambda s: s.command in ("Lock", "Reassert", "Change"), "none"),
    (
        "no; Release",
        "ours, naming an unreleased claim",
        lambda s: s.command == "Release" and s.observed.kind == "ours" and s.names_an_unreleased_claim,
        "none",
    ),
    (
        "no; Release, Expire",
        "ours, was=none",
        lambda s: s.command in ("Release", "Expire") and s.observed.kind == "ours" and s.observed.was == "none",
        "Delete",
    ),
    (
        "no; Release, Expire",
        "ours, was=allow, the prior missing",
        lambda s: s.command in ("Release", "Expire") and s.observed.kind == "ours" and s.prior is None,
        "ALLOW, description lost",
    ),
    (
        "no; Release, Expire",
        "ours, was=allow, the prior's own time past",
        lambda s: (
            s.command in ("Release", "Expire")
            and s.observed.kind == "ours"
            and s.prior.kind == "hand-written"
            and s.prior.until <= s.now
        ),
        "Delete",
    ),
    (
        "no; Release, Expire",
        "ours, was=allow",
        lambda s: s.command in ("Release", "Expire") and s.observed.kind == "ours",
        "the prior verbatim",
    ),
    (
        "no; Release",
        "broken DENY, naming a claim, or nothing where one is known",
        lambda s: (
            s.command == "Release" and s.observed.kind == "broken" and s.observed.effect == "DENY" and s.names_a_claim
        ),
        "Delete",
    ),
    ("no; Expire", "hand-written, past", lambda s: s.command == "Expire" and s.past, "Delete"),
    ("no", "anything else", lambda _: True, "none"),
]


def unreleased(claims, released):
    return [one for one in claims if released[one[1]] is None or one[2] >= released[one[1]]]


def newest(*times):
    return max((time for time in times if time is not None), default=None)


@dataclass(frozen=True)
class Expected:
    """A decision in plain words; claims and releases in seconds, as in :class:`Record`."""

    claims: set
    released: tuple
    prior: Override | None
    write: Override | str | None
    row: tuple | None
    result: str
    until: int | None  # When the lock ends that the outcome tells of; its reason is told with it.
    page: bool
    lock: str  # The ID of the lock that it is about.


def expected(name, command, observed, record):  # noqa: C901 (it reads as the tables do, from top to bottom)
    """What the tables say."""
    kind = type(command).__name__
    now = NOW

    # Adopt.
    prior, news, page = record.prior, False, False
    own = {claim[:3]: claim for claim in record.own}
    users = {claim[:3]: claim for claim in record.users}
    if observed.kind == "ours":
        shown = [claim for claim in {**users, **own}.values() if claim[0] == observed.id]
        if len(shown) > 1:
            shown = [claim for claim in shown if claim[2] == observed.at] or shown
        if not shown:
            released_since = record.users_release is not None and observed.at <= record.users_release
            outlasted = any(one[2] >= observed.at and one[3] >= observed.until for one in record.users)
            scope = "user" if released_since or outlasted else "device"
            own[observed.id, scope, observed.at] = (observed.id, scope, observed.at, observed.until)
            news, page = True, command.cause.source != "device-lockout"
            set_back = record.last == "none" or observed.at > DECIDED[record.last]
            if set_back and scope == "device":
                prior = None
        for known in shown:
            if known[3] != observed.until and observed.effect == "DENY":
                own[known[:3]] = (*known[:3], observed.until)
                news, page = True, observed.until < known[3]

    # Record.
    released_device, released_user = record.released_device, record.released_user
    released = {"device": released_device, "user": newest(released_user, record.users_release)}
    before = {**users, **own}
    live_before = {one[:3] for one in unreleased(before.values(), released) if one[3] > now}
    result, told_page = None, False
    if kind == "Lock":
        scope, when, until = command.claim.scope, seconds(command.claim.at), seconds(command.claim.until)
        known = before.get((A, scope, when))
        if released[scope] is not None and when < released[scope]:
            result = "superseded"
            told_page = when + 5 > released[scope]
        elif known is not None:
            # A known lock that has ended holds nothing.
            result = "superseded" if known[3] <= now else None
            told_page = known[3] <= now
        elif until <= now:
            result, told_page = "rejected", True
        else:
            own[A, scope, when] = (A, scope, when, until)
    if kind == "Release" and command.ending.scope == "device":
        released_device = newest(released_device, seconds(command.cause.happened))
    if kind == "Release" and command.ending.scope == "user":
        released_user = newest(released_user, seconds(command.cause.happened))
    end = told_until = None
    if kind == "Change":
        scope, when, end = command.ending.scope, seconds(command.cause.happened), seconds(command.claim.until)
        of_scope = [one for one in unreleased(before.values(), released) if one[1] == scope and one[3] > now]
        longest = max(of_scope, key=lambda one: (one[3], one[2], one[0]), default=None)
        if longest is None or longest[2] >= when:
            result, told_page = "superseded", longest is None
        elif end > longest[3] and not command.longer:
            result, told_page = "rejected", True
        else:
            told_page, told_until = end < longest[3], end
            own[C, scope, when] = (C, scope, when, end)
            end_of_old = longest[3]
            if scope == "device":
                released_device = newest(released_device, when)
            else:
                released_user = newest(released_user, when)
    released = {"device": released_device, "user": newest(released_user, record.users_release)}

    # Write.
    claims = {**users, **own}
    up = unreleased(claims.values(), released)
    live = [one for one in up if one[3] > now]
    wanted = max(live, key=lambda one: (one[3], one[2], one[0]), default=None)
    stopped = name == "Expire otherwise"
    shown_up = [one for one in claims.values() if one[0] == observed.id]
    if len(shown_up) > 1:
        shown_up = [one for one in shown_up if one[2] == observed.at] or shown_up
    known = bool(shown_up if observed.id else claims)
    situation = Situation(kind, observed, bool(live), now, any(one in up for one in shown_up), known, prior)
    row = next(row for row in WRITE_TABLE if row[2](situation))
    write = None
    if not stopped:
        match row[3]:
            case "DENY, was=none":
                write = denial(wanted, "none")
            case "DENY, was=none; forget the prior":
                write, prior = denial(wanted, "none"), None
            case "DENY, was kept, if different":
                write = denial(wanted, observed.was)
                if write == observed.override:
                    write = None
            case "DENY, was=allow; save it as prior":
                write, prior = denial(wanted, "allow"), observed
            case "Delete":
                write = "Delete"
            case "ALLOW, description lost":
                write = Override("ALLOW", "restored by lockout, description lost")
            case "the prior verbatim":
                write = prior.override

    # Outcome.
    after = observed.override if write is None else None if write == "Delete" else write
    denied = after is not None and after.effect == "DENY"
    denied_by_another = observed.effect == "DENY" and observed.kind != "ours"
    if result is not None:
        pass
    elif kind == "Change":
        if denied_by_another:
            result = "already-denied"
        elif wanted is not None and wanted[3] > end:
            result = "still-locked"
        elif write is not None and observed.effect != "DENY":
            result = "locked"
        else:
            result = "shortened" if end < end_of_old else "extended"
    elif (kind == "Lock" or name == "Reassert for a user's lock") and live:
        # A known lock that had to be put back is announced as one that was set.
        if denied_by_another:
            result = "already-denied"
        elif write is None:
            result = "already-locked"
        else:
            result = "extended" if observed.kind == "ours" and observed.effect == "DENY" else "locked"
    elif kind == "Release":
        if any(one[1] == command.ending.scope for one in live):
            result = "superseded"
        elif live:
            result = "still-locked"
        else:
            result = "released" if live_before or write else "nothing-to-release"
            if not write and denied and not denied_by_another:
                result = "still-locked"
    elif write is None:
        result = "adopted" if news else "skipped"
    elif kind == "Expire":
        result = "renewed" if live else "expired"
    elif observed.effect == "DENY":
        result = "renewed"
    else:
        result = "reasserted" if record.last == "another" or observed.kind == "ours" else "took-over"
        told_page = result == "reasserted"
    told_until = wanted[3] if wanted is not None else told_until
    if write == Override("ALLOW", "restored by lockout, description lost"):
        told_page = True
    if record.last == "this" and denied:
        result, told_until, told_page = REMEMBERED.result, None, False

    month_ago = now - 30 * DAY
    forgotten = {key for key, one in own.items() if one[2] < month_ago and ended(one, released) < month_ago}
    forgotten -= {one[:3] for one in shown_up if observed.kind == "ours"}
    return Expected(
        claims={one for key, one in own.items() if key not in forgotten - users.keys()},
        released=(released_device, released_user),
        prior=prior.override if prior else None,
        write=write,
        row=row[:2],
        result=result,
        until=told_until,
        page=page or told_page,
        lock=wanted[0] if wanted is not None else observed.id if observed.kind == "ours" else "",
    )


def ended(claim, released):
    """When a claim came to its end: of itself, or by the newest release, if that is newer than it."""
    _, scope, when, until = claim
    return until if released[scope] is None or when >= released[scope] else min(until, released[scope])


def seconds(time):
    return FOREVER if time == HOLD else int((time - at(0)).total_seconds())


def denial(claim, was):
    return Override("DENY", tag_text(claim[0], claim[3], claim[2], was))


def decided(command, observed, record):
    """What the code says, in the same words."""
    decision = decide(command, observed.override, record.value(command), at(NOW), RULES)
    write = decision.write
    return decision, Expected(
        claims={(one.id, one.scope, seconds(one.at), seconds(one.until)) for one in decision.record.claims},
        released=tuple(
            next((seconds(time) for ending, time in decision.record.released.newest if ending.scope == scope), None)
            for scope in ("device", "user")
        ),
        prior=decision.record.prior,
        write="Delete" if isinstance(write, Delete) else write.override if isinstance(write, Put) else None,
        row=None,
        result=decision.outcome.result,
        until=seconds(decision.outcome.until) if decision.outcome.until else None,
        page=decision.outcome.page,
        lock=decision.lock.id if decision.lock else "",
    )


OWN_CLAIMS = [
    (),
    ((B, "device", 15, 200),),
    ((B, "device", 15, NOW),),
    ((B, "device", 15, FOREVER),),
    ((B, "device", 20, 90), (D, "device", 10, 400)),
    ((A, "device", 50, 300),),
    ((U, "user", 15, 150), (B, "device", 25, 150)),
    ((B, "device", -40 * DAY, 200), (D, "device", -41 * DAY, -31 * DAY)),
    ((U, "user", -41 * DAY, -31 * DAY),),
]
USERS_CLAIMS = [
    ((), None),
    (((U, "user", 15, 250),), None),
    (((U, "user", 15, 250),), 20),
    (((U, "user", 15, 90), (A, "user", 50, 300)), None),
]
RECORDS = [
    Record(own, device, user, users, users_release, prior, last)
    for own in OWN_CLAIMS
    for device, user in ((None, None), (20, None), (20, 20))
    for users, users_release in USERS_CLAIMS
    for prior in PRIORS
    for last in ("another", "this")
] + [
    Record(((D, "device", -41 * DAY, FOREVER),), released_device=-31 * DAY, prior=prior, last=last)
    for prior in PRIORS
    for last in ("another", "this")
]


def compare(combinations):
    rows = set()
    for name, observed, record in combinations:
        command = COMMANDS[name](observed.override)
        says = expected(name, command, observed, record)
        decision, said = decided(command, observed, record)
        assert replace(said, row=says.row) == says, f"{name} | {observed.name} | {record} | row {says.row}"
        check_whatever_happens(command, observed, record, decision)
        rows.add(says.row)
    assert rows == {row[:2] for row in WRITE_TABLE}, "every row was met"


def check_whatever_happens(command, observed, record, decision):
    """What holds for every decision, whichever row it is."""
    before = record.value(command)
    last = decision.record.last
    assert last.command == command_id(command)
    assert last.outcome == decision.outcome
    assert last.decided_at == at(NOW)
    assert decision.record.version == before.version
    assert decision.record.user == before.user
    if decision.outcome.because[:10] != "remembered":
        outcome, write = decision.outcome, decision.write
        assert outcome.before == observed.override
        assert outcome.after == (write.override if isinstance(write, Put) else None if write else observed.override)
        assert outcome.reference == "INC-7"
        assert outcome.why == ("lost" if outcome.until else "")
        assert outcome.verified is decision.record.known is (observed.kind not in ("nothing", "ours"))
    if decision.write is not None or isinstance(command, Lock | Release | Change):
        assert must_be_recorded(command, before, decision, RULES.owner)
    if isinstance(decision.write, Put):
        assert len(decision.write.override.description or "") <= 256
    foreign = observed.kind not in ("ours", "nothing")
    by_request = observed.kind == "hand-written" and observed.until <= NOW
    known = observed.kind == "broken" and any(observed.id in ("", claim.id) for claim in before.all_claims())
    if foreign and not by_request and not (known and isinstance(command, Release)):
        assert not isinstance(decision.write, Delete), "an override that is not ours is never deleted"
        if decision.write is not None:
            assert observed.effect == "ALLOW", "a foreign DENY is never overwritten"
            assert decision.record.prior == observed.override, "a covered ALLOW is remembered to the byte"


PRODUCT = [list(COMMANDS), ALL_OBSERVED, RECORDS]


def test_the_decision_is_as_both_tables_say_in_three_thousand_combinations():
    chosen = random.Random(2026)
    compare(tuple(chosen.choice(dimension) for dimension in PRODUCT) for _ in range(3_000))


@pytest.mark.slow
def test_the_decision_is_as_both_tables_say_in_every_combination_of_any_two():
    """One in seven of all combinations meets each pair. `EVERY=1` tries all, as `make verify` does."""
    compare(itertools.islice(itertools.product(*PRODUCT), 0, None, 1 if os.environ.get("EVERY") else 7))


# Both tables, row by row.

OURS_LIVE = ours("DENY", B, 15, 200, "none")
OURS_LIVE_ALLOW = ours("ALLOW", B, 15, 200, "none")
OURS_OVER_ALLOW = ours("DENY", B, 15, 90, "allow")
OURS_OVER = ours("DENY", B, 15, 90, "none")
LIVE = Record(own=((B, "device", 15, 200),))
LIVE_USER = Record(users=((U, "user", 15, 200),))
OVER = Record(own=((B, "device", 15, 90),))
RELEASED = Record(own=((B, "device", 15, 200),), released_device=20)
EMPTY = Record()
WORDS = PRIORS[1]
RUN_OUT = PRIORS[2]
LOST = Override("ALLOW", "restored by lockout, description lost")

RECORD_ROWS = [
    # row                                     command                observed           record     claims added  result
    ("Lock, new", lock(50, 300), NOTHING, EMPTY, {A}, "locked"),
    ("Lock, new, over a foreign ALLOW", lock(50, 300), FOREIGN_ALLOW, EMPTY, {A}, "locked"),
    ("Lock, new, longer: the tag changes", lock(50, 300), OURS_LIVE, LIVE, {A}, "extended"),
    ("Lock, new, shorter: the tag stays", lock(50, 150), OURS_LIVE, LIVE, {A}, "already-locked"),
    ("Lock, new, under a foreign DENY", lock(50, 300), FOREIGN_DENY, EMPTY, {A}, "already-denied"),
    (
        "Lock, known",
        lock(50, 300),
        ours("DENY", A, 50, 300, "none"),
        Record(own=((A, "device", 50, 300),)),
        set(),
        "already-locked",
    ),
    (
        "Lock, known and released since",
        lock(50, 300),
        NOTHING,
        Record(own=((A, "device", 50, 300),), released_device=60),
        set(),
        "superseded",
    ),
    (
        "Lock, known and cut short by a person since",
        lock(50, 300),
        NOTHING,
        Record(own=((A, "device", 50, 90),)),
        set(),
        "superseded",
    ),
    ("Lock, older than the release", lock(19, 300), NOTHING, RELEASED, set(), "superseded"),
    ("Lock, as old as the release", lock(20, 300), NOTHING, RELEASED, {A}, "locked"),
    ("Lock, over before it could be set", lock(50, NOW), NOTHING, EMPTY, set(), "rejected"),
    ("Lock, over one second later", lock(50, NOW + 1), NOTHING, EMPTY, {A}, "locked"),
    ("Release", release(30), OURS_LIVE, LIVE, set(), "released"),
    (
        "Release, another scope still locks",
        release(30),
        ours("DENY", U, 15, 200, "none"),
        LIVE_USER,
        set(),
        "still-locked",
    ),
    ("Release, older than the lock", release(14), OURS_LIVE, LIVE, set(), "superseded"),
    ("Release, as old as the lock", release(15), OURS_LIVE, LIVE, set(), "superseded"),
    ("Release of a user, a device's lock stays", release(30, "user"), OURS_LIVE, LIVE, set(), "still-locked"),
    ("Release of nothing", release(30), NOTHING, EMPTY, set(), "nothing-to-release"),
    ("Change, sooner: the tag changes", change(30, 120), OURS_LIVE, LIVE, {C}, "shortened"),
    ("Change, later: the tag changes", change(30, 300), OURS_LIVE, LIVE, {C}, "extended"),
    ("Change, to the same end", change(30, 200), OURS_LIVE, LIVE, {C}, "extended"),
    ("Change of what somebody undid", change(30, 120), NOTHING, LIVE, {C}, "locked"),
    ("Change under a foreign DENY", change(30, 120), FOREIGN_DENY, LIVE, {C}, "already-denied"),
    ("Change, older than the lock", change(14, 120), OURS_LIVE, LIVE, set(), "superseded"),
    ("Change, as old as the lock", change(15, 120), OURS_LIVE, LIVE, set(), "superseded"),
    ("Change of a lock that is over", change(30, 120), OURS_OVER, OVER, set(), "superseded"),
    ("Change, later, by who may not", change(30, 300, longer=False), OURS_LIVE, LIVE, set(), "rejected"),
    ("Change, sooner, by who may no more", change(30, 120, longer=False), OURS_LIVE, LIVE, {C}, "shortened"),
    (
        "Change, another scope locks for longer",
        change(30, 120),
        OURS_LIVE,
        Record(own=((B, "device", 15, 200),), users=((U, "user", 15, 180),)),
        {C},
        "still-locked",
    ),
    (
        "Expire, effect not as planned",
        expire(OURS_OVER.override),
        ours("ALLOW", B, 15, 90, "none"),
        OVER,
        set(),
        "skipped",
    ),
    (
        "Expire, description not as planned",
        expire(OURS_OVER.override),
        ours("DENY", B, 15, 91, "none"),
        OVER,
        set(),
        "adopted",
    ),
    ("Expire, nothing is there any more", expire(OURS_OVER.override), NOTHING, OVER, set(), "skipped"),
    ("Expire", expire(OURS_OVER.override), OURS_OVER, OVER, set(), "expired"),
    (
        "Expire, another lock goes on",
        expire(OURS_OVER.override),
        OURS_OVER,
        Record(own=((B, "device", 15, 90), (D, "device", 10, 400))),
        set(),
        "renewed",
    ),
    ("Reassert what was set and is gone", REASSERT, NOTHING, replace(LIVE, last="another"), set(), "reasserted"),
    ("Reassert what was never set", REASSERT, NOTHING, LIVE, set(), "took-over"),
    ("Reassert what is as it should be", REASSERT, OURS_LIVE, LIVE, set(), "skipped"),
    ("Reassert what is no longer wanted", REASSERT, NOTHING, OVER, set(), "skipped"),
]


@pytest.mark.parametrize(
    ("command", "observed", "record", "added", "result"),
    [row[1:] for row in RECORD_ROWS],
    ids=[row[0] for row in RECORD_ROWS],
)
def test_record_table(command, observed, record, added, result):
    decision, _ = decided(command, observed, record)
    before = record.value(command)
    assert {claim.id for claim in decision.record.claims} - {claim.id for claim in before.claims} == added
    assert decision.outcome.result == result
    changes = isinstance(command, Change) and added
    newer = command.cause.happened if isinstance(command, Release) or changes else None
    assert decision.record.released == (
        before.released.with_release(command.ending, newer) if newer is not None else before.released
    )


WRITE_ROWS = [
    # row                                                 command            observed           record       write
    ("yes, Expire | hand-written, past", "Expire as planned", HAND_PAST_DENY, LIVE, (B, 200, "none")),
    ("yes, Expire | hand-written ALLOW, past", "Expire as planned", HAND_PAST_ALLOW, LIVE, (B, 200, "none")),
    ("yes, Lock | hand-written DENY, past", "Lock", HAND_PAST_DENY, EMPTY, None),
    ("yes | nothing", "Lock", NOTHING, EMPTY, (A, 300, "none")),
    ("yes | nothing, and the prior is forgotten", "Reassert", NOTHING, replace(LIVE, prior=WORDS), (B, 200, "none")),
    ("yes | ours DENY, as wanted", "Reassert", OURS_LIVE, LIVE, None),
    ("yes | ours DENY, a longer lock", "Lock", OURS_LIVE, LIVE, (A, 300, "none")),
    ("yes | ours DENY, a shorter lock", "Lock of long ago", ours("DENY", B, 15, 400, "none"), LIVE, None),
    ("yes | ours DENY, until as a person wrote it", "Reassert", ours("DENY", B, 15, 150, "none"), LIVE, None),
    ("yes | ours DENY, was=allow stays", "Lock", ours("DENY", B, 15, 200, "allow"), LIVE, (A, 300, "allow")),
    ("yes | ours turned to ALLOW", "Reassert", OURS_LIVE_ALLOW, LIVE, (B, 200, "none")),
    ("yes | ours, unknown to the ledger", "Lock", ours("DENY", X, 5, 400, "none"), EMPTY, None),
    ("yes | foreign ALLOW", "Lock", FOREIGN_ALLOW, EMPTY, (A, 300, "allow")),
    ("yes | hand-written ALLOW", "Lock", HAND_FUTURE_ALLOW, EMPTY, (A, 300, "allow")),
    ("yes | broken ALLOW", "Lock", OTHERS[-1], EMPTY, (A, 300, "allow")),
    ("yes | foreign DENY", "Lock", FOREIGN_DENY, EMPTY, None),
    ("yes | broken DENY", "Lock", OTHERS[-2], EMPTY, None),
    ("yes | ours DENY, a lock that ends sooner", "Change, sooner", OURS_LIVE, LIVE, (C, 120, "none")),
    ("no; Lock | anything", "Lock that is over", OURS_OVER, OVER, None),
    ("no; Change | anything", "Change that is over by now", OURS_LIVE, LIVE, None),
    ("no; Reassert | anything", "Reassert", OURS_OVER, OVER, None),
    ("no; Release | ours, naming an unreleased claim", "Release of long ago", OURS_OVER, OVER, None),
    ("no; Release | ours, was=none", "Release", OURS_LIVE, LIVE, "Delete"),
    ("no; Expire | ours, was=none", "Expire as planned", OURS_OVER, OVER, "Delete"),
    ("no; Expire | ours, released and still there", "Expire as planned", OURS_LIVE, RELEASED, "Delete"),
    ("no; Release | ours, was=allow", "Release", OURS_OVER_ALLOW, replace(OVER, prior=WORDS), WORDS.override),
    ("no; Expire | ours, was=allow", "Expire as planned", OURS_OVER_ALLOW, replace(OVER, prior=WORDS), WORDS.override),
    (
        "no; Expire | ours, was=allow, run out",
        "Expire as planned",
        OURS_OVER_ALLOW,
        replace(OVER, prior=RUN_OUT),
        "Delete",
    ),
    ("no; Expire | ours, was=allow, lost", "Expire as planned", OURS_OVER_ALLOW, OVER, LOST),
    ("no; Expire | hand-written, past", "Expire as planned", HAND_PAST_ALLOW, EMPTY, "Delete"),
    ("no; Expire | hand-written, to come", "Expire as planned", HAND_FUTURE_DENY, EMPTY, None),
    ("no; Release | hand-written, past", "Release", HAND_PAST_DENY, EMPTY, None),
    ("no; Release | foreign DENY", "Release", FOREIGN_DENY, EMPTY, None),
    ("no; Expire | foreign DENY", "Expire as planned", FOREIGN_DENY, EMPTY, None),
    ("no; Expire | broken DENY", "Expire as planned", OTHERS[-2], EMPTY, None),
    ("no; Release | nothing", "Release", NOTHING, EMPTY, None),
    ("no; Release | broken DENY, naming a claim", "Release", OTHERS[-2], LIVE, "Delete"),
    ("no; Release | broken DENY, naming none", "Release", OTHERS[-2], EMPTY, None),
    ("no; Release | broken ALLOW, naming a claim", "Release", OTHERS[-1], LIVE, None),
]


@pytest.mark.parametrize(
    ("name", "observed", "record", "write"), [row[1:] for row in WRITE_ROWS], ids=[row[0] for row in WRITE_ROWS]
)
def test_write_table(name, observed, record, write):
    happened = {A: 50, B: 15, C: 30}
    if isinstance(write, tuple):
        claim_id, until, was = write
        write = Override("DENY", tag_text(claim_id, until, happened[claim_id], was))
    command = COMMANDS[name](observed.override)
    _, said = decided(command, observed, record)
    assert said.write == write
    assert said == replace(expected(name, command, observed, record), row=None), "the second statement agrees"


def test_of_several_locks_the_longest_shows_then_the_newest_then_the_greatest_id():
    def shown(*claims):
        record = Record(own=tuple((claim_id, "device", when, until) for claim_id, when, until in claims))
        return decided(REASSERT, NOTHING, record)[1].write.description

    assert f"id={A}" in shown((A, 10, 300), (B, 20, 200))
    assert f"id={B}" in shown((A, 10, FOREVER), (B, 20, FOREVER))
    assert f"id={B}" in shown((A, 10, 200), (B, 10, 200))


def test_the_note_of_a_report_follows_the_tag():
    command = Lock(told_by("event", 50), TARGET, Claim(A, "device", "lost", at(50), HOLD, "INC-1", "left in\na taxi"))
    decision = decide(command, None, DeviceRecord(), at(NOW), RULES)
    assert decision.write.override.description.endswith(" was=none] INC-1 left in a taxi")


def test_people_are_told_where_a_description_is_lost():
    for name in ("Release", "Expire as planned"):
        command = COMMANDS[name](OURS_OVER_ALLOW.override)
        outcome = decided(command, OURS_OVER_ALLOW, replace(OVER, released_device=20))[0].outcome
        assert outcome.page
        assert "description is lost" in outcome.message(DEVICE, "bob")


def test_a_superseded_report_pages_if_it_came_in_after_the_release():
    late = Lock(Cause("event", "helpdesk", "Told by a test", at(10), at(50)), TARGET, lock(10, 300).claim)
    known_in_time = replace(late, cause=replace(late.cause, received=at(20)))
    assert decided(late, NOTHING, RELEASED)[0].outcome.page
    assert not decided(known_in_time, NOTHING, RELEASED)[0].outcome.page


def test_a_release_says_that_somebody_else_still_denies_the_device():
    outcome = decided(release(30), FOREIGN_DENY, LIVE)[0].outcome
    assert (outcome.result, outcome.detail_type) == ("released", "Already Denied")
    assert "not ours still denies it" in outcome.because


def test_a_release_that_lets_the_device_in_is_announced_as_one():
    assert decided(release(30), OURS_LIVE, LIVE)[0].outcome.detail_type == "Device Released"


def test_a_foreign_denial_that_goes_is_taken_over_and_no_tampering_whatever_came_between():
    record = DeviceRecord()
    for command in (lock(50, 300), release(10), lock(5, 300)):
        record = decide(command, FOREIGN_DENY.override, record, at(NOW), RULES).record
    outcome = decide(REASSERT, None, record, at(NOW), RULES).outcome
    assert (outcome.result, outcome.page) == ("took-over", False)


def test_a_redelivery_tells_the_same_while_it_holds():
    command = lock(50, 110)
    first = decide(command, None, DeviceRecord(), at(NOW), RULES)
    put = first.write.override
    for observed in (None, put):
        assert decide(command, observed, first.record, at(NOW + 5), RULES).outcome == first.outcome
    late = decide(command, None, first.record, at(10_000), RULES)
    assert (late.outcome.result, late.outcome.page) == ("superseded", True), "it waited past its end and was never set"
    assert late.write is None


def test_a_decision_on_what_stands_as_it_should_is_not_worth_a_write_to_the_ledger():
    decision = decided(REASSERT, OURS_LIVE, LIVE)[0]
    assert not must_be_recorded(REASSERT, LIVE.value(REASSERT), decision, RULES.owner)
    edited = ours("DENY", B, 15, 150, "none")
    decision = decided(REASSERT, edited, LIVE)[0]
    assert must_be_recorded(REASSERT, LIVE.value(REASSERT), decision, RULES.owner), "a person's edit is taken over"


# What people read.

UNKNOWN = ours("DENY", X, 5, 400, "none")
UNKNOWN_ALLOW = ours("DENY", X, 5, 90, "allow")
EDITED = ours("DENY", B, 15, 150, "none")
CUT = "a person changed its end from 2026-11-22T07:33:20Z to 2026-11-22T07:32:30Z"
TAKEN_OVER = "the ledger did not know this lock and took it over from its tag"
DESCRIPTION_IS_LOST = "the ALLOW that stood before is back, but its description is lost"
WAS_RELEASED = "it was released at 2026-11-22T07:30:20Z, after what this report tells of"
RAN_OUT = "the lock that this very report asked for ran out at 2026-11-22T07:31:40Z"
TOO_LATE = "the lock that it asks for was over at 2026-11-22T07:31:40Z, before it could be set"

OURS_USER = ours("DENY", U, 15, 200, "none")
OF_STOLEN = replace(release(30), ending=Ending("device", frozenset({"stolen"})))

BECAUSE = [
    # row                                   command            observed         record      because
    ("Lock, older than the release", lock(19, 300), NOTHING, RELEASED, WAS_RELEASED),
    ("Lock, known and over", lock(50, 300), NOTHING, Record(own=((A, "device", 50, NOW),)), RAN_OUT),
    ("Lock, over before it could be set", lock(50, NOW), NOTHING, EMPTY, TOO_LATE),
    ("Lock, new", lock(50, 300), NOTHING, EMPTY, ""),
    ("Lock, over a tag that a person cut", lock(50, 300), EDITED, LIVE, CUT),
    ("Release", release(30), OURS_LIVE, LIVE, ""),
    ("Release, a user's lock stays", release(30), OURS_USER, LIVE_USER, ""),
    ("Release of some, a user's lock stays", OF_STOLEN, OURS_USER, LIVE_USER, ""),
    ("Release of some, another stays", OF_STOLEN, OURS_LIVE, LIVE, "this source's releases end only locks (stolen)"),
    (
        "Release over somebody else's DENY",
        release(30),
        FOREIGN_DENY,
        LIVE,
        "an override that is not ours still denies it",
    ),
    (
        "Release of a broken tag",
        release(30),
        OTHERS[-2],
        LIVE,
        "a person had changed its tag: the fields after by= are not why= until= at= id= was=] in that order and form",
    ),
    ("Release over what is over", release(8), OURS_OVER, OVER, "its lock is over, and the next sweep removes it"),
    ("Release, the prior is unknown", release(30), OURS_OVER_ALLOW, OVER, DESCRIPTION_IS_LOST),
    (
        "Release of what the ledger does not know",
        release(30),
        UNKNOWN_ALLOW,
        EMPTY,
        f"{DESCRIPTION_IS_LOST}; {TAKEN_OVER}",
    ),
    ("Expire, the prior is unknown", expire(OURS_OVER_ALLOW.override), OURS_OVER_ALLOW, OVER, DESCRIPTION_IS_LOST),
    ("Reassert what the ledger does not know", REASSERT, UNKNOWN, EMPTY, TAKEN_OVER),
    ("Reassert what a person cut", REASSERT, EDITED, LIVE, CUT),
]


@pytest.mark.parametrize(
    ("command", "observed", "record", "because"), [row[1:] for row in BECAUSE], ids=[row[0] for row in BECAUSE]
)
def test_an_outcome_says_why(command, observed, record, because):
    assert decided(command, observed, record)[0].outcome.because == because


def test_a_lock_that_is_taken_over_is_cut_to_what_its_reason_allows_and_says_so():
    rules = replace(RULES, at_most={"lost": timedelta(seconds=60)})
    outcome = decide(REASSERT, UNKNOWN.override, DeviceRecord(), at(NOW), rules).outcome
    assert outcome.because == f"{TAKEN_OVER}, with its end cut to what its reason allows"
    assert outcome.until == at(NOW + 60)


FULL = released()
for number in range(MOST_RELEASES):
    FULL = FULL.with_release(Ending("device", source=f"mdm{number}"), at(0))


def test_an_item_without_room_refuses_and_pages():
    rules = replace(RULES, no_more_claims=1)
    too_many = decide(lock(50, 300), None, LIVE.value(REASSERT), at(NOW), rules)
    own = replace(release(30), ending=Ending("device", source="one more"))
    too_many_releases = decide(own, OURS_LIVE.override, replace(LIVE.value(REASSERT), released=FULL), at(NOW), RULES)
    for decision, because in ((too_many, TOO_MANY), (too_many_releases, TOO_MANY_RELEASES)):
        assert (decision.outcome.result, decision.outcome.because, decision.outcome.page) == ("rejected", because, True)
    assert decide(lock(15, 200), None, DeviceRecord((lock(15, 200).claim,)), at(NOW), rules).outcome.result == "locked"


def test_a_lock_that_is_not_taken_over_is_recorded_once():
    rules = replace(RULES, adopts_unknown=False)
    record = DeviceRecord()
    first = decide(REASSERT, UNKNOWN.override, record, at(NOW), rules)
    assert must_be_recorded(REASSERT, record, first, RULES.owner)
    assert (first.outcome.result, first.outcome.page) == ("already-denied", True)
    assert first.outcome.because == (
        "the ledger does not know its lock and leaves it: its user is exempt, or its record is full"
    )
    again = decide(REASSERT, UNKNOWN.override, first.record, at(NOW), rules)
    assert not must_be_recorded(REASSERT, first.record, again, RULES.owner)


# A user's item: the whole item and the whole outcome.


def of_user(why, claim_id, when, until, received=None):
    claim = Claim(claim_id, "user", why, at(when), moment(until))
    told = told_by("event", when)
    return Lock(told if received is None else replace(told, received=at(received)), replace(TARGET, device=""), claim)


LEAK = of_user("compromised", U, 50, 300)
LEFT = of_user("offboarded", X, 40, 400)
LEAKED = UserRecord((LEAK.claim,))
BOTH = UserRecord((LEAK.claim, LEFT.claim))
ONE_AT_MOST = {"no_more_claims": 1}


def ended_by(when, **ending):
    return replace(release(when, "user"), ending=Ending("user", **ending))


def user(record, when, **ending):
    return replace(record, released=record.released.with_release(Ending("user", **ending), at(when)))


OF_LEAKS = frozenset({"compromised"})
ONLY_LEAKS = "this source's releases end only locks (compromised)"
OVER_NOW = UserRecord((replace(LEAK.claim, until=at(NOW)),))
SINCE = "it was released at 2026-11-22T07:31:00Z, after what this report tells of"
NO_ROOM = replace(LEAKED, released=FULL)
OF_USER = [
    # row                       command        item    rules  item after   result, why, until, because, page
    ("Lock, new", LEAK, UserRecord(), {}, LEAKED, ("locked", "compromised", 300, "", False)),
    ("Lock, a second", LEFT, LEAKED, {}, BOTH, ("locked", "offboarded", 400, "", False)),
    ("Lock, known", LEAK, LEAKED, ONE_AT_MOST, LEAKED, ("locked", "compromised", 300, "", False)),
    ("Lock, one too many", LEFT, LEAKED, ONE_AT_MOST, LEAKED, ("rejected", "offboarded", 400, TOO_MANY, True)),
    ("Lock, over", of_user("lost", X, 40, NOW), LEAKED, {}, LEAKED, ("rejected", "lost", NOW, TOO_LATE, True)),
    ("Lock, known and over", LEAK, OVER_NOW, {}, OVER_NOW, ("superseded", "compromised", 300, RAN_OUT, True)),
    (
        *("Lock, older than a release", LEAK, user(UserRecord(), 60), {}, user(UserRecord(), 60)),
        ("superseded", "compromised", 300, SINCE, False),
    ),
    (
        *("Lock, older, and late", of_user("compromised", U, 50, 300, 61), user(UserRecord(), 60), {}),
        *(user(UserRecord(), 60), ("superseded", "compromised", 300, SINCE, True)),
    ),
    (
        "Lock, as old as a release",
        LEAK,
        user(UserRecord(), 50),
        {},
        user(LEAKED, 50),
        ("locked", "compromised", 300, "", False),
    ),
    ("Release", ended_by(60), LEAKED, {}, user(LEAKED, 60), ("released", "", None, "", False)),
    (
        *("Release, another stays", ended_by(60, reasons=OF_LEAKS), BOTH, {}, user(BOTH, 60, reasons=OF_LEAKS)),
        ("still-locked", "offboarded", 400, ONLY_LEAKS, False),
    ),
    ("Release, older", ended_by(45), LEAKED, {}, user(LEAKED, 45), ("superseded", "compromised", 300, "", False)),
    (
        *("Release, no room", ended_by(60, source="one more"), NO_ROOM, {}, NO_ROOM),
        ("rejected", "", None, TOO_MANY_RELEASES, True),
    ),
]


@pytest.mark.parametrize(
    ("command", "item", "rules", "after", "told"), [row[1:] for row in OF_USER], ids=[row[0] for row in OF_USER]
)
def test_a_users_item_and_its_outcome(command, item, rules, after, told):
    result, why, until, because, page = told
    outcome = Outcome(result, because, why, None if until is None else at(until), reference="INC-7", page=page)
    assert decide_for_user(command, item, at(NOW), replace(RULES, **rules)) == (after, outcome)
