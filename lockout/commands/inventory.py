"""The import of an inventory: each line of a CSV file becomes a `Device Enrolled` event on the bus.

Only the writer writes the ledger. Each line is checked before anything is sent, with the router's own code.
"""

import codecs
import csv
import io
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path
from typing import Any, NamedTuple

import click
from botocore.exceptions import BotoCoreError, ClientError

from config_reader import loader
from device_lockout.inbound import lenient_reading, report
from device_lockout.values import instant
from device_lockout.values.command import Reject
from device_lockout.values.settings import Settings
from lockout import output
from lockout.deployment import UNDER_WAY, Deployment
from lockout.errors import DONE, NO, NOT_ALLOWED, explain

KIND = "Device Enrolled"
REQUIRED = ("userId", "deviceId")
COLUMNS = (*REQUIRED, "serialNumber", "assetTag", "organizationId", "reference", "note")
PRESETS: dict[str, dict[str, tuple[str, ...]]] = {
    "exchange": {"userId": ("PrimarySmtpAddress", "UserPrincipalName"), "deviceId": ("DeviceId",)},
    "intune": {
        "userId": ("Primary user email address", "Primary user UPN", "emailAddress", "userPrincipalName"),
        "deviceId": ("EAS activation ID", "easDeviceId"),
        "serialNumber": ("Serial number", "serialNumber"),
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
_MONTH = "(?:jan|feb|mar|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)"
_DAMAGED = re.compile(
    rf"['=]|(?:\d{{1,2}}[-. /]+{_MONTH}(?:[-. /]+\d+)?|{_MONTH}[-. /]+(?:\d\d?|(?:19|20)\d\d)"
    r"|\d+[.,]\d+e[+-]?\d+|\d+e[+-]\d+|\d+\.0+|\d{15}0{2,}|\d{1,2}([-./])\d{1,2}\1(?:19|20)\d\d|true|false|#.*)$",
    re.IGNORECASE,
)
"""What spreadsheets and scripts make of IDs: a leading apostrophe, a formula, a number without its last digits or with
decimals, a date, a truth, an error."""
SETTLING = 1.0
"""Seconds until the queues count what was sent. EventBridge takes about half a second."""

inventory = click.Group("inventory", help="The devices that the ledger knows.")


def _columns(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    columns = {text: text.partition("=")[::2] for text in given}
    for text, (field, name) in columns.items():
        if not name.strip() or field not in COLUMNS:
            raise click.BadParameter(f"{text!r}: expected one of {', '.join(COLUMNS)}, '=' and a name")
    return {field: name.strip() for field, name in columns.values()}


@output.command(
    "lockout inventory import devices.csv --check",
    'lockout inventory import devices.csv --column deviceId="Exchange Device ID" --ignore-other-columns',
    name="import",
    within=inventory,
)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.csv")
@click.option("--check", is_flag=True, help="check the lines and send nothing")
@click.option("--config", metavar="NAME", help="with --check: by config/NAME.toml, without AWS")
@click.option("--column", "columns", multiple=True, callback=_columns, metavar="FIELD=NAME", help="what fills a field")
@click.option("--preset", type=click.Choice([*PRESETS]), help="whose export it is, for its columns")
@click.option("--ignore-column", "ignored", multiple=True, metavar="NAME", help="leave out this one; may be repeated")
@click.option("--ignore-other-columns", is_flag=True, help="leave out columns that fill no field, such as a model")
@click.option("--valid-lines", is_flag=True, help="send the good lines, even if others are wrong")
@click.option("--source", default="inventory", show_default=True, help="report as this source")
def import_(
    deployment: Deployment, file: Path, source: str, *, check: bool, config: str | None, valid_lines: bool, **how: Any
) -> int:
    """Enrol the devices of a CSV file.

    It needs the columns userId and deviceId, and may have serialNumber, assetTag, organizationId, reference and note.
    If a line is wrong, nothing is sent, unless --valid-lines says otherwise.
    The exit status is 0 if all lines are good, and were sent unless they are only checked.
    """
    if config is not None and not check:
        raise click.UsageError("--config is for --check: what is sent goes by what the stack publishes")
    settings = loader.load(config).settings if config is not None else deployment.settings
    found = read(file, source, settings, datetime.now(UTC), **how)
    lines = [line for line in found if line.detail or line.faults]
    if without := len(found) - len(lines):
        output.say(f"{file}: {without} lines were left out, since they have no device ID")
    good, wrong = ([line for line in lines if bool(line.faults) is faulty] for faulty in (False, True))
    for line in wrong:
        output.say(output.in_line(f"{file}:{line.number}: {'; '.join(line.faults)}"))
    if check:
        output.line(f"{len(good)} lines are good, {len(wrong)} are not; nothing was sent")
        return NO if wrong or (without and not good) else DONE
    if wrong and not valid_lines:
        output.line(f"nothing was sent: {len(wrong)} of {len(lines)} lines are wrong")
        return NO
    sent = _send(file, good, source, deployment)
    output.line(f"{sent} of {len(lines)} lines were sent; their outcomes are on the bus")
    return DONE if sent == len(lines) and (lines or not without) else NO


class Line(NamedTuple):
    """One line of the file."""

    number: int  # That of its last line in the file.
    detail: dict[str, str]  # The event's detail. It is empty if the line has no device ID and a preset leaves it out.
    faults: list[str]  # What is wrong with it, or nothing.


def read(
    file: Path,
    source: str,
    settings: Settings,
    now: datetime,
    columns: Mapping[str, str] | None = None,
    preset: str | None = None,
    *,
    ignored: Sequence[str] = (),
    ignore_other_columns: bool = False,
) -> list[Line]:
    """Return the checked lines of the file, as reported now. Empty ones are left out.

    It is UTF-8 or UTF-16, separated by commas, semicolons or tabs. The case of its column names and blanks around them
    don't matter.

    ``columns`` are other names of columns, by the field of the contract that they fill. With a preset its product's
    other columns are left out, and lines without a device ID. Elsewhere a column that fills no field is a fault, unless
    it is empty, is ``ignored`` or ``ignore_other_columns`` says otherwise.

    Raises ValueError if the file is not CSV with the right columns, or the source may not enrol devices.
    """
    known = settings.source(source)
    if known is None or known.mapping is not None or "inventory" not in known.may:
        raise ValueError(
            f'{source} may not enrol devices: expected a source of the configuration with may = ["inventory"]'
        )
    text = _text(file)
    rows = _rows(file, text)
    header = [name.strip() for name in next(rows, (0, []))[1]]
    left_out = {name.strip().casefold() for name in ignored}
    kept = ["" if name.casefold() in left_out else name for name in header]
    fields = _fields(file, kept, columns or {}, preset, ignore_others=ignore_other_columns)
    named, lines, cut = [*zip(fields, header, strict=True)], [], False
    for number, row in rows:
        if [*map(str.strip, row)] != header:  # as in files that were joined
            lines.append(_check(number, named, row, source, settings, now, skips=bool(preset)))
            cut = len(row) < len(fields) and not text.endswith(("\n", "\r"))
    if cut:
        lines[-1].faults.append(f"{len(row)} values of {len(fields)}, and no end of the line: the file may be cut off")
    seen: dict[tuple[str, str, str], int] = {}
    for number, detail, faults in lines:
        if detail and not faults:
            organization = settings.organization(detail.get("organizationId"))
            user, device = detail["userId"], detail["deviceId"].casefold()
            first_of_it = seen.setdefault((organization.id if organization else "", user.casefold(), device), number)
            if first_of_it != number:  # several devices may share other names
                faults.append(f"device {device} of {user} is in line {first_of_it} already")
    return lines


def _text(file: Path) -> str:
    content = file.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{file}:{line}: expected text in UTF-8 or UTF-16: {error}. Spreadsheets call it 'CSV UTF-8'"
        ) from error
    # The first line of PowerShell's Export-Csv says of what type its objects are.
    return "\n" + text.partition("\n")[2] if text.startswith("#TYPE ") else text


def _rows(file: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty with the number of its last line, the header first."""
    first = next((line for line in text.splitlines() if line.strip(",;\t ")), "")
    told = re.fullmatch(r'"?sep=([,;\t])"?[,;\t ]*', first, re.IGNORECASE)  # Excel's own first line
    delimiter = told[1] if told else max(",;\t", key=re.sub(r'"[^"]*"', "", first).count)
    rows, ended = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter, skipinitialspace=True), 0
    try:
        for row in rows:
            ended = rows.line_num
            if any(map(str.strip, row)):
                if not told:
                    yield ended, row
                told = None
    except csv.Error as error:
        raise ValueError(f"{file}:{ended + 1}: no CSV: {error}, in the row that begins here") from error


def _fields(
    file: Path, header: list[str], columns: Mapping[str, str], preset: str | None, *, ignore_others: bool
) -> list[str]:
    """Return the field of the contract that each column fills: empty for a column without a name or to be ignored."""
    there = {name.casefold() for name in header}
    columns = dict(columns)
    for field, names in PRESETS.get(preset or "", {}).items():
        column = next((name for name in names if name.casefold() in there), None)
        if column is None and field in REQUIRED and field not in columns:
            raise ValueError(
                f"{file}:1: no column {' or '.join(names)}: --preset {preset} takes {field} from it;"
                f" see docs/sources.md, or name another with --column {field}=NAME"
            )
        if column is not None:
            columns.setdefault(field, column)
    meant = {name.casefold(): name for name in COLUMNS if name not in columns and preset is None}
    meant |= {name.casefold(): field for field, name in columns.items()}
    fields = [meant.get(name.casefold(), "") for name in header]
    others = {name for name, field in zip(header, fields, strict=True) if name and not field}
    for field in {*fields} - {""}:
        if fields.count(field) > 1:
            raise ValueError(f"{file}:1: {fields.count(field)} columns {columns.get(field, field)}: expected one")
    absent = columns.keys() - fields
    if absent or not {*REQUIRED} <= {*fields} or (others and not (ignore_others or preset)):
        expected = (
            " and ".join(columns.values())
            if absent
            else (
                f"userId and deviceId, and of {', '.join(COLUMNS[2:])} what there is;"
                " --column FIELD=NAME names another column, and --ignore-column or --ignore-other-columns leaves out"
            )
        )
        raise ValueError(f"{file}:1: columns {', '.join(filter(None, header)) or 'none'}: expected {expected}")
    return fields


def _check(
    number: int,
    columns: list[tuple[str, str]],
    row: list[str],
    source: str,
    settings: Settings,
    now: datetime,
    *,
    skips: bool,
) -> Line:
    """Return a line with its faults. Spreadsheets leave out empty cells at its end, or add some.

    ``columns`` are fields with their names in the file. ``skips`` says that lines without a device ID are none.
    """
    if any(map(str.strip, row[len(columns) :])):
        return Line(number, {}, [f"{len(row)} values: expected {len(columns)}, one for each column"])
    device = [field for field, _ in columns].index("deviceId")
    inner = [re.split(r"[,;\t]", line) for value in row for line in value.splitlines()[1:]]
    if any(len(cells) == len(columns) and cells[device].isalnum() for cells in inner):
        return Line(number, {}, ["a quoted value goes over lines that look like rows: expected its end in its line"])
    values = zip(columns, map(str.strip, row), strict=False)
    detail = {field: output.of_cell(value) for (field, _), value in values if field and value}
    if skips and "deviceId" not in lenient_reading.tidy(detail, forgive=True)[0]:
        return Line(number, {}, [])
    names = dict(columns)
    faults = [
        f"{names[field]} is {value!r}, which a spreadsheet or a script made of it: expected the text as it was"
        for field, value in detail.items()
        if field not in WORDS and _DAMAGED.match(value)
    ]
    detail["reportedAt"] = instant.write(now)
    event = {"id": f"line-{number}", "source": source, "detail-type": KIND, "detail": detail}
    (command,) = report.read(json.dumps(event), "line", now, settings)
    if isinstance(command, Reject) and not faults:
        faults.append("; ".join(filter(None, (command.because, command.cause.correction))))
    return Line(number, detail, faults)


def _send(file: Path, lines: list[Line], source: str, deployment: Deployment) -> int:
    """Send the lines as events. Return how many the bus took.

    They go in portions as a sweep's removals do: at most ``portion`` of the configuration's ``[sweep]`` are under way,
    so that no fresh lock waits long. If a call fails, stop and say what was sent.

    Raises BotoCoreError or ClientError if the call was not allowed.
    """
    sent, portion = 0, deployment.settings.sweep.portion
    room = portion
    for batch in batched(lines, min(10, portion), strict=False):
        try:
            while room < len(batch):
                time.sleep(SETTLING)
                ahead = deployment.waiting(*UNDER_WAY)
                room = portion - ahead
                output.say(f"{sent} of {len(lines)} lines were sent, {ahead} messages are under way")
            answers = deployment.put(source, KIND, *(line.detail for line in batch))
        except (BotoCoreError, ClientError) as error:
            output.say(
                f"{file}: lines {batch[0].number} to {batch[-1].number} may have been sent or not: {error}; those"
                " before them were, but for any named above; those after them were not. Import the file again once"
                " that is mended: to enrol a device twice does no harm."
            )
            if explain(error).status == NOT_ALLOWED:
                raise
            break
        for line, answer in zip(batch, answers, strict=True):
            if code := answer.get("ErrorCode"):
                why = f"{code}: {answer.get('ErrorMessage', '')}"
                output.say(output.in_line(f"{file}:{line.number}: the bus did not take it: {why}"))
            sent += not code
        room -= len(batch)
    return sent
