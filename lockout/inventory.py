"""The import of an inventory: each line of a CSV file becomes a `Device Enrolled` event on the bus.

Only the writer writes the ledger. Each line is checked before anything is sent, with the router's own code.
"""

import codecs
import csv
import io
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from configuration import loader
from configuration.loader import Configuration
from device_lockout.inbound import report
from device_lockout.values import instant
from device_lockout.values.command import Reject
from lockout import answers, plain
from lockout.deployment import Known

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

KIND = "Device Enrolled"
REQUIRED = ("userId", "deviceId")
COLUMNS = (*REQUIRED, "serialNumber", "assetTag", "organizationId", "reference", "note")
PRESETS: dict[str, dict[str, tuple[str, ...]]] = {
    "exchange": {"userId": ("PrimarySmtpAddress", "UserPrincipalName"), "deviceId": ("DeviceId",)},
    "intune": {
        "userId": ("Primary user email address", "Primary user UPN"),
        "deviceId": ("EAS activation ID",),
        "serialNumber": ("Serial number",),
    },
    "jamf": {
        "userId": ("Email Address", "Username"),
        "deviceId": ("Exchange Device ID",),
        "serialNumber": ("Serial Number",),
        "assetTag": ("Asset Tag",),
    },
    "workspace-one": {"userId": ("Email Address",), "deviceId": ("Identifier",)},
}
"""For each product the columns of its export that fill a field, the best one first; see ``docs/sources.md``."""
WORDS = ("reference", "note")
"""The columns of words for people."""
_SPREADSHEETS = re.compile(r"'|\d+(?:[.,]\d+)?[eE]\+\d+$")
"""What spreadsheets make of IDs: a leading apostrophe, or a number that lost its digits."""
QUEUES = ("ReportsQueueUrl", "CommandsQueueUrl")
"""The stack's outputs with the queues that an enrolment goes through."""
SETTLING = 1.0
"""Seconds until the queues count what was sent. EventBridge takes about half a second."""
BATCH = 10
"""The most events of one call (https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html)."""


@click.group()
def inventory() -> None:
    """The devices that the ledger knows."""


def _column(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:  # noqa: ARG001
    columns = {}
    for text in given:
        field, equals, name = text.partition("=")
        if not equals or not name.strip() or field not in COLUMNS:
            raise click.BadParameter(f"{text!r}: expected one of {', '.join(COLUMNS)}, '=' and a name")
        columns[field] = name.strip()
    return columns


@inventory.command(
    "import",
    epilog=answers.examples(
        "lockout inventory import devices.csv --check",
        'lockout inventory import devices.csv --column deviceId="Exchange Device ID" --ignore-other-columns',
    ),
)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.csv")
@click.option("--check", is_flag=True, help="check the lines and send nothing")
@click.option("--config", metavar="NAME", help="with --check: by config/NAME.toml, without AWS")
@click.option(
    "--column",
    "columns",
    multiple=True,
    callback=_column,
    metavar="FIELD=NAME",
    help='which column fills a field, such as deviceId="Exchange Device ID"; may be repeated',
)
@click.option("--preset", type=click.Choice([*PRESETS]), help="whose export it is, for its columns")
@click.option("--ignore-other-columns", is_flag=True, help="leave out columns that fill no field, such as a model")
@click.option("--valid-lines", is_flag=True, help="send the good lines, even if others are wrong")
@click.option("--source", default="inventory", show_default=True, help="report as this source")
@click.pass_obj
def import_(
    deployment: Known,
    file: Path,
    columns: dict[str, str],
    preset: str | None,
    source: str,
    *,
    check: bool,
    config: str | None,
    ignore_other_columns: bool,
    valid_lines: bool,
) -> int:
    """Enrol the devices of a CSV file.

    It needs the columns userId and deviceId, and may have serialNumber, assetTag, organizationId, reference and note.
    If a line is wrong, nothing is sent, unless --valid-lines says otherwise.
    """
    if config is not None:
        if not check:
            raise click.UsageError("--config is for --check: what is sent goes by what the stack publishes")
        deployment = loader.load(config)
    client = None if check or isinstance(deployment, Configuration) else deployment.client("events")
    now = datetime.now(UTC)
    count = (lambda: 0) if isinstance(deployment, Configuration) else partial(deployment.waiting, *QUEUES)
    return import_file(
        file,
        source,
        deployment,
        client,
        now,
        columns,
        preset=preset or "",
        ignore_others=ignore_other_columns,
        valid_lines=valid_lines,
        waiting=count,
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file.

    Attributes:
        number: The number of its last line in the file.
        detail: The event's detail. It is empty if the line has no device ID and a preset leaves it out.
        faults: What is wrong with it, or nothing.
    """

    number: int
    detail: dict[str, str]
    faults: tuple[str, ...]


def import_file(
    file: Path,
    source: str,
    deployment: Known,
    client: "EventBridgeClient | None",
    now: datetime,
    columns: Mapping[str, str] | None = None,
    *,
    preset: str = "",
    ignore_others: bool = False,
    valid_lines: bool = False,
    waiting: Callable[[], int] = lambda: 0,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Check every line, and send all of them as events.

    They go in portions as a sweep's removals do: at most ``portion`` of the configuration's ``[sweep]`` are under way,
    so that no fresh lock waits long. If a call fails, stop and print what was sent.

    Args:
        file: The CSV file.
        source: The source of the events.
        deployment: The deployment.
        client: The client, or None to check the lines only.
        now: When the devices count as reported.
        columns: As for :func:`read`.
        preset: As for :func:`read`.
        ignore_others: As for :func:`read`.
        valid_lines: Send the good lines even if others are wrong.
        waiting: Returns how many messages are in the deployment's queues.
        pause: Waits for some seconds.

    Returns:
        0 if all lines are good, and were sent unless ``client`` is None. Otherwise 1.
    """
    lines = read(file, source, deployment, now, columns, preset=preset, ignore_others=ignore_others)
    without = len([line for line in lines if not line.detail and not line.faults])
    if without:
        lines = [line for line in lines if line.detail or line.faults]
        print(f"{file}: {without} lines were left out, since they have no device ID", file=sys.stderr)
    wrong = [line for line in lines if line.faults]
    good = [line for line in lines if not line.faults]
    for line in wrong:
        print(plain.line(f"{file}:{line.number}: {'; '.join(line.faults)}"), file=sys.stderr)
    if client is None:
        print(f"{len(good)} lines are good, {len(wrong)} are not; nothing was sent")
    elif wrong and not valid_lines:
        print(f"nothing was sent: {len(wrong)} of {len(lines)} lines are wrong")
    else:
        sent, room = 0, deployment.settings.sweep.portion
        for batch in batched(good, min(BATCH, room), strict=False):
            try:
                while room < len(batch):
                    pause(SETTLING)
                    ahead = waiting()
                    room = deployment.settings.sweep.portion - ahead
                    print(f"{sent} of {len(good)} lines were sent, {ahead} messages are under way", file=sys.stderr)
                refused = _send(batch, source, deployment.bus, client)
            except (BotoCoreError, ClientError) as error:
                print(f"{file}: {_interruption(good, batch, error)}", file=sys.stderr)
                break
            for number, because in refused.items():
                print(plain.line(f"{file}:{number}: the bus did not take it: {because}"), file=sys.stderr)
            room -= len(batch)
            sent += len(batch) - len(refused)
        print(f"{sent} of {len(lines)} lines were sent; their outcomes are on the bus")
        return 0 if sent == len(lines) and (lines or not without) else 1
    return 1 if wrong or (without and not good) else 0


def read(
    file: Path,
    source: str,
    deployment: Known,
    now: datetime,
    columns: Mapping[str, str] | None = None,
    *,
    preset: str = "",
    ignore_others: bool = False,
) -> list[Line]:
    """Return the checked lines of the file. Empty ones are left out, and with a preset those without a device ID.

    It is UTF-8, or UTF-16 with a byte order mark, separated by commas, semicolons or tabs. The case of its column names
    and blanks around them don't matter.

    Args:
        file: The CSV file.
        source: The source of the events.
        deployment: The deployment.
        now: When the devices count as reported.
        columns: Other names of columns, by the field of the contract that they fill.
        preset: One of :data:`PRESETS`. Its product's other columns are left out.
        ignore_others: Leave columns out that fill no field. Otherwise they are a fault, unless they are empty.

    Raises:
        ValueError: The file is not CSV with the right columns, or the source may not enrol devices.
    """
    known = deployment.settings.source(source)
    if known is None or known.mapping is not None or "inventory" not in known.may:
        raise ValueError(
            f'{source} may not enrol devices: expected a source of the configuration with may = ["inventory"]'
        )
    content = file.read_bytes()
    try:
        text = content.decode("utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected text in UTF-8, or in UTF-16 with a byte order mark: {error}") from error
    if text.startswith("#TYPE "):  # the first line of PowerShell's Export-Csv
        text = "\n" + text.partition("\n")[2]
    first = text.lstrip("\n").partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=max(",;\t", key=first.count))
    try:
        header = next(filter(None, rows), [])
        columns = _preset(file, header, preset, columns or {})
        fields = _fields(file, header, columns, ignore_others=ignore_others or bool(preset))
        device = fields.index("deviceId") if preset else 0
        checked = [
            _check(rows.line_num, fields, row, source, deployment, now)
            if not preset or "".join(row[device : device + 1]).strip()
            else Line(rows.line_num, {}, ())
            for row in rows
            if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise ValueError(f"{file}:{rows.line_num}: no CSV: {error}") from error
    return list(_without_repetitions(checked, deployment))


def _preset(file: Path, header: Sequence[str], preset: str, columns: Mapping[str, str]) -> dict[str, str]:
    """Return ``columns``, and the first column of the file for each other field of a preset."""
    there = {name.strip().casefold() for name in header}
    found = dict(columns)
    for field, names in PRESETS.get(preset, {}).items():
        column = next((name for name in names if name.casefold() in there), None)
        if column is not None:
            found.setdefault(field, column)
        elif field in REQUIRED and field not in found:
            raise ValueError(
                f"{file}:1: no column {' or '.join(names)}: --preset {preset} takes {field} from it;"
                f" see docs/sources.md, or name another with --column {field}=NAME"
            )
    return found


def _fields(file: Path, header: Sequence[str], columns: Mapping[str, str], *, ignore_others: bool) -> list[str]:
    """Return the field of the contract that each column fills: empty for a column without a name or to be ignored."""
    meant = {name.casefold(): name for name in COLUMNS}
    for field, name in columns.items():
        meant.pop(field.casefold(), None)
        meant[name.strip().casefold()] = field
    names = [name.strip() for name in header]
    fields = [meant.get(name.casefold(), "") for name in names]
    wrong = [name for name, field in zip(names, fields, strict=True) if name and not field and not ignore_others]
    wrong += sorted({field for field in fields if field and fields.count(field) > 1})
    absent = [field for field in columns if field not in fields]
    if wrong or absent or not {*REQUIRED} <= {*fields}:
        raise ValueError(
            f"{file}:1: columns {', '.join(filter(None, names)) or 'none'}: expected {' and '.join(columns.values())}"
            if absent
            else f"{file}:1: columns {', '.join(filter(None, names)) or 'none'}: expected userId and deviceId, and of"
            f" {', '.join(COLUMNS[2:])} what there is, each at most once; --column FIELD=NAME names another column, and"
            " --ignore-other-columns leaves others out"
        )
    return fields


def _check(
    number: int,
    fields: Sequence[str],
    row: Sequence[str],
    source: str,
    deployment: Known,
    now: datetime,
) -> Line:
    if len(row) != len(fields):
        return Line(number, {}, (f"{len(row)} values: expected {len(fields)}, one for each column",))
    detail = {field: value.strip() for field, value in zip(fields, row, strict=True) if field and value.strip()}
    faults = [
        f"{field} is {value!r}, which a spreadsheet made of it: expected the text as it was"
        for field, value in detail.items()
        if field not in WORDS and _SPREADSHEETS.match(value)
    ]
    detail["reportedAt"] = instant.write(now)
    event = {"id": f"line-{number}", "source": source, "detail-type": KIND, "detail": detail}
    (command,) = report.read(json.dumps(event), "line", now, deployment.settings)
    if isinstance(command, Reject) and not faults:
        faults.append(command.because)
    return Line(number, detail, tuple(faults))


def _without_repetitions(lines: Sequence[Line], deployment: Known) -> Iterator[Line]:
    """Yield the lines. One about a device of an earlier line gets a fault. Several devices may share other names."""
    seen: dict[tuple[str, ...], Line] = {}
    for line in lines:
        detail, faults = line.detail, list(line.faults)
        if detail and not faults:
            organization = deployment.settings.organization(detail.get("organizationId"))
            device = detail["deviceId"].casefold()
            row = (organization.id if organization else "", detail["userId"].casefold(), device)
            if row in seen:
                faults.append(f"device {device} of {detail['userId']} is in line {seen[row].number} already")
            seen.setdefault(row, line)
        yield Line(line.number, detail, tuple(faults))


def _send(lines: Sequence[Line], source: str, bus: str, client: "EventBridgeClient") -> dict[int, str]:
    """Put the lines on the bus in one call. Return the numbers of refused lines, each with the reason."""
    entries: list[PutEventsRequestEntryTypeDef] = [
        {"EventBusName": bus, "Source": source, "DetailType": KIND, "Detail": json.dumps(line.detail)} for line in lines
    ]
    answer: Any = client.put_events(Entries=entries)
    return {
        line.number: f"{entry['ErrorCode']}: {entry.get('ErrorMessage', '')}"
        for line, entry in zip(lines, answer["Entries"], strict=True)
        if "ErrorCode" in entry
    }


def _interruption(lines: Sequence[Line], at: Sequence[Line], error: BotoCoreError | ClientError) -> str:
    """Return, after a failed call, which lines were sent, which were not, and which may have been."""
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
