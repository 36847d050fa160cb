"""What the router makes passes, and what it can't make does not: the commands of every sample, and bent ones."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config_reader import loader
from device_lockout.inbound import report
from device_lockout.protocol import authority
from device_lockout.values.command import Cause, Change, Enroll, Expire, Lock, Reassert, Reject, Release, Retire, Target
from device_lockout.values.device import DeviceName
from device_lockout.values.outcome import SOURCE
from device_lockout.values.override import Override
from device_lockout.values.record import Ending
from device_lockout.values.tag import HOLD
from local.in_memory import BOB, ORGANIZATION, World, at

SETTINGS = loader.load("local").settings
SAMPLES = Path(__file__).parents[3] / "samples"
RECEIVED = at(4 * 3600)


def commands(file):
    event = json.loads(file.read_text(encoding="utf-8"))
    if isinstance(event, list):
        (entry,) = event
        detail = json.loads(entry["Detail"])
        event = {"id": file.stem, "source": entry["Source"], "detail-type": entry["DetailType"], "detail": detail}
    mapped = SETTINGS.source(file.stem)
    body = {"mappedSource": file.stem, "event": event} if mapped is not None else event
    return report.read(json.dumps(body), "m", RECEIVED, SETTINGS)


def checked(command, settings, sent=RECEIVED, ledger=None):
    return authority.checked(command, settings, sent, ledger or World().ledger)


MADE = [command for file in sorted(SAMPLES.glob("*.json")) for command in commands(file)]


def of(kind):
    return next(command for command in MADE if isinstance(command, kind))


def bent(command, **cause):
    return replace(command, cause=replace(command.cause, **cause))


def test_the_samples_make_every_kind_of_command():
    assert {type(command) for command in MADE} >= {Lock, Release, Change, Enroll, Retire}


@pytest.mark.parametrize("command", MADE, ids=lambda command: f"{command.cause.source} {type(command).__name__}")
def test_what_the_router_makes_passes(command):
    assert checked(command, SETTINGS) == command
    resolved = replace(command, target=Target(ORGANIZATION, "b0b", "dev1", resolved=True))
    assert checked(resolved, SETTINGS) == resolved, "sent on to a device"


def test_what_the_sweep_makes_passes():
    run = Cause("run-1", SOURCE, "Sweep", RECEIVED, RECEIVED)
    target = Target(ORGANIZATION, "b0b", "dev1", resolved=True)
    for command in (Reassert(run, target), Expire(run, target, Override("DENY", "x"))):
        assert checked(command, SETTINGS) == command


DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
LOCK, RELEASE = of(Lock), of(Release)
LOST = next(command for command in MADE if isinstance(command, Lock) and command.cause.detail_type == "Device Lost")
(JAMFS,) = (command for command in MADE if command.cause.reader == "jamf-lost-mode-off")

SMUGGLED = {
    "an unknown organization": replace(LOCK, target=replace(LOCK.target, organization=f"m-{'0' * 32}")),
    "an unknown source": bent(LOCK, source="evil", reader=""),
    "a source that may only lock": bent(RELEASE, source="siem", reader=""),
    "a source without inventory": bent(of(Enroll), source="siem", reader=""),
    "a mapped source without its reader": bent(JAMFS, reader=""),
    "a reader that is none": bent(LOST, reader="helpdesk"),
    "the sweep as a source of locks": bent(LOCK, source=SOURCE),
    "the sweep as a source of releases": bent(RELEASE, source=SOURCE),
    "an expiry of a help desk's": Expire(LOST.cause, LOST.target, Override("DENY", "x")),
    "another reason": replace(LOST, claim=replace(LOST.claim, why="stolen")),
    "an unknown reason": replace(LOST, claim=replace(LOST.claim, why="evil")),
    "another scope": replace(LOST, claim=replace(LOST.claim, scope="user")),
    "a longer time than the reason allows": replace(LOST, claim=replace(LOST.claim, until=LOST.claim.at + 366 * DAY)),
    "until released, where the reason has an end": replace(LOST, claim=replace(LOST.claim, until=HOLD)),
    "force": replace(LOST, force=True),
    "a claim under another event's ID": replace(LOST, claim=replace(LOST.claim, id="00000000")),
    "a claim that is newer than its event": replace(LOST, claim=replace(LOST.claim, at=LOST.claim.at + SECOND)),
    "a claim that is older than its event": replace(LOST, claim=replace(LOST.claim, at=LOST.cause.happened - DAY)),
    "a lock that was received after it was sent on": bent(LOST, received=RECEIVED + DAY),
    "a release that ends what will be locked until tomorrow": bent(
        RELEASE, happened=RECEIVED + DAY, received=RECEIVED + DAY
    ),
    "a claim of another source": replace(LOST, claim=replace(LOST.claim, source="siem")),
    "a claim from the future": replace(LOST, claim=replace(LOST.claim, at=RECEIVED + DAY)),
    "an event from the future": bent(LOST, happened=RECEIVED + DAY),
    "an event that is too old": bent(LOST, happened=RECEIVED - 31 * DAY),
    "a release of everything where the source may end its own": replace(JAMFS, ending=Ending("device")),
    "a mapped release of another source's": replace(JAMFS, ending=replace(JAMFS.ending, source="webhook.siem")),
    "a change by a source that may only lock": bent(of(Change), source="siem", reader=""),
    "a change of other locks than the source may release": replace(of(Change), ending=Ending("device", frozenset("x"))),
    "a change that is newer than its event": replace(
        of(Change), claim=replace(of(Change).claim, at=of(Change).claim.at + SECOND)
    ),
    "a change under another event's ID": replace(of(Change), claim=replace(of(Change).claim, id="00000000")),
    "a later end by a source that may only release": Change(
        JAMFS.cause, JAMFS.target, JAMFS.ending, LOST.claim, longer=True
    ),
}


@pytest.mark.parametrize("command", SMUGGLED.values(), ids=SMUGGLED)
def test_what_the_router_can_not_make_is_a_rejection_without_its_words(command):
    rejection = checked(command, SETTINGS)
    assert isinstance(rejection, Reject)
    assert rejection.because.startswith("the command queue held a command that neither router nor sweep makes: ")
    assert command.cause.event_id not in str(rejection)
    assert rejection.target == Target(command.target.organization, "")


def test_a_source_that_may_release_all_may_release_what_one_source_locked():
    limited = replace(RELEASE, ending=replace(RELEASE.ending, source="siem"))
    assert checked(limited, SETTINGS) == limited
    reasons = replace(RELEASE, ending=replace(limited.ending, reasons=frozenset({"lost"})))
    assert isinstance(checked(reasons, SETTINGS), Reject), "no report says reasons"


@pytest.mark.parametrize("later", [0, 59, 20 * 86400])
def test_a_command_that_was_sent_on_soon_or_late_is_carried_out(later):
    """Two hosts of SQS may disagree by seconds, and a dead letter goes back after days."""
    for command in (LOST, RELEASE):
        assert checked(command, SETTINGS, RECEIVED + timedelta(seconds=later)) == command
        assert checked(command, SETTINGS, RECEIVED - timedelta(seconds=59)) == command
        assert isinstance(checked(command, SETTINGS, RECEIVED - timedelta(seconds=61)), Reject)


def test_a_time_at_the_end_of_the_calendar_is_no_error_of_ours():
    """The group would wait for it two hundred times."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    lock = next(each for each in MADE if isinstance(each, Lock) and SETTINGS.reasons[each.claim.why].at_most)
    for forged in (bent(lock, received=first), replace(lock, claim=replace(lock.claim, at=last))):
        answer = checked(forged, SETTINGS)
        assert isinstance(answer, Reject)
        assert answer.because.endswith("its times are not those of an event")


LOCKS = [command for command in MADE if isinstance(command, Lock)]


def by_number(lock):
    return replace(lock, target=Target(ORGANIZATION, "", "", (DeviceName("serial", "S-1"),)))


@pytest.mark.parametrize("lock", [LOCKS[0], by_number(LOCKS[0])], ids=["device", "serial number"])
def test_a_lock_that_the_ledger_has_is_carried_out_although_its_source_lost_the_right(lock):
    """It is live. Told as rejected it would be locked by the next sweep."""
    world = World()
    world.workmail.names[lock.target.user.casefold()] = BOB
    without = replace(SETTINGS, sources=tuple(source for source in SETTINGS.sources if source.name == "mdm"))
    assert isinstance(checked(lock, without, ledger=world.ledger), Reject)
    known = Target(ORGANIZATION, BOB, "dev1", (DeviceName("serial", "S-1"),))
    world.deliver(Enroll(replace(lock.cause, event_id="enrolled"), known), at(0))
    world.deliver(lock, RECEIVED)
    assert checked(lock, without, ledger=world.ledger) == lock
    longer = replace(lock, claim=replace(lock.claim, why="another", until=HOLD))
    assert isinstance(checked(longer, without, ledger=world.ledger), Reject), "another lock under its ID"
    later = bent(lock, happened=RECEIVED + DAY, received=RECEIVED + DAY)
    assert isinstance(checked(later, without, ledger=world.ledger), Reject), "it may mean who has the address by then"
    elsewhere = replace(SETTINGS, organizations=())
    assert isinstance(checked(lock, elsewhere, ledger=world.ledger), Reject), "WorkMail is not asked there any more"
