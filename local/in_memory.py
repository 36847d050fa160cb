"""The protocol's ports in memory, for tests and benches. Every call passes one wire, which can inject a fault."""
# ruff: noqa: ARG001, ARG002 (a fake has the signatures of its port, but one organization)

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import fastjsonschema

from device_lockout.aws.ledger_items import words_of
from device_lockout.protocol import steps, sweep
from device_lockout.protocol.ports import Ports
from device_lockout.values import instant
from device_lockout.values.command import Cause, Command
from device_lockout.values.device import DeviceKey, DeviceName, LookUp, Named, NamedDevice, NameKind, User
from device_lockout.values.errors import RefusedError, TransientError, UnansweredError, UnknownUserError
from device_lockout.values.outcome import Outcome
from device_lockout.values.override import ListedOverride, Observation, Override
from device_lockout.values.policy import Reason
from device_lockout.values.record import DeviceRecord, LastSweep, UserRecord
from device_lockout.values.settings import Limits, Organization, Settings, Source, Sweep
from device_lockout.values.wire import dump, load

ORGANIZATION = "m-5eed5eed5eed5eed5eed5eed5eed5eed"
BOB = "b0b00000-0000-4000-8000-000000000000"
DEVICE = "androidc0ffee"
KEY = DeviceKey(ORGANIZATION, BOB, DEVICE)
START = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
"""The start of the tests' clock. :func:`at` counts seconds from here."""
DAY = 86400
MOST_RECEIVES = 200
"""The deliveries before a message goes to the dead-letter queue, as the queue is configured."""

SETTINGS = Settings(
    owner="local",
    organizations=(Organization(ORGANIZATION, "main"),),
    sources=(
        Source("helpdesk", frozenset({"lock", "release", "inventory"})),
        Source("mdm", frozenset({"lock", "release", "inventory"})),
        Source("siem", frozenset({"lock"})),
    ),
    reasons={
        "lost": Reason("lost", timedelta(days=30), timedelta(days=365), timedelta(days=3)),
        "stolen": Reason("stolen", None, None),
        "compromised": Reason("compromised", timedelta(days=7), timedelta(days=365), timedelta(days=1)),
        "offboarded": Reason("offboarded", timedelta(days=90), timedelta(days=365)),
    },
    sweep=Sweep(
        every=timedelta(hours=1),
        mode="apply",
        max_removals=50,
        max_removals_percent=100,
        max_reasserts=500,
        portion=100,
        report_only_after_missed=5,
    ),
    limits=Limits(
        writer_timeout=timedelta(seconds=15),
        settle=timedelta(seconds=60),
        workmail_timeout=timedelta(seconds=4),
        clock_skew=timedelta(seconds=60),
        max_event_age=timedelta(days=30),
    ),
)
"""The settings that tests run with."""


def sweeping(**policy: Any) -> Settings:
    """Return the settings with changes to the sweep's policy."""
    return replace(SETTINGS, sweep=replace(SETTINGS.sweep, **policy))


def at(seconds: float) -> datetime:
    """Return the instant ``seconds`` after :data:`START`."""
    return START + timedelta(seconds=seconds)


def key(device: str, user_id: str = BOB) -> DeviceKey:
    """Return the key of a device, Bob's by default."""
    return DeviceKey(ORGANIZATION, user_id, device)


def cause(event_id: str, happened: datetime, received: datetime | None = None, source: str = "helpdesk") -> Cause:
    return Cause(event_id, source, "Told by a test", happened, received or happened)


class Killed(BaseException):
    """Stands for ``kill -9``. No code may catch it."""


Call = Callable[[], Any]
Fault = Callable[[Call], Any]
"""A fault gets the call, and makes it or not."""


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
    """Passes on every call to every fake.

    Attributes:
        calls: the names of all calls so far.
        faults: faults by the number of the call that they hit, counted from 0.
    """

    calls: list[str] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)

    def pass_on[T](self, name: str, call: Callable[[], T]) -> T:
        fault = self.faults.pop(len(self.calls), None)
        self.calls.append(name)
        return cast("T", fault(call)) if fault else call()


@dataclass
class FakeWorkMail:
    """WorkMail with overrides in a dict. ``now`` is the time of its answers; user names ignore case."""

    wire: Wire
    now: datetime = START
    names: dict[str, str] = field(default_factory=lambda: {"bob": BOB, "bob@example.com": BOB, BOB: BOB})
    disabled: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    overrides_outlive_users: bool = True
    overrides: dict[DeviceKey, Override] = field(default_factory=dict)
    writes: int = 0
    page_size: int = 100

    def user(self, organization: str, name: str) -> User:
        def call() -> User:
            user_id = self.names.get(name.casefold())
            if user_id is None or user_id in self.deleted:
                raise UnknownUserError(f"WorkMail knows no user {name}")
            names = frozenset(known for known, whose in self.names.items() if whose == user_id)
            return User(user_id, names, email=next((name for name in sorted(names) if "@" in name), ""))

        return self.wire.pass_on("workmail.user", call)

    def get(self, key: DeviceKey) -> Observation:
        def call() -> Observation:
            self._check(key.user_id)
            return Observation(self.overrides.get(key), self.now)

        return self.wire.pass_on("workmail.get", call)

    def put(self, key: DeviceKey, override: Override) -> datetime:
        def call() -> None:
            if key.user_id in self.deleted:
                raise UnknownUserError(f"WorkMail knows no user {key.user_id}")
            if key.user_id in self.disabled:
                raise RefusedError(f"{key.user_id} is disabled")
            self.overrides[key] = override
            self.writes += 1

        self.wire.pass_on("workmail.put", call)
        return self.now

    def delete(self, key: DeviceKey) -> datetime:
        def call() -> None:
            self._check(key.user_id)
            self.overrides.pop(key, None)
            self.writes += 1

        self.wire.pass_on("workmail.delete", call)
        return self.now

    def _check(self, user_id: str) -> None:
        if user_id in self.deleted and not self.overrides_outlive_users:
            raise UnknownUserError(f"WorkMail knows no user {user_id}")

    def pages(self, organization: str) -> Iterator[tuple[list[ListedOverride], datetime]]:
        gone = set() if self.overrides_outlive_users else self.deleted
        rows = [
            ListedOverride(key, override)
            for key, override in sorted(self.overrides.items(), key=lambda row: row[0])
            if key.user_id not in gone
        ]
        for first in range(0, max(len(rows), 1), self.page_size):
            yield self.wire.pass_on("workmail.list", partial(self._page, rows[first : first + self.page_size]))

    def _page(self, rows: list[ListedOverride]) -> tuple[list[ListedOverride], datetime]:
        return rows, self.now


@dataclass
class FakeLedger:
    """The ledger in dicts. Device and user items are written only over the version that was read."""

    wire: Wire
    devices: dict[DeviceKey, DeviceRecord] = field(default_factory=dict)
    user_items: dict[str, UserRecord] = field(default_factory=dict)
    retired: set[DeviceKey] = field(default_factory=set)
    inventoried: dict[DeviceKey, datetime] = field(default_factory=dict)
    names_of: dict[DeviceKey, dict[NameKind, str]] = field(default_factory=dict)
    counted: dict[tuple[str, datetime], set[str]] = field(default_factory=dict)
    locks: dict[str, UserRecord] = field(default_factory=dict)
    inventory: dict[DeviceName, dict[DeviceKey, NamedDevice]] = field(default_factory=dict)
    inventoried_last: DeviceKey = field(default_factory=lambda: DeviceKey(ORGANIZATION, "", ""))
    names: dict[str, Named] = field(default_factory=dict)
    found_by: dict[str, LookUp] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    swept: datetime | None = START
    here: bool = True

    def open_device(self, key: DeviceKey) -> DeviceRecord:
        return self.wire.pass_on("ledger.open_device", lambda: self.devices.setdefault(key, DeviceRecord()))

    def save_device(self, key: DeviceKey, record: DeviceRecord) -> None:
        def call() -> None:
            if self.devices[key].version != record.version:
                raise TransientError(f"{key.device} was changed in the ledger since it was read")
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

    def devices_of(self, organization: str, user_id: str) -> Iterator[DeviceKey]:
        yield from self.wire.pass_on(
            "ledger.devices_of",
            lambda: [key for key in sorted(self.devices) if key.user_id == user_id],
        )

    def list_device(self, key: DeviceKey, happened: datetime, *, retired: bool) -> dict[NameKind, str] | None:
        def call() -> dict[NameKind, str] | None:
            if self.inventoried.get(key, happened) > happened:
                return None
            self.inventoried[key] = happened
            known = self.devices.get(key, DeviceRecord())
            self.devices[key] = known if retired else replace(known, known=True)
            if retired:
                self.retired.add(key)
            else:
                self.retired.discard(key)
            return dict(self.names_of.get(key, {}))

        return self.wire.pass_on("ledger.list_device", call)

    def save_names(self, key: DeviceKey, names: Mapping[NameKind, str]) -> None:
        self.wire.pass_on("ledger.save_names", lambda: self.names_of.update({key: dict(names)}))

    def save_named(self, name: DeviceName, row: NamedDevice) -> None:
        def call() -> None:
            rows = self.inventory.setdefault(replace(name, value=name.value.casefold()), {})
            known = rows.get(row.key)
            if known is None or known.heard <= row.heard:
                rows[row.key] = row

        self.wire.pass_on("ledger.save_named", call)

    def count_lock(self, source: str, hour: datetime, lock: str, most: int) -> bool:
        def call() -> bool:
            counted = self.counted.setdefault((source, hour), set())
            if lock not in counted and len(counted) >= most:
                return False
            counted.add(lock)
            return True

        return self.wire.pass_on("ledger.count_lock", call)

    def locks_of(self, organization: str, name: DeviceName) -> UserRecord:
        number = name.value.casefold()
        return self.wire.pass_on("ledger.locks_of", lambda: self.locks.get(number, UserRecord()))

    def save_locks_of(self, organization: str, name: DeviceName, record: UserRecord) -> None:
        number = name.value.casefold()

        def call() -> None:
            if self.locks.get(number, UserRecord()).version != record.version:
                raise TransientError(f"{number} was changed in the ledger since it was read")
            self.locks[number] = replace(record, version=record.version + 1)

        self.wire.pass_on("ledger.save_locks_of", call)

    def saw(self, key: DeviceKey) -> None:
        def call() -> None:
            self.devices[key] = replace(self.devices.get(key, DeviceRecord()), known=True)

        self.wire.pass_on("ledger.saw", call)

    def devices_named(self, organization: str, name: DeviceName) -> list[NamedDevice]:
        had = self.wire.pass_on(
            "ledger.devices_named", lambda: self.inventory.get(replace(name, value=name.value.casefold()), {})
        )
        return [row for _, row in sorted(had.items(), key=lambda item: item[0])]

    def remember_name(self, organization: str, name: str, named: Named) -> None:
        def call() -> None:
            if self.names.setdefault(name.casefold(), named).user not in (named.before, named.user):
                raise TransientError(f"{name} means another user in the ledger since it was read")
            self.names[name.casefold()] = named

        self.wire.pass_on("ledger.remember_name", call)

    def named(self, organization: str, name: str) -> Named:
        return self.wire.pass_on("ledger.named", lambda: self.names.get(name.casefold(), Named()))

    def keep_found(self, organization: str, command: str, found: LookUp, expires: datetime) -> LookUp:
        return self.wire.pass_on("ledger.keep_found", lambda: self.found_by.setdefault(command, found))

    def found(self, organization: str, command: str) -> LookUp | None:
        return self.wire.pass_on("ledger.found", lambda: self.found_by.get(command))

    def record_outcome(self, event_id: str, outcome_id: str, told: dict[str, Any], now: datetime) -> dict[str, Any]:
        def record() -> dict[str, Any]:
            kept = self.outcomes.get((event_id, outcome_id))
            before = kept["detail"].get("result") if kept is not None else None
            got_better = before == "failed" != told["detail"].get("result")
            if kept is None or got_better or before == "held":
                self.outcomes[event_id, outcome_id] = kept = told
            return kept

        return self.wire.pass_on("ledger.record_outcome", record)

    def outcome(self, event_id: str, outcome_id: str) -> dict[str, Any] | None:
        return self.wire.pass_on("ledger.outcome", lambda: self.outcomes.get((event_id, outcome_id)))

    def device(self, key: DeviceKey) -> DeviceRecord:
        def call() -> DeviceRecord:
            record = self.devices.get(key, DeviceRecord())
            return record.of_user(self.user_items.get(key.user_id, UserRecord()))

        return self.wire.pass_on("ledger.device", call)

    def outcomes_of(self, event_id: str) -> list[dict[str, Any]]:
        return [told for (event, _), told in self.outcomes.items() if event == event_id]

    def timeline(
        self, since: datetime, until: datetime, word: str = "", *, newest_first: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield in order of recording what says that it was decided, or done, in that time."""
        told = [each for each in self.outcomes.values() if "detailType" in each]
        for each in reversed(told) if newest_first else told:
            times = each["detail"]["times"]
            happened = instant.read(times.get("decided") or times["done"])
            if instant.read(instant.write(since)) <= happened < until and (
                not word or word.casefold() in words_of(each)
            ):
                yield each

    def users(self, organization: str) -> dict[str, UserRecord]:
        return self.wire.pass_on("ledger.users", lambda: dict(self.user_items))

    def inventoried_up_to(self, organization: str) -> DeviceKey:
        return self.wire.pass_on("ledger.inventoried_up_to", lambda: self.inventoried_last)

    def save_inventoried(self, key: DeviceKey) -> None:
        def call() -> None:
            self.inventoried_last = key

        self.wire.pass_on("ledger.save_inventoried", call)

    def records(self, organization: str, users: Mapping[str, UserRecord]) -> dict[DeviceKey, DeviceRecord]:
        def call() -> dict[DeviceKey, DeviceRecord]:
            merged = {key: record.of_user(users.get(key.user_id, UserRecord())) for key, record in self.devices.items()}
            return {key: record for key, record in merged.items() if record.is_for_the_sweep}

        return self.wire.pass_on("ledger.records", call)

    def last_sweep(self, organization: str) -> LastSweep | None:
        return self.wire.pass_on("ledger.last_sweep", lambda: LastSweep(self.swept, self.here) if self.swept else None)

    def save_sweep(self, organization: str, completed: datetime) -> None:
        def call() -> None:
            self.swept, self.here = completed, True

        self.wire.pass_on("ledger.save_sweep", call)


@dataclass
class FakeBus:
    """The bus as a list of announcements."""

    wire: Wire
    announced: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def announce(self, detail_type: str, detail: dict[str, Any]) -> None:
        self.wire.pass_on("bus.announce", lambda: self.announced.append((detail_type, detail)))


class CheckedBus(FakeBus):
    """A bus that takes only what satisfies its schema in ``docs/schemas``, and no field that the schema lacks."""

    def announce(self, detail_type: str, detail: dict[str, Any]) -> None:
        _validator(announced_schema(detail_type, detail))(detail)
        super().announce(detail_type, detail)


ANNOUNCED_SCHEMAS = Path(__file__).parent.parent / "docs" / "schemas"


def announced_schema(detail_type: str, detail: dict[str, Any]) -> str:
    """Return the name of the schema in ``docs/schemas`` that an announced detail satisfies."""
    if detail_type.startswith("Sweep "):
        return "sweep"
    if detail_type == "Daily Digest":
        return "digest"
    return "outcome" if "result" in detail else "warning"


@cache
def _validator(schema: str) -> Callable[[object], object]:
    text = (ANNOUNCED_SCHEMAS / f"{schema}.json").read_text(encoding="utf-8")
    validate: Callable[[object], object] = fastjsonschema.compile(json.loads(text, object_hook=_closed))
    return validate


def _closed(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of a schema that allows no unknown field. Those who listen must allow new ones."""
    return {**part, "additionalProperties": False} if "required" in part else part


@dataclass
class FakeQueue:
    """The queue as a list of commands, each read back from the message that carries it."""

    wire: Wire
    sent: list[Command] = field(default_factory=list)
    held: list[Command] = field(default_factory=list)

    def send(self, commands: Iterable[Command]) -> int:
        arriving = [load(dump(command)) for command in commands]
        self.wire.pass_on("queue.send", lambda: self.sent.extend(arriving))
        return len(arriving)

    def hold(self, command: Command) -> None:
        self.wire.pass_on("queue.hold", lambda: self.held.append(load(dump(command))))

    def waiting(self) -> int:
        """Return 0: to the sweep, every command seems to be done at once."""
        return self.wire.pass_on("queue.waiting", lambda: 0)


class World:
    """All ports together. Each call says what time it is."""

    def __init__(self, override: Override | None = None, known: Settings = SETTINGS) -> None:
        self.settings = known
        self.wire = Wire()
        self.workmail = FakeWorkMail(self.wire)
        self.ledger = FakeLedger(self.wire)
        self.bus = CheckedBus(self.wire)
        self.queue = FakeQueue(self.wire)
        self.ports = Ports(self.workmail, self.ledger, self.queue, self.bus)
        self.runs = 0
        self.set_by_hand(override)

    @property
    def override(self) -> Override | None:
        """The override of Bob's device; None for none."""
        return self.workmail.overrides.get(KEY)

    @property
    def record(self) -> DeviceRecord:
        """The ledger's record of Bob's device."""
        return self.ledger.devices[KEY]

    def set_by_hand(self, override: Override | None) -> None:
        """Put or remove the override of Bob's device as somebody else would."""
        if override is None:
            self.workmail.overrides.pop(KEY, None)
        else:
            self.workmail.overrides[KEY] = override

    def carry_out(self, command: Command, now: datetime, workmail_says: datetime | None = None) -> Outcome:
        """Deliver ``command`` once and return its outcome. Raises what the delivery raises."""
        self.workmail.now = workmail_says or now
        return steps.carry_out(load(dump(command)), self.ports, self.settings.rules, now)

    def deliver(self, command: Command, now: datetime) -> Outcome:
        """Deliver ``command`` each minute until it succeeds, and then the commands that it sent.

        Raises the error of the last delivery that the queue would make.
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

    def plan(self, now: datetime, **run: Any) -> sweep.SweepResult:
        """Run the sweep, with changes to its ``Run``. The commands stay in the queue."""
        self.runs += 1
        self.workmail.now = run.pop("workmail_says", now)
        usual = sweep.Run(
            f"run-{self.runs}", ORGANIZATION, now, clock=lambda: now, enough_time=lambda: True, pause=lambda: None
        )
        return sweep.run(replace(usual, **run), self.ports, self.settings)

    def sweep(self, now: datetime) -> sweep.SweepResult:
        """Run the sweep and carry out its commands."""
        result = self.plan(now)
        while self.queue.sent:
            self.deliver(self.queue.sent.pop(0), now)
        return result

    def told(self, event_id: str) -> list[dict[str, Any]]:
        """Return the recorded outcomes of an event, one for each device."""
        return [told["detail"] for (event, _), told in self.ledger.outcomes.items() if event == event_id]
