"""One run of the fault matrix on a deployment."""

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from config_reader import loader
from device_lockout.inbound import report
from device_lockout.values import command as commands
from device_lockout.values import wire
from local.deployment import Announcements, Deployment, pause
from local.fault_matrix.matrix import LIST, LISTING, LISTING_AWAY, WRITES, Row
from local.fault_matrix.stories import Stories, lets_in
from local.fault_matrix.workers import Kill, Killer

type Json = dict[str, Any]

OTHER_LOCKS = 120
"""Locks with our tag that stay throughout and are not in the ledger.

They fill more than one page, so that a page can fail. They also keep what expires below the sweep's percentage.
"""

LAST_WAIT = 600.0
"""Seconds until what is missing counts as lost. On a slow or busy machine the last retries take minutes."""


@dataclass(slots=True)
class Result:
    """What one row came to.

    Attributes:
        row: the row.
        meanwhile: reports that had an outcome while the fault was on.
        reports: all reports of the row.
        writes: the functions' calls that write to WorkMail.
        unanswered: the functions' calls without an answer, or with a 5xx.
        throttled: the functions' calls that WorkMail throttled.
        violations: broken invariants, one sentence each.
    """

    row: Row
    meanwhile: int
    reports: int
    writes: int
    unanswered: int
    throttled: int
    violations: list[str]


class MatrixRun:
    """Runs rows of the matrix together on one deployment."""

    def __init__(
        self, deployment: Deployment, server_pid: int, rows: tuple[Row, ...], log: Callable[[str], None]
    ) -> None:
        self.deployment = deployment
        self.rows = rows
        self.log = log
        self.began = datetime.now(UTC)
        self.other_locks = 0
        run = uuid.uuid4().hex[:6]
        self.users = {row.name: f"{row.name}-{run}" for row in rows}
        self.other_user = f"other{run}"
        self.stories: dict[str, Stories] = {}
        self.killer = Killer(deployment, server_pid, log)
        self.violations: list[str] = []

    def run(self, short_lock: timedelta, listing: bool = True) -> list[Result]:
        """Run everything, in about five minutes.

        Args:
            short_lock: how long the short locks last.
            listing: also trouble the listing, which has no user. Without it, the run can share a deployment.
        """
        self.other_locks = OTHER_LOCKS if listing else 0
        announcements = Announcements(self.deployment, f"faults-{uuid.uuid4().hex[:8]}")
        try:
            self.prepare(short_lock)
            self.killer.start(
                Kill(operation, self.users[row.name], self.stories[row.name].device(device))
                for row in self.rows
                for operation, device in row.kills
            )
            if listing:
                self.change_settings(LISTING_AWAY.settings)
            self.report()
            answerable = [row for row in self.rows if not row.until_queued]
            self.wait("every report has its outcome", lambda: all(map(self.is_done, answerable)), 75)
            meanwhile = {row.name: self.stories[row.name].count_recorded() for row in self.rows}
            reports = sum(len(stories.reports) for stories in self.all_stories())
            self.log(f"{sum(meanwhile.values())} of {reports} reports have their outcome while the faults are on")
            self.switch_off([row for row in self.rows if row.until_queued])
            self.wait("the short locks have expired", self.short_locks_expired, 60)
            if listing:
                self.trouble_the_listing()
            self.sweep_until_settled(45)
            self.switch_off(self.rows)
            self.log("all faults are off")
            self.wait("every report has its outcome", lambda: all(map(self.is_done, self.rows)), LAST_WAIT)
            for _ in range(2):
                self.sweep()
                self.wait("every device has ended as it must", lambda: not self.wrong_ends(), LAST_WAIT)
            announced: dict[str, list[Json]] = defaultdict(list)
            for event in announcements.heard():
                announced[event["detail"].get("eventId", "")].append(event["detail"])
            return self.judge(meanwhile, announced)
        finally:
            self.killer.stop()
            self.switch_off(self.rows)
            if listing:
                self.restore_the_listing()
            announcements.close()

    # --- what is done ---------------------------------------------------------------------------------------------

    def prepare(self, short_lock: timedelta) -> None:
        """Make users and overrides, report the first short locks, and switch the faults on."""
        organization = self.deployment.organization
        tag = "[lockout/1 by=local why=lost until=2099-01-01T00:00:00Z at=2026-11-01T00:00:00Z id={:08x} was=none]"
        self.deployment.control(
            "POST",
            "seed",
            {
                "users": [
                    {"OrganizationId": organization, "Name": name, "Email": f"{name}@example.com"}
                    for name in (*self.users.values(), self.other_user)
                ],
                "overrides": [
                    {
                        "OrganizationId": organization,
                        "UserId": self.other_user,
                        "DeviceId": f"{self.other_user}{number}",
                        "Effect": "DENY",
                        "Description": tag.format(number),
                    }
                    for number in range(self.other_locks)
                ],
            },
        )
        self.stories = {
            row.name: Stories(
                self.deployment, self.users[row.name], short_lock + timedelta(seconds=10 * row.short_locks_first)
            )
            for row in self.rows
        }
        for stories in self.all_stories():
            stories.put_foreign_overrides()
        early = [row for row in self.rows if row.short_locks_first]
        for row in early:
            self.stories[row.name].report_short_locks()
        self.wait("the first locks are set", lambda: all(map(self.is_done, early)), 30)
        faults: dict[str, Json] = {}
        for row in self.rows:
            for kind, fault in row.faults.items():
                faults[f"{row.name}-{kind}"] = {"kind": kind, "user": self.users[row.name], **fault}
        self.change_settings({"seed": 7, "faults": faults})

    def report(self) -> None:
        """Publish the events of all rows at once.

        What follows a loss waits for the outcome of the loss, for 30 s at most.
        """
        for row in self.rows:
            stories = self.stories[row.name]
            if not row.short_locks_first:
                stories.report_short_locks()
            stories.report_losses()
        together = [row for row in self.rows if row.until_queued or row.redelivered]
        redelivered = [row for row in self.rows if row.redelivered]
        for row in together:
            self.stories[row.name].report_what_follows()
        for row in redelivered:
            for event in reversed(self.stories[row.name].reports):
                self.deployment.deliver_again(event)
        later = [row for row in self.rows if row not in together]
        deadline = time.monotonic() + 30
        while later:
            for row in list(later):
                if self.is_done(row) or time.monotonic() > deadline:
                    self.stories[row.name].report_what_follows()
                    later.remove(row)
            time.sleep(0.2)
        self.wait("the commands to be repeated are done", lambda: all(map(self.is_done, redelivered)), 75)
        for row in redelivered:
            self.deliver_commands_again(row)

    def deliver_commands_again(self, row: Row) -> None:
        """Send each command once more, as a queue does that missed the acknowledgement."""
        known = loader.load("local").settings
        for event in self.stories[row.name].reports:
            (command,) = report.read(event.body, event.event_id, datetime.now(UTC), known)
            self.deployment.sqs.send_message(
                QueueUrl=self.deployment.outputs["CommandsQueueUrl"],
                MessageBody=wire.dump(command),
                MessageGroupId=commands.group_id(command),
                MessageDeduplicationId=uuid.uuid4().hex,
            )

    def trouble_the_listing(self) -> None:
        """Sweep while the listing fails. The sweep must be refused, and expired locks must stay."""
        expired = [
            story.device
            for stories in self.all_stories()
            for name, story in stories.stories.items()
            if name.startswith("SHORT") and stories.has_outcome("locked", story)
        ]
        for fault in LISTING:
            self.restore_the_listing()
            self.change_settings(fault.settings)
            answer = self.deployment.sweep()
            self.log(f"sweep while {fault.description}: {answer}")
            if answer["guard"] != fault.guard:
                self.violations.append(f"sweep while {fault.description}: expected {fault.guard}, got {answer}")
            for device in expired:
                if any(lets_in(write) for write in self.deployment.writes(device)):
                    self.violations.append(f"sweep while {fault.description}: {device} was let back in")
        self.restore_the_listing()
        if not expired:
            self.violations.append("no lock had expired while the listing failed, so this proves nothing")

    def sweep_until_settled(self, seconds: float) -> None:
        """Sweep with the users' faults on until every device has ended as it must, or for `seconds`."""
        deadline = time.monotonic() + seconds
        while (self.wrong_ends() or self.killer.due) and time.monotonic() < deadline:
            self.sweep()
            idle = time.monotonic() + 8
            while not self.deployment.is_idle() and time.monotonic() < idle:
                time.sleep(0.1)

    def sweep(self) -> None:
        answer = self.deployment.sweep()
        if not answer["completed"] or answer["guard"]:
            self.violations.append(f"a sweep was refused: {answer}")

    def switch_off(self, rows: Iterable[Row]) -> None:
        self.change_settings({"faults": {f"{row.name}-{kind}": None for row in rows for kind in row.faults}})

    def restore_the_listing(self) -> None:
        self.change_settings({"faults": {"listing": None}, "date_header_skew_seconds": None})

    def change_settings(self, change: Json) -> None:
        self.deployment.control("PUT", "settings", change)

    # --- what is seen ---------------------------------------------------------------------------------------------

    def all_stories(self) -> list[Stories]:
        return list(self.stories.values())

    def is_done(self, row: Row) -> bool:
        """Return whether every report of a row has an outcome."""
        stories = self.stories[row.name]
        return stories.count_recorded() == len(stories.reports)

    def short_locks_expired(self) -> bool:
        return all(stories.short_locks_end < datetime.now(UTC) for stories in self.all_stories())

    def listed(self) -> dict[str, Json]:
        return {row["DeviceId"].upper(): row for row in self.deployment.overrides()}

    def wrong_ends(self) -> list[str]:
        listed = self.listed()
        return [wrong for stories in self.all_stories() for wrong in stories.wrong_ends(listed)]

    def wait(self, what: str, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until a condition holds, for `seconds` at most.

        The run then goes on, because the judgement finds what is missing.
        """
        began, said = time.monotonic(), False
        while not condition():
            waited = time.monotonic() - began
            if waited > seconds:
                self.log(f"not within {seconds:.0f} s: {what}")
                return
            if waited > 1 and not said:
                said = True
                self.log(f"waiting until {what}")
            time.sleep(pause(waited, shortest=0.3))

    def judge(self, meanwhile: dict[str, int], announced: dict[str, list[Json]]) -> list[Result]:
        """Check each row against the invariants."""
        listed = self.listed()
        results = []
        for row in self.rows:
            stories = self.stories[row.name]
            calls = [
                call
                for call in self.deployment.calls(user=stories.user)
                if ":assumed-role/" in str(call["principal"]) and call["operation"] != LIST
            ]
            writes = [call for call in calls if call["operation"] in WRITES]
            violations = [
                *(f"lost lock: {sentence}" for sentence in stories.lost_locks(writes)),
                *(f"wrong end: {sentence}" for sentence in stories.wrong_ends(listed)),
                *(f"foreign override changed: {sentence}" for sentence in stories.changed(listed, writes)),
                *(f"unaccounted: {sentence}" for sentence in stories.unaccounted(announced)),
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
        left = sum(device.startswith(self.other_user.upper()) for device in listed)
        if left != self.other_locks:
            self.violations.append(f"{self.other_locks - left} of {self.other_locks} other locks are gone")
        self.violations += [f"{count} messages in {queue}" for queue, count in self.deployment.dead_letters().items()]
        self.violations += [f"no worker was killed in {kill.operation} of {kill.device}" for kill in self.killer.due]
        return results


def table(results: list[Result]) -> Iterator[str]:
    """Yield the results as lines of text."""
    yield f"{'fault':<12} {'reports':>7} {'meanwhile':>9} {'writes':>6} {'unanswered':>10} {'throttled':>9}  violations"
    for result in results:
        counts = f"{result.reports:>7} {result.meanwhile:>9} {result.writes:>6} {result.unanswered:>10}"
        yield f"{result.row.name:<12} {counts} {result.throttled:>9}  {len(result.violations) or 'none'}"
        for violation in result.violations:
            yield f"             {violation}"
