"""How commands answer. Standard output has text for people, JSON or CSV. A long list is printed row by row.

Everything else goes to standard error. Foreign text is made safe: what steers a terminal or computes in a sheet is
shown as text.
"""

import csv
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

import click

from device_lockout.values import instant
from device_lockout.values.tag import HOLD

type Row = Mapping[str, Any]
type Declare = Callable[[Callable[..., int]], click.Command]

_QUERY = __name__
"""The key of the query in a command's context."""
_BEGINS = r"""[\s"']*[=+\-@\uff1d\uff0b\uff0d\uff20]"""
"""How a cell begins that a spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection).

It passes over blanks, and over the quotation marks that CSV puts round one in the middle of a cell."""
_FORMULA = re.compile(rf"(^|;)(?={_BEGINS})")
"""Where people write commas in numbers, a spreadsheet begins another cell at each semicolon, whatever is quoted."""
_INSTANT = re.compile(r"(?<![=\w])\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", re.ASCII)
_SENTENCES = ("message", "because")
"""Columns with words of ours, whose instants people read as :func:`local`."""
_SHOWN = re.compile(rf"(^|;)'(?={_BEGINS})")

organization = click.option("--organization", metavar="NAME", help="which one, if there are several")
yes = click.option("--yes", is_flag=True, help="do not ask")


def command(*examples: str, name: str | None = None, within: Any = click, prints: str = "") -> Declare:
    """Declare a command, with examples at the end of its help. Its first argument is the deployment.

    One that prints ``data`` or ``rows`` has the options ``--json`` and ``--query``, and for rows ``--csv``. They become
    its argument ``form``, which :func:`whole` applies.
    """
    epilog = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
    declare: Declare = within.command(name, cls=_Command, epilog=epilog, prints=prints)
    return declare


class _Command(click.Command):
    def __init__(self, *given: Any, prints: str, **more: Any) -> None:
        super().__init__(*given, **more)
        self.params += {"rows": [_CSV, _JSON, _QUERIES], "data": [_JSON, _QUERIES]}.get(prints, [])

    def invoke(self, ctx: click.Context) -> Any:
        if _asked():
            ctx.params["form"] = "json"
        for param in self.params:  # an empty word would mean all that was ever recorded
            given = ctx.params.get(param.name or "")
            if isinstance(param, click.Argument) and isinstance(given, str) and not given.strip():
                raise click.BadParameter("it is blank", ctx, param)
        assert self.callback is not None
        return ctx.invoke(self.callback, ctx.obj, **ctx.params)


def _asked() -> Any:
    """Return the query of the command that runs; None for none."""
    context = click.get_current_context(silent=True)
    return context.meta.get(_QUERY) if context else None


def _compile(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    import jmespath

    try:
        ctx.meta[_QUERY] = jmespath.compile(value) if value else None
    except jmespath.exceptions.JMESPathError as error:
        raise click.BadParameter(f"no JMESPath expression: {' '.join(str(error).split())}") from error


_JSON = click.Option(["--json", "form"], flag_value="json", help="print JSON, with times in UTC")
_CSV = click.Option(["--csv", "form"], flag_value="csv", help="print CSV, for a spreadsheet")
_QUERIES = click.Option(
    ["--query"], callback=_compile, expose_value=False, metavar="JMESPATH", help="print what it finds in the JSON"
)


def text(value: str) -> str:
    r"""Return ``value`` with each control and format character but the line feed escaped as JSON does.

    >>> text("a\u202eb\x1b[2J")
    'a\\u202eb\\u001b[2J'
    """
    steers = {each for each in value if each != "\n" and unicodedata.category(each) in ("Cc", "Cf")}
    return value.translate({ord(each): json.dumps(each)[1:-1] for each in steers})


def in_line(value: str) -> str:
    """Return ``value`` for one line: as :func:`text`, without a line feed."""
    return text(value).replace("\n", "\\n")


def cell(value: Any) -> str | None:
    """Return ``value`` for a cell of CSV. An apostrophe comes before what a spreadsheet would compute.

    >>> cell("=HYPERLINK(1)")
    "'=HYPERLINK(1)"
    >>> cell("guest; @SUM(1)")
    "guest;' @SUM(1)"
    """
    if value is None:
        return None
    words = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
    words = in_data(words) if isinstance(words, datetime) else str(words)
    return in_line(_FORMULA.sub(r"\1'", words))


def of_cell(value: str) -> str:
    """Return what :func:`cell` made a text of, without its apostrophes."""
    return _SHOWN.sub(r"\1", value)


def in_data(value: datetime) -> str:
    """Return an instant in UTC, as events have it; ``hold`` for a lock that only a release ends."""
    return "hold" if value == HOLD else instant.write(value)


def local(time: datetime, clock: str = "%H:%M") -> str:
    """Return an instant in this machine's time with its offset, such as ``Fri 27 Nov 2026 18:00 +0100``."""
    return "until released" if time == HOLD else f"{time.astimezone():%a %d %b %Y {clock} %z}"


def in_local_time(words: str) -> str:
    """Return a sentence with its instants as :func:`local`. Those of a tag stay as they are."""
    return _INSTANT.sub(lambda found: local(instant.read(found[0])), words)


def for_people(value: Any) -> str:
    """Return a value for one line: an instant as :func:`local`, and ``-`` for nothing."""
    if isinstance(value, datetime):
        return local(value)
    return "-" if value in (None, "") else in_line(str(value))


def apart(one: datetime, other: datetime) -> str:
    """Return about how far two instants are apart, such as ``38 h``."""
    seconds = abs((other - one).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def say(words: str) -> None:
    """Print something for people that is not the answer."""
    click.echo(text(words), err=True)


def line(words: str = "", *, bold: bool = False) -> None:
    """Print one line of an answer for people."""
    click.echo(click.style(text(words), bold=True) if bold else text(words))


def whole(value: Any, indent: int | None = 1) -> None:
    """Print data as JSON: what the query finds in it, if there is one."""
    if query := _asked():
        value = query.search(json.loads(json.dumps(value, default=in_data)))
    print(text(json.dumps(value, default=in_data, ensure_ascii=False, indent=indent)), flush=True)


def rows(found: Iterable[Row], columns: Mapping[str, int], form: str | None) -> int:
    """Print rows as they come, as ``json``, ``csv``, or None for people. Return how many. Times are texts or instants.

    ``columns`` gives each column of a list for people its width. The last one takes what it needs.
    """
    if _asked():
        found = [*found]
        whole(found)
        return len(found)
    count = 0
    for count, row in enumerate(found, 1):
        if form == "json":
            print("[" if count == 1 else ",")
            print(text(json.dumps(row, default=in_data, ensure_ascii=False)), end="")
        else:
            one(row, columns, form, heading=count == 1)
        sys.stdout.flush()
    if form == "json":
        print("\n]" if count else "[]")
    return count


def table(columns: Sequence[str], found: Iterable[Row], file: TextIO | None = None) -> None:
    """Write rows as CSV with a heading, also of no rows. What is in no column is left out."""
    writer = csv.DictWriter(file or sys.stdout, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in found)


def one(row: Row, columns: Mapping[str, int], form: str | None, *, heading: bool = False) -> None:
    """Print a row alone; with ``heading`` the names of the columns before it."""
    if form == "json":
        whole(row, indent=None)
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if heading:
            writer.writerow(row)
        writer.writerow(map(cell, row.values()))
    else:
        if heading:
            line(_in_columns(map(str.upper, columns), columns), bold=True)
        cells = (in_local_time(row[name]) if name in _SENTENCES else row[name] for name in columns)
        line(_in_columns(map(for_people, cells), columns))


def _in_columns(cells: Iterable[str], columns: Mapping[str, int]) -> str:
    return " ".join(f"{each:{width}}" for each, width in zip(cells, columns.values(), strict=True)).rstrip()
