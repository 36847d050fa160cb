"""What happens to one user's devices while a fault is on, and how it must end."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from local.deployment import Deployment, Report, rfc3339

type Json = dict[str, Any]

FOREIGN_ALLOW = "CHG-77  approved by Zoë Müller, 受付"
FOREIGN_DENY = "legal hold 2026-17, ask Jana before you change this"
UNTOUCHED = {
    "BYSTANDER": ("ALLOW", "it is my tablet"),
    "NEIGHBOUR": (
        "DENY",
        "[lockout/1 by=other why=lost until=2026-01-01T00:00:00Z at=2025-12-01T00:00:00Z id=9f3c2a1b was=none]",
    ),
    "BROKEN": ("DENY", "[lockout/1 by=local why=lost until=soon] INC-9"),
    "NOTYET": ("ALLOW", "[until=2099-12-01] visiting until the end of the century"),
    "DENIED": ("DENY", FOREIGN_DENY),
}
"""Foreign overrides by device: effect and description. The last device is reported as lost."""


@dataclass(slots=True)
class Story:
    """One device's reports and how they must end.

    Attributes:
        device: the device ID in upper case.
        opens: when the device may be let back in, None for never.
        end: the final effect and a part of the description, None for no override.
        reports: the reports about the device.
    """

    device: str
    opens: datetime | None
    end: tuple[str, str] | None
    reports: list[Report]

    def wrong_end(self, override: Json | None) -> str | None:
        """Return what is wrong with the final override, in words."""
        found = None if override is None else (override["Effect"], override.get("Description", ""))
        if self.end is None:
            return None if found is None else f"{self.device}: expected nothing, found {found}"
        if found is not None and found[0] == self.end[0] and self.end[1] in found[1]:
            return None
        return f"{self.device}: expected {self.end}, found {found}"


class Stories:
    """The stories of one user. Device IDs begin with the user's name, so no two users share a device."""

    def __init__(self, deployment: Deployment, user: str, short_lock: timedelta) -> None:
        self.deployment = deployment
        self.user = user
        self.began = datetime.now(UTC)
        self.short_locks_end = self.began + short_lock
        self.stories: dict[str, Story] = {}
        self.untouched: dict[str, Json] = {}
        self._recorded: set[str] = set()

    @property
    def reports(self) -> list[Report]:
        return [report for story in self.stories.values() for report in story.reports]

    def device(self, name: str) -> str:
        return f"{self.user.replace('-', '')}{name}".upper()

    def put_foreign_overrides(self) -> None:
        """Put the overrides that administrators made before."""
        rows = {
            **UNTOUCHED,
            **dict.fromkeys(("FOUND", "LOSTAGAIN", "SHORTALLOWED"), ("ALLOW", FOREIGN_ALLOW)),
            "HANDPAST": ("ALLOW", "[until=2026-01-05] travel phone"),
        }
        for name, (effect, description) in rows.items():
            self.deployment.workmail.put_mobile_device_access_override(
                OrganizationId=self.deployment.organization,
                UserId=self.user,
                DeviceId=self.device(name),
                Effect=effect,
                Description=description,
            )
        self.untouched = {name: self.deployment.override(self.user, self.device(name)) or {} for name in UNTOUCHED}
        self.stories["HANDPAST"] = Story(self.device("HANDPAST"), self.began, None, [])

    def report_short_locks(self) -> None:
        """Report two devices whose locks expire while the fault is on."""
        for name, end in (("SHORT", None), ("SHORTALLOWED", ("ALLOW", FOREIGN_ALLOW))):
            reports = self._publish([("Device Lost", name, {"expiresAt": rfc3339(self.short_locks_end)})])
            self.stories[name] = Story(self.device(name), self.short_locks_end, end, reports)

    def report_losses(self) -> None:
        """Report the devices whose locks must last."""
        lost, found, again, longer, denied = self._publish(
            [
                ("Device Lost", "LOST", {"reportedAt": self._ago(30)}),
                ("Device Stolen", "FOUND", {"reportedAt": self._ago(30)}),
                ("Device Stolen", "LOSTAGAIN", {"reportedAt": self._ago(30)}),
                ("Device Lost", "EXTENDED", {"reportedAt": self._ago(30)}),
                ("Device Lost", "DENIED", {"reportedAt": self._ago(30)}),
            ]
        )
        month = f"until={_later(lost.detail['reportedAt'], 30)}"
        self.stories["LOST"] = Story(self.device("LOST"), None, ("DENY", f"{month} "), [lost])
        self.stories["FOUND"] = Story(self.device("FOUND"), None, ("DENY", "until=hold "), [found])
        self.stories["LOSTAGAIN"] = Story(self.device("LOSTAGAIN"), None, ("DENY", "until=hold "), [again])
        self.stories["EXTENDED"] = Story(self.device("EXTENDED"), None, ("DENY", f"{month} "), [longer])
        self.stories["DENIED"] = Story(self.device("DENIED"), None, ("DENY", FOREIGN_DENY), [denied])

    def report_what_follows(self) -> None:
        """Report that one device is found, one is found and lost again, and one lock is extended."""
        longest = _later(rfc3339(self.began), 60)
        found, found_too, lost_again, extended = self._publish(
            [
                ("Device Recovered", "FOUND", {"reportedAt": self._ago(20)}),
                ("Device Recovered", "LOSTAGAIN", {"reportedAt": self._ago(20)}),
                ("Device Lost", "LOSTAGAIN", {"reportedAt": self._ago(10)}),
                ("Device Lost", "EXTENDED", {"reportedAt": self._ago(10), "expiresAt": longest}),
            ]
        )
        now = datetime.now(UTC) - timedelta(seconds=1)
        month = f"until={_later(lost_again.detail['reportedAt'], 30)}"
        self._goes_on("FOUND", [found], ("ALLOW", FOREIGN_ALLOW), now)
        self._goes_on("LOSTAGAIN", [found_too, lost_again], ("DENY", f"{month} "), now)
        self._goes_on("EXTENDED", [extended], ("DENY", f"until={longest} "), None)

    def _goes_on(self, name: str, reports: list[Report], end: tuple[str, str], opens: datetime | None) -> None:
        story = self.stories[name]
        story.reports += reports
        story.end, story.opens = end, opens

    def _publish(self, events: list[tuple[str, str, Json]]) -> list[Report]:
        return self.deployment.publish_all(
            [
                (kind, "helpdesk", {"userId": self.user, "deviceId": self.device(name), **detail})
                for kind, name, detail in events
            ]
        )

    def _ago(self, seconds: float) -> str:
        return rfc3339(self.began - timedelta(seconds=seconds))

    # --- the judgement --------------------------------------------------------------------------------------------

    def wrong_ends(self, listed: dict[str, Json]) -> list[str]:
        """Return what has not ended as it must, given all overrides by device ID in upper case."""
        found = (story.wrong_end(listed.get(story.device)) for story in self.stories.values())
        return [wrong for wrong in found if wrong]

    def count_recorded(self) -> int:
        """Return how many reports have an outcome in the ledger. One that has is not asked about again."""
        missing = {report.event_id for report in self.reports} - self._recorded
        self._recorded |= {event_id for event_id in missing if self.deployment.outcomes(event_id)}
        return len(self._recorded)

    def has_outcome(self, result: str, story: Story) -> bool:
        """Return whether a report of the story ended with this result."""
        return any(
            outcome["detail"]["result"] == result
            for report in story.reports
            for outcome in self.deployment.outcomes(report.event_id)
        )

    def unaccounted(self, announced: dict[str, list[Json]]) -> Iterator[str]:
        """Yield what is wrong with the outcomes, recorded or announced.

        Each report needs one recorded outcome, and announcements that all say the same.
        """
        for report in self.reports:
            recorded = self.deployment.outcomes(report.event_id)
            about = f"{report.detail_type} of {report.detail['deviceId']}"
            if len(recorded) != 1:
                yield f"{about}: {len(recorded)} outcomes are recorded"
                continue
            details = announced.get(report.event_id, [])
            if not details:
                yield f"{about}: its outcome was not announced"
            if any(json.dumps(detail, sort_keys=True) != json.dumps(details[0], sort_keys=True) for detail in details):
                yield f"{about}: its outcome was announced in two versions"
            result = recorded[0]["detail"]["result"]
            too_late = result == "rejected" and "expiresAt" in report.detail and "SHORT" in report.detail["deviceId"]
            if result in ("rejected", "failed") and not too_late:
                yield f"{about}: {recorded[0]['detail']['message']}"

    def lost_locks(self, writes: list[Json]) -> Iterator[str]:
        """Yield the writes that let a device back in too early."""
        for write in writes:
            request = write["request"]
            story = next((each for each in self.stories.values() if each.device == request["DeviceId"].upper()), None)
            if story is None or not lets_in(write):
                continue
            at = datetime.fromisoformat(write["time"])
            if story.opens is None or at < story.opens:
                yield f"{story.device} was let back in at {write['time']}, expected {story.opens or 'never'}"

    def changed(self, listed: dict[str, Json], writes: list[Json]) -> Iterator[str]:
        """Yield the foreign overrides that were written, or whose content or dates have changed."""
        devices = {self.device(name) for name in UNTOUCHED}
        for write in writes:
            if write["request"]["DeviceId"].upper() in devices:
                yield f"{write['operation']} of {write['request']['DeviceId']}"
        for name, before in self.untouched.items():
            now = self.deployment.override(self.user, self.device(name))
            if now != before or self.device(name) not in listed:
                yield f"{self.device(name)} was {before}, is {now}"


def lets_in(write: Json) -> bool:
    """Return whether a call asks WorkMail to let a device back in."""
    return bool(write["operation"].startswith("Delete") or write["request"].get("Effect") == "ALLOW")


def _later(text: str, days: int) -> str:
    """Return an instant plus `days`, rounded up to whole seconds as in a tag's `until`."""
    instant = datetime.fromisoformat(text) + timedelta(days=days)
    whole = instant.replace(microsecond=0) + timedelta(seconds=instant.microsecond > 0)
    return whole.isoformat().replace("+00:00", "Z")
