"""Guards to switch off, one at a time, to show that the search would notice a missing one.

Each function here switches one guard off and has the guard's rule as its docstring.
It replaces something in the real modules, wraps the ports, or takes a guard from the queue or the ledger.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from device_lockout.aws import command_queue
from device_lockout.decisions import decision, plan
from device_lockout.decisions.decision import Decision, Delete, Put
from device_lockout.inbound import report
from device_lockout.inbound.event_time import Moment
from device_lockout.protocol import fan_out, flood, redelivery, steps, sweep, users
from device_lockout.protocol.ports import Ports
from device_lockout.values import record
from device_lockout.values.command import Cause, Change, Command, DeviceCommand, Expire, Lock, Release, command_id
from device_lockout.values.device import DeviceKey, DeviceName, LookUp, Named
from device_lockout.values.errors import UnansweredError, UnknownUserError
from device_lockout.values.outcome import SOURCE
from device_lockout.values.override import Override
from device_lockout.values.policy import Reason, Rules
from device_lockout.values.record import Claim, DeviceRecord, Ending, Released, UserRecord
from device_lockout.values.tag import Broken, HandWritten, Tag
from verify.explorer import Found, explore
from verify.processes import Switches
from verify.scenario import SERIAL, at
from verify.scenarios import SCENARIOS

MOST_BROKEN_STATES = 100_000
"""Without a guard a scenario may have no end. Another scenario shows the violation much sooner."""

Break = Callable[["Off"], None]


@dataclass(slots=True)
class Off:
    """What a break may switch off. :func:`switched_off` switches it on again."""

    switches: Switches = field(default_factory=Switches)
    stack: ExitStack = field(default_factory=ExitStack)

    def replace(self, where: Any, name: str, value: Any) -> None:
        """Replace the attribute ``name`` of ``where``."""
        self.stack.enter_context(patch.object(where, name, value))

    def around(self, where: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace the attribute ``name`` of ``where`` by what ``make`` makes of it."""
        self.replace(where, name, make(getattr(where, name)))

    def guard(self, name: str) -> None:
        """Switch off a guard of the queue or the ledger."""
        self.switches.off.add(name)

    def ports(self, wrap: Callable[[Ports], Ports]) -> None:
        """Wrap the ports that commands are carried out with."""
        self.switches.wrap = wrap


@contextmanager
def switched_off(name: str) -> Iterator[Switches]:
    """Switch one guard off within a ``with`` statement."""
    off = Off()
    with off.stack:
        BREAKS[name].apply(off)
        yield off.switches


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard.

    Attributes:
        name: Its name for ``BREAK=``.
        apply: Switches it off.
        scenarios: The scenarios in which that shows, soonest first.
    """

    name: str
    apply: Break
    scenarios: tuple[str, ...]

    @property
    def rule(self) -> str:
        """The rule that the guard holds, in one line."""
        return (self.apply.__doc__ or "").strip().splitlines()[0]


BREAKS: dict[str, Guard] = {}


def guard(name: str, *scenarios: str) -> Callable[[Break], Break]:
    """Register a break under ``name``, with the scenarios in which it shows."""

    def register(apply: Break) -> Break:
        BREAKS[name] = Guard(name, apply, scenarios)
        return apply

    return register


def search(scenario: str, guard: str | None = None) -> Found:
    """Search a scenario, without a guard if one is named.

    Raises:
        TypeError: The break does not fit the code that it stands in for. That is no violation.
    """
    if guard is None:
        return explore(SCENARIOS[scenario])
    with switched_off(guard) as switches:
        found = explore(SCENARIOS[scenario], switches, MOST_BROKEN_STATES)
    if "raised TypeError" in (found.violation or ""):
        raise TypeError(f"{guard} does not fit the code: {found.violation}")
    return found


@dataclass(slots=True)
class Between:
    """A port with some of its methods replaced."""

    port: Any
    instead: dict[str, Callable[..., Any]]

    def __getattr__(self, name: str) -> Any:
        return self.instead.get(name) or getattr(self.port, name)


# What is wanted


@guard("adopt", "edit", "longer edit")
def adopt(off: Off) -> None:
    """The tag of our lock is adopted before the decision."""
    off.replace(DeviceRecord, "adopt", lambda self, *_: self)


@guard("edits-are-told", "edit")
def edits_are_told(off: Off) -> None:
    """People hear of an end that a person wrote and the ledger took over."""
    off.replace(decision, "adoption", lambda *_: None)


@guard("honoured-edits", "edit, not honoured")
def honoured_edits(off: Off) -> None:
    """An end that a person writes counts only as far as the settings of this moment say."""
    off.replace(Rules, "honours", lambda *_: True)


@guard("reason-at-most", "edit, not honoured")
def reason_at_most(off: Off) -> None:
    """A report that asks for a longer lock than the settings allow is rejected."""
    off.replace(Reason, "fault", lambda *_: None)


@guard("allow-is-no-edit", "undone, edited")
def allow_is_no_edit(off: Off) -> None:
    """The tag of a lock that somebody turned into an ALLOW changes nothing."""

    def around(real: Any) -> Any:
        return lambda self, observed, *rest: real(self, replace(observed, effect="DENY"), *rest)

    off.around(DeviceRecord, "adopt", around)


@guard("watch", "watched")
def watch(off: Off) -> None:
    """A lock that somebody undid comes back without a sweep."""
    off.guard("watch")


@guard("watch-ends", "watched, again and again")
def watch_ends(off: Off) -> None:
    """The tamper watch leaves a device to the sweep once it has put its lock back so often."""
    off.replace(steps, "bounded", lambda _command, _before, decided, _now: decided)


@guard("given-up-once", "watched, again and again")
def given_up_once(off: Off) -> None:
    """People are paged once that the tamper watch left a device to the sweep."""

    def around(real: Any) -> Any:
        def bounded(command: DeviceCommand, before: DeviceRecord, decided: Decision, now: datetime) -> Decision:
            after: Decision = real(command, before, decided, now)
            again = after.outcome.result == "skipped" and decided.outcome.result == "reasserted"
            return replace(after, outcome=replace(after.outcome, result="contested")) if again else after

        return bounded

    off.around(steps, "bounded", around)


@guard("flood-is-held", "flood")
def flood_is_held(off: Off) -> None:
    """A source that locks more than it may has the rest held."""
    off.replace(flood, "hold", lambda *_: None)


@guard("held-pages-once", "held")
def held_pages_once(off: Off) -> None:
    """Of a source's held locks one pages."""
    off.replace(flood, "_is_first", lambda *_: True)


def _marked(off: Off, held: Callable[[Any, Cause], bool]) -> None:
    """Let each command be marked as held, or not, by its recorded outcome and its cause."""

    def around(real: Any) -> Any:
        def carry_out(command: Command, ports: Ports, *rest: Any) -> Any:
            told = ports.ledger.outcome(command.cause.event_id, command_id(command))
            return real(replace(command, cause=replace(command.cause, held=held(told, command.cause))), ports, *rest)

        return carry_out

    off.around(steps, "carry_out", around)


@guard("let-through", "held")
def let_through(off: Off) -> None:
    """What a person lets through is carried out."""
    _marked(off, lambda *_: False)


@guard("copy-is-held", "held")
def copy_is_held(off: Off) -> None:
    """A late copy of a held report is held, too: only a person lets it through."""
    _marked(off, lambda told, cause: cause.held or (told or {"detail": {}})["detail"].get("result") == "held")


@guard("no-more-claims", "no room", "no room, user")
def no_more_claims(off: Off) -> None:
    """An item takes no more locks than leave room for a release."""
    off.switches.rules = lambda rules: replace(rules, no_more_claims=10**6)


@guard("few-releases", "no room, user")
def few_releases(off: Off) -> None:
    """An item takes so many kinds of releases of one source's locks, and no more."""
    off.replace(Released, "has_room_for", lambda *_: True)


@guard("room-for-a-release", "no room, user")
def room_for_a_release(off: Off) -> None:
    """A release of all sources' locks always finds room."""
    off.replace(Released, "has_room_for", lambda self, *_: len(self.newest) < record.MOST_RELEASES)


@guard("tie", "tie")
def tie(off: Off) -> None:
    """A lock wins over a release of the same instant."""

    def unreleased(self: DeviceRecord, claim: Claim) -> bool:
        released = self.released_at(claim)
        return released is None or claim.at > released

    off.replace(DeviceRecord, "unreleased", unreleased)


@guard("milliseconds", "milliseconds")
def milliseconds(off: Off) -> None:
    """Events within one second keep their order."""

    def around(real: Any) -> Any:
        def with_claim(self: DeviceRecord, claim: Claim) -> DeviceRecord:
            record: DeviceRecord = real(self, replace(claim, at=claim.at.replace(microsecond=0)))
            return record

        return with_claim

    off.around(DeviceRecord, "with_claim", around)


@guard("newest-release", "three")
def newest_release(off: Off) -> None:
    """The time of a release never goes back."""

    def with_release(self: Released, ending: Ending, at: Any) -> Released:
        return Released((*(known for known in self.newest if known[0] != ending), (ending, at)))

    off.replace(Released, "with_release", with_release)


@guard("set-of-claims", "shorter")
def set_of_claims(off: Off) -> None:
    """Locks are a set of claims, not a slot for the newest."""
    off.replace(DeviceRecord, "with_claim", lambda self, claim: replace(self, claims=(claim,)))


@guard("older-lock-counts", "shorter")
def older_lock_counts(off: Off) -> None:
    """Only a newer release supersedes a lock. A newer lock does not."""

    def around(real: Any) -> Any:
        def recorded(command: DeviceCommand, before: DeviceRecord, *rest: Any) -> DeviceRecord:
            newer = isinstance(command, Lock) and any(claim.at > command.claim.at for claim in before.claims)
            after: DeviceRecord = before if newer else real(command, before, *rest)
            return after

        return recorded

    off.around(decision, "_record", around)


@guard("scopes", "recovered", "user")
def scopes(off: Off) -> None:
    """A release ends only locks of its own scope."""
    off.around(Ending, "covers", lambda real: lambda self, claim: real(replace(self, scope=claim.scope), claim))


@guard("release-reasons", "whose lock")
def release_reasons(off: Off) -> None:
    """A source's release ends only locks with the reasons that the source may end."""
    off.around(Ending, "covers", lambda real: lambda self, claim: real(replace(self, reasons=frozenset()), claim))


@guard("release-sources", "whose lock, user")
def release_sources(off: Off) -> None:
    """A source that ends its own locks only ends nobody else's."""
    off.around(Ending, "covers", lambda real: lambda self, claim: real(replace(self, source=""), claim))


def _changed_otherwise(off: Off, otherwise: Callable[[DeviceRecord, DeviceRecord], DeviceRecord]) -> None:
    """Let a change record something else, made of the record before and after it."""

    def around(real: Any) -> Any:
        def recorded(command: DeviceCommand, before: DeviceRecord, *rest: Any) -> DeviceRecord:
            after: DeviceRecord = real(command, before, *rest)
            return otherwise(before, after) if isinstance(command, Change) else after

        return recorded

    off.around(decision, "_record", around)


@guard("change-releases", "changed")
def change_releases(off: Off) -> None:
    """A change of an end releases the locks that it changes."""
    _changed_otherwise(off, lambda before, after: replace(after, released=before.released))


@guard("change-locks", "changed")
def change_locks(off: Off) -> None:
    """A change locks anew with the write that releases."""
    _changed_otherwise(off, lambda before, after: replace(after, claims=before.claims))


@guard("change-order", "changed")
def change_order(off: Off) -> None:
    """A change counts from when it happened, and not from when it came."""

    def around(real: Any) -> Any:
        def recorded(command: DeviceCommand, *rest: Any) -> Any:
            if isinstance(command, Change):
                came = at(9.5)
                cause, claim = replace(command.cause, happened=came), replace(command.claim, at=came)
                command = replace(command, cause=cause, claim=claim)
            return real(command, *rest)

        return recorded

    off.around(decision, "_record", around)


# When it happened


@guard("event-time", "future lock", "future release, stamped")
def event_time(off: Off) -> None:
    """When an event happened is a property of the event: every copy of it counts from the same time."""

    def moment(said: datetime | None, _: datetime | None, received: datetime) -> Moment:
        happened = received if said is None else min(said, received)
        return Moment(happened, happened)

    off.replace(report, "moment", moment)


@guard("future-release", "future release, stamped")
def future_release(off: Off) -> None:
    """A release whose producer's clock is more than a minute ahead is rejected."""

    def around(real: Any) -> Any:
        return lambda *about: replace(real(*about), future="")

    off.around(report, "moment", around)


@guard("whole-second", "whole second")
def whole_second(off: Off) -> None:
    """A lock that is told in whole seconds counts from the end of its second."""
    off.replace(report, "end_of_second", lambda time, _: time)


@guard("done-means-done", "producer's clock")
def done_means_done(off: Off) -> None:
    """A copy of a report whose outcome is recorded changes nothing."""
    off.guard("done-means-done")


@guard("earlier-clock", "clock, release")
def earlier_clock(off: Off) -> None:
    """Where our clock and WorkMail's disagree, the earlier one decides what is over."""
    off.replace(steps, "_decision_time", lambda _, now, *__: now)


# What is written


@guard("prior-first", "prior")
def prior_first(off: Off) -> None:
    """The ledger has an ALLOW before a lock covers it."""

    def wrap(ports: Ports) -> Ports:
        kept: dict[str, Any] = {}

        def save(key: DeviceKey, saved: DeviceRecord) -> None:
            kept["saved"] = key, replace(saved, version=saved.version + 1)
            ports.ledger.save_device(key, replace(saved, prior=None))

        def put(*call: Any) -> None:
            ports.workmail.put(*call)
            ports.ledger.save_device(*kept["saved"])

        return replace(
            ports,
            ledger=Between(ports.ledger, {"save_device": save}),
            workmail=Between(ports.workmail, {"put": put}),
        )

    off.ports(wrap)


@guard("was-from-tag", "loss")
def was_from_tag(off: Off) -> None:
    """The tag says what a lock covers, whatever the ledger remembers."""
    _reading_as(off, lambda reading, known: replace(reading, was="allow" if known.prior else "none"))


def _reading_as(off: Off, read: Callable[[Tag, DeviceRecord], Tag]) -> None:
    def around(real: Any) -> Any:
        def write(asked: Any, observed: Any, reading: Any, known: DeviceRecord, *rest: Any) -> Any:
            return real(asked, observed, read(reading, known) if isinstance(reading, Tag) else reading, known, *rest)

        return write

    off.around(decision, "write_for", around)


@guard("prior-verbatim", "prior")
def prior_verbatim(off: Off) -> None:
    """The ALLOW that comes back is the one that was covered, with its description."""
    off.replace(decision, "_give_back", lambda ours, *_: Delete() if ours.was == "none" else Put(Override("ALLOW")))


@guard("hand-written-check", "hand-written")
def hand_written_check(off: Off) -> None:
    """A live lock takes the place of a hand-written DENY that has ended."""

    def around(real: Any) -> Any:
        def write(asked: Any, observed: Any, reading: Any, known: Any, wanted: Any, now: Any, owner: str) -> Any:
            if asked is Expire and isinstance(reading, HandWritten) and reading.until <= now:
                return Delete(), known.prior
            return real(asked, observed, reading, known, wanted, now, owner)

        return write

    off.around(decision, "write_for", around)


@guard("foreign-deny", "denied")
def foreign_deny(off: Off) -> None:
    """A DENY that is not ours stays."""

    def around(real: Any) -> Any:
        def write(asked: Any, observed: Any, reading: Any, known: Any, wanted: Any, *rest: Any) -> Any:
            as_if = Override("ALLOW") if observed is not None and not isinstance(reading, Tag) else observed
            return real(asked, as_if, reading, known, wanted, *rest)

        return write

    off.around(decision, "write_for", around)


@guard("broken-tag", "broken")
def broken_tag(off: Off) -> None:
    """An override with our marker and an unreadable tag is not ours to remove."""

    def around(real: Any) -> Any:
        def read(self: Override, owner: str) -> Any:
            reading = real(self, owner)
            return HandWritten(_LONG_AGO) if isinstance(reading, Broken) else reading

        return read

    off.around(Override, "read", around)


# When it is decided


@guard("stored-outcome", "order")
def stored_outcome(off: Off) -> None:
    """A redelivered command keeps its first outcome."""

    def around(real: Any) -> Any:
        def decide(command: Any, observed: Any, known: DeviceRecord, now: Any, rules: Any) -> Decision:
            decided: Decision = real(command, observed, replace(known, last=None), now, rules)
            return decided

        return decide

    off.around(steps, "decide", around)


@guard("outcome-holds", "order", "shorter", "user")
def outcome_holds(off: Off) -> None:
    """A redelivery keeps its first outcome only if the device is still as it says."""
    off.replace(decision, "_denies", lambda _: True)


@guard("failure-is-mended", "disabled, late", "disabled")
def failure_is_mended(off: Off) -> None:
    """A failure that got better is told as what it became."""
    off.guard("failure-is-mended")


@guard("expire-without-release-time", "expiry")
def expire_without_release_time(off: Off) -> None:
    """An expiry is no release: it ends only locks that are over."""

    def around(real: Any) -> Any:
        def recorded(command: DeviceCommand, before: DeviceRecord, now: Any, rules: Any) -> DeviceRecord:
            if isinstance(command, Expire):
                return replace(before, released=before.released.with_release(Ending("device"), now))
            after: DeviceRecord = real(command, before, now, rules)
            return after

        return recorded

    off.around(decision, "_record", around)


@guard("reassert", "tampered")
def reassert(off: Off) -> None:
    """The sweep puts back what somebody undid."""

    def around(real: Any) -> Any:
        def planned(*arguments: Any) -> Any:
            return replace(real(*arguments), reasserts=())

        return planned

    off.around(sweep, "plan", around)


@guard("fresh-read", "expiry", "tampered")
def fresh_read(off: Off) -> None:
    """An expiry decides on the override that stands now, not on the one that the sweep saw."""

    def around(real: Any) -> Any:
        def decide(command: Any, observed: Any, *rest: Any) -> Decision:
            decided: Decision = real(command, command.planned if isinstance(command, Expire) else observed, *rest)
            return decided

        return decide

    off.around(steps, "decide", around)


# In which order


@guard("ledger-first", "order")
def ledger_first(off: Off) -> None:
    """The ledger has a lock before WorkMail has it."""

    def wrap(ports: Ports) -> Ports:
        waiting: list[Any] = []

        def write(name: str) -> Callable[..., None]:
            def written(*call: Any) -> None:
                getattr(ports.workmail, name)(*call)
                ports.ledger.save_device(*waiting.pop())

            return written

        def outcome(*call: Any) -> Any:
            if waiting:
                ports.ledger.save_device(*waiting.pop())
            return ports.ledger.record_outcome(*call)

        return replace(
            ports,
            ledger=Between(
                ports.ledger, {"save_device": lambda *call: waiting.append(call), "record_outcome": outcome}
            ),
            workmail=Between(ports.workmail, {"put": write("put"), "delete": write("delete")}),
        )

    off.ports(wrap)


@guard("fail-on-unanswered", "order")
def fail_on_unanswered(off: Off) -> None:
    """A write without an answer fails the delivery."""

    def wrap(ports: Ports) -> Ports:
        def write(name: str) -> Callable[..., None]:
            def written(*call: Any) -> None:
                try:
                    getattr(ports.workmail, name)(*call)
                except UnansweredError:
                    return

            return written

        return replace(ports, workmail=Between(ports.workmail, {"put": write("put"), "delete": write("delete")}))

    off.ports(wrap)


@guard("wait-for-late-writes", "order")
def wait_for_late_writes(off: Off) -> None:
    """After a write without an answer the device's group waits until the write can't land any more."""
    off.guard("wait-for-late-writes")
    off.replace(redelivery, "delay_after", lambda *_: timedelta(seconds=2))


@guard("no-ttl", "end of life")
def no_ttl(off: Off) -> None:
    """Items of devices and users don't expire."""
    off.guard("no-ttl")


@guard("forget-late", "changed")
def forget_late(off: Off) -> None:
    """A claim stays after its end until no copy of its event can arrive."""

    def around(real: Any) -> Any:
        def kept(claims: Any, known: Any, scope: Any, now: Any, rules: Any, *_: Any) -> Any:
            return real(claims, known, scope, now, replace(rules, max_event_age=timedelta(0)))

        return kept

    off.around(decision, "claims_to_keep", around)


@guard("forget-the-outlasted", "full item")
def forget_the_outlasted(off: Off) -> None:
    """A full item drops only claims that another one outlasts, not simply the oldest."""
    off.replace(Claim, "outlasts", lambda self, other: self.at > other.at)


@guard("forget-the-same", "full item, sources")
def forget_the_same(off: Off) -> None:
    """A full item drops no claim for one that a source's release may end alone."""
    off.replace(
        Claim,
        "outlasts",
        lambda self, other: self.scope == other.scope and self.at >= other.at and self.rank > other.rank,
    )


@guard("version", "frozen")
def version(off: Off) -> None:
    """A ledger write is conditional on the version that was read."""
    off.guard("version")


@guard("single-writer", "frozen")
def single_writer(off: Off) -> None:
    """No process begins on a device while another is between its ledger write and its write to WorkMail."""
    off.guard("single-writer")


@guard("write-then-read", "enrolment")
def write_then_read(off: Off) -> None:
    """The ledger has a user's lock before the user's devices are listed."""

    def wrap(ports: Ports) -> Ports:
        listed: dict[str, list[DeviceKey]] = {}

        def save(organization: str, user_id: str, saved: UserRecord) -> None:
            listed[user_id] = list(ports.ledger.devices_of(organization, user_id))
            ports.ledger.save_user(organization, user_id, saved)

        def devices_of(organization: str, user_id: str) -> Any:
            return listed[user_id] if user_id in listed else ports.ledger.devices_of(organization, user_id)

        return replace(ports, ledger=Between(ports.ledger, {"save_user": save, "devices_of": devices_of}))

    off.ports(wrap)


@guard("item-first", "unknown device", "enrolment")
def item_first(off: Off) -> None:
    """A device's item exists before its user's item is read."""

    def wrap(ports: Ports) -> Ports:
        read: dict[str, UserRecord] = {}

        def first(name: str) -> Callable[..., Any]:
            def then(key: DeviceKey, *rest: Any, **named: Any) -> Any:
                if key.user_id not in read:
                    read[key.user_id] = ports.ledger.user(key.organization, key.user_id)
                return getattr(ports.ledger, name)(key, *rest, **named)

            return then

        instead = {
            "open_device": first("open_device"),
            "list_device": first("list_device"),
            "user": lambda organization, user_id: read.get(user_id) or ports.ledger.user(organization, user_id),
        }
        return replace(ports, ledger=Between(ports.ledger, instead))

    off.ports(wrap)


@guard("device-group-only", "user")
def device_group_only(off: Off) -> None:
    """Only a command in its device's own group touches WorkMail."""

    def around(real: Any) -> Any:
        def carry_out(command: Command, ports: Ports, *rest: Any) -> Any:
            def send(commands: Any) -> int:
                return len([real(each, ports, *rest) for each in commands])

            return real(command, replace(ports, queue=Between(ports.queue, {"send": send})), *rest)

        return carry_out

    off.around(steps, "carry_out", around)


@guard("dedup", "tampered", "expiry")
def dedup(off: Off) -> None:
    """The deduplication ID of a sweep's command includes the run."""

    def around(real: Any) -> Any:
        def without_run(command: Command) -> str:
            if command.cause.source == SOURCE:
                command = replace(command, cause=replace(command.cause, event_id=""))
            name: str = real(command)
            return name

        return without_run

    off.around(command_queue, "command_id", around)


@guard("organization", "two organizations")
def organization(off: Off) -> None:
    """The queue tells commands of two organizations apart."""

    def around(real: Any) -> Any:
        def without_organization(command: Command) -> str:
            name: str = real(replace(command, target=replace(command.target, organization="")))
            return name

        return without_organization

    off.around(command_queue, "command_id", around)
    off.around(command_queue, "group_id", around)


@guard("own-copy", "user's edit")
def own_copy(off: Off) -> None:
    """A device's own copy of a user's claim wins, since a person changed its end there."""

    def all_claims(self: DeviceRecord) -> tuple[Claim, ...]:
        users = {claim.id for claim in self.user.claims}
        return tuple(claim for claim in self.claims if claim.id not in users) + self.user.claims

    off.replace(DeviceRecord, "all_claims", all_claims)


@guard("claim-identity", "two readers")
def claim_identity(off: Off) -> None:
    """An event that several sources read is a lock for each of their reasons."""
    off.replace(Claim, "identity", property(lambda self: self.id))


@guard("gone-keeps-prior", "deleted and back")
def gone_keeps_prior(off: Off) -> None:
    """The prior is kept while WorkMail does not know the user."""

    def wrap(ports: Ports) -> Ports:
        gone: list[str] = []

        def get(key: DeviceKey) -> Any:
            try:
                return ports.workmail.get(key)
            except UnknownUserError:
                gone.append(key.user_id)
                raise

        def save(key: DeviceKey, saved: DeviceRecord) -> None:
            ports.ledger.save_device(key, replace(saved, prior=None) if gone else saved)

        return replace(
            ports,
            workmail=Between(ports.workmail, {"get": get}),
            ledger=Between(ports.ledger, {"save_device": save}),
        )

    off.ports(wrap)


@guard("summary", "user, again")
def summary(off: Off) -> None:
    """The outcome of a user's release reports locks that are newer."""

    def around(real: Any) -> Any:
        def decided(command: Any, *rest: Any) -> Any:
            record, outcome = real(command, *rest)
            return record, replace(outcome, result="released") if isinstance(command, Release) else outcome

        return decided

    off.around(fan_out, "decide_for_user", around)


@guard("names", "deleted")
def names(off: Off) -> None:
    """The names in reports are kept, so that a release finds a user who was deleted since."""
    off.ports(lambda ports: replace(ports, ledger=Between(ports.ledger, {"named": lambda *_: Named()})))


@guard("accepted-stays", "exempt", "renamed", "exempt, user")
def accepted_stays(off: Off) -> None:
    """A lock that the ledger has is carried out, whatever becomes of its user."""
    off.replace(users, "_has", lambda *_: False)


@guard("name-moves", "renamed")
def name_moves(off: Off) -> None:
    """A name in a new lock means whom WorkMail says now, and not whom it meant in an earlier one."""
    off.replace(users, "_has", lambda *_: True)


@guard("release-stays", "renamed, released")
def release_stays(off: Off) -> None:
    """A release counts at each delivery for the user for whom the first one saved it."""
    off.around(
        users, "_has", lambda real: lambda record, command: not isinstance(command, Release) and real(record, command)
    )


@guard("former-count", "renamed, buried")
def former_count(off: Off) -> None:
    """Whoever had a name in an earlier report may be whom an earlier delivery reached."""
    off.replace(Named, "all", property(lambda self: tuple(filter(None, (self.user,)))))


@guard("name-at-once", "renamed, at once")
def name_at_once(off: Off) -> None:
    """Whom a name meant is written only over what was read."""
    off.guard("name-at-once")


@guard("taken-stays", "refused, buried")
def taken_stays(off: Off) -> None:
    """A copy that the router rejects is no rejection where the ledger has the report's lock."""
    off.replace(steps, "was_taken", lambda *_: False)


@guard("rejected-stays", "exempt, user")
def rejected_stays(off: Off) -> None:
    """No write that is late records a lock that was told as rejected."""

    def wrap(ports: Ports) -> Ports:
        unchanged: dict[str, UserRecord] = {}

        def user(organization: str, user_id: str) -> UserRecord:
            unchanged[user_id] = ports.ledger.user(organization, user_id)
            return unchanged[user_id]

        def save(organization: str, user_id: str, saved: UserRecord) -> None:
            if saved != unchanged.get(user_id):
                ports.ledger.save_user(organization, user_id, saved)

        return replace(ports, ledger=Between(ports.ledger, {"user": user, "save_user": save}))

    off.ports(wrap)


@guard("users-claim", "full user")
def users_claim(off: Off) -> None:
    """A user's lock that the user's item has dropped does not become the device's own."""
    off.replace(DeviceRecord, "_as_the_users", lambda *_: None)


# The inventory


@guard("number-first", "serial number")
def number_first(off: Off) -> None:
    """A lock by serial number is kept under the number before the devices that have it are read."""

    def wrap(ports: Ports) -> Ports:
        late: list[tuple[Any, ...]] = []

        def devices_named(*asked: Any) -> list[Any]:
            found = list(ports.ledger.devices_named(*asked))
            for saved in late:
                ports.ledger.save_locks_of(*saved)
            return found

        instead = {"save_locks_of": lambda *saved: late.append(saved), "devices_named": devices_named}
        return replace(ports, ledger=Between(ports.ledger, instead))

    off.ports(wrap)


@guard("row-first", "serial number")
def row_first(off: Off) -> None:
    """An enrolment writes its row before it reads the locks of its serial number."""

    def wrap(ports: Ports) -> Ports:
        read: list[UserRecord] = []

        def list_device(key: DeviceKey, *asked: Any, **retired: Any) -> Any:
            read.append(ports.ledger.locks_of(key.organization, DeviceName("serial", SERIAL)))
            return ports.ledger.list_device(key, *asked, **retired)

        instead = {
            "list_device": list_device,
            "locks_of": lambda *asked: read[0] if read else ports.ledger.locks_of(*asked),
        }
        return replace(ports, ledger=Between(ports.ledger, instead))

    off.ports(wrap)


@guard("devices-to-come", "serial number")
def devices_to_come(off: Off) -> None:
    """A lock by serial number holds for devices to come."""
    off.replace(fan_out, "_by_number", lambda *_: None)


@guard("retired-too", "serial number")
def retired_too(off: Off) -> None:
    """A lock by serial number reaches the devices that had it and were retired."""
    off.replace(fan_out, "locked_rows", lambda _, found: [row for row in found if not row.former])


@guard("label-moves", "asset tag")
def label_moves(off: Off) -> None:
    """A lock by asset tag reaches the devices that have it now."""
    off.replace(fan_out, "locked_rows", lambda _, found: list(found))


@guard("former-are-told", "asset tag")
def former_are_told(off: Off) -> None:
    """People hear which devices had the asset tag once, and were not locked."""

    def around(real: Any) -> Any:
        def to_named(command: Command, ports: Ports, *rest: Any) -> Any:
            def send(sent: Iterable[Command]) -> int:
                return ports.queue.send(replace(each, cause=command.cause) for each in sent)

            return real(command, replace(ports, queue=Between(ports.queue, {"send": send})), *rest)

        return to_named

    off.around(fan_out, "to_named_devices", around)


@guard("first-found", "asset tag")
def first_found(off: Off) -> None:
    """A report by asset tag goes at each delivery to the devices that the first one found."""

    def wrap(ports: Ports) -> Ports:
        def keep_found(organization: str, command: str, found: LookUp, expires: datetime) -> LookUp:
            ports.ledger.keep_found(organization, command, found, expires)
            return found

        anew: dict[str, Callable[..., Any]] = {"found": lambda *_: None, "keep_found": keep_found}
        return replace(ports, ledger=Between(ports.ledger, anew))

    off.ports(wrap)


@guard("decoy", "serial number, decoy")
def decoy(off: Off) -> None:
    """A lock by serial number ends only once every device that had the number was released."""

    def around(real: Any) -> Any:
        def read(command: Any, key: DeviceKey, ports: Ports, *rest: Any) -> Any:
            def devices_named(*asked: Any) -> list[Any]:
                return list(ports.ledger.devices_named(*asked))[:1]

            one = replace(ports, ledger=Between(ports.ledger, {"devices_named": devices_named}))
            return real(command, key, one, *rest)

        return read

    off.around(steps, "_locks_by_number", around)


@guard("set-back-prior", "ledger set back")
def set_back_prior(off: Off) -> None:
    """After the ledger was set back, no older ALLOW comes back in silence."""

    def around(real: Any) -> Any:
        def adopt(self: DeviceRecord, *shown: Any) -> DeviceRecord:
            adopted: DeviceRecord = real(self, *shown)
            return replace(adopted, prior=self.prior)

        return adopt

    off.around(DeviceRecord, "adopt", around)


# Guards of the sweep


@guard("set-back", "ledger set back, released")
def set_back(off: Off) -> None:
    """After the ledger was set back no sweep changes anything before a person has looked."""
    off.replace(sweep, "_set_back", lambda *_: None)


@guard("unknown-ours", "loss and tampering")
def unknown_ours(off: Off) -> None:
    """A lock of ours that the ledger does not know gets its record from its tag."""

    def around(real: Any) -> Any:
        def judge(listed: Any, reading: Any, known: DeviceRecord, *rest: Any) -> Any:
            forgotten = isinstance(reading, Tag) and not known.shown_by(reading)
            return None if forgotten else real(listed, reading, known, *rest)

        return judge

    off.around(plan, "_judge", around)


@guard("cap", "capped")
def cap(off: Off) -> None:
    """A plan over its cap removes nothing."""
    off.replace(plan.Plan, "refusal", lambda *_: None)


@guard("guards-stop-removals-only", "capped")
def guards_stop_removals_only(off: Off) -> None:
    """A guard that stops removals does not stop reasserts."""

    def around(real: Any) -> Any:
        def planned(*arguments: Any) -> Any:
            found = real(*arguments)
            return replace(found, reasserts=()) if found.removals else found

        return planned

    off.around(sweep, "plan", around)


@guard("reassert-under-guard", "pages, missing", "clock, missing")
def reassert_under_guard(off: Off) -> None:
    """Neither an incomplete list nor a wrong clock stops reasserts."""
    off.around(sweep, "_reasserts", lambda real: lambda planned, bad, run: [] if bad else real(planned, bad, run))


@guard("left-is-told", "broken", "replaced")
def left_is_told(off: Off) -> None:
    """People hear of an override that is left alone: a broken tag, and a DENY in the place of our lock."""
    off.replace(sweep, "_tell_left_alone", lambda *_: None)


@guard("told-once", "broken")
def told_once(off: Off) -> None:
    """An override that is left alone is told of once, not by each sweep."""
    off.replace(sweep, "_was_announced", lambda *_: False)


@guard("clock", "clock")
def clock(off: Off) -> None:
    """No device is let back in while our clock and WorkMail's differ."""

    def around(real: Any) -> Any:
        def run(this: Any, ports: Any, settings: Any) -> Any:
            return real(this, ports, replace(settings, limits=replace(settings.limits, clock_skew=timedelta.max)))

        return run

    off.around(sweep, "run", around)
    off.switches.rules = lambda rules: replace(rules, clock_skew=timedelta.max)


@guard("whole-list", "pages")
def whole_list(off: Off) -> None:
    """An incomplete list lets no device back in."""
    off.around(sweep, "list_overrides", lambda real: lambda this, workmail, skew, _: real(this, workmail, skew, []))


_LONG_AGO = datetime.min.replace(tzinfo=UTC)
