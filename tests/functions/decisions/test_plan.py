"""The sweep's plan: what happens to each override and each wanted lock, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_lockout.decisions.plan import PERCENT_COUNTS_FROM, Item, Plan, Refusal, plan
from device_lockout.decisions.warnings import warnings
from device_lockout.values.outcome import Outcome
from device_lockout.values.override import ListedOverride, Override
from device_lockout.values.record import Claim, DeviceRecord, Last, UserRecord
from device_lockout.values.tag import HOLD, Tag, write
from local.in_memory import BOB, DAY, DEVICE, KEY, SETTINGS, at, key
from tests.functions.releases import released

NOW = at(1000)
RULES = SETTINGS.rules


def claim(until, happened=0, claim_id="aaaaaaaa", scope="device", why="lost", source=""):
    return Claim(claim_id, scope, why, at(happened), HOLD if until is None else at(until), source=source)


def denial(until, happened=0, claim_id="aaaaaaaa", was="none", owner="local", effect="DENY", why="lost"):
    shown = Tag(owner, why, HOLD if until is None else at(until), at(happened), claim_id, was)
    return Override(effect, write(shown))


def wanting(*claims, **fields):
    return DeviceRecord(claims=claims, **fields)


def left(effect, description=None, result="locked"):
    """What the last command left, as the record keeps it."""
    return Last("c" * 64, "an event", Outcome(result, after=Override(effect, description)), at(500))


OURS = denial(2000).description
SET = left("DENY", OURS)

REFUSED = left("DENY", None, "failed")
QUARANTINE, QUARANTINE_UNTIL = Override("DENY", "quarantine"), Override("DENY", "[until=2026-11-23] quarantine")
OVER_AT = "its time was over at 2026-11-22T07:46:{}Z"
NOT_SHOWN = "it does not show the lock (lost) that is wanted"
EDITED = "a person changed its end from 2026-11-22T08:03:20Z to 2026-11-22T08:20:00Z"
ASKED = "a person asked for its removal after 2026-11-22T00:00:00Z"
NO_TAG = "its tag can't be read: the fields after by= are not why= until= at= id= was=] in that order and form"
NOT_OURS = "a lock (lost) is wanted, and a DENY that is not ours stands"
NOTHING = "a lock (lost) until 2026-11-22T08:03:20Z is wanted and nothing stands"
EXEMPT = "it has our tag, and the ledger does not know its lock: its user is exempt, or its record is full"

ROWS = [
    # what                                        observed                         wanted               what happens
    ("ours, live", denial(2000), wanting(claim(2000)), None),
    ("ours, on hold", denial(None), wanting(claim(None)), None),
    ("ours, over", denial(999), wanting(claim(999)), ("expire", at(999), OVER_AT.format(39), "ours")),
    ("ours, over this second", denial(1000), wanting(claim(1000)), ("expire", at(1000), OVER_AT.format(40), "ours")),
    ("ours, over a second later", denial(1001), wanting(claim(1001)), None),
    ("ours, over, unknown to the ledger", denial(999), DeviceRecord(), ("expire", at(999), OVER_AT.format(39), "ours")),
    (
        "ours, live, unknown to the ledger",
        denial(2000),
        DeviceRecord(),
        ("reassert", at(0), "the ledger does not know this lock of ours", "ours unknown"),
    ),
    (
        "ours, released and still there",
        denial(2000),
        wanting(claim(2000), released=released(device=at(1))),
        ("expire", at(0), "the lock that it shows was released", "ours"),
    ),
    ("ours, released at the same time", denial(2000), wanting(claim(2000), released=released(device=at(0))), None),
    (
        "ours, another lock lasts longer",
        denial(2000),
        wanting(claim(2000), claim(3000, claim_id="bbbbbbbb")),
        ("reassert", at(0), NOT_SHOWN, "ours"),
    ),
    (
        "ours, over, another lock lasts",
        denial(999),
        wanting(claim(999), claim(3000, claim_id="bbbbbbbb")),
        ("reassert", at(0), NOT_SHOWN, "ours"),
    ),
    (
        "ours, turned to ALLOW",
        denial(2000, effect="ALLOW"),
        wanting(claim(2000)),
        ("reassert", at(0), NOT_SHOWN, "ours tampered"),
    ),
    (
        "ours, its end extended by a person",
        denial(3000),
        wanting(claim(2000)),
        ("reassert", at(0), EDITED, "ours"),
    ),
    ("ours, cut short by a person", denial(999), wanting(claim(2000)), ("expire", at(999), OVER_AT.format(39), "ours")),
    ("ours, of a user's lock", denial(2000), DeviceRecord(user=UserRecord((claim(2000, scope="user"),))), None),
    (
        "ours, of a user's lock, released",
        denial(2000),
        DeviceRecord(user=UserRecord((claim(2000, scope="user"),), released(user=at(1)))),
        ("expire", at(0), "the lock that it shows was released", "ours"),
    ),
    ("another owner's, over", denial(999, owner="prod"), DeviceRecord(), None),
    ("a newer version's", Override("DENY", OURS.replace("lockout/1", "lockout/2")), DeviceRecord(), None),
    ("a person's DENY", Override("DENY", "quarantine"), DeviceRecord(), None),
    ("a person's ALLOW", Override("ALLOW", "travel"), DeviceRecord(), None),
    ("an ALLOW without words", Override("ALLOW"), DeviceRecord(), None),
    ("broken", Override("DENY", OURS.replace("why=", "wy=")), DeviceRecord(), ("leave", NOW, NO_TAG, "untold")),
    (
        "hand-written, past",
        Override("ALLOW", "[until=2026-11-21] trip"),
        DeviceRecord(),
        ("expire", at(-27000), ASKED, ""),
    ),
    (
        "hand-written DENY, past, where a lock is wanted",
        Override("DENY", "[until=2026-11-21]"),
        wanting(claim(2000)),
        ("expire", at(-27000), ASKED, ""),
    ),
    ("hand-written, to come", Override("ALLOW", "[until=2026-11-23]"), DeviceRecord(), None),
    (
        "an ALLOW where a lock is wanted",
        Override("ALLOW", "travel"),
        wanting(claim(2000)),
        ("reassert", at(0), "a lock (lost) is wanted and an ALLOW stands", ""),
    ),
    (
        "a person's DENY where a lock is wanted",
        Override("DENY", "quarantine"),
        wanting(claim(2000)),
        ("leave", at(0), NOT_OURS, "untold"),
    ),
    (
        "nothing where a lock is wanted",
        None,
        wanting(claim(2000)),
        ("reassert", at(0), NOTHING, ""),
    ),
    ("nothing where a lock was wanted", None, wanting(claim(999)), None),
    ("nothing where a lock was released", None, wanting(claim(None), released=released(device=at(1))), None),
    ("hand-written DENY, to come", QUARANTINE_UNTIL, wanting(claim(999), last=SET), None),
    (
        "ours, over, which WorkMail refused",
        denial(999),
        wanting(claim(999, source="siem"), last=REFUSED),
        ("expire", at(999), OVER_AT.format(39), "ours", {"failed": at(500), "source": "siem"}),
    ),
    (
        "nothing where a lock is wanted that WorkMail refused",
        None,
        wanting(claim(2000), last=REFUSED),
        ("reassert", at(0), NOTHING, "", {"failed": at(500)}),
    ),
    (
        "nothing where our lock stood",
        None,
        wanting(claim(2000), last=SET),
        ("reassert", at(0), NOTHING, "tampered"),
    ),
    (
        "ours, unknown, not taken over, beside a lock that is wanted",
        denial(2000, claim_id="bbbbbbbb"),
        wanting(claim(2000), last=left("DENY", denial(2000, claim_id="bbbbbbbb").description, "already-denied")),
        None,
    ),
    (
        "ours, unknown, not taken over, turned to ALLOW",
        denial(2000, claim_id="bbbbbbbb", effect="ALLOW"),
        wanting(claim(2000), last=left("ALLOW", denial(2000, claim_id="bbbbbbbb").description, "skipped")),
        ("leave", NOW, EXEMPT, "ours untold"),
    ),
    (
        "a person's DENY in the place of our lock",
        QUARANTINE,
        wanting(claim(2000), last=SET),
        ("reassert", at(0), "somebody else's DENY took the place of a lock (lost): to be noted", "untold"),
    ),
    (
        "a person's DENY that was told of, where a lock is wanted",
        QUARANTINE,
        wanting(claim(2000), last=left("DENY", "quarantine", "already-denied")),
        ("leave", at(0), NOT_OURS, ""),
    ),
    (
        "a person's DENY that was noted but not told of",
        QUARANTINE,
        wanting(claim(2000), last=left("DENY", "quarantine", "skipped")),
        ("leave", at(0), NOT_OURS, "untold"),
    ),
    (
        "another DENY than was told of",
        QUARANTINE,
        wanting(claim(2000), last=left("DENY", "by hand", "already-denied")),
        ("leave", at(0), NOT_OURS, "untold"),
    ),
    (
        "a person's DENY in the place of a lock that is over",
        QUARANTINE,
        wanting(claim(999), last=SET),
        ("leave", NOW, "a DENY that is not ours took the place of a lock that is over", "untold"),
    ),
    ("the same, told of", QUARANTINE, wanting(claim(999), last=left("DENY", "quarantine", "already-denied")), None),
    ("a person's ALLOW in the place of a lock that is over", Override("ALLOW"), wanting(claim(999), last=SET), None),
]


def planned(observed, record):
    listing = [] if observed is None else [ListedOverride(key(DEVICE), observed)]
    records = {} if record == DeviceRecord() else {KEY: record}
    return plan(listing, records, {}, NOW, RULES)


@pytest.mark.parametrize(("observed", "record", "happens"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_plan_says_what_happens_and_why(observed, record, happens):
    result = planned(observed, record)
    items = [*result.removals, *result.reasserts, *result.left]
    if happens is None:
        assert items == []
        return
    action, due_since, because, marks, *others = happens
    fields = dict.fromkeys(marks.split(), True) | dict(*others)
    item = Item(action, KEY, observed, due_since, because, **fields)
    assert items == [item]
    assert [item] == list({"expire": result.removals, "reassert": result.reasserts, "leave": result.left}[action])


@pytest.mark.parametrize(
    ("what", "observed", "last", "tampered"),
    [
        ("our lock was set and is gone", None, SET, True),
        ("our lock was set and an ALLOW is there", Override("ALLOW", "mine"), SET, True),
        ("our lock was turned to ALLOW", denial(2000, effect="ALLOW"), None, True),
        ("a person's DENY was there and is gone", None, left("DENY", "quarantine", "already-denied"), False),
        ("nothing of ours was ever set", None, None, False),
        ("WorkMail refused it", None, Last("c" * 64, "an event", Outcome("failed", after=None), at(500)), False),
        ("a longer lock came", denial(1500, claim_id="bbbbbbbb"), SET, False),
    ],
)
def test_only_what_stood_can_be_tampered_with(what, observed, last, tampered):
    record = wanting(claim(2000), claim(1500, claim_id="bbbbbbbb"), last=last)
    [item] = planned(observed, record).reasserts
    assert item.tampered == tampered, what


def test_what_is_seen_is_counted_by_kind():
    observed = [row[1] for row in ROWS if row[1] is not None]
    listing = [ListedOverride(key(f"device{number}"), override) for number, override in enumerate(observed)]
    seen = plan(listing, {}, {}, NOW, RULES).seen
    assert seen["ours"] == sum(str(row[0]).startswith("ours") for row in ROWS)
    assert seen["hand-written"] == sum(str(row[0]).startswith("hand-written") for row in ROWS)
    assert seen["broken"] == 1
    assert sum(seen.values()) == len(listing)


def test_the_oldest_comes_first_and_what_was_refused_comes_last():
    listing = [ListedOverride(key(f"device{until}"), denial(until)) for until in (300, 100, 200, 50)]
    refused = Last("c" * 64, "an event", Outcome("failed"), at(500))
    records = {key("device50"): wanting(claim(50), last=refused)}
    removals = plan(listing, records, {}, NOW, RULES).removals
    assert [item.key.device for item in removals] == ["device100", "device200", "device300", "device50"]


def test_a_device_that_is_listed_twice_makes_the_list_suspect():
    twice = [ListedOverride(key(DEVICE), denial(999))] * 2
    result = plan([*twice, ListedOverride(key("another"), denial(998))], {}, {}, NOW, RULES)
    assert result.refusal(50, 100) == Refusal("list", f"WorkMail listed device {DEVICE} of {BOB} twice")
    assert [item.key.device for item in result.removals] == ["another", DEVICE]
    others = [ListedOverride(key(DEVICE), Override("ALLOW", "travel"))] * 2
    assert plan(others, {}, {}, NOW, RULES).repeated is None, "it is nothing to us"


# Caps.


def removals(count, ours=True, failed=0):
    item = Item("expire", KEY, None, at(0), "over", ours=ours)
    return (item,) * (count - failed) + (replace(item, failed=at(1)),) * failed


@pytest.mark.parametrize(
    ("what", "items", "ours", "cap", "percent", "guard"),
    [
        ("as many as the cap", removals(50), 1000, 50, 25, None),
        ("one more than the cap", removals(51), 1000, 50, 25, "max-removals"),
        ("200 with a cap of 50", removals(200), 200, 50, 100, "max-removals"),
        ("none allowed", removals(1), 1000, 0, 25, "max-removals"),
        ("exactly the percentage", removals(25), 100, 50, 25, None),
        ("one more than the percentage", removals(26), 100, 50, 25, "max-removals-percent"),
        ("few of few: a percentage says nothing", removals(PERCENT_COUNTS_FROM - 1), 9, 50, 25, None),
        ("enough for a percentage", removals(PERCENT_COUNTS_FROM), 10, 50, 25, "max-removals-percent"),
        ("hand-written endings are none of ours", removals(11, ours=False), 0, 50, 25, None),
        ("hand-written endings count for the cap", removals(51, ours=False), 1000, 50, 25, "max-removals"),
        ("what WorkMail refused does not count", removals(60, failed=20), 1000, 50, 25, None),
        ("nothing", (), 0, 0, 0, None),
    ],
)
def test_caps(what, items, ours, cap, percent, guard):
    refusal = Plan(items, (), {"ours": ours}).refusal(cap, percent)
    assert (refusal and refusal.guard) == guard, what


def test_what_is_not_ours_makes_no_percentage_smaller():
    listing = [ListedOverride(key(f"over{n}"), denial(999)) for n in range(11)]
    listing += [ListedOverride(key(f"live{n}"), denial(2000)) for n in range(29)]
    listing += [ListedOverride(key(f"foreign{n}"), Override("ALLOW", "not ours")) for n in range(10_000)]
    known = {key(f"live{n}"): wanting(claim(2000)) for n in range(29)}
    refusal = plan(listing, known, {}, NOW, RULES).refusal(50, 25)
    assert refusal is not None
    assert refusal.guard == "max-removals-percent"
    assert refusal.because.startswith("11 overrides would be let go, of 40 that are ours")


def test_a_refusal_says_how_many_and_how_many_were_expected():
    assert Plan(removals(51), (), {"ours": 1000}).refusal(50, 25).because == (
        "51 overrides would be let go: expected at most 50 in one plan"
    )
    because = Plan(removals(26), (), {"ours": 100}).refusal(50, 25).because
    assert "26 overrides would be let go, of 100 that are ours" in because
    assert "25 percent" in because


def of_source(source, items):
    return tuple(replace(item, source=source) for item in items)


def test_too_many_of_one_source_keep_no_other_sources_locks():
    mixed = Plan(of_source("siem", removals(51)) + of_source("helpdesk", removals(3)), (), {"ours": 1000})
    refusal = mixed.refusal(50, 25)
    assert (refusal.guard, refusal.sources) == ("max-removals", {"siem"})
    assert refusal.because == "51 overrides of siem would be let go: expected at most 50 in one plan"
    assert [item.source for item in mixed.removals_of_one_run(50, refusal)] == ["helpdesk"] * 3


def test_each_source_that_has_too_many_is_named():
    mixed = Plan(of_source("siem", removals(51)) + of_source("mdm", removals(20)), (), {"ours": 71})
    refusal = mixed.refusal(50, 25)
    assert refusal.sources == {"siem", "mdm"}
    assert refusal.because == (
        "20 overrides of mdm would be let go, of 71 that are ours: expected at most 25 percent;"
        " 51 overrides of siem would be let go: expected at most 50 in one plan"
    )
    assert mixed.removals_of_one_run(50, refusal) == ()


def test_a_removal_knows_the_source_of_its_lock():
    listing = [ListedOverride(KEY, denial(999))]
    known = {KEY: wanting(replace(claim(999), source="siem"))}
    assert [item.source for item in plan(listing, known, {}, NOW, RULES).removals] == ["siem"]


def test_what_was_refused_before_has_what_room_the_cap_leaves():
    assert len(Plan(removals(60, failed=30), (), {"ours": 1000}).removals_of_one_run(50)) == 50
    assert len(Plan(removals(100, failed=60), (), {"ours": 1000}).removals_of_one_run(50)) == 50


# The plan depends on its arguments only.

overrides = st.sampled_from([row[1] for row in ROWS if row[1] is not None])
records = st.sampled_from([row[2] for row in ROWS])
organizations = st.dictionaries(st.integers(0, 30), st.tuples(st.none() | overrides, records), max_size=12)


@given(organizations, st.randoms())
def test_the_order_of_the_list_does_not_matter(organization, chance):
    listing = [ListedOverride(key(f"d{n:02}"), observed) for n, (observed, _) in organization.items() if observed]
    wanted = {key(f"d{n:02}"): record for n, (_, record) in organization.items() if record != DeviceRecord()}
    first = plan(listing, wanted, {}, NOW, RULES)
    chance.shuffle(listing)
    shuffled = dict(sorted(wanted.items(), key=lambda _: chance.random()))
    assert plan(iter(listing), shuffled, {}, NOW, RULES) == first


@given(organizations)
def test_only_what_is_over_or_released_or_asked_for_is_ever_removed(organization):
    listing = [ListedOverride(key(f"d{n}"), observed) for n, (observed, _) in organization.items() if observed]
    wanted = {key(f"d{n}"): record for n, (_, record) in organization.items()}
    for item in plan(listing, wanted, {}, NOW, RULES).removals:
        reading = item.observed.read("local")
        assert hasattr(reading, "until"), "neither foreign nor broken"
        record = wanted[item.key]
        was_released = isinstance(reading, Tag) and any(record.released_at(claim) for claim in record.all_claims())
        undone_and_over = item.observed.effect == "ALLOW" and record.wanted(NOW) is None
        assert reading.until <= NOW or was_released or undone_and_over


# Warnings.

NEVER = datetime.max.replace(tzinfo=UTC)
"""An end of WorkMail that is far away."""


def due(*claims, **fields):
    return list(warnings({KEY: wanting(*claims, **fields)}, SETTINGS.reasons, NOW, NEVER))


def test_people_are_warned_ahead_of_an_end():
    ahead = 3 * DAY
    assert due(claim(1000 + ahead + 1)) == []
    [warning] = due(claim(1000 + ahead))
    assert "is locked (lost) until 2026-11-25T07:46:40Z, and then let back in" in warning.because


def test_a_warning_has_one_id_through_its_period_and_another_for_another_end():
    def warning(until, now):
        record = {KEY: wanting(claim(until))}
        return next(warnings(record, SETTINGS.reasons, now, NEVER)).id

    assert warning(DAY, NOW) == warning(DAY, NOW + timedelta(hours=1))
    assert warning(DAY, NOW) != warning(DAY + 1, NOW)


def test_a_lock_that_a_longer_one_outlasts_lets_nobody_in_and_needs_no_warning():
    assert due(claim(2000), claim(None, claim_id="bbbbbbbb", why="stolen")) == []


def test_a_released_lock_needs_no_warning():
    assert due(claim(2000), released=released(device=at(1))) == []


def test_a_lock_on_hold_is_brought_to_mind_once_in_every_period():
    reasons = {"stolen": replace(SETTINGS.reasons["stolen"], warn_before=timedelta(days=30))}
    record = {KEY: wanting(claim(None, why="stolen"))}
    ids = [[w.id for w in warnings(record, reasons, at(day * DAY), NEVER)] for day in range(95)]
    assert ids[:30] == [[]] * 30
    assert len({one for day in ids for one in day}) == 3
    assert list(warnings(record, SETTINGS.reasons, at(95 * DAY), NEVER)) == [], "no period, no warning"


@pytest.mark.parametrize(("until", "days", "warned"), [(101, 90, 1), (101, 91, 0), (100, 90, 0), (None, 90, 1)])
def test_people_are_warned_once_ninety_days_ahead_of_a_lock_that_outlasts_workmail(until, days, warned):
    ends_at = NOW + timedelta(days=days)
    outlasting = claim(None if until is None else 1000 + (days - 100 + until) * DAY, why="stolen")
    found = list(warnings({KEY: wanting(outlasting)}, SETTINGS.reasons, NOW, ends_at))
    assert [each.detail_type for each in found] == ["Lock Outlasts WorkMail"] * warned
    later = list(warnings({KEY: wanting(outlasting)}, SETTINGS.reasons, NOW + timedelta(days=1), ends_at))
    assert {each.id for each in found} <= {each.id for each in later}, "one occasion has one ID"
