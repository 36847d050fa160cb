"""Two writers over the same devices, against the emulator: what the queue's promise of one at a time hides.

Here nothing keeps them apart but the ledger's version.
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from device_lockout.aws import workmail
from device_lockout.aws.workmail import WorkMail
from device_lockout.protocol import steps, sweep
from device_lockout.protocol.ports import Ports
from device_lockout.values.command import Cause, Command, Lock, Release, Target, claim_id
from device_lockout.values.device import DeviceKey
from device_lockout.values.errors import TransientError
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, DeviceRecord, Ending
from device_lockout.values.tag import Tag
from local.in_memory import ORGANIZATION, SETTINGS, FakeBus, FakeLedger, FakeQueue, Wire
from tests.local.workmail.conftest import Alone

pytestmark = pytest.mark.slow

WRITERS = 2
DEVICES = 2
LOCKS = 40
ALLOWED = Override("ALLOW", "CHG-77  approved by Zoë Müller, 受付")
DENIED = Override("DENY", "legal hold 2026-17")


class AtomicWire(Wire):
    """Calls to the ledger are one at a time, as DynamoDB's of one item are."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def pass_on(self, name: str, call: Any) -> Any:  # noqa: ARG002
        with self._lock:
            return call()


class Unconditional(FakeLedger):
    """A ledger that takes every write: the guard that is looked at, taken away."""

    def save_device(self, key: DeviceKey, record: DeviceRecord) -> None:
        def call() -> None:
            self.devices[key] = replace(record, version=record.version + 1)

        self.wire.pass_on("ledger.save_device", call)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Alone]:
    alone = Alone()
    monkeypatch.setenv("AWS_ENDPOINT_URL_WORKMAIL", alone.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    alone.control("PUT", "settings", {"seed": 1, "faults": {"latency": {"ms": 2, "probability": 0.5}}})
    yield alone
    assert alone.stop() == 0


class Race:
    """Devices with many reports each, and writers that take any report of any device at any time."""

    def __init__(self, ledger: FakeLedger) -> None:
        self.ledger = ledger
        self.wire = ledger.wire
        self.queue, self.bus = FakeQueue(self.wire), FakeBus(self.wire)
        self.began = datetime.now(UTC)
        self.clients = [workmail.client(timedelta(seconds=5), attempts=1) for _ in range(WRITERS)]
        self.user = WorkMail(self.clients[0]).user(ORGANIZATION, "bob").id
        self.conflicts = 0
        self.commands = [self.lock(device, number) for device in range(DEVICES) for number in range(LOCKS)]
        self.released = range(0, DEVICES, 2)
        """Devices that are found in the end; the others stay lost."""
        self.commands += [self.release(device) for device in self.released]
        random.Random(3).shuffle(self.commands)

    def target(self, device: int) -> Target:
        return Target(ORGANIZATION, self.user, f"race{device}", resolved=True)

    def lock(self, device: int, number: int) -> Lock:
        event = f"lock {device} {number}"
        at = self.began - timedelta(minutes=60 - number)
        until = at.replace(microsecond=0) + timedelta(days=1 + number * 7 % LOCKS)
        claim = Claim(claim_id(event), "device", "lost", at, until)
        return Lock(Cause(event, "helpdesk", "Device Lost", at, at), self.target(device), claim)

    def release(self, device: int) -> Release:
        at = self.began - timedelta(minutes=1)
        return Release(
            Cause(f"release {device}", "helpdesk", "Device Recovered", at, at), self.target(device), Ending("device")
        )

    def ports(self, client: Any) -> Ports:
        return Ports(WorkMail(client), self.ledger, self.queue, self.bus)

    def write(self, client: Any) -> None:
        """One writer: a command that was overtaken in the ledger is delivered again, later."""
        ports = self.ports(client)
        while True:
            try:
                command = self.commands.pop()
            except IndexError:
                return
            try:
                steps.carry_out(command, ports, SETTINGS.rules, datetime.now(UTC))
            except TransientError as error:
                self.conflicts += "changed in the ledger" in str(error)
                self.commands.insert(0, command)

    def run(self) -> None:
        """Both writers to the end of all commands; then two sweeps, one writer, as after any trouble."""
        with ThreadPoolExecutor(WRITERS) as pool:
            for done in [pool.submit(self.write, client) for client in self.clients]:
                done.result()
        for number in range(2):
            self.sweep(f"run-{number}")

    def sweep(self, name: str) -> sweep.SweepResult:
        run = sweep.Run(name, ORGANIZATION, datetime.now(UTC), lambda: datetime.now(UTC), lambda: True, lambda: None)
        ports = self.ports(self.clients[0])
        result = sweep.run(run, ports, SETTINGS)
        while self.queue.sent:
            command: Command = self.queue.sent.pop(0)
            steps.carry_out(command, ports, SETTINGS.rules, datetime.now(UTC))
        return result

    def stands(self, device: int) -> Override | None:
        return WorkMail(self.clients[0]).get(DeviceKey(ORGANIZATION, self.user, f"race{device}")).override

    def violations(self) -> list[str]:
        """What is not as every order of the reports, one at a time, leaves it."""
        found = []
        longest = max(self.lock(0, number).claim.until for number in range(LOCKS))
        for device in range(DEVICES):
            stands = self.stands(device)
            record = self.ledger.devices[DeviceKey(ORGANIZATION, self.user, f"race{device}")]
            if device not in self.released and len(record.claims) != LOCKS:
                found.append(f"race{device}: the ledger knows {len(record.claims)} of {LOCKS} locks")
            reading = stands.read("local") if stands else None
            if device in self.released:
                if stands != ALLOWED:
                    found.append(f"race{device} was found, and {stands} stands")
            elif not (isinstance(reading, Tag) and reading.until == longest and stands and stands.effect == "DENY"):
                found.append(f"race{device} is lost until {longest}, and {stands} stands")
            elif reading.was != "allow" or record.prior != ALLOWED:
                found.append(f"race{device}: the ALLOW before is forgotten")
        if WorkMail(self.clients[0]).get(DeviceKey(ORGANIZATION, self.user, "foreign")).override != DENIED:
            found.append("a foreign override was changed")
        recorded = Counter(event for event, _ in self.ledger.outcomes)
        events = [f"lock {device} {number}" for device in range(DEVICES) for number in range(LOCKS)]
        return found + [f"{recorded[event]} outcomes of {event}" for event in events if recorded[event] != 1]


def race(emulator: Alone, ledger: FakeLedger) -> Race:
    emulator.control(
        "POST",
        "seed",
        {
            "overrides": [
                {"UserId": "bob", "DeviceId": f"race{device}", "Effect": "ALLOW", "Description": ALLOWED.description}
                for device in range(DEVICES)
            ]
            + [{"UserId": "bob", "DeviceId": "foreign", "Effect": "DENY", "Description": DENIED.description}]
        },
    )
    made = Race(ledger)
    made.run()
    return made


def test_two_writers_of_the_same_devices_lose_nothing(emulator: Alone) -> None:
    known = FakeLedger(AtomicWire(), swept=datetime.now(UTC))
    made = race(emulator, known)
    assert made.violations() == []
    assert made.conflicts > 0, "they never met: nothing was shown"
    print(json.dumps({"commands": DEVICES * LOCKS + len(made.released), "failed before they wrote": made.conflicts}))


def test_without_the_version_they_would(emulator: Alone) -> None:
    made = race(emulator, Unconditional(AtomicWire(), swept=datetime.now(UTC)))
    assert made.conflicts == 0
    assert any("the ledger knows" in found for found in made.violations())
