"""Tell what would happen. The functions' own steps and sweep run on what stands now. They write and send nothing."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from device_lockout.protocol import steps, sweep
from device_lockout.protocol.ports import Ports
from device_lockout.values.command import Command
from device_lockout.values.device import DeviceKey, LookUp
from device_lockout.values.record import DeviceRecord, LastSweep, UserRecord
from lockout.deployment import Deployment

_READS = frozenset(
    {
        *("user", "get", "pages"),
        *("device", "users", "records", "devices_of", "devices_named", "named", "found", "locks_of"),
        *("outcome", "last_sweep", "inventoried_up_to"),
    }
)
"""The calls of the ports that are passed on. Any other does nothing."""


@dataclass
class _ReadOnly:
    _real: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name) if name in _READS else lambda *_, **__: None


@dataclass
class _Ledger(_ReadOnly):
    """The ledger. What a command saves is there for the commands that it sends on."""

    _saved: dict[Any, Any] = field(default_factory=dict)
    ahead: timedelta = timedelta()
    """How far ahead a sweep is rehearsed. The sweeps until then are taken to go as the last one did."""

    def last_sweep(self, organization: str) -> LastSweep | None:
        last: LastSweep | None = self._real.last_sweep(organization)
        return replace(last, began=last.began + self.ahead) if last else None

    def open_device(self, key: DeviceKey) -> DeviceRecord:
        record: DeviceRecord = self._saved.get(key) or self._real.device(key)
        return replace(record, user=UserRecord())

    def save_device(self, key: DeviceKey, record: DeviceRecord) -> None:
        self._saved[key] = record

    def user(self, organization: str, user_id: str) -> UserRecord:
        record: UserRecord = self._saved.get((organization, user_id)) or self._real.user(organization, user_id)
        return record

    def save_user(self, organization: str, user_id: str, record: UserRecord) -> None:
        self._saved[organization, user_id] = record

    def keep_found(self, _: str, __: str, found: LookUp, *___: Any) -> LookUp:
        return found

    def count_lock(self, *_: Any) -> bool:
        """A flood is no matter of a rehearsal."""
        return True

    def record_outcome(self, _: str, __: str, told: dict[str, Any], *___: Any) -> dict[str, Any]:
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


def _ports(deployment: Deployment, collected: Any, ahead: timedelta = timedelta()) -> Ports:
    workmail: Any = _ReadOnly(deployment.workmail)
    ledger: Any = _Ledger(deployment.ledger, ahead=ahead)
    return Ports(workmail, ledger, collected, collected)


def of_command(command: Command, deployment: Deployment, now: datetime) -> list[dict[str, Any]]:
    """Return what would be announced of a command, and of those that it would send on."""
    collected = _Collected(sent=deque([command]))
    ports = _ports(deployment, collected)
    while collected.sent:
        steps.carry_out(collected.sent.popleft(), ports, deployment.settings.rules, now)
    return collected.told


def of_sweep(deployment: Deployment, organization: str, at: datetime) -> sweep.SweepResult:
    """Return how a sweep would go at some time, if nothing changes until then."""
    run = sweep.Run("rehearsal", organization, at, lambda: datetime.now(UTC), lambda: True, lambda: None)
    ahead = max(at - datetime.now(UTC), timedelta())
    return sweep.run(run, _ports(deployment, _Collected(), ahead), deployment.settings)
