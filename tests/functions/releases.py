"""Releases for tests: of all locks of a scope, as a help desk's are."""

from datetime import datetime

from device_lockout.values.record import Ending, Released

DEVICE, USER = Ending("device"), Ending("user")


def released(device: datetime | None = None, user: datetime | None = None) -> Released:
    """The newest release of the device, and of its user."""
    known = Released()
    for ending, at in ((DEVICE, device), (USER, user)):
        known = known if at is None else known.with_release(ending, at)
    return known
