"""The invariants of the design, each held against every state, every write and every outcome that it speaks of.

What is to be true is worked out from the events themselves, not from what the code keeps.
An event counts as certain (``sure``) when its command is done; between certain and possible lies what a lost ledger or
the dead-letter queue may have kept from being known, and there only the weaker property is asked for.
"""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from device_lockout.values.command import Enroll
from device_lockout.values.device import DeviceKey
from device_lockout.values.record import Claim, DeviceRecord, UserRecord
from device_lockout.values.tag import HandWritten, Reading, Tag
from verify.scenarios import Event, Scenario, at, second_of, settings_of, user_name
from verify.state import FORGOTTEN, TOUCHED, Shown, State, ViolationError, put

if TYPE_CHECKING:
    from device_lockout.values.override import Override

_SAYS_DENIED = frozenset({"locked", "extended", "already-locked", "already-denied", "still-locked", "renewed"})


class Seen(Protocol):
    """What the invariants need to see: :class:`verify.world.World`."""

    scenario: Scenario
    events: tuple[Event, ...]
    keys: list[DeviceKey]
    user_of: list[int]
    values: list[Any]
    by_claim: dict[Shown, int]
    edited_to: frozenset[datetime]
    any_row: int
    lost_row: int

    def reading(self, row: int) -> Reading | None: ...
    def row(self, row: int) -> str: ...
    def claim(self, shown: Claim | Tag) -> str: ...
    def now(self, state: State) -> datetime: ...
    def settle(self, state: State) -> State: ...
    def buried(self, state: State) -> set[int]: ...
    def number(self, value: Any) -> int: ...
    def told_at(self, state: State, outcome: int) -> datetime | None: ...


class Invariants:
    """The invariants, in one world."""

    def __init__(self, world: Seen) -> None:
        self._world = world
        self._writer_timeout = settings_of(world.scenario).limits.writer_timeout
        self._values, self._reading, self._row = world.values, world.reading, world.row
        self._claims: dict[Any, tuple[Claim, ...]] = {}
        self._about = [
            [
                (index, event)
                for index, event in enumerate(world.events)
                if event.device == device or (event.device < 0 and user_name(event.user) == user)
            ]
            for device, (_, user, _) in enumerate(world.keys)
        ]
        self._of_devices = sum(1 << index for index, event in enumerate(world.events) if event.device >= 0)
        self._rows_change = any(act.kind in ("put", "delete", "edit", "flip") for act in world.scenario.acts)
        self._users_lock = any(event.device < 0 for event in world.events)

    def _name(self, device: int) -> str:
        return self._world.keys[device].device

    def true_outcome(self, state: State, event: int, result: str) -> None:
        """The outcome is the one that was first decided, and says what stands.

        The latter not where a person, or a user's lock or release, may have changed it since the decision.
        What could not be carried out is what was decided first and WorkMail refused.
        """
        first: str | None = self._values[state.first[event]]
        if first is not None and not state.lost and result not in (first, "failed") and not state.removed:
            name = self._world.events[event].name
            raise ViolationError(f"{name} was decided as {first}, the outcome that is recorded says {result}")
        if state.lost:
            return
        if self._world.events[event].device < 0:
            self._true_summary(state, event, result)
        elif not (state.meddled and self._rows_change):
            self._true_of_device(state, event, result)

    def _true_of_device(self, state: State, event: int, result: str) -> None:
        """What is said of a device is so, but for what its user's locks and releases may change in between."""
        about = self._world.events[event]
        device = about.device
        row = state.rows[device]
        stands: Override | None = self._values[row]
        shown = self._reading(row)
        denied = stands is not None and stands.effect == "DENY"
        live = self.must(state._replace(sure=state.sure | 1 << event), device, {})
        said = f"the outcome of {about.name} says {result}, and what stands is {self._row(row)}"
        if result in _SAYS_DENIED and not denied and (about.claim in live or not self._users_lock):
            raise ViolationError(said)
        if result == "released" and denied and isinstance(shown, Tag) and not state.removed:
            of_device = any(
                other.device == device
                and other.claim is not None
                and (shown.id, shown.why) == (other.claim.id, other.claim.why)
                for other in self._world.events
            )
            if of_device or not self._users_lock:
                raise ViolationError(said)
        if (
            result == "failed"
            and denied
            and live
            and isinstance(shown, Tag)
            and not self._users_lock
            and (shown.id, shown.why, shown.until) == (live[0].id, live[0].why, live[0].until)
        ):
            raise ViolationError(f"{said}, which is what is wanted")

    def _true_summary(self, state: State, event: int, result: str) -> None:
        """What is said of a user's devices goes by the order in which things happened, as far as they are known."""
        about = self._world.events[event]
        of_user = [
            (index, other)
            for index, other in enumerate(self._world.events)
            if other.device < 0 and other.user == about.user
        ]
        sure = [other for index, other in of_user if state.sure >> index & 1]
        came = [other for index, other in of_user if not state.pending >> index & 1]

        def newer(events: list[Event], ends: list[Event]) -> list[Event]:
            """Of ``events``, the releases after a lock; the locks that neither a release nor ``ends`` ended."""
            if about.claim:
                return [other for other in events if other.releases and other.at > about.at]
            ended = max(other.at for other in (about, *ends) if other.releases)
            return [other for other in events if other.claim and other.at >= ended]

        still = [other for other in newer(sure, came) if not other.claim or other.claim.until > self._world.now(state)]
        if result in ("released", "locked") and still:
            raise ViolationError(f"the outcome of {about.name} says {result}, and {still[0].name} is newer")
        if result == "superseded" and not newer(came, sure):
            raise ViolationError(f"the outcome of {about.name} says {result}, and nothing newer has come")

    def true_alarm(self, state: State, device: int) -> None:
        """What is told to have been undone was undone by a person."""
        if not state.undone >> device & 1:
            raise ViolationError(f"the lock of {self._name(device)} is said to be undone, and no person did that")

    def written(self, state: State, device: int, new: int, marks: int) -> State:
        """Our own write takes effect: put ``new``, or delete where it is 0."""
        if new and self._values[new].effect == "DENY":
            state = state._replace(undone=state.undone & ~(1 << device), alarmed=state.alarmed & ~(1 << device))
        old = state.rows[device]
        ours = isinstance(self._reading(new), Tag)
        self._never_lets_in(state, device, new, marks)
        if ours:
            self._is_recorded(state, device, new, marks)
        if marks & TOUCHED:
            return state._replace(
                rows=put(state.rows, device, new), owed=put(state.owed, device, self._world.any_row), blind=True
            )
        owed = self._owed_after(state, device, old, new, marks)
        self._honours_edit(state, device, old, marks)
        return state._replace(rows=put(state.rows, device, new), owed=put(state.owed, device, owed))

    def _never_lets_in(self, state: State, device: int, new: int, marks: int) -> None:
        stands: Override | None = self._values[new]
        if stands is not None and stands.effect == "DENY":
            return
        if self._world.scenario.guarded:
            raise ViolationError(f"{self._name(device)} is let back in, against a guard")
        live = () if marks & FORGOTTEN else self._own_live(state, device)
        if live:
            claim = self._world.claim(live[0])
            raise ViolationError(f"{self._name(device)} is let back in while {claim} is live in the ledger")

    def _own_live(self, state: State, device: int) -> tuple[Claim, ...]:
        """The claims that live in the device's own item; its user's may change at any time, and are sent on."""
        item: DeviceRecord | None = self._values[state.items[device]]
        user: UserRecord | None = self._values[state.users[self._world.user_of[device]]]
        if item is None:
            return ()
        return replace(item, user=UserRecord(released=user.released if user else None)).live(self._world.now(state))

    def _is_recorded(self, state: State, device: int, new: int, marks: int) -> None:
        shown = self._reading(new)
        assert isinstance(shown, Tag), "only our own tags are to be recorded"
        if marks & FORGOTTEN:
            return
        if (shown.id, shown.why) not in self._recorded(state, device):
            raise ViolationError(f"{self._world.claim(shown)} is put on {self._name(device)}, unknown to the ledger")

    def _recorded(self, state: State, device: int) -> set[Shown]:
        """The claims that the ledger has for a device."""
        item, user = state.items[device], state.users[self._world.user_of[device]]
        claims = (
            *(self._values[item].claims if item else ()),
            *(self._values[user].claims if user else ()),
        )
        return {(claim.id, claim.why) for claim in claims}

    def _owed_after(self, state: State, device: int, old: int, new: int, marks: int) -> int:
        """What is owed to the row after our change; ViolationError if it was not ours to change."""
        owed = state.owed[device]
        reading = self._reading(old)
        stands: Override | None = self._values[old]
        over = isinstance(reading, HandWritten) and reading.until <= self._world.now(state)
        where = self._name(device)
        if isinstance(self._reading(new), Tag):
            if stands is None or isinstance(reading, Tag):
                return owed if stands is not None else 0
            if over and self._was(new) == "none":
                return 0
            if stands.effect == "DENY":
                raise ViolationError(f"{self._row(old)} on {where} is not ours, and is overwritten")
            item = state.items[device]
            if not marks & FORGOTTEN and (not item or self._values[item].prior != stands):
                raise ViolationError(f"{self._row(old)} on {where} is covered before the ledger has it")
            return old
        if stands is None:
            return owed
        if not isinstance(reading, Tag) and not over:
            raise ViolationError(f"{self._row(old)} on {where} is not ours, and becomes {self._row(new)}")
        if over and not isinstance(reading, Tag):
            return new
        if owed == self._world.any_row or (state.lost and new == self._world.lost_row):
            return new
        if new not in (owed, self.due(state, device)):
            raise ViolationError(
                f"{self._row(new)} comes back on {where}, owed is {self._row(self.due(state, device))}"
            )
        return new

    def _was(self, row: int) -> str:
        shown = self._reading(row)
        return shown.was if isinstance(shown, Tag) else ""

    def due(self, state: State, device: int) -> int:
        """What is to stand when no lock does: what is owed, unless it has run out by its own words."""
        reading = self._reading(state.owed[device])
        return 0 if isinstance(reading, HandWritten) and reading.until <= self._world.now(state) else state.owed[device]

    def _honours_edit(self, state: State, device: int, old: int, marks: int) -> None:
        shown = self._reading(old)
        if not isinstance(shown, Tag) or marks & FORGOTTEN:
            return
        item = state.items[device]
        claims: tuple[Claim, ...] = self._values[item].claims if item else ()
        if any((claim.id, claim.why) == (shown.id, shown.why) and claim.until != shown.until for claim in claims):
            said = f"until {second_of(shown.until)} that a person set for {self._world.claim(shown)}"
            raise ViolationError(f"{said} is overwritten before it is honoured")

    def check_at_rest(self, state: State) -> None:
        """Hold a state at rest against the invariants, as it is."""
        for index, event in enumerate(self._world.events):
            known = state.sure >> index & 1
            if known and not event.copy_of and not state.lost and index not in self._world.buried(state):
                if not state.outcomes[index]:
                    raise ViolationError(f"{event.name} has no recorded outcome")
                if not state.announced >> index & 1:
                    raise ViolationError(f"the outcome of {event.name} was never announced")
        if not state.meddled and not state.lost and not state.buried:
            for device in range(len(self._world.keys)):
                self._check_locked(state, state, device, self._untils(state, device), "before any sweep")
        if state.tended:
            for device in range(len(self._world.keys)):
                if not state.undone >> device & 1:
                    untils = self._untils(state, device)
                    self._check_locked(state, state, device, untils, "after a sweep, whatever hindered it,")

    def check_swept(self, state: State) -> None:
        """Hold what becomes of a state at rest after the next sweep against the invariants."""
        settled = self._world.settle(state)
        for device in range(len(self._world.keys)):
            untils = self._untils(state, device)
            if state.undone >> device & 1 and not state.buried:
                self._check_told(state, settled, device, untils)
                continue
            self._check_locked(state, settled, device, untils, "after a sweep")
            self._check_unlocked(state, settled, device, untils)
            self._check_known(settled, device)

    def _untils(self, state: State, device: int) -> dict[Shown, datetime]:
        """The ``until`` of each claim that a person changed: as the ledger took it over, or as it stands now."""
        untils = {claim: self._values[number] for where, claim, number in state.edits if where == device}
        shown = self._reading(state.rows[device])
        if isinstance(shown, Tag) and shown.until in self._world.edited_to:
            untils[shown.id, shown.why] = shown.until
        return untils

    def must(
        self, state: State, device: int, untils: dict[Shown, datetime], *, swept: bool = True
    ) -> tuple[Claim, ...]:
        """The claims that certainly live on a device, going by the events themselves; the one to be shown first.

        A user's lock holds for the devices that the ledger knows; for one of which it only saw a retirement or a row
        in a listing, from the next sweep on; after a loss of the ledger, for those on which its tag was found.
        """
        item: DeviceRecord | None = self._values[state.items[device]]
        known = item is not None and (swept or item.last is not None or self._is_enrolled(state, device))
        live = self._live(state, device, state.sure if known else state.sure & self._of_devices, ~0, untils)
        if not state.lost:
            return live
        shown = self._reading(state.rows[device])
        remembered = self._recorded(state, device) | ({(shown.id, shown.why)} if isinstance(shown, Tag) else set())
        return tuple(claim for claim in live if claim.scope == "device" or (claim.id, claim.why) in remembered)

    def _is_enrolled(self, state: State, device: int) -> bool:
        """Whether an enrolment of the device is done that was not overtaken by later news of it."""
        return any(
            isinstance(event.command, Enroll)
            and state.sure >> index & 1
            and self._values[state.outcomes[index]].result != "superseded"
            for index, event in self._about[device]
        )

    def may(self, state: State, device: int, untils: dict[Shown, datetime]) -> tuple[Claim, ...]:
        """The claims that possibly live on a device: all but those certainly released or over."""
        return self._live(state, device, ~0, state.sure, untils)

    def _live(
        self, state: State, device: int, locks: int, releases: int, untils: dict[Shown, datetime]
    ) -> tuple[Claim, ...]:
        """The live claims, if ``locks`` and ``releases`` say which events count.

        After a loss of the ledger a user's lock may have become the device's own, which the user's release does not
        end, and the device's does.
        """
        arrived = ((1 << len(self._world.events)) - 1) & ~state.pending
        locks, releases, possibly = arrived & locks, arrived & releases, locks == ~0
        key = device, state.clock, locks, releases, state.lost, possibly, tuple(sorted(untils.items()))
        known = self._claims.get(key)
        if known is None:
            scoped = not state.lost or possibly
            ends = [event for index, event in self._about[device] if event.releases and releases >> index & 1]
            claims = [
                replace(event.claim, until=untils.get((event.claim.id, event.claim.why), event.claim.until))
                for index, event in self._about[device]
                if event.claim is not None and not event.copy_of and locks >> index & 1
            ]
            known = self._claims[key] = tuple(
                claim
                for claim in sorted(
                    claims, key=lambda claim: (claim.until, claim.at, claim.id, claim.why), reverse=True
                )
                if claim.until > self._world.now(state)
                and (
                    (state.lost and possibly and claim.scope == "user")
                    or all(at(event.at) <= claim.at or (scoped and event.releases != claim.scope) for event in ends)
                )
            )
        return known

    def _check_told(self, before: State, state: State, device: int, untils: dict[Shown, datetime]) -> None:
        """A lock that a person undid is told of and not put back, where that is the policy."""
        if not state.undone >> device & 1:
            raise ViolationError(f"after a sweep {self._row(state.rows[device])} is back, which is only to be told")
        must = self.must(before, device, untils)
        if must and not state.alarmed >> device & 1 and not self._just_told(state, device):
            raise ViolationError(f"after a sweep nobody is told that {self._world.claim(must[0])} was undone")

    def _just_told(self, state: State, device: int) -> bool:
        """Whether what the last command left may be newer than the list: then the next sweep tells."""
        item: DeviceRecord | None = self._values[state.items[device]]
        told = self._world.told_at(state, self._world.number(item.last.command)) if item and item.last else None
        return told is not None and self._world.now(state) - told <= self._writer_timeout

    def _check_locked(self, before: State, state: State, device: int, untils: dict[Shown, datetime], when: str) -> None:
        """What certainly is locked is denied, with the tag that is wanted, or by somebody else.

        If only until an instant by that one's own words, it takes a sweep that removes to put ours there.
        """
        must = self.must(before, device, untils, swept=when != "before any sweep")
        if not must or before.disabled:
            return
        row = state.rows[device]
        stands: Override | None = self._values[row]
        where = f"{when} {self._world.claim(must[0])} on {self._name(device)} is live"
        if stands is None or stands.effect != "DENY":
            raise ViolationError(f"{where}, and what stands is {self._row(row)}")
        shown = self._reading(row)
        if not isinstance(shown, Tag):
            owed = self.due(state, device) if when == "after a sweep" else state.owed[device]
            if owed not in (row, self._world.any_row):
                raise ViolationError(f"{where}, and {self._row(row)} is none that a person put there")
            return
        may = self.may(before, device, untils)
        exact = (shown.id, shown.why, shown.until) == (must[0].id, must[0].why, must[0].until)
        if not exact and (may == must or shown.until < must[0].until):
            raise ViolationError(f"{where}, and what stands is {self._row(row)}")

    def _check_unlocked(self, before: State, state: State, device: int, untils: dict[Shown, datetime]) -> None:
        """Where certainly nothing is locked, what is owed stands, to the byte."""
        row, due = state.rows[device], self.due(before, device)
        unwritable = before.disabled and (due or not self._world.scenario.readable)
        if self._world.scenario.guarded or unwritable or self.may(before, device, untils):
            return
        if isinstance(self._reading(row), Tag):
            raise ViolationError(f"after a sweep {self._row(row)} stands on {self._name(device)}, and nothing is live")
        if row != due and due != self._world.any_row and not (before.lost and row == self._world.lost_row):
            raise ViolationError(
                f"after a sweep {self._row(row)} stands on {self._name(device)}, owed is {self._row(due)}"
            )

    def _check_known(self, state: State, device: int) -> None:
        """What stands of ours is in the ledger, be it from its tag."""
        shown = self._reading(state.rows[device])
        if (
            isinstance(shown, Tag)
            and not self._world.scenario.guarded
            and (shown.id, shown.why) not in self._recorded(state, device)
        ):
            raise ViolationError(f"after a sweep the ledger knows nothing of {self._row(state.rows[device])}")
