"""Find what people name: users, devices and their announcements in the timeline."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from device_lockout.aws.ledger import OUTCOMES_KEPT
from device_lockout.values import instant
from device_lockout.values.device import DeviceKey, DeviceName, User
from device_lockout.values.errors import RejectedError
from device_lockout.values.outcome import DRILL
from lockout import output
from lockout.deployment import Deployment

ALL = "*"
"""Stands for all devices of a user, those to come as well. No device has this ID."""

type Told = dict[str, Any]
"""An announcement: detail-type and detail."""


def user(deployment: Deployment, organization: str, name: str) -> User | None:
    """Return WorkMail's user of a name, an address or an ID; None if there is none."""
    try:
        found: User = deployment.workmail.user(organization, name)
    except RejectedError:
        return None
    return found


def names(deployment: Deployment, organization: str) -> Callable[[str], str]:
    """Return what tells a user's name by the ID. It asks once for each of the last thousand users."""

    @lru_cache(maxsize=1000)
    def name(user_id: str) -> str:
        found = user(deployment, organization, user_id)
        return (found and (found.name or found.email)) or user_id

    return name


def devices(deployment: Deployment, organization: str, what: str, device: str | None = None) -> list[DeviceKey]:
    """Return the devices that are meant by a user, a user and a device, ``serial:…``, ``asset:…`` or any other word."""
    kind, _, value = what.partition(":")
    if kind in ("serial", "asset") and value:
        rows = deployment.ledger.devices_named(organization, DeviceName(kind, value))  # type: ignore[arg-type]
        return sorted({row.key for row in rows})
    known = user(deployment, organization, what)
    if known is not None:
        if device is not None:
            return [DeviceKey(organization, known.id, device)]
        return sorted(deployment.ledger.devices_of(organization, known.id))
    meant = (key for key in devices_in(history(deployment, what)) if key.organization == organization)
    return sorted(key for key in meant if device is None or key.device == device.casefold())


def devices_in(found: Iterable[Told]) -> set[DeviceKey]:
    """Return the devices of known users that announcements are about."""
    details = (told["detail"] for told in found)
    return {
        DeviceKey(it["organizationId"], it["user"]["id"], it["device"])
        for it in details
        if it.get("user") and it.get("device")
    }


def history(
    deployment: Deployment, what: str, since: datetime | None = None, until: datetime | None = None
) -> list[Told]:
    """Return what was announced of a ticket, user, device, lock or event, each once, oldest first.

    Without ``since`` it is all that is kept.
    """
    now = datetime.now(UTC)
    words = {what.casefold().removeprefix("serial:").removeprefix("asset:")}
    for organization in deployment.settings.organizations:
        known = user(deployment, organization.id, what)
        words |= {known.id.casefold()} if known else set()
    found = [*deployment.ledger.outcomes_of(what)]
    for word in words:
        found += deployment.ledger.timeline(since or now - OUTCOMES_KEPT, until or now + timedelta(days=1), word)
    return sorted({told["detail"]["id"]: told for told in found}.values(), key=time_of)


def time_of(told: Told) -> datetime:
    """Return when it was decided; of a run of the sweep, when it was done."""
    times = told["detail"]["times"]
    return instant.read(times.get("decided") or times["done"])


def seconds(told: Told) -> float:
    """Return how long a report took from its receipt to WorkMail's answer; to its decision without a write."""
    times = told["detail"]["times"]
    return (instant.read(times.get("written") or times["decided"]) - instant.read(times["received"])).total_seconds()


def last_drill(newest_first: Iterable[Told]) -> Told | None:
    """Return what says how the last drill went: its lock, or what failed since then. None if there was no drill.

    A release that finds no lock follows from what became of the lock, if that is known.
    """
    failed: Told | None = None
    for told in newest_first:
        result = told["detail"].get("result") if told["detail"]["source"] == DRILL else "released"
        if result == "locked":
            return failed or told
        if result != "released" and (failed is None or failed["detail"]["result"] == "nothing-to-release"):
            failed = told
    return failed


def drilled(deployment: Deployment, now: datetime) -> tuple[bool, str, str]:
    """Return whether the last drill by schedule went well, how it went in words, and what to type if not.

    It looks two days back: that may be two periods. A younger deployment may have had none; its alarm waits for less.
    """
    began = now - timedelta(days=2)
    told = last_drill(deployment.ledger.timeline(began, now, "DRILL", newest_first=True))
    if told is None and deployment.created and deployment.created > began:
        return True, f"last drill: none yet, the deployment is {output.apart(deployment.created, now)} old", ""
    if told is None:
        return False, "last drill: none in two days", "aws scheduler list-schedules"
    if told["detail"]["result"] != "locked":
        return False, f"last drill failed: {output.in_local_time(told['detail']['message'])}", "lockout history DRILL"
    return True, f"last drill: locked in {seconds(told):.1f} s, {output.apart(time_of(told), now)} ago", ""


def needing_somebody(deployment: Deployment, now: datetime, most: int = 10) -> Iterator[Told]:
    """Yield a week's newest outcomes that ask for action now. One is left out once its device has a later one."""
    seen: set[str] = set()
    for told in deployment.ledger.timeline(now - timedelta(days=7), now, "act now", newest_first=True):
        detail = told["detail"]
        about = f"{detail['organizationId']} {detail.get('userId')} {detail.get('device')}"
        if about in seen:
            continue
        seen.add(about)
        later = deployment.ledger.timeline(time_of(told), now, detail.get("device") or detail["eventId"])
        if detail["severity"] == "act now" and all(each["detail"]["severity"] == "act now" for each in later):
            yield told
        if len(seen) == most:
            return
