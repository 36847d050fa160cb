"""What happens to one user's devices while a fault is on, and how it must end: the stories of the fault matrix."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from local.deployment import Deployment, Report, rfc3339

type Json = dict[str, Any]

FOREIGN_ALLOW = "CHG-77  approved by Zoë Müller, 受付"
FOREIGN_DENIAL = "legal hold 2026-17, ask Jana before you change this"
UNTOUCHED = {
    "BYSTANDER": ("ALLOW", "it is my tablet"),
    "NEIGHBOUR": (
        "DENY",
        "[lockout/1 by=other why=lost until=2026-01-01T00:00:00Z at=2025-12-01T00:00:00Z id=9f3c2a1b was=none]",
    ),
    "BROKEN": ("DENY", "[lockout/1 by=local why=lost until=soon] INC-9"),
    "NOTYET": ("ALLOW", "[until=2099-12-01] visiting until the end of the century"),
    "DENIED": ("DENY", FOREIGN_DENIAL),
}
"""Overrides that nobody may touch, by device; a lost report comes in for the last of them."""


@dataclass(slots=True)
class Story:
    """One device's reports, and what must stand in the end.

    ``opens``: from when on WorkMail may be asked to let the device back in, None for never;
    ``end``: effect and a part of the description, None for nothing.
    """

    device: str
    opens: datetime | None
    end: tuple[str, str] | None
    reports: list[Report]

    def wrong_end(self, stands: Json | None) -> str | None:
        """What is wrong with what stands, in words."""
        found = None if stands is None else (stands["Effect"], stands.get("Description", ""))
        if self.end is None:
            return None if found is None else f"{self.device}: expected nothing, found {found}"
        if found is not None and found[0] == self.end[0] and self.end[1] in found[1]:
            return None
        return f"{self.device}: expected {self.end}, found {found}"


class Stories:
    """All stories of one user. The devices' names begin with the user's, so that no two users share one."""

    def __init__(self, there: Deployment, user: str, short_life: timedelta) -> None:
        self.there = there
        self.user = user
        self.began = datetime.now(UTC)
        self.over = self.began + short_life
        self.stories: dict[str, Story] = {}
        self.made: dict[str, Json] = {}

    @property
    def reports(self) -> list[Report]:
        return [report for story in self.stories.values() for report in story.reports]

    def device(self, name: str) -> str:
        return f"{self.user.replace('-', '')}{name}".upper()

    def make_overrides_by_hand(self) -> None:
        """What administrators have put there before."""
        rows = {
            **UNTOUCHED,
            **dict.fromkeys(("FOUND", "LOSTAGAIN", "SHORTALLOWED"), ("ALLOW", FOREIGN_ALLOW)),
            "HANDPAST": ("ALLOW", "[until=2026-01-05] travel phone"),
        }
        for name, (effect, description) in rows.items():
            self.there.workmail.put_mobile_device_access_override(
                OrganizationId=self.there.organization,
                UserId=self.user,
                DeviceId=self.device(name),
                Effect=effect,
                Description=description,
            )
        self.made = {name: self.there.override(self.user, self.device(name)) or {} for name in UNTOUCHED}
        self.stories["HANDPAST"] = Story(self.device("HANDPAST"), self.began, None, [])

    def report_short_lives(self) -> None:
        """Two locks that are over before the fault is."""
        for name, end in (("SHORT", None), ("SHORTALLOWED", ("ALLOW", FOREIGN_ALLOW))):
            reports = self._publish([("Device Lost", name, {"expiresAt": rfc3339(self.over)})])
            self.stories[name] = Story(self.device(name), self.over, end, reports)

    def report_losses(self) -> None:
        """Locks that must last: over nothing, extended, over an ALLOW, and one where a foreign DENY stands."""
        lost, found, again, longer, denied = self._publish(
            [
                ("Device Lost", "LOST", {"reportedAt": self._ago(30)}),
                ("Device Stolen", "FOUND", {"reportedAt": self._ago(30)}),
                ("Device Stolen", "LOSTAGAIN", {"reportedAt": self._ago(30)}),
                ("Device Lost", "EXTENDED", {"reportedAt": self._ago(30)}),
                ("Device Lost", "DENIED", {"reportedAt": self._ago(30)}),
            ]
        )
        month = f"until={_up(lost.detail['reportedAt'], 30)}"
        self.stories["LOST"] = Story(self.device("LOST"), None, ("DENY", f"{month} "), [lost])
        self.stories["FOUND"] = Story(self.device("FOUND"), None, ("DENY", "until=hold "), [found])
        self.stories["LOSTAGAIN"] = Story(self.device("LOSTAGAIN"), None, ("DENY", "until=hold "), [again])
        self.stories["EXTENDED"] = Story(self.device("EXTENDED"), None, ("DENY", f"{month} "), [longer])
        self.stories["DENIED"] = Story(self.device("DENIED"), None, ("DENY", FOREIGN_DENIAL), [denied])

    def report_what_follows(self) -> None:
        """One device is found, one is found and lost again, one lock is extended."""
        longest = _up(rfc3339(self.began), 60)
        found, found_too, lost_again, extended = self._publish(
            [
                ("Device Recovered", "FOUND", {"reportedAt": self._ago(20)}),
                ("Device Recovered", "LOSTAGAIN", {"reportedAt": self._ago(20)}),
                ("Device Lost", "LOSTAGAIN", {"reportedAt": self._ago(10)}),
                ("Device Lost", "EXTENDED", {"reportedAt": self._ago(10), "expiresAt": longest}),
            ]
        )
        now = datetime.now(UTC) - timedelta(seconds=1)
        month = f"until={_up(lost_again.detail['reportedAt'], 30)}"
        self._goes_on("FOUND", [found], ("ALLOW", FOREIGN_ALLOW), now)
        self._goes_on("LOSTAGAIN", [found_too, lost_again], ("DENY", f"{month} "), now)
        self._goes_on("EXTENDED", [extended], ("DENY", f"until={longest} "), None)

    def _goes_on(self, name: str, reports: list[Report], end: tuple[str, str], opens: datetime | None) -> None:
        story = self.stories[name]
        story.reports += reports
        story.end, story.opens = end, opens

    def _publish(self, events: list[tuple[str, str, Json]]) -> list[Report]:
        return self.there.publish_all(
            [
                (kind, "helpdesk", {"userId": self.user, "deviceId": self.device(name), **detail})
                for kind, name, detail in events
            ]
        )

    def _ago(self, seconds: float) -> str:
        return rfc3339(self.began - timedelta(seconds=seconds))

    # --- the judgement --------------------------------------------------------------------------------------------

    def unsettled(self, listed: dict[str, Json]) -> list[str]:
        """The stories that have not ended as they must, given all that stands by device, in upper case."""
        found = (story.wrong_end(listed.get(story.device)) for story in self.stories.values())
        return [wrong for wrong in found if wrong]

    def recorded(self) -> int:
        """How many reports have an outcome."""
        return sum(bool(self.there.outcomes(report.event_id)) for report in self.reports)

    def ended(self, result: str, story: Story) -> bool:
        """Whether a report of the story ended so."""
        return any(
            kept["detail"]["result"] == result
            for report in story.reports
            for kept in self.there.outcomes(report.event_id)
        )

    def unaccounted(self, announced: dict[str, list[Json]]) -> Iterator[str]:
        """Reports without one recorded outcome, or whose announcements are missing or contradict each other."""
        for report in self.reports:
            kept = self.there.outcomes(report.event_id)
            about = f"{report.detail_type} of {report.detail['deviceId']}"
            if len(kept) != 1:
                yield f"{about}: {len(kept)} outcomes are recorded"
                continue
            told = announced.get(report.event_id, [])
            if not told:
                yield f"{about}: its outcome was not announced"
            if any(json.dumps(detail, sort_keys=True) != json.dumps(told[0], sort_keys=True) for detail in told):
                yield f"{about}: its outcome was announced in two versions"
            result = kept[0]["detail"]["result"]
            too_late = result == "rejected" and "expiresAt" in report.detail and "SHORT" in report.detail["deviceId"]
            if result in ("rejected", "failed") and not too_late:
                yield f"{about}: {kept[0]['detail']['message']}"

    def lost_locks(self, writes: list[Json]) -> Iterator[str]:
        """Writes that let a device back in before it was released or over; and what had to be locked and is not."""
        for write in writes:
            request = write["request"]
            story = next((each for each in self.stories.values() if each.device == request["DeviceId"].upper()), None)
            if story is None or not lets_in(write):
                continue
            at = datetime.fromisoformat(write["time"])
            if story.opens is None or at < story.opens:
                yield f"{story.device} was let back in at {write['time']}, expected {story.opens or 'never'}"

    def changed(self, listed: dict[str, Json], writes: list[Json]) -> Iterator[str]:
        """Foreign overrides that were written, or are not what they were, dates included."""
        devices = {self.device(name) for name in UNTOUCHED}
        for write in writes:
            if write["request"]["DeviceId"].upper() in devices:
                yield f"{write['operation']} of {write['request']['DeviceId']}"
        for name, made in self.made.items():
            now = self.there.override(self.user, self.device(name))
            if now != made or self.device(name) not in listed:
                yield f"{self.device(name)} was {made}, is {now}"


def lets_in(write: Json) -> bool:
    """Whether a call asks WorkMail to let a device back in."""
    return bool(write["operation"].startswith("Delete") or write["request"].get("Effect") == "ALLOW")


def _up(text: str, days: int) -> str:
    """``days`` after an instant, in whole seconds as a tag's ``until``: never earlier."""
    instant = datetime.fromisoformat(text) + timedelta(days=days)
    whole = instant.replace(microsecond=0) + timedelta(seconds=instant.microsecond > 0)
    return whole.isoformat().replace("+00:00", "Z")
