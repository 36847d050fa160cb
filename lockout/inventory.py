"""The inventory from outside: a CSV file becomes `Device Enrolled` events on the bus, one a line.

The writer stays the only one who writes the ledger. A line is judged as the router will judge its event, before
anything is sent.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from device_lockout.inbound import report
from device_lockout.values import instant
from device_lockout.values.command import Reject
from lockout.deployment import Deployment

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

KIND = "Device Enrolled"
REQUIRED = ("userId", "deviceId")
COLUMNS = (*REQUIRED, "serialNumber", "assetTag", "organizationId", "reference", "note")
BATCH = 10
"""The most entries of one call (https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file: where it ends, and either what it enrols or what is wrong with it."""

    number: int
    detail: dict[str, str]
    faults: tuple[str, ...]


def import_file(
    file: Path,
    source: str,
    deployment: Deployment,
    client: "EventBridgeClient | None",
    now: datetime,
    *,
    valid_lines: bool = False,
) -> int:
    """Check every line, then send them, unless one is wrong or ``client`` is None.

    0 if all lines are good, and sent if they were to be; else 1. A call that fails ends it, and what was sent is said.
    """
    lines = read(file, source, deployment, now)
    wrong = [line for line in lines if line.faults]
    good = [line for line in lines if not line.faults]
    for line in wrong:
        print(f"{file}:{line.number}: {'; '.join(line.faults)}", file=sys.stderr)
    if client is None:
        print(f"{len(good)} lines are good, {len(wrong)} are not; nothing was sent")
    elif wrong and not valid_lines:
        print(f"nothing was sent: {len(wrong)} of {len(lines)} lines are wrong")
    else:
        sent = 0
        for batch in batched(good, BATCH, strict=False):
            try:
                refused = _send(batch, source, deployment.configuration.bus, client)
            except (BotoCoreError, ClientError) as error:
                print(f"{file}: {_stopped(good, batch, error)}", file=sys.stderr)
                break
            for number, because in refused.items():
                print(f"{file}:{number}: the bus did not take it: {because}", file=sys.stderr)
            sent += len(batch) - len(refused)
        print(f"{sent} of {len(lines)} lines were sent; their outcomes are on the bus")
        return 0 if sent == len(lines) else 1
    return 1 if wrong else 0


def read(file: Path, source: str, deployment: Deployment, now: datetime) -> list[Line]:
    """The lines of the file, each judged; ValueError if it has no such columns, or the source no right to enrol."""
    known = deployment.settings.source(source)
    if known is None or known.mapping is not None or "inventory" not in known.may:
        raise ValueError(
            f'{source} may not enrol devices: expected a source of the configuration with may = ["inventory"]'
        )
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            header = next(rows, [])
            wrong = [name for name in header if name not in COLUMNS or header.count(name) > 1]
            if wrong or not set(REQUIRED) <= set(header):
                raise ValueError(
                    f"{file}:1: columns {', '.join(header) or 'none'}: expected userId and deviceId, and of"
                    f" {', '.join(COLUMNS[2:])} what there is, none twice"
                )
            lines = [_judge(rows.line_num, header, row, source, deployment, now) for row in rows if row]
        except csv.Error as error:
            raise ValueError(f"{file}:{rows.line_num}: no CSV: {error}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: expected text in UTF-8: {error}") from error
    return list(_with_conflicts(lines, deployment))


def _judge(
    number: int, header: Sequence[str], row: Sequence[str], source: str, deployment: Deployment, now: datetime
) -> Line:
    if len(row) != len(header):
        return Line(number, {}, (f"{len(row)} values: expected {len(header)}, one for each column",))
    detail = {name: value.strip() for name, value in zip(header, row, strict=True) if value.strip()}
    detail["reportedAt"] = instant.write(now)
    event = {"id": f"line-{number}", "source": source, "detail-type": KIND, "detail": detail}
    command = report.read(json.dumps(event), "line", now, deployment.settings)
    return Line(number, detail, (command.because,) if isinstance(command, Reject) else ())


def _with_conflicts(lines: Sequence[Line], deployment: Deployment) -> Iterator[Line]:
    """The lines, those that contradict an earlier one with that as a fault more."""
    seen: dict[tuple[str, ...], Line] = {}
    for line in lines:
        detail, faults = line.detail, list(line.faults)
        if not faults:
            organization = deployment.settings.organization(detail.get("organizationId"))
            place = organization.id if organization else ""
            device = detail["deviceId"].casefold()
            row = (place, detail["userId"].casefold(), device)
            if row in seen:
                faults.append(f"device {device} of {detail['userId']} is in line {seen[row].number} already")
            seen.setdefault(row, line)
            for column in ("serialNumber", "assetTag"):
                name = (place, column, detail.get(column, "").casefold())
                if name[2] and seen.setdefault(name, line).detail["deviceId"].casefold() != device:
                    faults.append(f"{column} {detail[column]} names another device in line {seen[name].number}")
        yield Line(line.number, detail, tuple(faults))


def _send(lines: Sequence[Line], source: str, bus: str, client: "EventBridgeClient") -> dict[int, str]:
    """Put the lines on the bus in one call; the numbers of those that it did not take, each with the reason."""
    entries: list[PutEventsRequestEntryTypeDef] = [
        {"EventBusName": bus, "Source": source, "DetailType": KIND, "Detail": json.dumps(line.detail)} for line in lines
    ]
    answer: Any = client.put_events(Entries=entries)
    return {
        line.number: f"{entry['ErrorCode']}: {entry.get('ErrorMessage', '')}"
        for line, entry in zip(lines, answer["Entries"], strict=True)
        if "ErrorCode" in entry
    }


def _stopped(lines: Sequence[Line], at: Sequence[Line], error: BotoCoreError | ClientError) -> str:
    """What to know where a call failed: which lines were sent, and which were not or may not have been."""
    if isinstance(error, ClientError):
        unknown = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    else:
        unknown = isinstance(error, HTTPClientError)  # any other is botocore's own, before it calls
    first, last = at[0].number, at[-1].number
    before = "none before them was" if at[0] is lines[0] else "those before them were, but for any named above"
    return (
        f"lines {first} to {last} {'were sent or not, which nobody knows' if unknown else 'were not sent'}: {error};"
        f" {before}; those after line {last} were not."
        " Import the file again once that is mended: to enrol a device twice does no harm."
    )
