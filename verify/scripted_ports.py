"""Ports that answer from a list. At the first call without an answer the real code stops."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from device_lockout.values.command import Command
from device_lockout.values.device import DeviceKey, DeviceName, LookUp, Named, NamedDevice, NameKind, User
from device_lockout.values.errors import LockoutError
from device_lockout.values.override import ListedOverride, Observation, Override
from device_lockout.values.record import DeviceRecord, LastSweep, UserRecord
from verify.scenario import ASSET, SERIAL, at, place


class AskedError(BaseException):
    """The code made a call to which the tape has no answer. The process waits there."""

    def __init__(self, call: tuple[Any, ...]) -> None:
        super().__init__(call[0])
        self.call = call


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is an error."""

    error: type[LockoutError]
    text: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """The fields of a recorded outcome that are the same on each delivery."""

    detail_type: str
    id: str
    result: str
    source: str
    page: bool = False
    devices: tuple[str, ...] = ()  # Whose IDs the message has.

    @classmethod
    def of(cls, detail_type: str, detail: dict[str, Any]) -> Self:
        page, devices = detail["page"], devices_in(detail["message"])
        return cls(detail_type, detail["id"], detail["result"], detail["source"], page, devices)

    @property
    def told(self) -> dict[str, Any]:
        """The announcement, as far as the code looks at it."""
        detail = {"id": self.id, "result": self.result, "source": self.source, "page": self.page}
        return {"detailType": self.detail_type, "detail": detail | {"message": " ".join(self.devices)}}


def devices_in(text: str) -> tuple[str, ...]:
    """Return the device IDs that a text names."""
    return tuple(sorted(set(re.findall(r"dev\d+", text.casefold()))))


class Tape:
    """Answers in the order in which they are given.

    Attributes:
        asked: The kinds of calls that were made, without those that have a fixed answer.
    """

    def __init__(self, answers: tuple[Any, ...], fixed: dict[str, Any]) -> None:
        self._answers = iter(answers)
        self._fixed = fixed
        self.asked: list[str] = []

    def ask(self, call: str, *arguments: Any) -> Any:
        """Answer a call. Raise AskedError if there is no answer yet."""
        if call in self._fixed:
            return self._fixed[call]
        self.asked.append(call)
        for answer in self._answers:
            if isinstance(answer, Failure):
                raise answer.error(answer.text)
            return answer
        raise AskedError((call, *arguments))


@dataclass(frozen=True, slots=True)
class TapeWorkMail:
    """WorkMail, answering from a tape."""

    tape: Tape

    def user(self, organization: str, name: str) -> User:
        user: User = self.tape.ask("look up", place(organization, name))
        return user

    def get(self, key: DeviceKey) -> Observation:
        observed: Observation = self.tape.ask("get", key)
        return observed

    def put(self, key: DeviceKey, override: Override) -> datetime:
        self.tape.ask("put", key, override)
        return at(0)

    def delete(self, key: DeviceKey) -> datetime:
        self.tape.ask("delete", key, None)
        return at(0)

    def pages(self, organization: str) -> Iterator[tuple[list[ListedOverride], datetime]]:
        more = True
        page = 0
        while more:
            rows, date, more = self.tape.ask("page", page, organization)
            yield list(rows), date
            page += 1


@dataclass(frozen=True, slots=True)
class TapeLedger:
    """The ledger, answering from a tape."""

    tape: Tape

    def open_device(self, key: DeviceKey) -> DeviceRecord:
        record: DeviceRecord = self.tape.ask("open", key)
        return record

    def device(self, key: DeviceKey) -> DeviceRecord:
        record: DeviceRecord = self.tape.ask("look", key)
        return record.of_user(self.user(key.organization, key.user_id))

    def save_device(self, key: DeviceKey, record: DeviceRecord) -> None:
        self.tape.ask("save", key, record)

    def user(self, organization: str, user_id: str) -> UserRecord:
        record: UserRecord = self.tape.ask("user", place(organization, user_id))
        return record

    def save_user(self, organization: str, user_id: str, record: UserRecord) -> None:
        self.tape.ask("save user", place(organization, user_id), record)

    def devices_of(self, organization: str, user_id: str) -> Iterator[DeviceKey]:
        devices: tuple[DeviceKey, ...] = self.tape.ask("devices of", place(organization, user_id))
        return iter(devices)

    def list_device(self, key: DeviceKey, happened: datetime, *, retired: bool) -> dict[NameKind, str] | None:
        """Ask for the write of an enrolment or a retirement."""
        kept: Mapping[NameKind, str] | None = self.tape.ask("retire" if retired else "enroll", key, happened)[1]
        return None if kept is None else dict(kept)

    def save_names(self, key: DeviceKey, names: Mapping[NameKind, str]) -> None:
        self.tape.ask("save names", key, tuple(names.items()))

    def save_named(self, name: DeviceName, row: NamedDevice) -> None:
        """Ask for the write of a row, if somebody looks for the name."""
        if name.value in (SERIAL, ASSET):
            self.tape.ask("save named", row.key, row)

    def count_lock(self, source: str, hour: datetime, lock: str, most: int) -> bool:
        """Ask to count a lock. All of a history is in one hour."""
        return bool(self.tape.ask("count", source, lock, most))

    def locks_of(self, organization: str, name: DeviceName) -> UserRecord:
        """Ask for the serial number's item. It has the form of a user's, and the search keeps it as one."""
        return self.user(organization, name.value)

    def save_locks_of(self, organization: str, name: DeviceName, record: UserRecord) -> None:
        self.save_user(organization, name.value, record)

    def saw(self, key: DeviceKey) -> None:
        self.tape.ask("saw", key)

    def devices_named(self, organization: str, name: DeviceName) -> list[NamedDevice]:
        found: tuple[NamedDevice, ...] = self.tape.ask("devices named", organization)
        return list(found)

    def remember_name(self, organization: str, name: str, named: Named) -> None:
        self.tape.ask("remember", place(organization, name), named)

    def named(self, organization: str, name: str) -> Named:
        named: Named = self.tape.ask("recall", place(organization, name))
        return named

    def keep_found(self, organization: str, command: str, found: LookUp, expires: datetime) -> LookUp:
        kept: LookUp = self.tape.ask("keep found", command, found)
        return kept

    def found(self, organization: str, command: str) -> LookUp | None:
        found: LookUp | None = self.tape.ask("found", command)
        return found

    def record_outcome(self, event_id: str, outcome_id: str, told: dict[str, Any], now: datetime) -> dict[str, Any]:
        """Record an outcome of a command, or note that the sweep has announced something.

        Nobody asks the ledger for a run of the sweep.
        """
        if "eventId" not in told["detail"]:  # a mark
            first: str = self.tape.ask("first", outcome_id, told["detail"]["first"])
            return told | {"detail": told["detail"] | {"first": first}}
        if event_id == told["detail"]["eventId"] and "guard" in told["detail"]:
            return told
        if "result" not in told["detail"]:
            self.tape.ask("note", outcome_id)
            return told
        kept: Recorded = self.tape.ask("outcome", Recorded.of(told["detailType"], told["detail"]))
        return kept.told

    def outcome(self, event_id: str, outcome_id: str) -> dict[str, Any] | None:
        recorded: Recorded | None = self.tape.ask("recorded", outcome_id)
        return recorded.told if recorded is not None else None

    def users(self, organization: str) -> dict[str, UserRecord]:
        return dict(self.tape.ask("records", "user", organization))

    def records(self, organization: str, users: Mapping[str, UserRecord]) -> dict[DeviceKey, DeviceRecord]:
        merged = (
            (key, record.of_user(users.get(key.user_id, UserRecord())))
            for key, record in self.tape.ask("records", "device", organization)
        )
        return {key: record for key, record in merged if record.is_for_the_sweep}

    def last_sweep(self, organization: str) -> LastSweep | None:
        last: LastSweep | None = self.tape.ask("last sweep")
        return last

    def save_sweep(self, organization: str, completed: datetime) -> None:
        self.tape.ask("save sweep")

    def inventoried_up_to(self, organization: str) -> DeviceKey:
        """Let each run take in all devices of a scenario."""
        return DeviceKey(organization, "", "")

    def save_inventoried(self, key: DeviceKey) -> None:
        pass


@dataclass(frozen=True, slots=True)
class TapeQueue:
    """The queue, answering from a tape. The sender may die between any two commands."""

    tape: Tape

    def send(self, commands: Iterable[Command]) -> int:
        return len([self.tape.ask("send", command) for command in commands])

    def hold(self, command: Command) -> None:
        self.tape.ask("hold", command)

    def waiting(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class TapeBus:
    """The bus, answering from a tape."""

    tape: Tape

    def announce(self, detail_type: str, detail: dict[str, Any]) -> None:
        if "result" in detail:
            self.tape.ask("announce", Recorded.of(detail_type, detail))
        elif detail_type == "Override Left Alone":
            key = DeviceKey(detail["organizationId"], detail["userId"], detail["deviceId"])
            self.tape.ask("left", key, Override(**detail["after"]))
