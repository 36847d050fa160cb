"""In-memory outside parties: real classes that keep what they are told, all on one wire that can be cut at any call."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from device_lockout import settings, steps, sweep
from device_lockout.command import Command, dump, load
from device_lockout.errors import RefusedError, TransientError, UnansweredError, UnknownUserError
from device_lockout.override import ListedOverride, Override
from device_lockout.record import DeviceRecord, UserRecord
from device_lockout.workmail import Sight

ORGANIZATION = "m-5eed5eed5eed5eed5eed5eed5eed5eed"
BOB = "b0b00000-0000-4000-8000-000000000000"
DEVICE = "androidc0ffee"
START = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
"""Where the tests' clock begins; :func:`at` counts seconds from here."""

SETTINGS = settings.parse(
    {
        "owner": "local",
        "bus": "device-security",
        "organizations": [{"id": ORGANIZATION, "alias": "main"}],
        "sources": [
            {"name": "helpdesk", "may": ["lock", "release"]},
            {"name": "mdm", "may": ["lock", "release"]},
            {"name": "siem", "may": ["lock"]},
        ],
        "reasons": {
            "lost": {"lock_for": 30 * 86400, "at_most": 365 * 86400, "warn_before": 3 * 86400},
            "stolen": {"lock_for": "hold", "at_most": "hold", "warn_before": None},
            "compromised": {"lock_for": 7 * 86400, "at_most": 365 * 86400, "warn_before": 86400},
        },
        "sweep": {
            "every": 3600,
            "mode": "apply",
            "max_removals": 50,
            "max_removals_percent": 100,
            "max_reasserts": 500,
            "portion": 100,
            "report_only_after_missed": 5,
        },
        "limits": {
            "settle_seconds": 60,
            "writer_timeout_seconds": 15,
            "workmail_timeout_seconds": 4,
            "clock_skew_seconds": 60,
            "max_event_age": 30 * 86400,
        },
    }
)


def at(seconds: float) -> datetime:
    """``seconds`` after :data:`START`."""
    return START + timedelta(seconds=seconds)


class Killed(BaseException):
    """``kill -9``: nothing in the code may catch it."""


Call = Callable[[], Any]
Fault = Callable[[Call], Any]
"""What happens to a call: it is given the call, and makes it or not."""


def killed_before(call: Call) -> None:
    raise Killed


def killed_after(call: Call) -> None:
    call()
    raise Killed


def unanswered_not_done(call: Call) -> None:
    raise UnansweredError("no answer came")


def unanswered_but_done(call: Call) -> None:
    call()
    raise UnansweredError("no answer came")


def throttled(call: Call) -> None:
    raise TransientError("slow down")


@dataclass
class Wire:
    """Every call to every fake passes here; ``faults`` says what befalls the call of that number, counted from 0."""

    calls: list[str] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)

    def pass_on(self, name: str, call: Call) -> Any:
        fault = self.faults.pop(len(self.calls), None)
        self.calls.append(name)
        return fault(call) if fault else call()


@dataclass
class FakeWorkMail:
    """Overrides in a dict; one user, known by several names in any case; ``now`` is the time that it answers with."""

    wire: Wire
    now: datetime = START
    ids: dict[str, str] = field(default_factory=lambda: {"bob": BOB, "bob@example.com": BOB, BOB: BOB})
    disabled: set[str] = field(default_factory=set)
    overrides: dict[tuple[str, str], Override] = field(default_factory=dict)
    writes: int = 0
    page_size: int = 100

    def user_id(self, organization: str, user: str) -> str:
        def call() -> str:
            if user.casefold() not in self.ids:
                raise UnknownUserError(f"WorkMail knows no {user}")
            return self.ids[user.casefold()]

        return str(self.wire.pass_on("workmail.user_id", call))

    def get(self, organization: str, user_id: str, device: str) -> Sight:
        return self.wire.pass_on(
            "workmail.get", lambda: Sight(self.overrides.get((user_id, device.casefold())), self.now)
        )

    def put(self, organization: str, user_id: str, device: str, override: Override) -> None:
        def call() -> None:
            if user_id in self.disabled:
                raise RefusedError(f"{user_id} is disabled")
            self.overrides[user_id, device.casefold()] = override
            self.writes += 1

        self.wire.pass_on("workmail.put", call)

    def delete(self, organization: str, user_id: str, device: str) -> None:
        def call() -> None:
            self.overrides.pop((user_id, device.casefold()), None)
            self.writes += 1

        self.wire.pass_on("workmail.delete", call)

    def pages(self, organization: str) -> Iterator[tuple[list[ListedOverride], datetime]]:
        rows = [ListedOverride(user, device, override) for (user, device), override in sorted(self.overrides.items())]
        for first in range(0, max(len(rows), 1), self.page_size):
            page = rows[first : first + self.page_size]
            yield self.wire.pass_on("workmail.list", lambda page=page: (page, self.now))


@dataclass
class FakeLedger:
    """Items in dicts; a device is written only over the version that was read."""

    wire: Wire
    devices: dict[tuple[str, str], DeviceRecord] = field(default_factory=dict)
    users: dict[str, UserRecord] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    swept: datetime | None = None

    def open_device(self, organization: str, user_id: str, device: str) -> DeviceRecord:
        return self.wire.pass_on(
            "ledger.open_device", lambda: self.devices.setdefault((user_id, device.casefold()), DeviceRecord())
        )

    def user(self, organization: str, user_id: str) -> UserRecord:
        return self.wire.pass_on("ledger.user", lambda: self.users.get(user_id, UserRecord()))

    def save_device(self, organization: str, user_id: str, device: str, record: DeviceRecord) -> None:
        def call() -> None:
            key = (user_id, device.casefold())
            if self.devices[key].version != record.version:
                raise TransientError(f"{device} was changed in the ledger since it was read")
            self.devices[key] = replace(record, version=record.version + 1, user=UserRecord())

        self.wire.pass_on("ledger.save_device", call)

    def remember_name(self, organization: str, name: str, user_id: str) -> None:
        self.wire.pass_on("ledger.remember_name", lambda: self.names.update({name.casefold(): user_id}))

    def user_named(self, organization: str, name: str) -> str | None:
        return self.wire.pass_on("ledger.user_named", lambda: self.names.get(name.casefold()))

    def record_outcome(self, event_id: str, outcome_id: str, told: dict[str, Any], now: datetime) -> dict[str, Any]:
        return self.wire.pass_on(
            "ledger.record_outcome", lambda: self.outcomes.setdefault((event_id, outcome_id), told)
        )

    def records(self, organization: str) -> dict[tuple[str, str], DeviceRecord]:
        def call() -> dict[tuple[str, str], DeviceRecord]:
            merged = {
                key: replace(record, user=self.users.get(key[0], UserRecord())) for key, record in self.devices.items()
            }
            return {key: record for key, record in merged.items() if record.all_claims()}

        return self.wire.pass_on("ledger.records", call)

    def last_sweep(self, organization: str) -> datetime | None:
        return self.wire.pass_on("ledger.last_sweep", lambda: self.swept)

    def save_sweep(self, organization: str, completed: datetime) -> None:
        def call() -> None:
            self.swept = completed

        self.wire.pass_on("ledger.save_sweep", call)


@dataclass
class FakeBus:
    """What was announced, in order."""

    wire: Wire
    announced: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def announce(self, detail_type: str, detail: dict[str, Any]) -> None:
        self.wire.pass_on("bus.announce", lambda: self.announced.append((detail_type, detail)))


@dataclass
class FakeQueue:
    """What was sent, in order, as it arrives after a journey as text."""

    wire: Wire
    sent: list[Command] = field(default_factory=list)

    def send(self, commands: list[Command]) -> None:
        self.wire.pass_on("queue.send", lambda: self.sent.extend(load(dump(command)) for command in commands))


class World:
    """All parties together, and a clock that goes where it is put."""

    def __init__(self, stands: Override | None = None, known: settings.Settings = SETTINGS) -> None:
        self.settings = known
        self.wire = Wire()
        self.workmail = FakeWorkMail(self.wire)
        self.ledger = FakeLedger(self.wire)
        self.bus = FakeBus(self.wire)
        self.queue = FakeQueue(self.wire)
        self.runs = 0
        if stands is not None:
            self.stand(stands)

    @property
    def stands(self) -> Override | None:
        """What stands for Bob's device."""
        return self.workmail.overrides.get((BOB, DEVICE))

    def stand(self, override: Override | None) -> None:
        """Somebody else, a person at the console for one, changes what stands for Bob's device."""
        if override is None:
            self.workmail.overrides.pop((BOB, DEVICE), None)
        else:
            self.workmail.overrides[BOB, DEVICE] = override

    def carry_out(self, command: Command, now: datetime) -> Any:
        """One delivery of ``command``, after its journey as text; raises whatever befalls it."""
        self.workmail.now = now
        parties = steps.Parties(
            self.workmail, self.ledger, self.bus, self.settings.rules, self.settings.limits.clock_skew
        )
        return steps.carry_out(load(dump(command)), parties, now)

    def deliver(self, command: Command, now: datetime) -> Any:
        """``command`` delivered until it succeeds, each time a minute later, as the queue does it."""
        while True:
            try:
                return self.carry_out(command, now)
            except (Killed, TransientError, UnansweredError):
                now += timedelta(minutes=1)

    def plan(self, now: datetime) -> sweep.Report:
        """One run of the sweep; what it asks for is left in the queue."""
        self.runs += 1
        self.workmail.now = now
        this = sweep.Run(f"run-{self.runs}", ORGANIZATION, now, clock=lambda: now, enough_time=lambda: True)
        return sweep.run(this, sweep.Parties(self.workmail, self.ledger, self.queue, self.bus), self.settings)

    def sweep(self, now: datetime) -> sweep.Report:
        """One run of the sweep, and all that it asked for carried out."""
        report = self.plan(now)
        sent, self.queue.sent = self.queue.sent, []
        for command in sent:
            self.deliver(command, now)
        return report
