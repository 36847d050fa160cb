"""The list of an organization's overrides: whole, or known not to be; and the inventory's part of it."""

from bisect import insort
from collections.abc import Iterable, Iterator
from datetime import timedelta

from device_lockout.decisions.plan import Refusal
from device_lockout.protocol.ports import LedgerPort, WorkMailPort
from device_lockout.protocol.sweep_run import Run
from device_lockout.values import instant
from device_lockout.values.device import DeviceKey
from device_lockout.values.errors import LockoutError, RefusedError
from device_lockout.values.override import ListedOverride
from device_lockout.values.tag import Tag

INVENTORIED = 500
"""How many devices with somebody else's override one run adds to the inventory. The next run goes on after them."""


def list_overrides(
    run: Run, workmail: WorkMailPort, clock_skew: timedelta, failures: list[Refusal]
) -> Iterator[ListedOverride]:
    """Yield every override of the organization, page by page.

    A fault of the list is added to ``failures`` and ends the list. Clocks that differ by more than ``clock_skew`` are
    added too, but the list goes on: reasserts don't depend on clocks.
    """
    pages = workmail.pages(run.organization)
    first_rows: set[DeviceKey] = set()
    while True:
        if not run.enough_time():
            failures.append(Refusal("time", "the run's time ended before the list did"))
            return
        try:
            rows, date = next(pages)
        except StopIteration:
            return
        except RefusedError as error:
            failures.append(Refusal("organization", str(error)))
            return
        except LockoutError as error:
            failures.append(Refusal("list", str(error)))
            return
        ours = run.clock()
        if abs(date - ours) > clock_skew and not failures:
            because = f"our clock says {instant.write(ours)}, WorkMail's {instant.write(date)}"
            failures.append(Refusal("clock", because, date))
        if rows:
            first = rows[0].key
            if first in first_rows:
                because = f"WorkMail listed the page from device {first.device} of {first.user_id} twice"
                failures.append(Refusal("list", because))
                return
            first_rows.add(first)
        yield from rows


class InventoryWindow:
    """The devices of one listing that the run adds to the inventory: those with somebody else's override.

    The ledger has the others anyway. The window holds the next :data:`INVENTORIED` devices after one, in order, and
    begins anew after the last.
    """

    def __init__(self, after: DeviceKey) -> None:
        self.devices: list[DeviceKey] = []
        self._after = after

    def watch(self, listing: Iterable[ListedOverride], owner: str) -> Iterator[ListedOverride]:
        """Yield the listing as it is, and fill the window from it."""
        for listed in listing:
            key = listed.key
            near = len(self.devices) < INVENTORIED or self._order(key) < self._order(self.devices[-1])
            if near and not isinstance(listed.override.read(owner), Tag):
                insort(self.devices, key, key=self._order)
                del self.devices[INVENTORIED:]
            yield listed

    def save(self, run: Run, ledger: LedgerPort) -> None:
        """Add the devices to the inventory while there is time, and save how far that went."""
        last = None
        for key in self.devices:
            if not run.enough_time():
                break
            ledger.saw(key)
            last = key
        if last is not None:
            ledger.save_inventoried(last)

    def _order(self, key: DeviceKey) -> tuple[bool, DeviceKey]:
        return key <= self._after, key
