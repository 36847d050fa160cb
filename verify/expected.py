"""What ought to be true of each device, worked out from the events and not from what the code keeps.

A lock is certain once its command is done, and possible once its event has arrived.
A lost ledger or a dead letter keeps a possible lock from becoming certain.
"""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from device_lockout.values.command import Enroll
from device_lockout.values.record import Claim, DeviceRecord, Ending, UserRecord
from device_lockout.values.tag import HandWritten, Tag
from verify.numbering import Numbering
from verify.scenario import NUMBER, ORGANIZATION, at, covers
from verify.state import LockId, State, lock_id

if TYPE_CHECKING:
    from device_lockout.values.override import Override

Ends = dict[LockId, datetime]
"""The end of each lock that a person edited."""

_ALL = ~0
"""The set of all events."""


class Expected:
    """The locks and overrides that the events of one scenario lead to."""

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self._values, self._reading = numbering.values, numbering.reading
        self._live_claims: dict[Any, tuple[Claim, ...]] = {}
        self._changes = any(event.change for event in numbering.events)
        self._events_of = [
            [
                (number, event)
                for number, event in enumerate(numbering.events)
                if number in numbering.moving
                or event.device == device
                or (event.device < 0 and numbering.event_users[number] == user)
                or (event.user == NUMBER and self.has_number(device))
            ]
            for device, user in enumerate(numbering.user_of)
        ]
        self._of_devices = sum(1 << number for number, event in enumerate(numbering.events) if event.device >= 0)
        self._by_asset = [number for number, event in enumerate(numbering.events) if event.by_asset]
        of_number = (n for n, event in enumerate(numbering.events) if event.user == NUMBER and not event.by_asset)
        self._of_number = sum(1 << number for number in of_number)

    def edited_ends(self, state: State, device: int) -> Ends:
        """Return the ends that people set on a device: those in the ledger, and the one in the tag."""
        ends = self.adopted_ends(state, device)
        shown = self._reading(state.rows[device])
        override: Override | None = self._values[state.rows[device]]
        undone = override is not None and override.effect == "ALLOW"
        if not isinstance(shown, Tag) or shown.until not in self._numbering.edited_to:
            return ends
        policy, known = self._numbering.scenario.policies[state.policy], self._known_ends(state, device, shown)
        if known and not any(policy.honours_end(until, shown.until) for until in known):
            return ends
        if not undone or lock_id(shown) not in self.recorded(state, device):
            ends[lock_id(shown)] = shown.until
        return ends

    def _known_ends(self, state: State, device: int, shown: Tag) -> list[datetime]:
        """Return the ends that the ledger has for the lock in a tag."""
        item: DeviceRecord = self._values[state.items[device]] or DeviceRecord()
        user: UserRecord = self._values[state.users[self._numbering.user_of[device]]] or UserRecord()
        return [claim.until for claim in (*item.claims, *user.claims) if lock_id(claim) == lock_id(shown)]

    def adopted_ends(self, state: State, device: int) -> Ends:
        """Return the ends that people set on a device and the ledger has."""
        return {lock: self._values[until] for where, lock, until in state.edits if where == device}

    def certainly_live(self, state: State, device: int, ends: Ends, *, swept: bool = True) -> tuple[Claim, ...]:
        """Return the claims that are certainly live on a device. The tag must show the first one.

        A user's lock holds for the devices that the ledger knows.
        It holds from the next sweep on for a device known from a retirement or a list only.
        After a loss of the ledger it holds for the devices whose tag or item names it. So does one of the number, and
        for those that are enrolled from then on.
        """
        item: DeviceRecord | None = self._values[state.items[device]]
        known = item is not None and (swept or item.last is not None or self._is_enrolled(state, device))
        locks = self._certain(state, device) & (_ALL if known else self._of_devices)
        if not self._is_enrolled(state, device, numbered=True) or self._is_back(state, device):
            locks &= ~self._of_number
        live = self._live(state, device, locks, _ALL, ends)
        if not state.lost:
            return live
        remembered = self.recorded(state, device)
        shown = self._reading(state.rows[device])
        if isinstance(shown, Tag):
            remembered.add(lock_id(shown))
        return tuple(
            claim
            for claim in live
            if lock_id(claim) in remembered
            or (claim.scope == "device" and (self._enrolled_since(state, device) or not self._is_by_number(claim)))
        )

    def _enrolled_since(self, state: State, device: int) -> bool:
        """Whether the device was enrolled after the ledger was set back. Then it has the locks of its number."""
        return any(
            isinstance(event.command, Enroll)
            and state.certain >> number & 1
            and not (state.kept and state.kept[3][number])
            for number, event in self._events_of[device]
        )

    def _is_by_number(self, claim: Claim) -> bool:
        event = self._numbering.by_lock.get(lock_id(claim))
        return event is not None and self._numbering.events[event].user == NUMBER

    def possibly_live(self, state: State, device: int, ends: Ends) -> tuple[Claim, ...]:
        """Return the claims on a device that are not certainly released or over."""
        return self._live(state, device, _ALL, self._certain(state, device), ends)

    def _certain(self, state: State, device: int) -> int:
        """Return the certain events for a device: of those by the asset tag, the ones that were carried out on it."""
        certain = state.certain
        for number in self._by_asset:
            certain = certain & ~(1 << number) | (state.meant[number] >> device & 1) << number
        return certain

    def recorded(self, state: State, device: int) -> set[LockId]:
        """Return the locks that the ledger has for a device."""
        item, user = state.items[device], state.users[self._numbering.user_of[device]]
        locks = {lock_id(claim) for claim in self._values[item].claims} if item else set()
        return locks | {lock_id(claim) for claim in self._values[user].claims} if user else locks

    def had_lock(self, state: State, device: int) -> bool:
        """Whether the ledger has a lock for a device, or had one that ended long ago."""
        certain = self._certain(state, device)
        had = any(event.claim for number, event in self._events_of[device] if certain >> number & 1)
        return had or bool(self.recorded(state, device))

    def without_lock(self, state: State, device: int) -> int:
        """Return the override that a device must have while no lock is live.

        It is the baseline, or nothing once the baseline's own hand-written end is past.
        """
        baseline = state.baseline[device]
        reading = self._reading(baseline)
        return 0 if isinstance(reading, HandWritten) and reading.until <= self._numbering.now(state) else baseline

    def _is_back(self, state: State, device: int) -> bool:
        """Whether the phone may count as back: another device of it was released, and none from before is locked."""
        others = [other for other in range(len(self._events_of)) if other != device and self.has_number(other)]
        released = {
            event.device
            for number, event in enumerate(self._numbering.events)
            if event.releases and event.device in others and not state.pending >> number & 1
        }
        before = self._numbering.scenario.before
        known = {event.device for event in self._numbering.events if event.name in before and event.device in others}
        return bool(released) and known <= released

    def has_number(self, device: int) -> bool:
        """Whether some enrolment gives the device the serial number or the asset tag."""
        return self._numbering.keys[device].organization == ORGANIZATION and any(
            event.device == device and event.gives_name for event in self._numbering.events
        )

    def _is_enrolled(self, state: State, device: int, *, numbered: bool = False) -> bool:
        """Whether a certain enrolment of the device, with the number if so asked, was not superseded by newer news."""
        return any(
            isinstance(event.command, Enroll)
            and (event.command.target.names or not numbered)
            and state.certain >> number & 1
            and not (state.outcomes[number] and self._values[state.outcomes[number]].result == "superseded")
            for number, event in self._events_of[device]
        )

    def _live(self, state: State, device: int, locks: int, releases: int, ends: Ends) -> tuple[Claim, ...]:
        """Return the live claims, going by the events in ``locks`` and ``releases`` that have arrived.

        After a loss of the ledger a user's lock may have become the device's own.
        Then a release of the device ends it, and one of the user does not.
        """
        arrived = ((1 << len(self._numbering.events)) - 1) & ~state.pending
        possibly = locks == _ALL
        for number in self._numbering.moving:
            if not self._numbering.is_about(state, number, device):
                arrived &= ~(1 << number)
        for number, _ in self._events_of[device] if len(self._numbering.scenario.policies) > 1 else ():
            if not self._numbering.is_taken(state, number):
                arrived &= ~(1 << number)
        locks, releases = arrived & locks, arrived & releases
        changed = self._changed(state, device) if self._changes else ()
        key = (
            device,
            state.clock,
            locks,
            releases,
            state.lost,
            possibly,
            tuple(sorted(ends.items())),
            changed,
            state.read,
        )
        known = self._live_claims.get(key)
        if known is None:
            known = self._live_claims[key] = self._live_at(
                state, device, locks, releases, ends, changed, lost=state.lost, possibly=possibly
            )
        return known

    def _ending(self, state: State, number: int) -> Ending | None:
        """Return what a release may end, as the policy says that held when it arrived."""
        event = self._numbering.events[number]
        if event.releases is None or not event.body:
            return event.releases
        return replace(event.releases, reasons=self._numbering.policy_of(state, number).releases)

    def _changed(self, state: State, device: int) -> tuple[tuple[int, Claim], ...]:
        """Return the changes that found a lock, each with the lock that it left.

        A change acts on what is known when it arrives. So only the ledger knows whether it found any, and which reason.
        Its end and all else is the event's.
        """
        item: DeviceRecord = self._values[state.items[device]] or DeviceRecord()
        user: UserRecord = self._values[state.users[self._numbering.user_of[device]]] or UserRecord()
        kept = {claim.id: claim for claim in (*item.claims, *user.claims)}
        return tuple(
            (number, replace(change.claim, why=kept[change.claim.id].why, source=kept[change.claim.id].source))
            for number, event in self._events_of[device]
            if (change := event.change) is not None and not event.copy_of and change.claim.id in kept
        )

    def _live_at(
        self,
        state: State,
        device: int,
        locks: int,
        releases: int,
        ends: Ends,
        changed: tuple[tuple[int, Claim], ...],
        *,
        lost: bool,
        possibly: bool,
    ) -> tuple[Claim, ...]:
        now = self._numbering.now(state)
        released = [
            (event.at, self._ending(state, number), event.user == NUMBER and not event.by_asset)
            for number, event in self._events_of[device]
            if event.releases and releases >> number & 1
        ]
        for number, _ in changed:
            event = self._numbering.events[number]
            if event.change is not None and releases >> number & 1:
                released.append((event.at, event.change.ending, False))
        claims = [
            replace(event.claim, until=ends.get(lock_id(event.claim), event.claim.until))
            for number, event in self._events_of[device]
            if event.claim is not None and not event.copy_of and locks >> number & 1
        ]
        claims += [
            replace(claim, until=ends.get(lock_id(claim), claim.until))
            for number, claim in changed
            if locks >> number & 1
        ]
        claims.sort(key=lambda claim: (claim.until, claim.at, claim.id, claim.why), reverse=True)

        def may_end(ending: Ending | None, claim: Claim) -> bool:
            """Return whether a release ends ``claim``. After a loss a tag does not say its scope or its source."""
            if ending is None or (lost and not possibly):
                return ending is not None
            return covers(ending, claim) and not (lost and ending.source)

        numbers = {lock_id(event.claim) for event in self._numbering.events if event.user == NUMBER and event.claim}

        def unreleased(claim: Claim) -> bool:
            if lost and possibly and claim.scope == "user":
                return True
            return all(
                at(when) <= claim.at
                or not may_end(ending, claim)
                # A device may get the number after its release, or the ledger may forget that it has it.
                or (possibly and by_number and (lost or lock_id(claim) not in numbers))
                for when, ending, by_number in released
            )

        return tuple(claim for claim in claims if claim.until > now and unreleased(claim))
