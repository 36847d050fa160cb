"""Answers on standard output: rows as columns, JSON or CSV, one at a time, so that a long list begins at once.

Everything else goes to standard error. All that a stranger may have written is made plain.
"""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import Any

import click

from device_lockout.values import instant
from device_lockout.values.tag import HOLD
from lockout import plain

type Row = Mapping[str, Any]

_QUERY = __name__
"""The key of the query in a command's context."""

organization_option = click.option("--organization", metavar="NAME", help="which one, if there are several")


def _compiled(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    import jmespath

    try:
        return jmespath.compile(value) if value else None
    except jmespath.exceptions.JMESPathError as error:
        raise click.BadParameter(f"no JMESPath expression: {' '.join(str(error).split())}") from error


def data(command: Any) -> Any:
    """Add the options ``--json`` and ``--query``, which make the argument ``form``. :func:`whole` applies the query."""

    @wraps(command)
    def asked(*arguments: Any, form: str | None, query: Any, **rest: Any) -> Any:
        click.get_current_context().meta[_QUERY] = query
        return command(*arguments, form="json" if query else form, **rest)

    option = click.option("--query", callback=_compiled, metavar="JMESPATH", help="print what it finds in the JSON")
    return click.option("--json", "form", flag_value="json", help="print JSON, with times in UTC")(option(asked))


def forms(command: Any) -> Any:
    """Add the options of :func:`data`, and ``--csv``."""
    return click.option("--csv", "form", flag_value="csv", help="print CSV, for a spreadsheet")(data(command))


def whole(value: Any, indent: int | None = 1) -> None:
    """Print data as JSON: what the query finds in it, if there is one."""
    query = _query()
    shown = query.search(json.loads(json.dumps(value, default=in_data))) if query else value
    print(plain.text(json.dumps(shown, default=in_data, ensure_ascii=False, indent=indent)), flush=True)


def _query() -> Any:
    context = click.get_current_context(silent=True)
    return context.meta.get(_QUERY) if context else None


def examples(*commands: str) -> str:
    """Return the end of a command's help: one example a line."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def rows(found: Iterable[Row], columns: Mapping[str, int], form: str | None) -> int:
    """Print rows as they come. Return how many.

    Args:
        found: The rows. Their times are texts or instants.
        columns: The columns of a list for people, each with its width; the last one takes what it needs.
        form: ``json``, ``csv``, or None for people.
    """
    if _query():
        listed = [*found]
        whole(listed)
        return len(listed)
    count = 0
    for count, row in enumerate(found, 1):
        if form == "json":
            print("[" if count == 1 else ",")
            print(_json(row), end="")
        else:
            one(row, columns, form, heading=count == 1)
        sys.stdout.flush()
    if form == "json":
        print("\n]" if count else "[]")
    return count


def one(row: Row, columns: Mapping[str, int], form: str | None, *, heading: bool = False) -> None:
    """Print a row alone; with ``heading`` the names of the columns before it."""
    if form == "json":
        whole(row, indent=None)
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if heading:
            writer.writerow(row)
        writer.writerow([plain.cell(None if each is None else str(_flat(each))) for each in row.values()])
    else:
        if heading:
            line(_in_columns([name.upper() for name in columns], columns), bold=True)
        line(_in_columns([_for_people(row[name]) for name in columns], columns))


def say(text: str) -> None:
    """Print something for people that is not the answer."""
    click.echo(plain.text(text), err=True)


def line(text: str = "", *, bold: bool = False) -> None:
    """Print one line of an answer for people."""
    click.secho(plain.text(text), bold=bold)


def local(time: datetime) -> str:
    """Return an instant in this machine's time with its offset, such as ``Fri 27 Nov 2026 18:00 +0100``."""
    return "until released" if time == HOLD else f"{time.astimezone():%a %d %b %Y %H:%M %z}"


def apart(one: datetime, other: datetime) -> str:
    """Return about how far two instants are apart, such as ``38 h``."""
    seconds = abs((other - one).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _json(row: Row) -> str:
    return plain.text(json.dumps(row, default=in_data, ensure_ascii=False))


def _in_columns(cells: Sequence[str], columns: Mapping[str, int]) -> str:
    return " ".join(f"{cell:{width}}" for cell, width in zip(cells, columns.values(), strict=True)).rstrip()


def _for_people(value: Any) -> str:
    if isinstance(value, datetime):
        return local(value)
    return plain.line("-" if value in (None, "") else str(value))


def in_data(value: datetime) -> str:
    """Return an instant in UTC, as events have it; ``hold`` for a lock that only a release ends."""
    return "hold" if value == HOLD else instant.write(value)


def _flat(value: Any) -> Any:
    if isinstance(value, datetime):
        return in_data(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
