"""In-memory outside parties: real classes that keep what they are told, all on one wire that can be cut at any call."""
# ruff: noqa: ARG001, ARG002 (a fake has the signature of the real thing, and one organization)

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from device_lockout import settings, steps, sweep
from device_lockout.command import Cause, Command, DeviceName, NamedDevice, dump, load
from device_lockout.errors import RefusedError, TransientError, UnansweredError, UnknownUserError
from device_lockout.outcome import Outcome
from device_lockout.override import ListedOverride, Override
from device_lockout.parties import Parties
from device_lockout.record import DeviceRecord, UserRecord
from device_lockout.workmail import Sight, User

ORGANIZATION = "m-5eed5eed5eed5eed5eed5eed5eed5eed"
BOB = "b0b00000-0000-4000-8000-000000000000"
DEVICE = "androidc0ffee"
START = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
"""Where the tests' clock begins; :func:`at` counts seconds from here."""
DAY = 86400
MOST_RECEIVES = 200
"""As the queue has it: what fails that often goes to the dead-letter queue, which fails a test."""

CONFIGURED: dict[str, Any] = {
    "owner": "local",
    "bus": "device-security",
    "organizations": [{"id": ORGANIZATION, "alias": "main"}],
    "sources": [
        {"name": "helpdesk", "may": ["lock", "release", "inventory"]},
        {"name": "mdm", "may": ["lock", "release", "inventory"]},
        {"name": "siem", "may": ["lock"]},
    ],
    "reasons": {
        "lost": {"lock_for": 30 * DAY, "at_most": 365 * DAY, "warn_before": 3 * DAY},
        "stolen": {"lock_for": "hold", "at_most": "hold", "warn_before": None},
        "compromised": {"lock_for": 7 * DAY, "at_most": 365 * DAY, "warn_before": DAY},
        "offboarded": {"lock_for": 90 * DAY, "at_most": 365 * DAY, "warn_before": None},
    },
    "sweep": {
        "every": 3600,
        "mode": "apply",
        "on_tampering": "reassert",
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
        "max_event_age": 30 * DAY,
    },
}
"""What ``settings.json`` holds."""
SETTINGS = settings.parse(CONFIGURED)


def sweeping(**policy: Any) -> settings.Settings:
    """The settings with another policy of the sweep."""
    return settings.parse({**CONFIGURED, "sweep": {**CONFIGURED["sweep"], **policy}})


def at(seconds: float) -> datetime:
    """``seconds`` after :data:`START`."""
    return START + timedelta(seconds=seconds)


def cause(event_id: str, happened: datetime, received: datetime | None = None, source: str = "helpdesk") -> Cause:
    return Cause(event_id, source, "Told by a test", happened, received or happened)


class Killed(BaseException):
    """``kill -9``: nothing in the code may catch it."""


Call = Callable[[], Any]
Fault = Callable[[Call], Any]
"""What befalls a call: it is given the call, and makes it or not."""


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
    """Overrides in a dict; users known by several names in any case; ``now`` is the time that it answers with."""

    wire: Wire
    now: datetime = START
    names: dict[str, str] = field(default_factory=lambda: {"bob": BOB, "bob@example.com": BOB, BOB: BOB})
    disabled: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    overrides_outlive_users: bool = True
    overrides: dict[tuple[str, str], Override] = field(default_factory=dict)
    writes: int = 0
    page_size: int = 100

    def user(self, organization: str, name: str) -> User:
        def call() -> User:
            user_id = self.names.get(name.casefold())
            if user_id is None or user_id in self.deleted:
                raise UnknownUserError(f"WorkMail knows no {name}")
            return User(user_id, frozenset(known for known, whose in self.names.items() if whose == user_id))

        return self.wire.pass_on("workmail.user", call)

    def get(self, organization: str, user_id: str, device: str) -> Sight:
        def call() -> Sight:
            self._check(user_id)
            return Sight(self.overrides.get((user_id, device.casefold())), self.now)

        return self.wire.pass_on("workmail.get", call)

    def put(self, organization: str, user_id: str, device: str, override: Override) -> None:
        def call() -> None:
            if user_id in self.deleted:
                raise UnknownUserError(f"WorkMail knows no {user_id}")
            if user_id in self.disabled:
                raise RefusedError(f"{user_id} is disabled")
            self.overrides[user_id, device.casefold()] = override
            self.writes += 1

        self.wire.pass_on("workmail.put", call)

    def delete(self, organization: str, user_id: str, device: str) -> None:
        def call() -> None:
            self._check(user_id)
            self.overrides.pop((user_id, device.casefold()), None)
            self.writes += 1

        self.wire.pass_on("workmail.delete", call)

    def _check(self, user_id: str) -> None:
        if user_id in self.deleted and not self.overrides_outlive_users:
            raise UnknownUserError(f"WorkMail knows no {user_id}")

    def pages(self, organization: str) -> Iterator[tuple[list[ListedOverride], datetime]]:
        gone = set() if self.overrides_outlive_users else self.deleted
        rows = [
            ListedOverride(user, device, override)
            for (user, device), override in sorted(self.overrides.items())
            if user not in gone
        ]
        for first in range(0, max(len(rows), 1), self.page_size):
            page = rows[first : first + self.page_size]
            yield self.wire.pass_on("workmail.list", lambda page=page: (page, self.now))


@dataclass
class FakeLedger:
    """Items in dicts; devices' and users' are written only over the version that was read."""

    wire: Wire
    devices: dict[tuple[str, str], DeviceRecord] = field(default_factory=dict)
    user_items: dict[str, UserRecord] = field(default_factory=dict)
    retired: set[tuple[str, str]] = field(default_factory=set)
    inventoried: dict[tuple[str, str], datetime] = field(default_factory=dict)
    inventory: dict[DeviceName, dict[tuple[str, str], NamedDevice]] = field(default_factory=dict)
    inventoried_last: tuple[str, str] = ("", "")
    names: dict[str, str] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    recorded_at: dict[tuple[str, str], datetime] = field(default_factory=dict)
    swept: datetime | None = START

    def open_device(self, organization: str, user_id: str, device: str) -> DeviceRecord:
        return self.wire.pass_on(
            "ledger.open_device", lambda: self.devices.setdefault((user_id, device.casefold()), DeviceRecord())
        )

    def save_device(self, organization: str, user_id: str, device: str, record: DeviceRecord) -> None:
        def call() -> None:
            key = (user_id, device.casefold())
            if self.devices[key].version != record.version:
                raise TransientError(f"{device} was changed in the ledger since it was read")
            self.devices[key] = replace(record, version=record.version + 1, user=UserRecord())

        self.wire.pass_on("ledger.save_device", call)

    def user(self, organization: str, user_id: str) -> UserRecord:
        return self.wire.pass_on("ledger.user", lambda: self.user_items.get(user_id, UserRecord()))

    def save_user(self, organization: str, user_id: str, record: UserRecord) -> None:
        def call() -> None:
            if self.user_items.get(user_id, UserRecord()).version != record.version:
                raise TransientError(f"{user_id} was changed in the ledger since it was read")
            self.user_items[user_id] = replace(record, version=record.version + 1)

        self.wire.pass_on("ledger.save_user", call)

    def devices_of(self, organization: str, user_id: str) -> Iterator[str]:
        yield from self.wire.pass_on(
            "ledger.devices_of",
            lambda: [key[1] for key in sorted(self.devices) if key[0] == user_id],
        )

    def enroll(
        self, organization: str, user_id: str, device: str, names: Iterable[DeviceName], happened: datetime
    ) -> bool:
        def call() -> bool:
            key = (user_id, device.casefold())
            if self.inventoried.get(key, happened) > happened:
                return False
            self.inventoried[key] = happened
            self.devices[key] = replace(self.devices.get(key, DeviceRecord()), known=True)
            self.retired.discard(key)
            for name in names:
                for another, devices in self.inventory.items():
                    if another.kind == name.kind and key in devices:
                        self._hear(devices, key, former=True, heard=happened)
                had = self.inventory.setdefault(replace(name, value=name.value.casefold()), {})
                self._hear(had, key, former=False, heard=happened)
                rivals = [row for row in had.values() if row.user_id == user_id and not row.former]
                newest = max(rivals, key=lambda row: (row.heard, row.device), default=None)
                for row in rivals:
                    if newest is not None and row is not newest:
                        self._hear(had, (row.user_id, row.device), former=True, heard=newest.heard)
            return True

        return bool(self.wire.pass_on("ledger.enroll", call))

    @staticmethod
    def _hear(rows: dict[tuple[str, str], NamedDevice], key: tuple[str, str], *, former: bool, heard: datetime) -> None:
        known = rows.get(key)
        if known is None or known.heard <= heard:
            rows[key] = NamedDevice(*key, former, heard)

    def retire(self, organization: str, user_id: str, device: str, happened: datetime) -> bool:
        def call() -> bool:
            key = (user_id, device.casefold())
            if self.inventoried.get(key, happened) > happened:
                return False
            self.inventoried[key] = happened
            self.retired.add(key)
            for had in self.inventory.values():
                if key in had:
                    self._hear(had, key, former=True, heard=happened)
            return True

        return bool(self.wire.pass_on("ledger.retire", call))

    def saw(self, organization: str, user_id: str, device: str) -> None:
        def call() -> None:
            key = (user_id, device.casefold())
            self.devices[key] = replace(self.devices.get(key, DeviceRecord()), known=True)

        self.wire.pass_on("ledger.saw", call)

    def devices_named(self, organization: str, name: DeviceName) -> list[NamedDevice]:
        had = self.wire.pass_on(
            "ledger.devices_named", lambda: self.inventory.get(replace(name, value=name.value.casefold()), {})
        )
        return [row for _, row in sorted(had.items())]

    def remember_name(self, organization: str, name: str, user_id: str) -> None:
        self.wire.pass_on("ledger.remember_name", lambda: self.names.update({name.casefold(): user_id}))

    def user_named(self, organization: str, name: str) -> str | None:
        return self.wire.pass_on("ledger.user_named", lambda: self.names.get(name.casefold()))

    def record_outcome(self, event_id: str, outcome_id: str, told: dict[str, Any], now: datetime) -> dict[str, Any]:
        def record() -> dict[str, Any]:
            self.recorded_at.setdefault((event_id, outcome_id), now)
            return self.outcomes.setdefault((event_id, outcome_id), told)

        return self.wire.pass_on("ledger.record_outcome", record)

    def told_at(self, event_id: str, outcome_id: str) -> datetime | None:
        return self.wire.pass_on("ledger.told_at", lambda: self.recorded_at.get((event_id, outcome_id)))

    def users(self, organization: str) -> dict[str, UserRecord]:
        return self.wire.pass_on("ledger.users", lambda: dict(self.user_items))

    def inventoried_up_to(self, organization: str) -> tuple[str, str]:
        return self.wire.pass_on("ledger.inventoried_up_to", lambda: self.inventoried_last)

    def save_inventoried(self, organization: str, user_id: str, device: str) -> None:
        def call() -> None:
            self.inventoried_last = (user_id, device)

        self.wire.pass_on("ledger.save_inventoried", call)

    def records(self, organization: str, users: Mapping[str, UserRecord]) -> dict[tuple[str, str], DeviceRecord]:
        def call() -> dict[tuple[str, str], DeviceRecord]:
            merged = {
                key: replace(record, user=users.get(key[0], UserRecord())) for key, record in self.devices.items()
            }
            return {key: record for key, record in merged.items() if record.all_claims() or record.failed}

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

    def send(self, commands: Iterable[Command]) -> int:
        arriving = [load(dump(command)) for command in commands]
        self.wire.pass_on("queue.send", lambda: self.sent.extend(arriving))
        return len(arriving)

    def waiting(self) -> int:
        """Nobody works while a sweep runs in a test: what is sent is taken up at once, as far as the sweep can see."""
        return self.wire.pass_on("queue.waiting", lambda: 0)


class World:
    """All parties together; its clock goes where it is put."""

    def __init__(self, stands: Override | None = None, known: settings.Settings = SETTINGS) -> None:
        self.settings = known
        self.wire = Wire()
        self.workmail = FakeWorkMail(self.wire)
        self.ledger = FakeLedger(self.wire)
        self.bus = FakeBus(self.wire)
        self.queue = FakeQueue(self.wire)
        self.parties = Parties(
            self.workmail, self.ledger, self.queue, self.bus, known.rules, clock_skew=known.limits.clock_skew
        )
        self.runs = 0
        self.stand(stands)

    @property
    def stands(self) -> Override | None:
        """What stands for Bob's device."""
        return self.workmail.overrides.get((BOB, DEVICE))

    @property
    def record(self) -> DeviceRecord:
        """What the ledger keeps of Bob's device."""
        return self.ledger.devices[BOB, DEVICE]

    def stand(self, override: Override | None) -> None:
        """Somebody else, a person at the console for one, changes what stands for Bob's device."""
        if override is None:
            self.workmail.overrides.pop((BOB, DEVICE), None)
        else:
            self.workmail.overrides[BOB, DEVICE] = override

    def carry_out(self, command: Command, now: datetime, workmail_says: datetime | None = None) -> Outcome:
        """One delivery of ``command``, after its journey as text; raises whatever befalls it."""
        self.workmail.now = workmail_says or now
        return steps.carry_out(load(dump(command)), self.parties, now)

    def deliver(self, command: Command, now: datetime) -> Outcome:
        """``command`` delivered until it succeeds, each time a minute later, and whatever it sent on as well.

        What fails for the last time that the queue would deliver it raises its error.
        """
        outcome, now = self._through(command, now)
        while self.queue.sent:
            _, now = self._through(self.queue.sent.pop(0), now)
        return outcome

    def _through(self, command: Command, now: datetime) -> tuple[Outcome, datetime]:
        for _ in range(MOST_RECEIVES - 1):
            try:
                return self.carry_out(command, now), now
            except (Killed, TransientError, UnansweredError):
                now += timedelta(minutes=1)
        return self.carry_out(command, now), now

    def plan(self, now: datetime, **run: Any) -> sweep.Report:
        """One run of the sweep, its ``run`` as given; what it asks for is left in the queue."""
        self.runs += 1
        self.workmail.now = now
        usual = sweep.Run(
            f"run-{self.runs}", ORGANIZATION, now, clock=lambda: now, enough_time=lambda: True, pause=lambda: None
        )
        parties = sweep.Parties(self.workmail, self.ledger, self.queue, self.bus)
        return sweep.run(replace(usual, **run), parties, self.settings)

    def sweep(self, now: datetime) -> sweep.Report:
        """One run of the sweep, and all that it asked for carried out."""
        report = self.plan(now)
        while self.queue.sent:
            self.deliver(self.queue.sent.pop(0), now)
        return report

    def told(self, event_id: str) -> list[dict[str, Any]]:
        """What is recorded of an event: one outcome for each device that it was about."""
        return [told["detail"] for (event, _), told in self.ledger.outcomes.items() if event == event_id]
