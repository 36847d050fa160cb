"""The report: its data by table, its three forms, what strangers wrote in it, and how a browser shows it."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from device_lockout.values import instant
from device_lockout.values.tag import HOLD
from local.in_memory import BOB, World, key
from lockout.commands import doctor, report
from tests.lockout.conftest import Run

NOW = datetime(2026, 11, 27, 15, 2, tzinfo=UTC)
DENY, ALLOW = {"effect": "DENY", "description": None}, {"effect": "ALLOW", "description": None}
HOSTILE = "<script>alert(1)</script><img src=https://evil.example/x onerror=a()>\x1b[31m\u202egnp.exe\n'\"&"
HEALTH = {"urgent": [], "findings": [("ok", "dead letters: 0", "")], "drilled": False}


def lock(device: str = "abc123", until: datetime = NOW + timedelta(days=30), days: float = 1, **more: Any) -> Any:
    row = {"userId": BOB, "user": "Bob Example", "device": device, "why": "lost", "until": until, "lock": device[:8]}
    return row | {"since": NOW - timedelta(days=days), "ticket and note": "INC-1 left in a taxi"} | more


def told(detail_type: str, result: str, hours: float = 1, took: float = 1, **more: Any) -> dict[str, Any]:
    at = NOW - timedelta(hours=hours)
    times = {"received": instant.write(at - timedelta(seconds=took)), "decided": instant.write(at)}
    detail = {"id": f"{result} {hours} {took}", "eventId": "e", "source": "helpdesk", "reporter": "", "result": result}
    detail |= {"user": {"id": BOB, "name": "Bob Example", "email": ""}, "device": "abc123", "reference": "INC-1"}
    detail |= {"reason": "lost", "until": None, "lock": {"id": "abc123", "reference": "INC-1"}, "verified": True}
    detail |= {"severity": "for the record", "advice": None, "message": "It was.", "before": None, "after": None}
    return {"detailType": detail_type, "detail": detail | {"times": times} | more}


def run_of_the_sweep(guard: str | None, hours: float) -> dict[str, Any]:
    at = instant.write(NOW - timedelta(hours=hours))
    detail = {"id": f"run {hours}", "source": "device-lockout", "guard": guard, "times": {"started": at, "done": at}}
    return {"detailType": "Sweep Refused" if guard else "Sweep Completed", "detail": detail}


def made(locks: Any = (), outcomes: Any = (), health: Any = HEALTH, hours: float = 15) -> dict[str, Any]:
    data = report.of(locks, outcomes, health, (NOW - timedelta(hours=hours), NOW, NOW))
    return data | {"deployment": "device-lockout-prod", "by": "arn:aws:sts::1:assumed-role/Ops/max.muster@example.com"}


def written(capsys: pytest.CaptureFixture[str], data: dict[str, Any], form: str | None = None) -> str:
    report.write(data, form)
    return capsys.readouterr().out


# The data


@pytest.mark.parametrize(
    ("outcome", "figure"),
    [
        (told("Device Locked", "locked"), "new"),
        (told("Device Locked", "took-over"), "new"),
        (told("Device Locked", "already-locked"), None),
        (told("Device Released", "released", before=DENY), "let back in"),
        (told("Lockout Expired", "expired", before=DENY, after=ALLOW), "let back in"),
        (told("Lockout Expired", "expired", before=ALLOW), None),
        (told("Already Denied", "released", before=DENY, after=DENY), None),
        (told("Device Released", "nothing-to-release"), None),
        (told("Lockout Rejected", "rejected"), "rejected"),
        (told("Tampering Detected", "reasserted", before=ALLOW, after=DENY), "undone by somebody"),
        (told("Tampering Detected", "contested"), "undone by somebody"),
        (told("Lockout Adopted", "adopted", before=DENY, after=DENY), "undone by somebody"),
        (told("Inventory Updated", "enrolled"), None),
    ],
)
def test_each_outcome_counts_once_or_not_at_all(outcome: dict[str, Any], figure: str | None) -> None:
    data = made(outcomes=[outcome, outcome])
    counted = {name: value for name, value in data["figures"].items() if isinstance(value, int) and value}
    assert counted == ({figure: 1} if figure else {})
    assert sum(map(sum, data["bars"]["counts"].values())) == bool(figure)


def test_a_lock_of_all_devices_is_told_as_one_with_a_command_that_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    data = made([lock("*", until=NOW + timedelta(days=1))])
    (decision,) = data["decisions"]
    assert decision["command"] == f"lockout extend {BOB} --user-locks --until 30d"
    page = written(capsys, data)
    assert ">all devices</td>" in page
    assert "Bob Example all devices" in page
    assert "*<" not in page


def test_a_drill_is_no_lock_of_anybodys_and_is_told_by_itself() -> None:
    drilled = told("Device Locked", "locked", took=2, source="lockout-drill", lock={"id": "ca9a4700", "reference": ""})
    back = told("Device Released", "released", source="lockout-drill", before=DENY)
    figures = made([lock() | {"lock": "ca9a4700"}], [drilled, back])["figures"]
    assert (figures["locked now"], figures["new"], figures["let back in"]) == (0, 0, 0)
    assert figures["last drill"] == "2.0 s"
    failed = told("Lockout Failed", "failed", source="lockout-drill", hours=0.5)
    assert made(outcomes=[drilled, back, failed])["figures"]["last drill"] == "failed"
    assert made(outcomes=[failed, drilled, back])["figures"]["last drill"] == "2.0 s"
    assert made(health=HEALTH | {"drilled": True})["figures"]["last drill"] == "none"
    assert "last drill" not in made()["figures"]


@pytest.mark.parametrize(
    ("times", "p50", "p95"),
    [([], "-", "-"), ([2], "2.0 s", "2.0 s"), ([1, 2, 3, 4], "2.0 s", "4.0 s"), (range(1, 101), "50.0 s", "95.0 s")],
)
def test_the_time_from_report_to_deny_is_a_share_of_the_locks(times: Any, p50: str, p95: str) -> None:
    late = told("Device Locked", "took-over", took=9999)
    figures = made(outcomes=[late, *(told("Device Locked", "locked", took=each) for each in times)])["figures"]
    assert (figures["report→DENY p50"], figures["report→DENY p95"]) == (p50, p95)


@pytest.mark.parametrize(
    ("standing", "decision"),
    [
        (lock(), None),
        (lock(until=NOW + timedelta(days=2)), ("A lock ends soon", f"lockout extend {BOB} abc123 --until 30d")),
        (lock(until=HOLD), None),
        (lock(until=HOLD, days=31), ("A lock is old", f"lockout release {BOB} abc123")),
        (lock("x; rm", until=NOW), ("A lock ends soon", f"lockout extend {BOB} DEVICE --until 30d")),
    ],
)
def test_a_lock_that_ends_soon_or_is_old_needs_a_decision(standing: Any, decision: tuple[str, str] | None) -> None:
    found = [(row["result"], row["command"]) for row in made([standing])["decisions"]]
    assert found == ([decision] if decision else [])


def test_a_device_taken_on_trust_needs_one_only_while_its_lock_stands() -> None:
    trusted = told("Device Locked", "locked", verified=False)
    assert [row["result"] for row in made([lock()], [trusted])["decisions"]] == ["A device ID is taken on trust"]
    assert made([lock("another")], [trusted])["decisions"] == []
    assert made([lock()], [told("Device Locked", "locked")])["decisions"] == []


def test_what_is_urgent_comes_first_with_its_own_advice() -> None:
    advice = {"title": "A report was rejected", "do": "Correct it.", "command": "lockout lock USER abc123"}
    rejected = told("Lockout Rejected", "rejected", severity="act now", advice=advice)
    first, second = made([lock(until=NOW)], health=HEALTH | {"urgent": [rejected]})["decisions"]
    assert (first["severity"], first["result"], first["command"]) == ("act now", advice["title"], advice["command"])
    assert second["severity"] == "today"


@pytest.mark.parametrize(
    ("hours", "by", "bars"), [(15, "hour", 16), (48, "hour", 49), (49, "day", 3), (24 * 7, "day", 8)]
)
def test_bars_are_hours_or_days_and_cover_the_time(hours: float, by: str, bars: int) -> None:
    outcomes = [told("Device Locked", "locked", hours=each) for each in (0.01, hours)]
    found = made(outcomes=outcomes, hours=hours)["bars"]
    counts = found["counts"]["new"]
    assert (found["by"], len(found["from"]), len(counts)) == (by, bars, bars)
    assert (counts[0], counts[-1], sum(counts)) == (1, 1, 2)


def test_runs_of_the_sweep_are_counted_and_told_apart() -> None:
    runs = [run_of_the_sweep(guard, hours) for hours, guard in enumerate((None, "gap", None))]
    assert made(outcomes=runs)["sweeps"] == {"completed": 2, "refused": 1}


def test_the_highest_bar_of_nothing_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    report.write(made() | {"deployment": "d", "by": "max"}, None)
    assert "highest bar: 0" in capsys.readouterr().out


# What strangers wrote


class Parsed(HTMLParser):
    """The page's tags with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile() -> dict[str, Any]:
    by = {"user": {"id": BOB, "name": HOSTILE, "email": ""}, "device": HOSTILE, "reference": HOSTILE, "reason": HOSTILE}
    words = by | {"reporter": HOSTILE, "message": HOSTILE, "source": HOSTILE, "eventId": HOSTILE}
    advice = {"title": HOSTILE, "do": HOSTILE, "command": HOSTILE}
    urgent = told("Tampering Detected", "reasserted", severity="act now", **words | {"advice": advice})
    outcomes = [
        urgent,
        told("Lockout Rejected", "rejected", **words),
        told("Device Released", "released", before=DENY, **words),
    ]
    standing = lock(HOSTILE, user=HOSTILE, why=HOSTILE, **{"ticket and note": HOSTILE})
    health = HEALTH | {"urgent": [urgent], "findings": [("wrong", HOSTILE, HOSTILE)]}
    return made([standing], outcomes, health) | {"deployment": HOSTILE, "by": HOSTILE}


def test_what_strangers_wrote_is_text_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    page = written(capsys, hostile())
    parsed = Parsed(page)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"script", "img", "a", "iframe", "link", "object", "form"})
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert not re.search("[\x00-\x09\x0b-\x1f\u200e\u200f\u202a-\u202e\u2066-\u2069]", page)
    shown = "<script>alert(1)</script><img src=https://evil.example/x onerror=a()>\\u001b[31m\\u202egnp.exe\\n'\"&"
    assert parsed.text.count(shown) > 15
    assert len(re.findall("<script", page)) == 0


def test_what_strangers_wrote_is_no_formula_in_the_csv(capsys: pytest.CaptureFixture[str]) -> None:
    data = made([lock("=1+1", user="@SUM(1)", **{"ticket and note": "-1\x1b[2J\u202e"})])
    (row,) = [row for row in csv.DictReader(io.StringIO(written(capsys, data, "csv"))) if row["section"] == "locked"]
    assert (row["device"], row["user"], row["message"]) == ("'=1+1", "'@SUM(1)", "'-1\\u001b[2J\\u202e")


def test_the_page_fetches_nothing_and_its_policy_allows_its_own_style_only(capsys: pytest.CaptureFixture[str]) -> None:
    page = written(capsys, made([lock()], [told("Device Locked", "locked")]))
    parsed = Parsed(page)
    assert not re.search(r"https?:|//|url\(|@import|data:", page)
    assert not [name for _, attributes in parsed.tags for name in attributes if name in ("src", "href", "style")]
    (policy,) = [its["content"] for tag, its in parsed.tags if its.get("http-equiv") == "Content-Security-Policy"]
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_the_three_forms_have_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    data = made([lock(), lock("other")], [told("Device Released", "released", before=DENY)])
    rows = [*csv.DictReader(io.StringIO(written(capsys, data, "csv")))]
    in_json = json.loads(written(capsys, data, "json"))
    assert [row["device"] for row in rows if row["section"] == "locked"] == [
        each["device"] for each in in_json["locked"]
    ]
    assert in_json["locked"][0]["until"] == instant.write(NOW + timedelta(days=30))
    assert {row["result"]: row["message"] for row in rows if row["section"] == "figures"}["let back in"] == "1"
    page = Parsed(written(capsys, data)).text
    assert all(row["device"] in page for row in rows)


def test_a_page_of_very_many_locks_says_where_the_rest_is(capsys: pytest.CaptureFixture[str]) -> None:
    page = written(capsys, made([lock(f"d{number}") for number in range(report.MOST_ROWS + 7)]))
    assert page.count("<tr>") == report.MOST_ROWS + 1
    assert "And 7 more, which <code>lockout report --csv</code> has." in page


@pytest.mark.parametrize("form", ["json", "csv", None])
def test_a_redacted_report_has_no_names_addresses_devices_or_free_text(
    form: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = {"user": {"id": BOB, "name": "", "email": "bob.example@example.com"}, "device": "appldnqxk3p9n735"}
    outcomes = [told("Device Released", "released", before=DENY, reporter="Max Muster", message="of Bob", **secret)]
    health = HEALTH | {"findings": [("wrong", "max.muster@example.com has not confirmed", "")]}
    data = report.redacted(made([lock("appldnqxk3p9n735", until=NOW)], outcomes, health))
    said = written(capsys, data, form)
    for name in ("Bob", "bob", "Max", "max.", "muster", "example.com", "appldn", "taxi", BOB):
        assert name not in said
    for short in ("B. E.", "M. M.", "…n735"):
        assert short in said


@pytest.mark.parametrize(("device", "end"), [("", ""), ("a", "…"), ("ab", "…b"), ("abcd", "…cd"), ("a" * 32, "…aaaa")])
def test_of_a_device_at_most_half_stays(device: str, end: str) -> None:
    assert report.redacted(made([lock(device)]))["locked"][0]["device"] == end


# The command


@pytest.fixture
def locked(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(doctor, "READING", (doctor._dead_letters, doctor._last_sweeps))
    run("lock", "bob", "ABC123", "--ref", "INC-1", "--note", HOSTILE[:60], "--yes", "--unverified")
    return run


def test_the_command_reads_the_deployment(locked: Run, world: World, tmp_path: Path) -> None:
    writes = world.workmail.writes
    status, out, _ = locked("report", "--since", "1h", "--json")
    data = json.loads(out)
    assert (status, data["figures"]["locked now"], data["figures"]["new"]) == (0, 1, 1)
    assert [(row["device"], row["user"]) for row in data["locked"]] == [("abc123", "bob@example.com")]
    assert [row["result"] for row in data["decisions"]] == ["A device ID is taken on trust"]
    assert next(row["found"] for row in data["machine"]) == "dead letters: 0"
    status, out, _ = locked("report", "-o", str(tmp_path / "today.html"))
    assert (status, out) == (0, "")
    assert "abc123" in Parsed((tmp_path / "today.html").read_text(encoding="utf-8")).text
    assert world.workmail.writes == writes
    del world.workmail.overrides[key("abc123")]
    assert json.loads(locked("report", "--json")[1])["locked"] == []


def test_a_time_that_is_to_come_is_refused(locked: Run) -> None:
    status, out, err = locked("report", "--since", "2099-01-01")
    assert (status, out) == (2, "")
    assert err.startswith("lockout: the report would begin in the future\ntry: ")


def test_the_report_has_no_check_that_writes() -> None:
    assert {*doctor.CHECKS} - {*doctor.READING} == {doctor._bus_policy}


# A browser


LOOKING = """<body><iframe id="f" src="{page}" style="border:0;width:{width}px;height:2000px"></iframe><script>
f.onload = () => {{ const it = f.contentDocument.documentElement;
  document.title = it.scrollWidth + " " + it.clientWidth; }};
</script>"""


@pytest.fixture
def browser() -> Callable[..., str]:
    command = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if command is None:
        pytest.skip("there is no chromium: `apt-get install chromium` gets it")

    def ran(*words: str) -> str:
        usual = (
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
        )
        done = subprocess.run([command, *usual, *words], capture_output=True, text=True, check=True, timeout=120)
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert console == []
        return done.stdout

    return ran


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 900, 360])
def test_nothing_is_wider_than_the_screen_and_the_console_is_silent(
    width: int, browser: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = lock("x" * 64, user="Y" * 100, **{"ticket and note": "z" * 256})
    data = hostile()
    data["locked"] += made([long])["locked"]
    (tmp_path / "report.html").write_text(written(capsys, data), encoding="utf-8")
    (tmp_path / "looking.html").write_text(LOOKING.format(page="report.html", width=width), encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    looked = browser(profile, "--dump-dom", "--virtual-time-budget=5000", f"file://{tmp_path}/looking.html")
    (title,) = re.findall("<title>(.*?)</title>", looked)
    needed, there = map(int, title.split())
    assert there == width
    assert needed <= there


@pytest.mark.slow
def test_in_print_it_is_a_page_of_a4(
    browser: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").write_text(written(capsys, hostile()), encoding="utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    browser(profile, f"--print-to-pdf={tmp_path / 'report.pdf'}", f"file://{tmp_path}/report.html")
    boxes = re.findall(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", (tmp_path / "report.pdf").read_bytes())
    assert {(round(float(width)), round(float(height))) for width, height in boxes} == {(595, 842)}


def test_every_colour_can_be_read_in_the_light_in_the_dark_and_in_print() -> None:
    """https://www.w3.org/TR/WCAG22/#contrast-minimum"""

    def brightness(colour: str) -> float:
        digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    page = (Path(report.__file__).parent / "report.html").read_text(encoding="utf-8")
    schemes = [dict(re.findall(r"--(\w+): #(\w+)", rule)) for rule in re.findall(r":root \{(.*?)\}", page, re.DOTALL)]
    assert [{*scheme} for scheme in schemes] == [{*schemes[0]}] * 3
    for scheme in schemes:
        for ink in ("ink", "soft", "bad", "warn", "good"):
            for paper in ("paper", "card"):
                dark, light = sorted((brightness(scheme[ink]), brightness(scheme[paper])))
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)
