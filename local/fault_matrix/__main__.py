"""`make faults`: what must not happen, looked for on the local AWS while WorkMail, the worker and the queue misbehave.

Every fault has a user of its own, on whose devices the stories of ``fault_stories`` happen; the emulator's faults hit
that user's calls alone, so that all faults are on at the same time and one must not disturb another. What has no user,
the listing, has faults of its own, during which the sweep must let nothing back in.
Prints one row for each fault; exit status 1 if a lock was lost, a foreign override changed or a report forgotten.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from configuration import loader
from device_lockout.inbound import report
from device_lockout.values import command as commands
from device_lockout.values import settings, wire
from local import lifecycle
from local.connection import Connection
from local.deployment import Announcements, Deployment
from local.fault_matrix.stories import Stories, lets_in
from local.up import stack_name, up

type Json = dict[str, Any]

GET, PUT, DELETE = (f"{verb}MobileDeviceAccessOverride" for verb in ("Get", "Put", "Delete"))
DESCRIBE, LIST = "DescribeUser", "ListMobileDeviceAccessOverrides"
WRITES = [PUT, DELETE]
BALLAST = 120
"""Locks of ours that stand all the while and are unknown to the ledger: more than a page, so that one can fail, and
enough for what ends at once to stay below the sweep's percentage of ours."""
RECENT = 100
"""Calls to WorkMail among which is what is on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the matrix.

    ``faults`` are the emulator's, by any name, and hit this row's user only; ``kills`` are (operation, device): the
    worker is killed while that call is on, once each; ``delivered``: every event comes twice and the newest first, and
    every command comes again when it is done; ``away``: the faults are on only until the reports wait, since nothing
    gets through.
    """

    name: str
    words: str
    faults: Mapping[str, Json] = field(default_factory=dict)
    kills: tuple[tuple[str, str], ...] = ()
    delivered: Literal["once", "shuffled"] = "once"
    away: bool = False

    @property
    def early(self) -> bool:
        """Whether the short lives are reported before the fault is on: they would be over before they got through."""
        return self.away or bool(self.kills)


def _unanswered(effect: str, **more: Any) -> Mapping[str, Json]:
    return {"no_answer": {"operations": WRITES, "effect": effect, "probability": 0.6, **more}}


MATRIX = (
    Fault("none", "nothing goes wrong"),
    Fault("throttled", "WorkMail throttles 3 calls of 10", {"throttle": {"probability": 0.3}}),
    Fault("broken", "3 calls of 10 are answered 500, nothing done", {"error": {"probability": 0.3}}),
    Fault(
        "broken-done",
        "6 writes of 10 are answered 500, and done",
        {"error": {"operations": WRITES, "effect": "applied", "probability": 0.6}},
    ),
    Fault("slow", "every call takes 0.5 s longer", {"latency": {"ms": 500}}),
    Fault("silent", "6 writes of 10 are not answered, nothing done", _unanswered("not_applied")),
    Fault("silent-done", "6 writes of 10 are not answered, and done", _unanswered("applied")),
    Fault("silent-late", "6 writes of 10 are not answered, and done 3 s later", _unanswered("late", after_seconds=3)),
    Fault("away", "WorkMail is away until all reports wait", {"error": {"status": 503}}, away=True),
    Fault("doubled", "every event twice, the newest first; every command once more", delivered="shuffled"),
    Fault(
        "killed",
        "the worker is killed in each kind of call",
        {"latency": {"ms": 700}},
        kills=((DESCRIBE, "LOST"), (GET, "LOSTAGAIN"), (PUT, "FOUND"), (PUT, "EXTENDED"), (DELETE, "SHORT")),
    ),
)
SHORT_MATRIX = ("throttled", "silent-late", "doubled")

LISTING: Mapping[str, tuple[str, Json]] = {
    "away": ("list", {"faults": {"listing": {"kind": "error", "operations": [LIST], "status": 503}}}),
    "a page that fails": (
        "list",
        {"faults": {"listing": {"kind": "error", "operations": [LIST], "status": 500, "skip": 1}}},
    ),
    "its clock two minutes ahead": ("clock", {"date_header_skew_seconds": 120}),
}
"""What the listing suffers while locks are over: (the guard that must refuse, the emulator's settings)."""


@dataclass(slots=True)
class Result:
    """What came of one row; ``violations`` are sentences."""

    fault: Fault
    meanwhile: int
    reports: int
    writes: int
    unanswered: int
    refused: int
    violations: list[str]


class Matrix:
    """The rows, run together on one deployment."""

    def __init__(self, there: Deployment, server: int, rows: tuple[Fault, ...], say: Callable[[str], None]) -> None:
        self.there = there
        self.server = server
        self.rows = rows
        self.say = say
        self.began = datetime.now(UTC)
        self.patience = 75.0
        self.standing = 0
        run = uuid.uuid4().hex[:6]
        self.users = {row.name: f"{row.name}-{run}" for row in rows}
        self.ballast = f"ballast{run}"
        self.stories: dict[str, Stories] = {}
        self.kills: list[tuple[str, str, str]] = []
        self.over = threading.Event()
        self.violations: list[str] = []

    def run(self, short_life: timedelta, listing: bool = True) -> list[Result]:
        """Everything, in about five minutes; ``listing``: with faults of calls that have no user, too.

        Without those it can run beside others on their deployment, with a few rows.
        """
        self.standing = BALLAST if listing else 0
        there = self.there
        announcements = Announcements(there, f"faults-{uuid.uuid4().hex[:8]}")
        killer = threading.Thread(target=self.kill)
        try:
            self.prepare(short_life)
            killer.start()
            if listing:
                self.settings(LISTING["away"][1])
            self.report()
            self.wait("every report has its outcome", lambda: not self.waiting(), self.patience)
            meanwhile = {row.name: self.stories[row.name].recorded() for row in self.rows}
            self.say(f"reports: {sum(meanwhile.values())} of {self.count()} have their outcome while the faults are on")
            self.switch_off([row for row in self.rows if row.away])
            self.wait("the short lives are over", lambda: all(s.over < datetime.now(UTC) for s in self.all()), 60)
            if listing:
                self.trouble_the_listing()
            self.sweep_until_settled(45)
            self.switch_off(self.rows)
            self.say("all faults are off")
            self.wait("every report has its outcome", lambda: all(map(self.done, self.rows)), 180)
            for _ in range(2):
                self.sweep()
                self.wait("all has ended as it must", lambda: not any(self.unsettled().values()), 60)
            announced: dict[str, list[Json]] = defaultdict(list)
            for event in announcements.heard():
                announced[event["detail"].get("eventId", "")].append(event["detail"])
            return self.judge(meanwhile, announced)
        finally:
            self.over.set()
            self.switch_off(self.rows)
            if listing:
                self.settings({"faults": {"listing": None}, "date_header_skew_seconds": None})
            announcements.close()

    # --- what is done ---------------------------------------------------------------------------------------------

    def prepare(self, short_life: timedelta) -> None:
        """Users, what stands before, and the faults."""
        users = [{"Name": name, "Email": f"{name}@example.com"} for name in (*self.users.values(), self.ballast)]
        tag = "[lockout/1 by=local why=lost until=2099-01-01T00:00:00Z at=2026-11-01T00:00:00Z id={:08x} was=none]"
        standing = [
            {"UserId": self.ballast, "DeviceId": f"{self.ballast}{number}", "Effect": "DENY"}
            | {"Description": tag.format(number)}
            for number in range(self.standing)
        ]
        organization = self.there.organization
        self.there.control(
            "POST",
            "seed",
            {
                "users": [{"OrganizationId": organization, **user} for user in users],
                "overrides": [{"OrganizationId": organization, **row} for row in standing],
            },
        )
        self.stories = {
            row.name: Stories(self.there, self.users[row.name], short_life + timedelta(seconds=10 * row.early))
            for row in self.rows
        }
        for stories in self.all():
            stories.make_overrides_by_hand()
        early = [self.stories[row.name] for row in self.rows if row.early]
        for stories in early:
            stories.report_short_lives()
        self.wait("early locks stand", lambda: all(s.recorded() == len(s.reports) for s in early), 30)
        faults: dict[str, Json] = {}
        for row in self.rows:
            for kind, fault in row.faults.items():
                faults[f"{row.name}-{kind}"] = {"kind": kind, "user": self.users[row.name], **fault}
        self.settings({"seed": 7, "faults": faults})
        self.kills = [(row.name, operation, device) for row in self.rows for operation, device in row.kills]

    def report(self) -> None:
        """All events, of all rows at once; what follows a loss comes when the loss has its outcome, or at last."""
        for row in self.rows:
            stories = self.stories[row.name]
            if not row.early:
                stories.report_short_lives()
            stories.report_losses()
        together = [row for row in self.rows if row.away or row.delivered == "shuffled"]
        for row in together:
            self.stories[row.name].report_what_follows()
        for row in together:
            if row.delivered == "shuffled":
                again = self.stories[row.name].reports[::-1]
                random.Random(7).shuffle(again)  # noqa: S311 - an order that can be had again
                for one in again:
                    self.there.deliver_again(one)
        later = [row for row in self.rows if row not in together]
        deadline = time.monotonic() + 30
        while later:
            for row in list(later):
                stories = self.stories[row.name]
                if stories.recorded() == len(stories.reports) or time.monotonic() > deadline:
                    stories.report_what_follows()
                    later.remove(row)
            time.sleep(0.2)
        shuffled = [row for row in self.rows if row.delivered == "shuffled"]
        self.wait("what is to come again was done", lambda: all(map(self.done, shuffled)), self.patience)
        for row in shuffled:
            self.deliver_commands_again(row)

    def deliver_commands_again(self, row: Fault) -> None:
        """Each command as a message of its own, after all is done: what a queue does whose acknowledgement was lost."""
        known = settings.parse(loader.load("local", lifecycle.ROOT / "config").settings())
        for one in self.stories[row.name].reports:
            asked = report.read(one.body, one.event_id, datetime.now(UTC), known)
            self.there.sqs.send_message(
                QueueUrl=self.there.outputs["CommandsQueueUrl"],
                MessageBody=wire.dump(asked),
                MessageGroupId=commands.group_id(asked),
                MessageDeduplicationId=uuid.uuid4().hex,
            )

    def kill(self) -> None:
        """Kill the workers while a call that is due for it is on, each call once, until the matrix is over."""
        killed, since = self.began, 0
        while self.kills and not self.over.wait(0.05):
            page = self.there.control("GET", f"calls?since={since}")
            going_on = [call for call in page["calls"] if call["status"] is None]
            since = max(0, page["next"] - RECENT)
            for call in going_on:
                device = str(call["request"].get("DeviceId", "")).upper()
                due = next(
                    (
                        (row, operation, name)
                        for row, operation, name in self.kills
                        if operation == call["operation"]
                        and (device or call["request"]["UserId"] == self.users[row])
                        and device in ("", self.stories[row].device(name))  # a look-up of the user tells no device
                    ),
                    None,
                )
                if due is None or datetime.fromisoformat(call["time"]) <= killed:
                    continue
                count = kill_workers(self.server, self.there.outputs["ApplyCommandsFunctionName"])
                killed = datetime.now(UTC)
                self.say(f"killed {count} in {due[1]} of {due[2]}")
                if count:
                    self.kills.remove(due)

    def trouble_the_listing(self) -> None:
        """While the listing fails, what is over must stay: twice over, by the sweep's word and by what stands."""
        ended = [
            story.device
            for stories in self.all()
            for name, story in stories.stories.items()
            if name.startswith("SHORT") and stories.ended("locked", story)
        ]
        for what, (guard, change) in LISTING.items():
            self.settings({"faults": {"listing": None}, "date_header_skew_seconds": None})
            self.settings(change)
            answer = self.there.sweep()
            self.say(f"the sweep with WorkMail's list {what}: {answer}")
            if answer["guard"] != guard:
                self.violations.append(f"the sweep with WorkMail's list {what}: expected {guard}, was {answer}")
            for device in ended:
                if any(lets_in(write) for write in self.there.writes(device)):
                    self.violations.append(f"the sweep with WorkMail's list {what} let in {device}")
        self.settings({"faults": {"listing": None}, "date_header_skew_seconds": None})
        if not ended:
            self.violations.append("no lock was over while the list had its faults: nothing was shown")

    def sweep_until_settled(self, seconds: float) -> None:
        """Sweeps, with the users' faults on, until all has ended as it must, or for ``seconds``."""
        deadline = time.monotonic() + seconds
        while (any(self.unsettled().values()) or self.kills) and time.monotonic() < deadline:
            self.sweep()
            idle = time.monotonic() + 8
            while not self.there.is_idle() and time.monotonic() < idle:
                time.sleep(0.1)

    def sweep(self) -> None:
        answer = self.there.sweep()
        if not answer["completed"] or answer["guard"]:
            self.violations.append(f"a sweep was refused: {answer}")

    def switch_off(self, rows: tuple[Fault, ...] | list[Fault]) -> None:
        self.settings({"faults": {f"{row.name}-{kind}": None for row in rows for kind in row.faults}})

    def settings(self, change: Json) -> None:
        self.there.control("PUT", "settings", change)

    # --- what is seen ---------------------------------------------------------------------------------------------

    def all(self) -> list[Stories]:
        return list(self.stories.values())

    def count(self) -> int:
        return sum(len(stories.reports) for stories in self.all())

    def done(self, row: Fault) -> bool:
        stories = self.stories[row.name]
        return stories.recorded() == len(stories.reports)

    def waiting(self) -> list[str]:
        """Rows that are not away and have reports without an outcome."""
        return [row.name for row in self.rows if not row.away and not self.done(row)]

    def listed(self) -> dict[str, Json]:
        return {row["DeviceId"].upper(): row for row in self.there.overrides()}

    def unsettled(self) -> dict[str, list[str]]:
        listed = self.listed()
        return {row.name: self.stories[row.name].unsettled(listed) for row in self.rows}

    def wait(self, what: str, look: Callable[[], bool], seconds: float) -> None:
        """Until ``look`` is true; after ``seconds`` the matrix goes on, since the judgement tells what came of it."""
        deadline = time.monotonic() + seconds
        while not look():
            if time.monotonic() > deadline:
                self.say(f"not within {seconds:.0f} s: {what}")
                return
            time.sleep(0.3)

    def judge(self, meanwhile: dict[str, int], announced: dict[str, list[Json]]) -> list[Result]:
        """Each row against the invariants."""
        listed = self.listed()
        results = []
        for row in self.rows:
            stories = self.stories[row.name]
            calls = [
                call
                for call in self.there.calls(user=stories.user)
                if ":assumed-role/" in str(call["principal"]) and call["operation"] != LIST
            ]
            writes = [call for call in calls if call["operation"] in WRITES]
            violations = [
                *(f"lost lock: {said}" for said in stories.lost_locks(writes)),
                *(f"wrong end: {said}" for said in stories.unsettled(listed)),
                *(f"foreign override changed: {said}" for said in stories.changed(listed, writes)),
                *(f"unaccounted: {said}" for said in stories.unaccounted(announced)),
            ]
            if row.faults and not any(call.get("faults") for call in calls):
                violations.append("the fault hit nothing")
            results.append(
                Result(
                    row,
                    meanwhile[row.name],
                    len(stories.reports),
                    len(writes),
                    sum(call["status"] is None or call["status"] >= 500 for call in calls),
                    sum(call["error"] == "ThrottlingException" for call in calls),
                    violations,
                )
            )
        standing = sum(device.startswith(self.ballast.upper()) for device in listed)
        if standing != self.standing:
            self.violations.append(f"{self.standing - standing} of {self.standing} other locks of ours are gone")
        self.violations += [f"{count} messages in {queue}" for queue, count in self.there.dead_letters().items()]
        self.violations += [f"nobody was killed in {operation} of {device}" for _, operation, device in self.kills]
        return results


def kill_workers(server: int, function: str) -> int:
    """SIGKILL to the processes that a server runs a function in; returns how many there were.

    They are told by their parent, which is the server, and by the directory that MiniStack names after the function.
    """
    command = ["ps", "-axo", "pid=,ppid=,command="]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [
        int(pid)
        for pid, parent, line in (row.split(None, 2) for row in table.splitlines())
        if int(parent) == server and f"ministack-lambda-{function}-" in line
    ]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return len(found)


def table(results: list[Result]) -> Iterator[str]:
    """The results as lines."""
    yield f"{'fault':<12} {'reports':>7} {'meanwhile':>9} {'writes':>6} {'unanswered':>10} {'throttled':>9}  violations"
    for result in results:
        counts = f"{result.reports:>7} {result.meanwhile:>9} {result.writes:>6} {result.unanswered:>10}"
        yield f"{result.fault.name:<12} {counts} {result.refused:>9}  {len(result.violations) or 'none'}"
        for violation in result.violations:
            yield f"             {violation}"


def main() -> None:
    """Run the matrix on a local AWS of its own, which is gone afterwards."""
    parser = argparse.ArgumentParser(prog="python -m local.fault_matrix")
    parser.add_argument("rows", nargs="*", choices=[[], *(row.name for row in MATRIX)], help="all of them by default")
    chosen: list[str] = parser.parse_args().rows
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        state = Path(directory)
        try:
            up(state)
            server = lifecycle.find(state)
            assert server is not None, "it was just started"
            there = Deployment.find(Connection.read(state / "env"), stack_name(state))
            matrix = Matrix(there, server.pid, tuple(row for row in MATRIX if not chosen or row.name in chosen), say)
            results = matrix.run(short_life=timedelta(seconds=40))
            troubles = sorted({re.sub(r"[0-9a-f-]{8,}", "…", line) for line in there.troubles(matrix.began)})
        finally:
            lifecycle.stop(state)
    print()
    for row in matrix.rows:
        print(f"{row.name:<12} {row.words}")
    print()
    print("\n".join(table(results)))
    for violation in matrix.violations:
        print(f"VIOLATION    {violation}")
    if matrix.violations or any(result.violations for result in results):
        print("\n".join(troubles[:40]))
        sys.exit(1)
    print(f"\n{sum(result.reports for result in results)} reports under {len(results)} faults: no violation.")


if __name__ == "__main__":
    main()
