"""The report: what happened in a time and what stands now, as one HTML page without a network, as JSON or as CSV."""

import hashlib
import math
import re
import sys
from base64 import b64encode
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from device_lockout import wiring
from device_lockout.values.advice import Advice
from device_lockout.values.outcome import DRILL
from device_lockout.values.tag import HOLD, read_time
from lockout import lookup, output
from lockout.commands import doctor
from lockout.commands import status_and_history as asked
from lockout.deployment import Deployment
from lockout.errors import DONE
from lockout.lookup import Told
from lockout.times import When

SOON = timedelta(days=3)
LONG = timedelta(days=30)
"""A lock that ends so soon, or that only a release ends and is so old, needs a decision."""

_ENDS = Advice(
    "today", "A lock ends soon", "If the device is still missing, extend it.", "lockout extend USER DEVICE --until 30d"
)
_HELD = Advice("today", "A lock is old", "If the device is found, release it.", "lockout release USER DEVICE")
_TRUSTED = Advice(
    "today",
    "A device ID is taken on trust",
    "Compare it with WorkMail's list of mobile devices: a wrong one locks nothing.",
    "lockout show USER DEVICE",
)

MOST_ROWS = 1000
"""Rows of one table on the page. JSON and CSV have all."""

SECTIONS = ("decisions", "locked", "letIn", "undone", "rejected")

COLUMNS = (
    *("time", "result", "severity", "user", "device", "why", "until", "ticket"),
    *("source", "reporter", "event", "message", "do", "command"),
)
"""The fields of a row of each section."""

ADDRESS = re.compile(wiring.ADDRESS)

type Row = dict[str, Any]


@output.command(
    *("lockout report > today.html", "lockout report --since monday -o week.html", "lockout report --since 7d --csv"),
    prints="rows",
)
@click.option("--since", type=When(past=True), default="today", metavar="WHEN", help="from when on (today)")
@click.option("-o", "file", type=click.Path(path_type=Path), metavar="FILE", help="write it there")
@click.option("--redact", is_flag=True, help="initials for names, ends for device IDs, and no free text")
def report(deployment: Deployment, *, since: datetime, file: Path | None, form: str | None, redact: bool) -> int:
    """Write what happened and what stands as one HTML page, which opens without a network.

    What needs a decision, what is locked, what was let back in, what somebody undid, and whether the machine is well.
    Nothing is changed. `--json` and `--csv` have the same data.
    """
    now = datetime.now(UTC)
    if since >= now:
        raise click.UsageError("the report would begin in the future")
    where = deployment.settings.organizations
    data = of(
        [lock for organization in where for lock in asked.locks(deployment, organization, None, now)],
        deployment.ledger.timeline(since, now),
        {
            "urgent": [*lookup.needing_somebody(deployment, now, most=100)],
            "findings": [each for check in doctor.READING for each in doctor.answered(check, deployment)],
            "drilled": deployment.settings.source(DRILL) is not None,
        },
        (since, now, now),
    ) | {"deployment": deployment.stack, "by": deployment.caller}
    with file.open("w", encoding="utf-8") if file else nullcontext(sys.stdout) as out, redirect_stdout(out):
        write(redacted(data) if redact else data, form)
    return DONE


def of(
    locks: Sequence[Row], outcomes: Iterable[Told], health: dict[str, Any], times: tuple[datetime, datetime, datetime]
) -> Row:
    """Return the report's data: of the locks that stand, and of what was announced in the time, oldest first.

    ``health`` has ``urgent``, the outcomes that ask for action now, the doctor's ``findings``, and ``drilled``: whether
    drills run by themselves. The times are the beginning, the end, and now.
    """
    since, until, now = times
    every = [*{each["detail"]["id"]: each for each in outcomes}.values()]
    drills = [each for each in every if each["detail"]["source"] == DRILL]  # they are nobody's locks
    canary = {(each["detail"].get("lock") or {}).get("id") for each in drills}
    locks = [lock for lock in locks if lock["lock"] not in canary]
    told = [each for each in every if each["detail"]["source"] != DRILL]
    results = [(each["detail"].get("result"), each) for each in told]
    found: dict[str, list[Told]] = {
        "new": [each for result, each in results if result in ("locked", "took-over")],
        "letIn": [
            each for result, each in results if result and _denied(each, "before") and not _denied(each, "after")
        ],
        "undone": [each for result, each in results if result in ("reasserted", "contested", "adopted")],
        "rejected": [each for result, each in results if result == "rejected"],
    }
    took = sorted(lookup.seconds(each) for each in found["new"] if each["detail"]["result"] == "locked")
    runs = [each["detail"]["guard"] for each in told if each["detailType"].startswith("Sweep ")]
    return {
        "since": since,
        "until": until,
        "madeAt": now,
        "figures": {
            "locked now": len(locks),
            "new": len(found["new"]),
            "let back in": len(found["letIn"]),
            "rejected": len(found["rejected"]),
            "undone by somebody": len(found["undone"]),
            "report→DENY p50": _share(took, 0.5),
            "report→DENY p95": _share(took, 0.95),
            **({"last drill": _drill(drills)} if drills or health["drilled"] else {}),
        },
        "decisions": [*_decisions(health["urgent"], found["new"], locks, now)],
        "locked": [*map(_standing, sorted(locks, key=lambda lock: lock["since"], reverse=True))],
        **{name: [*map(_row, found[name])] for name in ("letIn", "undone", "rejected")},
        "bars": _bars({name: [*map(lookup.time_of, each)] for name, each in found.items()}, since, until),
        "sweeps": {"completed": runs.count(None), "refused": len(runs) - runs.count(None)},
        "machine": [dict(zip(("state", "found", "mend"), each, strict=True)) for each in health["findings"]],
    }


def _denied(told: Told, when: str) -> bool:
    """Return whether a DENY stood before or after it. An ALLOW that expires lets nobody in."""
    return (told["detail"].get(when) or {}).get("effect") == "DENY"


def _row(told: Told) -> Row:
    detail, said = told["detail"], asked.happened(told, "csv")
    until = read_time(detail["until"]) if detail.get("until") else None
    known = said | {"why": detail.get("reason"), "until": until, "source": detail["source"]}
    return {name: known.get(name) or "" for name in COLUMNS}


def _standing(lock: Row, advice: Advice | None = None) -> Row:
    known = lock | {"time": lock["since"], "result": "locked", "message": lock["ticket and note"]}
    if advice:
        words = advice.about(lock["userId"], lock["device"], "")
        if lock["device"] == lookup.ALL:
            words["command"] = words["command"].replace("DEVICE", "--user-locks")
        known |= words | {"severity": advice.severity, "result": words["title"]}
    return {name: known.get(name, "") for name in COLUMNS}


def _decisions(urgent: Iterable[Told], new: Iterable[Told], locks: Sequence[Row], now: datetime) -> Iterator[Row]:
    """Yield what a person should look at: what is urgent, then locks that end soon, are old, or are taken on trust."""
    for told in urgent:
        advice = told["detail"]["advice"]
        yield _row(told) | {"result": advice["title"], "do": advice["do"], "command": advice["command"]}
    for lock in locks:
        held = lock["until"] == HOLD
        if (now - lock["since"] > LONG) if held else (lock["until"] - now < SOON):
            yield _standing(lock, _HELD if held else _ENDS)
    trusted = {(told["detail"].get("lock") or {}).get("id") for told in new if told["detail"].get("verified") is False}
    yield from (_standing(lock, _TRUSTED) for lock in locks if lock["lock"] in trusted and lock["device"] != lookup.ALL)


def _drill(drills: Sequence[Told]) -> str:
    """Return how the last drill went: how long its lock took, or in a word why there is no such time."""
    last = lookup.last_drill(reversed(drills))
    if last is None:
        return "none"
    return f"{lookup.seconds(last):.1f} s" if last["detail"]["result"] == "locked" else "failed"


def _share(ordered: Sequence[float], share: float) -> str:
    """Return the value that this share of the values is not above, such as ``1.5 s``; ``-`` for no value."""
    return f"{ordered[math.ceil(share * len(ordered)) - 1]:.1f} s" if ordered else "-"


def _bars(times: dict[str, list[datetime]], since: datetime, until: datetime) -> Row:
    """Return how many there were of each kind in each hour, or in each day if the time is longer than two days."""
    by, form = ("hour", "%a %H:%M") if until - since <= timedelta(days=2) else ("day", "%a %d %b")
    step = timedelta(hours=1) if by == "hour" else timedelta(days=1)
    begins = [since.astimezone().replace(minute=0, second=0, microsecond=0)]
    if by == "day":
        begins = [begins[0].replace(hour=0)]
    while (following := (begins[-1].replace(tzinfo=None) + step).astimezone()) < until:
        begins.append(following)
    counts = {name: [0] * len(begins) for name in times}
    for name, each in times.items():
        for time in each:
            counts[name][max(bisect(begins, time) - 1, 0)] += 1
    return {"by": by, "from": [f"{each:{form}}" for each in begins], "counts": counts}


def redacted(data: Row) -> Row:
    """Return the data without names, addresses and whole device IDs. Free text may have any of them and goes, too.

    Of a device ID at most four characters stay, and at most half.
    """

    def hidden(row: Row) -> Row:
        device, names = row["device"], {name: _initials(row[name]) for name in ("user", "reporter")}
        end = device[len(device) - min(4, len(device) // 2) :]
        return row | names | {"device": device and f"…{end}", "message": "", "command": ""}

    rows = {section: [*map(hidden, data[section])] for section in SECTIONS}
    machine = [{k: ADDRESS.sub(lambda who: _initials(who[0]), v) for k, v in row.items()} for row in data["machine"]]
    return {**data, **rows, "machine": machine, "by": _initials(data["by"])}


def _initials(name: str) -> str:
    """Return ``B. E.`` for ``Bob Example``, for ``bob.example@example.com``, and for an ARN that ends in either."""
    words = re.split(r"[\W_]+", name.rpartition("/")[2].partition("@")[0])
    return " ".join(f"{word[0].upper()}." for word in words if word)


def write(data: Row, form: str | None) -> None:
    """Print the report as JSON, as CSV or, without a form, as the page. CSV has all but the bars in one table."""
    if form == "json":
        output.whole(data)
    elif form == "csv":
        figures = {**data["figures"], **{f"sweeps {name}": count for name, count in data["sweeps"].items()}}
        machine = ({"result": it["state"], "message": it["found"], "command": it["mend"]} for it in data["machine"])
        sections = {
            "figures": [{"result": name, "message": value} for name, value in figures.items()],
            **{section: data[section] for section in SECTIONS},
            "machine": machine,
        }
        rows = ({"section": section, **row} for section, found in sections.items() for row in found)
        output.table(("section", *COLUMNS), rows)
    else:
        print(_page(data))


def _page(data: Row) -> str:
    """Return the page. Every value is made plain and is escaped; its own style is all that a browser may use."""
    import jinja2
    from markupsafe import Markup

    def shown(value: object) -> object:
        if isinstance(value, datetime):
            return output.local(value)
        return value if isinstance(value, Markup) else output.in_line(output.in_local_time(str(value)))

    where = jinja2.PackageLoader("lockout", "commands")
    pages = jinja2.Environment(loader=where, autoescape=True, finalize=shown, trim_blocks=True, lstrip_blocks=True)
    pages.filters["digest"] = lambda text: b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return pages.get_template("report.html").render(data, most=MOST_ROWS)
