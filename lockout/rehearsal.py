"""What would happen: the functions' own steps and sweep on what stands now, with nothing written and nothing sent."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from device_lockout.protocol import steps, sweep
from device_lockout.protocol.ports import BusPort, LedgerPort, Ports, QueuePort, WorkMailPort
from device_lockout.values.command import Command
from device_lockout.values.device import DeviceKey
from device_lockout.values.record import DeviceRecord, UserRecord
from lockout.deployment import Deployment

_READS = frozenset(
    {
        *("user", "get", "pages"),
        *("device", "users", "records", "devices_of", "devices_named", "user_named", "locks_of"),
        *("outcome", "last_sweep", "inventoried_up_to"),
    }
)
"""The calls of the ports that are passed on. Any other does nothing."""


class _ReadOnly:
    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name) if name in _READS else lambda *_, **__: None


class _Ledger(_ReadOnly):
    """The ledger. What a command saves is there for the commands that it sends on."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self._devices: dict[DeviceKey, DeviceRecord] = {}
        self._users: dict[tuple[str, str], UserRecord] = {}

    def open_device(self, key: DeviceKey) -> DeviceRecord:
        return self._devices.get(key) or replace(self._real.device(key), user=UserRecord())

    def save_device(self, key: DeviceKey, record: DeviceRecord) -> None:
        self._devices[key] = replace(record, user=UserRecord())

    def user(self, organization: str, user_id: str) -> UserRecord:
        known: UserRecord = self._users.get((organization, user_id)) or self._real.user(organization, user_id)
        return known

    def save_user(self, organization: str, user_id: str, record: UserRecord) -> None:
        self._users[organization, user_id] = record

    def count_lock(self, *_: Any) -> bool:
        """A flood is no matter of a rehearsal."""
        return True

    def record_outcome(self, event_id: str, outcome_id: str, told: dict[str, Any], now: datetime) -> dict[str, Any]:  # noqa: ARG002
        return told


@dataclass
class _Collected:
    """The bus and the queue: what was announced, and the commands that were sent."""

    told: list[dict[str, Any]] = field(default_factory=list)
    sent: deque[Command] = field(default_factory=deque)

    def announce(self, detail_type: str, detail: dict[str, Any]) -> None:
        self.told.append({"detailType": detail_type, "detail": detail})

    def send(self, commands: Iterable[Command]) -> int:
        before = len(self.sent)
        self.sent.extend(commands)
        return len(self.sent) - before

    def waiting(self) -> int:
        return 0


def _ports(deployment: Deployment) -> tuple[Ports, _Collected]:
    collected = _Collected()
    return Ports(
        cast("WorkMailPort", _ReadOnly(deployment.workmail)),
        cast("LedgerPort", _Ledger(deployment.ledger)),
        cast("QueuePort", collected),
        cast("BusPort", collected),
    ), collected


def of_command(command: Command, deployment: Deployment, now: datetime) -> list[dict[str, Any]]:
    """Return what would be announced of a command, and of those that it would send on."""
    ports, collected = _ports(deployment)
    collected.sent.append(command)
    while collected.sent:
        steps.carry_out(collected.sent.popleft(), ports, deployment.settings.rules, now)
    return collected.told


def of_sweep(deployment: Deployment, organization: str, at: datetime) -> sweep.SweepResult:
    """Return how a sweep would go at some time, if nothing changes until then."""
    ports, _ = _ports(deployment)
    run = sweep.Run("rehearsal", organization, at, lambda: datetime.now(UTC), lambda: True, lambda: None)
    return sweep.run(run, ports, deployment.settings)
