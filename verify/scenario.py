"""The vocabulary of scenarios: events, what people do, and the settings that the code runs with."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from device_lockout.decisions.decision import MOST_PUT_BACK
from device_lockout.values import instant
from device_lockout.values.actions import Permission
from device_lockout.values.command import (
    Cause,
    Change,
    Command,
    Enroll,
    Lock,
    Reject,
    Release,
    Retire,
    Target,
    claim_id,
)
from device_lockout.values.device import DeviceName
from device_lockout.values.override import Override
from device_lockout.values.policy import MOST_CLAIMS, NO_MORE_CLAIMS, HonouredEdits, Reason
from device_lockout.values.record import MOST_RELEASES, Claim, DeviceRecord, Ending, Scope
from device_lockout.values.settings import Limits, Organization, Settings, Source, Sweep
from device_lockout.values.tag import HOLD, write_time

OWNER = "prod"
ORGANIZATIONS = ORGANIZATION, OTHER = "m-00000000000000000000000000000000", "m-11111111111111111111111111111111"
START = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)
"""Second 0 of every history."""

ALL_CALLS = frozenset(
    {
        *("open", "get", "user", "save", "put", "delete", "save user", "devices of", "send", "enroll", "page"),
        *("records", "retire", "save names", "save named", "devices named"),
    }
)
"""All calls that a process can pause before."""
DEVICE_CALLS = frozenset({"put", "delete", "page", "send"})
"""Enough pauses where one process at a time works on a device and nobody else writes its items."""
USER_CALLS = DEVICE_CALLS | {"user", "save user", "devices of"}
"""Enough pauses where a user's command runs beside those of the user's devices."""


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def second_of(instant: datetime) -> str:
    """Format an instant for histories."""
    return "released" if instant == HOLD else f"{(instant - START).total_seconds():g}"


@dataclass(frozen=True, slots=True)
class Event:
    """A report.

    Attributes:
        name: Its name in histories.
        command: The command that the router makes of it.
        at: The second at which it happened.
        device: The index of its device; -1 for an event about a user.
        user: The index of its user; :data:`NUMBER` for an event about the serial number or the asset tag. Users 2 and
            3 are in the other organization, and have there the IDs of users 0 and 1.
        copy_of: The event of which this is a copy that the queue no longer recognizes.
        body: The event as EventBridge delivers it. The router reads it anew for each copy, and ``command`` is what it
            ought to read. Empty where the router has nothing to decide.
    """

    name: str
    command: Command = field(repr=False)
    at: float = field(repr=False)
    device: int = -1
    user: int = 0
    copy_of: str = ""
    body: str = field(default="", repr=False)

    @property
    def claim(self) -> Claim | None:
        return self.command.claim if isinstance(self.command, Lock) else None

    @property
    def releases(self) -> Ending | None:
        return self.command.ending if isinstance(self.command, Release) else None

    @property
    def by_asset(self) -> bool:
        """Whether it is a lock or release of the devices with the asset tag."""
        return self.user == NUMBER and self.command.target.names == _LABEL.names

    @property
    def gives_name(self) -> bool:
        """Whether it enrols a device under the serial number or the asset tag that the scenario is about."""
        return isinstance(self.command, Enroll) and self.command.target.names in (_NUMBER.names, _LABEL.names)

    @property
    def change(self) -> Change | None:
        return self.command if isinstance(self.command, Change) else None

    def is_kept(self, known: DeviceRecord) -> bool:
        """Whether a device's or a user's item has the lock or the release that it asks for."""
        if self.claim is not None:
            claim = known.known_as(self.claim)
            return claim is not None and bool(claim.source)
        if self.change is not None:
            return any(claim.id == self.change.claim.id for claim in known.all_claims())
        if self.releases is None:
            return False
        newest, happened = (*known.released.newest, *known.user.released.newest), self.command.cause.happened
        return any(ending.includes(self.releases) and when >= happened for ending, when in newest)


def covers(ending: Ending | None, claim: Claim) -> bool:
    """Return whether a release may end ``claim``, in words of the search's own."""
    return (
        ending is not None
        and ending.scope == claim.scope
        and (claim.why in ending.reasons or not ending.reasons)
        and ending.source in ("", claim.source)
    )


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person does once.

    Attributes:
        kind: ``put`` and ``delete`` change an override.
            ``edit`` changes the ``until`` in our tag, and ``rewrite`` another part of it.
            ``flip`` turns our ``DENY`` into an ``ALLOW`` with the same tag.
            ``carry`` puts our override on the next device as well.
            ``disable`` and ``remove`` act on a user; ``enable`` undoes either.
            ``rename`` takes the user's mail address away, and ``inherit`` gives it to another user.
            ``exempt`` makes the user one whom only a forced lock locks, or takes that back.
            ``configure`` makes the next of the scenario's policies the one that holds.
            ``lose`` empties the ledger; ``keep`` makes a copy of it, and ``restore`` brings the copy back.
            ``accept`` lets the sweeps go on after that.
            ``reap`` deletes a device's item, as a time to live would.
        device: The index of the device, or of a device of the user.
        override: What ``put`` puts.
        until: The second that ``edit`` writes.
        text: What ``rewrite`` replaces in our description, and what it puts there.
        after: The second from which on it may happen.
    """

    kind: Literal[
        "put",
        "delete",
        "edit",
        "rewrite",
        "flip",
        "carry",
        "disable",
        "enable",
        "remove",
        "rename",
        "inherit",
        "exempt",
        "configure",
        "lose",
        "keep",
        "restore",
        "accept",
        "reap",
    ]
    device: int = 0
    override: Override | None = None
    until: int = 0
    text: tuple[str, str] = ("", "")
    after: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """The part of the settings that changes between runs.

    Attributes:
        honours: Which ends count that people write into our tags.
        may: What the source may ask for whose reports the router reads.
        releases: The reasons of the locks that this source's releases end; empty for all.
        longest: How many seconds a lock of a lost device lasts at most; None for any time. No lock ends in the second
            after that.
    """

    honours: HonouredEdits = "all"
    may: frozenset[Permission] = frozenset({"lock", "release"})
    releases: frozenset[str] = frozenset()
    longest: int | None = None

    def takes(self, event: Event) -> bool:
        """Whether a report that the router reads asks for something that is allowed."""
        if event.claim is None or event.claim.until == HOLD or self.longest is None:
            return ("lock" if event.claim else "release") in self.may
        return "lock" in self.may and event.claim.until <= at(event.at + self.longest)

    def honours_end(self, before: datetime, after: datetime) -> bool:
        """Whether a person may change the end of a lock."""
        return self.honours == "all" or (self.honours == "longer" and before < after)


@dataclass(frozen=True, slots=True, repr=False)
class Scenario:
    """A few events, acts, faults and sweeps. The search tries every order of them.

    Attributes:
        name: Its name.
        about: What happens in it.
        events: The events that may arrive.
        acts: What people may do.
        instants: The seconds that the clock shows in turn.
        before: The events whose commands are done when the search begins.
        rows: The first override on each device.
        devices: Each device as (user, device ID).
        sweeps: How many sweeps may start.
        faults: How many crashes, lost answers and failed pages a history may have.
        guarded: No device may be let back in, since the sweep's cap is 0 or the clocks differ.
        skew: WorkMail's clock minus ours in seconds.
        max_removals: The sweep's cap.
        max_event_age: In seconds.
        most_claims: How many claims an item keeps before it drops those that another outlasts.
        page_size: How many devices one page of WorkMail's list covers.
        freezes: A process may stand still before its ledger write until its message is delivered again.
        overruns: It may stand still after its ledger write as well, longer than Lambda lets it live.
        dead_letters: A command may go to the dead-letter queue and come back later.
        deduplicates: The queue drops copies of what processes send.
        readable: WorkMail still shows the overrides of deleted users, and deletes those of disabled ones.
        pauses: The calls before which anything else may happen. Other calls follow the one before them at once.
        policies: What the settings say: the first of these holds from the beginning.
        no_more_claims: How many claims an item may have at all.
        most_releases: How many kinds of releases an item keeps before it takes only those of all sources' locks.
        most_put_back: How often in a history the tamper watch puts a device's lock back.
        locks_per_hour: How many locks of a source are not held; None for any number. A person lets held ones through,
            or drops them.
        watched: CloudTrail tells of each change of an override that a person makes, sooner or later.
        small: The test suite searches it, and so does ``--break``.
    """

    name: str
    about: str
    events: tuple[Event, ...] = ()
    acts: tuple[Act, ...] = ()
    instants: tuple[int, ...] = (10,)
    before: tuple[str, ...] = ()
    rows: tuple[Override | None, ...] = (None,)
    devices: tuple[tuple[int, str], ...] = ((0, "DEV1"),)
    sweeps: int = 0
    faults: int = 1
    guarded: bool = False
    skew: int = 0
    max_removals: int = 50
    max_event_age: int = 30 * 86400
    most_claims: int = MOST_CLAIMS
    no_more_claims: int = NO_MORE_CLAIMS
    most_releases: int = MOST_RELEASES
    most_put_back: int = MOST_PUT_BACK
    locks_per_hour: int | None = None
    page_size: int = 100
    freezes: bool = False
    overruns: bool = False
    dead_letters: bool = False
    deduplicates: bool = True
    readable: bool = True
    pauses: frozenset[str] = DEVICE_CALLS
    policies: tuple[Policy, ...] = (Policy(),)
    watched: bool = False
    small: bool = True

    def __repr__(self) -> str:
        events = ", ".join(event.name for event in self.events)
        acts = ", ".join(act.kind for act in self.acts)
        return f"{self.name}: {self.about} ({len(self.devices)} devices; {events}; {acts})"


NUMBER = -1
"""Stands for the serial number or the asset tag in the place of a user. The number's item is like a user's."""
SERIAL, ASSET = "SN1", "A1"


def user_name(user: int) -> str:
    """Return WorkMail's ID of a scenario's user, or the serial number."""
    return SERIAL if user == NUMBER else f"user{user % 2}"


def organization_of(user: int) -> str:
    """Return the organization of a scenario's user."""
    return OTHER if user > 1 else ORGANIZATION


def place(organization: str, name: str) -> str:
    """Return what a name in an organization is to the search, which tells the other organization's names apart."""
    return name if organization == ORGANIZATION else f"{name} elsewhere"


def lock(
    name: str, happened: float, until: int | None, device: int = 0, *, device_id: str = "DEV1", user: int = 0
) -> Event:
    """Report a device as lost at second ``happened``. ``until`` is its lock's end; None for a stolen one's, a hold."""
    what, why = ("Device Stolen", "stolen") if until is None else ("Device Lost", "lost")
    cause = _cause(name, what, happened)
    claim = Claim(
        claim_id(name), "device", why, at(happened), HOLD if until is None else at(until), source=cause.source
    )
    return Event(name, Lock(cause, _target(user, device_id), claim), happened, device, user)


def release(name: str, happened: float, device: int = 0, *, device_id: str = "DEV1", user: int = 0) -> Event:
    """Report a device as recovered at second ``happened``."""
    command = Release(_cause(name, "Device Recovered", happened), _target(user, device_id), Ending("device"))
    return Event(name, command, happened, device, user)


def lock_user(name: str, happened: float, until: int | None, user: int = 0) -> Event:
    """Report a user as compromised."""
    cause = _cause(name, "User Compromised", happened)
    end = HOLD if until is None else at(until)
    claim = Claim(claim_id(name), "user", "compromised", at(happened), end, source=cause.source)
    return Event(name, Lock(cause, _target(user, ""), claim), happened, -1, user)


def release_user(name: str, happened: float, user: int = 0) -> Event:
    """Report a user as restored."""
    command = Release(_cause(name, "User Restored", happened), _target(user, ""), Ending("user"))
    return Event(name, command, happened, -1, user)


def by_number(event: Event) -> Event:
    """Make a lock or release of a device name the serial number in its place."""
    return replace(event, command=replace(event.command, target=_NUMBER), device=-1, user=NUMBER)


def by_asset(event: Event) -> Event:
    """Make a lock or release of a device name the asset tag in its place."""
    return replace(event, command=replace(event.command, target=_LABEL), device=-1, user=NUMBER)


def change(name: str, happened: float, until: int, device: int = 0, *, device_id: str = "DEV1", user: int = 0) -> Event:
    """Report at second ``happened`` that a device's lock ends at ``until``; without a device ID, a user's."""
    scope: Scope = "device" if device_id else "user"
    cause = _cause(name, "Lock Changed", happened)
    claim = Claim(claim_id(name), scope, "", at(happened), at(until), source=cause.source)
    command = Change(cause, _target(user, device_id), Ending(scope), claim, longer=True)
    return Event(name, command, happened, device if device_id else -1, user)


def enroll(name: str, happened: float, device: int = 0, *, device_id: str = "DEV1", user: int = 0) -> Event:
    """Report a device as enrolled."""
    return Event(
        name, Enroll(_cause(name, "Device Enrolled", happened), _target(user, device_id)), happened, device, user
    )


def numbered(event: Event) -> Event:
    """Give an enrolled device the serial number."""
    target = replace(event.command.target, names=_NUMBER.names)
    return replace(event, command=replace(event.command, target=target))


def labelled(event: Event, label: str = ASSET) -> Event:
    """Give an enrolled device the asset tag, or another one in its place, by which nobody looks for it."""
    target = replace(event.command.target, names=(DeviceName("asset", label),))
    return replace(event, command=replace(event.command, target=target))


def retire(name: str, happened: float, device: int = 0, *, device_id: str = "DEV1", user: int = 0) -> Event:
    """Report a device as retired."""
    return Event(
        name, Retire(_cause(name, "Device Retired", happened), _target(user, device_id)), happened, device, user
    )


def read_by(source: str, report: str, event: Event) -> Event:
    """Make a lock what ``source`` reads in the event ``report`` of somebody else, which other sources read too."""
    assert isinstance(event.command, Lock), "only locks have claims"
    cause = replace(event.command.cause, event_id=report, reader=source)
    return replace(
        event, command=replace(event.command, cause=cause, claim=replace(event.command.claim, id=claim_id(report)))
    )


def told_by(source: str, event: Event, *reasons: str, own_only: bool = False) -> Event:
    """Make ``source`` tell of an event. Its releases may end locks of some reasons only, or only its own."""
    command = replace(event.command, cause=replace(event.command.cause, source=source))
    if isinstance(command, Lock):
        command = replace(command, claim=replace(command.claim, source=source))
    if isinstance(command, Release | Change):
        command = replace(command, ending=Ending(command.ending.scope, frozenset(reasons), source if own_only else ""))
    return replace(event, command=command)


def as_told(event: Event, *, said: float | None, stamped: int, counts: bool = True) -> Event:
    """Make ``event`` one that the router reads, each copy with its own time of receipt.

    Args:
        event: What the router ought to make of it, at the time that it ought to count from.
        said: The second of ``reportedAt``; None for a report without one.
        stamped: The second of the envelope's ``time``.
        counts: Whether it ought to count; if not, the router rejects it.
    """
    command = event.command
    detail: dict[str, str] = {"organizationId": command.target.organization, "userId": command.target.user}
    if command.target.device:
        detail["deviceId"] = command.target.device
    if said is not None:
        detail["reportedAt"] = instant.write(at(said))
    if event.claim is not None and event.claim.until != HOLD:
        detail["expiresAt"] = instant.write(event.claim.until)
    cause = command.cause
    body = json.dumps(
        {
            "id": cause.event_id,
            "source": cause.source,
            "detail-type": cause.detail_type,
            "time": write_time(at(stamped)),
            "detail": detail,
        }
    )
    if not counts:
        command = Reject(cause, command.target, "as the router finds it")
    return replace(event, command=command, body=body)


def by_mail(event: Event) -> Event:
    """Name the event's user by e-mail address."""
    target = replace(event.command.target, user=f"{event.command.target.user}@example.com")
    return replace(event, command=replace(event.command, target=target))


def copy(event: Event) -> Event:
    """Copy an event. The copy arrives too late for the queue's deduplication."""
    return replace(event, name=f"{event.name} again", copy_of=event.name)


def written(second: int, effect: Literal["ALLOW", "DENY"] = "DENY") -> Override:
    """Write an override as a person does who wants it removed after ``second``."""
    return Override(effect, f"[until={write_time(at(second))}] travel")


def _cause(name: str, detail_type: str, happened: float) -> Cause:
    return Cause(name, "helpdesk", detail_type, at(happened), at(happened))


def _target(user: int, device: str) -> Target:
    return Target(organization_of(user), user_name(user), device)


_NUMBER = Target(ORGANIZATION, "", "", (DeviceName("serial", SERIAL),))
_LABEL = replace(_NUMBER, names=(DeviceName("asset", ASSET),))


def settings_of(scenario: Scenario, policy: Policy = Policy()) -> Settings:
    """Return the settings that the code runs with while a policy holds."""
    longest = None if policy.longest is None else timedelta(seconds=policy.longest)
    return Settings(
        owner=OWNER,
        organizations=(Organization(ORGANIZATION, "main"), Organization(OTHER, "other")),
        sources=(Source("helpdesk", policy.may, releases=policy.releases),),
        reasons={
            "lost": Reason("lost", timedelta(hours=1), longest),
            "stolen": Reason("stolen", None, None),
            "compromised": Reason("compromised", timedelta(hours=1), None),
        },
        sweep=Sweep(
            every=timedelta(hours=1),
            mode="apply",
            max_removals=scenario.max_removals,
            max_removals_percent=100,
            max_reasserts=500,
            portion=100,
            report_only_after_missed=10**6,
        ),
        limits=Limits(
            writer_timeout=timedelta(seconds=15),
            settle=timedelta(seconds=60),
            workmail_timeout=timedelta(seconds=4),
            clock_skew=timedelta(seconds=60),
            max_event_age=timedelta(seconds=scenario.max_event_age),
        ),
        honour_edits=policy.honours,
    )
