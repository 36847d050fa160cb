"""What the steps need of the outside world: the gateways' interfaces, so that tests and the search can stand in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from device_lockout.command import Command, DeviceName, NamedDevice
from device_lockout.decision import Rules
from device_lockout.override import Override
from device_lockout.record import DeviceRecord, UserRecord
from device_lockout.workmail import Sight, User


class WorkMailParty(Protocol):
    """:class:`device_lockout.workmail.WorkMail`."""

    def user(self, organization: str, name: str) -> User: ...
    def get(self, organization: str, user_id: str, device: str) -> Sight: ...
    def put(self, organization: str, user_id: str, device: str, override: Override) -> None: ...
    def delete(self, organization: str, user_id: str, device: str) -> None: ...


class LedgerParty(Protocol):
    """:class:`device_lockout.ledger.Ledger`."""

    def open_device(self, organization: str, user_id: str, device: str) -> DeviceRecord: ...
    def save_device(self, organization: str, user_id: str, device: str, record: DeviceRecord) -> None: ...
    def user(self, organization: str, user_id: str) -> UserRecord: ...
    def save_user(self, organization: str, user_id: str, record: UserRecord) -> None: ...
    def devices_of(self, organization: str, user_id: str) -> Iterator[str]: ...
    def enroll(
        self, organization: str, user_id: str, device: str, names: Iterable[DeviceName], happened: datetime
    ) -> bool: ...
    def retire(self, organization: str, user_id: str, device: str, happened: datetime) -> bool: ...
    def devices_named(self, organization: str, name: DeviceName) -> Iterable[NamedDevice]: ...
    def remember_name(self, organization: str, name: str, user_id: str) -> None: ...
    def user_named(self, organization: str, name: str) -> str | None: ...
    def record_outcome(self, event_id: str, outcome_id: str, told: dict[str, Any], now: datetime) -> dict[str, Any]: ...


class QueueParty(Protocol):
    """:class:`device_lockout.command_queue.CommandQueue`."""

    def send(self, commands: Iterable[Command]) -> int: ...
    def waiting(self) -> int: ...


class BusParty(Protocol):
    """:class:`device_lockout.bus.Bus`."""

    def announce(self, detail_type: str, detail: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Parties:
    """The outside parties, the rules, and how far our clock may differ from WorkMail's before an expiry is refused."""

    workmail: WorkMailParty
    ledger: LedgerParty
    queue: QueueParty
    bus: BusParty
    rules: Rules
    clock_skew: timedelta
