"""The invariants. Each is held against every state, write and outcome that it speaks of.

:mod:`verify.expected` works out what ought to be true.
"""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from device_lockout.values.command import WATCH, Command, Enroll, Lock, Reject, Release, Retire, Target
from device_lockout.values.device import DeviceKey, LookUp, Named, NamedDevice, User
from device_lockout.values.record import Claim, DeviceRecord, UserRecord
from device_lockout.values.tag import Broken, HandWritten, Reading, Tag
from verify.expected import Ends, Expected
from verify.in_words import Words
from verify.numbering import Numbering
from verify.processes import Node
from verify.scenario import NUMBER, ORGANIZATION, Event, at, covers, second_of
from verify.scripted_ports import Recorded, devices_in
from verify.state import HERE, LEDGER_LOST, MISSING, ROW_EDITED, Call, LockId, State, ViolationError, lock_id, put

if TYPE_CHECKING:
    from datetime import datetime

    from device_lockout.values.override import Override

_SAYS_DENIED = frozenset(
    {"locked", "extended", "shortened", "already-locked", "already-denied", "still-locked", "renewed"}
)
"""The results that say that the device is denied."""
_BEFORE_SWEEP, _AFTER_FAULTS, _AFTER_SWEEP = "before any sweep", "after a sweep with faults", "after a sweep"
"""When a device is checked, as messages begin."""


class Invariants:
    """The invariants of one scenario. Each method raises ViolationError if one does not hold."""

    def __init__(self, numbering: Numbering, words: Words) -> None:
        self._scenario = numbering.scenario
        self._numbering = numbering
        self._events, self._values, self._reading = numbering.events, numbering.values, numbering.reading
        self._words = words
        self._expected = Expected(numbering)
        self._devices = range(len(numbering.keys))
        self._rows_change = any(
            act.kind in ("put", "delete", "edit", "rewrite", "carry", "flip") for act in numbering.scenario.acts
        )
        self._users_lock = any(event.device < 0 for event in self._events)

    # Outcomes

    def true_outcome(self, state: State, event: int, result: str) -> None:
        """Check that an outcome is the one first decided, and that it says what stands.

        A refused write may turn any decision into ``failed``, which a later delivery may mend.
        Another outcome takes the place of one that no longer holds.
        What stands is not checked where a person may have changed it since.
        """
        decided: str | None = self._values[state.decided[event]]
        told = state.outcomes[event] != 0  # as failed, and another command may have mended that
        mended = told or decided in (None, "failed", result) or result in ("failed", "rejected")
        if not mended and self._still_holds(state, event, decided):
            name = self._events[event].name
            raise ViolationError(f"{name} was decided as {decided}, and its recorded outcome says {result}")
        if state.lost:
            return
        if result == "rejected" and not self._may_reject(state, event):
            raise ViolationError(f"{self._events[event].name} is rejected, but nothing speaks against it")
        if self._events[event].device < 0:
            self._true_of_user(state, event, result)
        elif not (state.edited and self._rows_change):
            self._true_of_device(state, event, result)

    def _may_reject(self, state: State, event: int) -> bool:
        """Whether the router, the lock's own end or the user is a reason for a rejection."""
        about = self._events[event]
        user = 1 << self._numbering.event_users[event]
        if event in self._numbering.moving and state.holders != (*range(len(state.holders)),):
            return True
        now = self._numbering.now(state)
        over = about.claim is not None and about.claim.until <= now
        old = (now - at(about.at)).total_seconds() > self._scenario.max_event_age
        rows = [row for row, key in zip(state.numbered, self._numbering.keys, strict=True) if key[0] == ORGANIZATION]
        if about.claim is not None:  # a lock by the asset tag reaches those that have it
            rows = [row for row in rows if row and not self._values[row].former]
        excused = self._is_full(state, event)
        nobody = about.user == NUMBER and (about.by_asset or about.releases is not None) and not any(rows)
        excused |= isinstance(about.command, Reject) or over or old or nobody
        may = self._scenario.policies
        excused |= about.change is not None and any(policy.longest is not None for policy in may)
        excused |= bool(about.body) and not all(policy.takes(about) for policy in may)
        return excused or bool((state.deleted | state.exempt | self._excepted(state)) & user)

    def _is_full(self, state: State, event: int) -> bool:
        """Whether the item has as many locks, or as many kinds of releases, as it may. A release of all has room."""
        about = self._events[event]
        item = state.items[about.device] if about.device >= 0 else state.users[self._numbering.event_users[event]]
        record: DeviceRecord | UserRecord = self._values[item] or UserRecord()
        full = len(record.claims) >= self._scenario.no_more_claims
        ending = about.releases or (about.change.ending if about.change else None)
        many = len(record.released.newest) >= self._scenario.most_releases
        return (full and about.releases is None) or bool(many and ending and ending.source)

    def has_room(self, record: DeviceRecord | UserRecord) -> None:
        """Check that an item has no more locks and kinds of releases than it may. One of all in each scope has room."""
        if len(record.claims) > self._scenario.no_more_claims:
            raise ViolationError(f"an item has {len(record.claims)} locks, and no room for a release")
        limited = sum(bool(ending.source) for ending, _ in record.released.newest)
        if limited > self._scenario.most_releases:
            raise ViolationError(f"an item has {limited} kinds of releases, and no room for one of all")

    # Floods and the tamper watch

    def held_pages_once(self, state: State, event: int, said: Recorded) -> None:
        """Check that of a source's held locks one pages."""
        if said.result != "held" or not said.page:
            return
        for number, outcome in enumerate(state.outcomes):
            told: Recorded | None = self._values[outcome]
            if told and told.result == "held" and told.page and told.source == said.source and number != event:
                raise ViolationError(f"people are paged of {self._events[event].name}, which is held as others are")

    def _flood_is_held(self, state: State) -> None:
        """Check that a source locks no more than it may, but for what a person let through, and that people hear."""
        most = self._scenario.locks_per_hour
        if most is None:
            return
        locked: dict[str, set[str]] = {}
        for number, event in enumerate(self._events):
            told: Recorded | None = self._values[state.outcomes[number]]
            kept = event.claim is not None and self.is_kept(state, number)
            if kept and not (event.copy_of or state.let >> number & 1):
                locked.setdefault(event.command.cause.source, set()).add(event.name)
            if told is None or told.result != "held":
                continue
            if not state.announced >> number & 1:
                raise ViolationError(f"nobody was told that {event.name} is held")
            waits = any(self._numbering.event(command) == number for command in (*state.held, *state.dead_letters))
            if (kept or state.let >> number & 1) and not waits:
                raise ViolationError(f"{event.name} was let through, and is told as held")
        for source, locks in locked.items():
            if len(locks) > most:
                raise ViolationError(f"{source} may lock {most}, and locked {len(locks)}: {', '.join(sorted(locks))}")

    def is_kept(self, state: State, event: int) -> bool:
        """Whether the ledger has the lock or the release that an event asks for, of its own device or user."""
        about = self._events[event]
        user: UserRecord | None = self._values[state.users[self._numbering.event_users[event]]]
        item: DeviceRecord | None = self._values[state.items[about.device]] if about.device >= 0 else None
        return about.is_kept(replace(item or DeviceRecord(), user=user or UserRecord()))

    def watch_is_bounded(self, state: State, command: int, outcome: int) -> State:
        """Note what the tamper watch did. It puts a lock back so often, and then gives the device up with one page."""
        asked, said = self._values[command], self._values[outcome]
        if asked is None or asked.cause.detail_type != WATCH or said.result not in ("reasserted", "contested"):
            return state
        target = asked.target
        device = self._numbering.device_numbers[DeviceKey(target.organization, target.user, target.device)]
        where = self._words.device(device)
        noted = tuple(sorted({*state.watch, self._numbering.number((device, said.result, said.id))}))
        if self._watched(noted, device, "reasserted") > self._scenario.most_put_back:
            raise ViolationError(f"the tamper watch puts the lock of {where} back again and again")
        if self._watched(noted, device, "contested") > 1 or not said.page:
            raise ViolationError(f"the tamper watch gives {where} up, and people are not paged once")
        return state._replace(watch=noted)

    def _watched(self, watch: tuple[int, ...], device: int, result: str) -> int:
        """Return how many commands of the tamper watch for a device came to a result."""
        return sum(self._values[number][:2] == (device, result) for number in watch)

    def _excepted(self, state: State) -> int:
        """Return the users who were deleted or exempt at some time. A delivery may have asked for one then."""
        return sum(
            {
                1 << self._numbering.user_of[act.device]
                for number, act in enumerate(self._scenario.acts)
                if act.kind in ("remove", "exempt") and not state.acts >> number & 1
            }
        )

    def _still_holds(self, state: State, event: int, decided: str | None) -> bool:
        """Whether what was first decided for an event is what stands, as far as no person meddled."""
        about = self._events[event]
        device = self._numbering.device_of(state, event)
        if state.lost or state.deleted or device < 0 or (state.edited and self._rows_change):
            return False
        if about.claim is None and about.releases is None:
            return False  # an enrolment may decide anew, since it need not write what it decided
        if about.claim is not None and about.claim.until <= self._numbering.now(state):
            return False
        override: Override | None = self._values[state.rows[device]]
        says_denied = decided in _SAYS_DENIED or (about.releases is not None and decided == "superseded")
        return says_denied == (override is not None and override.effect == "DENY")

    def _true_of_device(self, state: State, event: int, result: str) -> None:
        """Check what an outcome says of a device. Locks and releases of its user may have come in between."""
        about = self._events[event]
        device = self._numbering.device_of(state, event)
        if device < 0:
            return
        row = state.rows[device]
        override: Override | None = self._values[row]
        shown = self._reading(row)
        denied = override is not None and override.effect == "DENY"
        live = self._expected.certainly_live(state._replace(certain=state.certain | 1 << event), device, {})
        said = f"the outcome of {about.name} says {result}, but the device has {self._words.row(row)}"
        if result in _SAYS_DENIED and not denied and (about.claim in live or not self._users_lock):
            raise ViolationError(said)
        if not denied or not isinstance(shown, Tag):
            return
        if result == "released" and not state.deleted:
            of_device = any(
                other.device >= 0
                and self._numbering.is_about(state, number, device)
                and other.claim is not None
                and lock_id(shown) == lock_id(other.claim)
                for number, other in enumerate(self._events)
            )
            if of_device or not self._users_lock:
                raise ViolationError(said)
        if result == "failed" and live and not (self._users_lock or state.deleted) and _shows(shown, live[0]):
            raise ViolationError(f"{said}, which is what is wanted")

    def _true_of_user(self, state: State, event: int, result: str) -> None:
        """Check what an outcome says of a user's devices against the order of the known events.

        A change is both a lock and a release, and only the ledger knows whether it did anything. Commands that name a
        user in several ways may run at once.
        """
        about = self._events[event]
        of_user = [
            (number, other)
            for number, other in enumerate(self._events)
            if other.device < 0 and other.user == about.user
        ]
        names = {other.command.target.user for _, other in of_user}  # each has a message group of its own
        moving = bool(self._numbering.moving)
        if any(other.change and other.user == about.user for other in self._events) or len(names) > 1 or moving:
            return
        certain = [other for number, other in of_user if state.certain >> number & 1]
        arrived = [other for number, other in of_user if not state.pending >> number & 1]

        def ends(release: Event, lock: Event) -> bool:
            assert lock.claim is not None, "a lock has a claim"
            return covers(release.releases, lock.claim) and release.at > lock.at

        def against(events: list[Event], releases: list[Event]) -> list[Event]:
            """Return the releases that end a lock, or the locks that neither a release nor ``releases`` ended."""
            if about.claim:
                return [other for other in events if ends(other, about)]
            return [lock for lock in events if lock.claim and not any(ends(end, lock) for end in (about, *releases))]

        now = self._numbering.now(state)
        still = [other for other in against(certain, arrived) if not other.claim or other.claim.until > now]
        if result in ("released", "locked") and still:
            raise ViolationError(f"the outcome of {about.name} says {result}, but {still[0].name} says otherwise")
        may_be = against(arrived, certain)
        if about.releases is not None and result == "superseded":
            may_be = [lock for lock in may_be if lock.claim and covers(about.releases, lock.claim)]
        over = about.claim is not None and about.claim.until <= now
        if result in ("superseded", "still-locked") and not over and not may_be:
            raise ViolationError(f"the outcome of {about.name} says {result}, but nothing that says so has arrived")

    # Writes to WorkMail

    def written(self, state: State, device: int, new: int, marks: int, *, of_sweep: bool = False) -> State:
        """Let our own write take effect, and check it. ``new`` is 0 for a deletion."""
        if of_sweep and state.word == MISSING:
            where = self._words.device(device)
            raise ViolationError(f"a sweep changes {where}, but nobody has looked since the ledger was set back")
        if state.replaced:
            state = state._replace(replaced=state.replaced & ~(1 << device))
        self._never_lets_in(state, device, new, marks)
        if not marks & LEDGER_LOST:
            self._is_recorded(state, device, new)
        if marks & ROW_EDITED:
            baseline, blind = self._numbering.any_row, True
        else:
            baseline, blind = self._baseline_after(state, device, new, marks), state.blind
            if not marks & LEDGER_LOST:
                self._edit_is_adopted(state, device)
        return state._replace(
            rows=put(state.rows, device, new), baseline=put(state.baseline, device, baseline), blind=blind
        )

    def overrun(self, state: State, device: int, new: int) -> State:
        """Let the write of a process take effect that lived too long. The next sweeps mend what it changes."""
        baseline = put(state.baseline, device, self._numbering.any_row)
        rows = put(state.rows, device, new)
        return state._replace(rows=rows, baseline=baseline, edited=True, blind=True, swept_since=False)

    def _never_lets_in(self, state: State, device: int, new: int, marks: int) -> None:
        override: Override | None = self._values[new]
        if override is not None and override.effect == "DENY":
            return
        if self._scenario.guarded:
            raise ViolationError(f"{self._words.device(device)} is let back in, against a guard")
        live = () if marks & LEDGER_LOST else self._live_in_item(state, device)
        if live:
            lock = self._words.lock(live[0])
            raise ViolationError(f"{self._words.device(device)} is let back in while {lock} is live in the ledger")

    def _live_in_item(self, state: State, device: int) -> tuple[Claim, ...]:
        """Return the live claims of the device's own item. The user's item sends its own commands."""
        item: DeviceRecord | None = self._values[state.items[device]]
        user: UserRecord | None = self._values[state.users[self._numbering.user_of[device]]]
        if item is None:
            return ()
        released = UserRecord(released=user.released) if user else UserRecord()
        return replace(item, user=released).live(self._numbering.now(state))

    def _is_recorded(self, state: State, device: int, new: int) -> None:
        shown = self._reading(new)
        user: UserRecord | None = self._values[state.users[self._numbering.user_of[device]]]
        if not isinstance(shown, Tag) or lock_id(shown) in self._expected.recorded(state, device):
            return
        # The user's item may have dropped it meanwhile: it was released long ago, or another outlasts it.
        released = user is not None and any(shown.at <= when for _, when in user.released.newest)
        outlasted = any(claim.at >= shown.at and claim.until >= shown.until for claim in (user.claims if user else ()))
        if not (released or outlasted):
            lock = self._words.lock(shown)
            raise ViolationError(f"{lock} is put on {self._words.device(device)}, but the ledger does not know it")

    def _baseline_after(self, state: State, device: int, new: int, marks: int) -> int:
        """Return the device's baseline after our write, and check that we may make it."""
        old = state.rows[device]
        override: Override | None = self._values[old]
        if isinstance(self._reading(new), Tag):
            return self._baseline_under_lock(state, device, new, marks)
        baseline = state.baseline[device]
        if override is None:
            return baseline
        reading = self._reading(old)
        where = self._words.device(device)
        if not isinstance(reading, Tag):
            known = isinstance(reading, Broken) and marks & LEDGER_LOST  # when it was decided
            if known or self._is_over(state, device) or self._is_known(state, device, reading):
                return new
            raise ViolationError(f"{self._words.row(old)} on {where} is not ours, but becomes {self._words.row(new)}")
        if baseline == self._numbering.any_row or (state.lost and new == self._numbering.lost_row):
            return new
        expected = self._expected.without_lock(state, device)
        if new not in (baseline, expected):
            row = self._words.row(expected)
            raise ViolationError(f"{self._words.row(new)} comes back on {where} in place of {row}")
        return new

    def _baseline_under_lock(self, state: State, device: int, new: int, marks: int) -> int:
        old, item = state.rows[device], state.items[device]
        override: Override | None = self._values[old]
        if override is None:
            return 0
        if isinstance(self._reading(old), Tag):
            return state.baseline[device]
        shown = self._reading(new)
        if self._is_over(state, device) and isinstance(shown, Tag) and shown.was == "none":
            return 0
        where = f"{self._words.row(old)} on {self._words.device(device)}"
        if override.effect == "DENY":
            raise ViolationError(f"{where} is not ours, but is overwritten")
        if not marks & LEDGER_LOST and (not item or self._values[item].prior != override):
            raise ViolationError(f"{where} is covered before the ledger has it")
        return old

    def _is_known(self, state: State, device: int, reading: Reading | None) -> bool:
        """Whether a tag that a person broke still has the ID of a lock that was reported. A release ends it.

        Without an ID it has our name, and the ledger has a lock here, or had one until it saved this release.
        """
        if not isinstance(reading, Broken):
            return False
        if not reading.id:
            return reading.ours and self._expected.had_lock(state, device)
        return any(lock == reading.id for lock, _ in self._numbering.by_lock)

    def _is_over(self, state: State, device: int) -> bool:
        """Whether the override has a hand-written end that is past."""
        reading = self._reading(state.rows[device])
        return isinstance(reading, HandWritten) and reading.until <= self._numbering.now(state)

    def _edit_is_adopted(self, state: State, device: int) -> None:
        """Check that the ledger has the end in the tag that is overwritten. A person may have set it."""
        shown, item = self._reading(state.rows[device]), state.items[device]
        override: Override | None = self._values[state.rows[device]]
        if not isinstance(shown, Tag) or not item or override is None or override.effect == "ALLOW":
            return
        claims: tuple[Claim, ...] = self._values[item].claims
        policies = self._scenario.policies
        bounded = any(policy.longest is not None for policy in policies)  # so is a lock that only its tag knows
        if any(
            lock_id(claim) == lock_id(shown)
            and claim.until != shown.until
            and all(policy.honours_end(claim.until, shown.until) for policy in policies)
            and not (bounded and not claim.source and claim.until < shown.until)
            for claim in claims
        ):
            end = f"the end of {self._words.lock(shown)} that a person set, {second_of(shown.until)},"
            raise ViolationError(f"{end} is overwritten before it is adopted")

    def news_is_told(self, state: State, device: int, saved: DeviceRecord) -> None:
        """Check that an outcome tells of what a tag taught the ledger, and pages if a lock ends sooner."""
        item: DeviceRecord = self._values[state.items[device]] or DeviceRecord()
        users: UserRecord = self._values[state.users[self._numbering.user_of[device]]] or UserRecord()
        known: dict[LockId, set[datetime]] = {}
        for claim in (*item.claims, *users.claims):
            known.setdefault(lock_id(claim), set()).add(claim.until)
        said = saved.last.outcome if saved.last else None
        for claim in saved.claims:
            ends = known.get(lock_id(claim), set())
            if claim.until in ends or (not ends and claim.source):
                continue
            words = "a person changed its end" if ends else "did not know this lock"
            if said is None or words not in said.because:
                raise ViolationError(f"no outcome tells that {self._words.lock(claim)} was learned from a tag")
            if ends and claim.until < min(ends) and not said.page:
                raise ViolationError(f"nobody is paged that {self._words.lock(claim)} ends sooner")

    def meant_it(self, state: State, call: Call, event: int, answers: tuple[object, ...]) -> None:
        """Check that an item gets the lock or release of its own user.

        That is whom WorkMail names at this delivery, or whom an earlier one has locked. For a release of a name that is
        gone it is whom an earlier lock named.
        """
        about = self._numbering.moving.get(event)
        kind, place, saved, _ = call
        record = self._values[saved] if kind == "save" else DeviceRecord(user=self._values[saved])
        if about is None or not about.is_kept(record) or state.meant[event] >> place & 1:
            return
        user = self._numbering.users[self._numbering.user_of[place] if kind == "save" else place]
        named = next((answer.id for answer in answers if isinstance(answer, User)), None)
        if named is None and about.releases is not None:
            named = next((answer.user for answer in answers if isinstance(answer, Named)), None)
        if user != named:
            raise ViolationError(f"{about.name} reaches {user}, but names {named}")

    # The asset tag

    def knows_who_has_it(self, state: State) -> None:
        """Check at a look-up that a device has the asset tag if the newest news of it say so, and only then.

        News that are under way may count or not.
        """
        if state.lost or not any(event.by_asset for event in self._events):
            return
        for device, row in enumerate(state.numbered):
            about = [
                (number, event)
                for number, event in enumerate(self._events)
                if event.device == device and isinstance(event.command, Enroll | Retire) and not event.copy_of
            ]
            known = max((event.at for number, event in about if state.certain >> number & 1), default=-1.0)
            arrived = [event for number, event in about if not state.pending >> number & 1]
            newest = {event.gives_name for event in arrived if event.at >= known} | ({False} if known < 0 else set())
            has = bool(row) and not self._values[row].former
            if has not in newest:
                said = f"the inventory {'says' if has else 'does not say'} that {self._words.device(device)}"
                raise ViolationError(f"{said} has the asset tag, against the newest news")

    def _found(self, node: Node) -> tuple[NamedDevice, ...]:
        """Return the devices that a lock or release by the asset tag found; none for any other command."""
        event = self._numbering.event(node.start.command)
        if event < 0 or not self._events[event].by_asset:
            return ()
        answers: dict[str, tuple[NamedDevice, ...]] = dict(zip(node.asked, node.answers, strict=False))
        return answers.get("devices named", ())

    def goes_to_first_found(self, state: State, event: int, device: int) -> None:
        """Check that a command by the asset tag is carried out on a device that the first look-up found, or on none."""
        found: LookUp | None = self._values[state.found[event]]
        if not state.lost and (found is None or self._numbering.keys[device] not in found.keys):
            where = self._words.device(device)
            raise ViolationError(f"{self._events[event].name} is carried out on {where}, which it did not find first")

    def former_are_told(self, node: Node, sent: Command | Recorded) -> None:
        """Check that a lock by the asset tag goes to no device that had it once, and that people hear of these.

        The commands that it sends and its rejection name them, and so do the outcomes of these commands.
        """
        command: Command | None = self._values[node.start.command]
        if not isinstance(command, Lock):
            return
        former = {row.key.device for row in self._found(node) if row.former}
        former |= {key.device for answer in node.answers if isinstance(answer, LookUp) for key in answer.left}
        if isinstance(sent, Recorded):
            former |= set(devices_in(command.cause.correction))
            page, named = sent.page, sent.devices
        else:
            page, named = sent.cause.page, devices_in(sent.cause.correction)
            if sent.target.device in former:
                raise ViolationError(f"a lock by asset tag goes to {sent.target.device}, which has lost it")
        if former and not (page and former <= set(named)):
            raise ViolationError(f"nobody is paged that {', '.join(sorted(former))} had the asset tag once")

    def reaches_all(self, state: State, node: Node) -> None:
        """Check that a lock by the asset tag is sent to each device that has it, a release to each that ever had it."""
        command: Command = self._values[node.start.command]
        found = {row.key: isinstance(command, Release) or not row.former for row in self._found(node)}
        found |= {key: True for answer in node.answers if isinstance(answer, LookUp) for key in answer.keys}
        for key, wanted in found.items():
            own = self._numbering.number(replace(command, target=Target.of(key)))
            if wanted and self._numbering.copy_of(own) not in state.sent:
                raise ViolationError(f"{self._words.command(node.start.command)} does not go to {key.device}")

    # States at rest

    def check_at_rest(self, state: State) -> None:
        """Check a state at rest before any sweep."""
        self._every_outcome_is_announced(state)
        self._nothing_rejected_is_kept(state)
        self._flood_is_held(state)
        self._has_one_user(state)
        watched = self._scenario.watched and not state.disabled
        if not (state.edited and not watched) and not state.lost and not state.dead_letters:
            for device in self._devices:
                ends = self._expected.edited_ends(state, device)
                put_back = self._watched(state.watch, device, "reasserted")
                if put_back < self._scenario.most_put_back:  # else it is the sweep's turn
                    self._is_locked(state, state, device, ends, _BEFORE_SWEEP)
        if state.swept_since and state.swept == HERE:  # after a loss a page that failed keeps a lock unknown
            for device in self._devices:
                ends = self._expected.edited_ends(state, device)
                # A list may have lacked a tag that was edited, or that the ledger lost.
                if ends == self._expected.adopted_ends(state, device) and not self._shows_unknown_lock(state, device):
                    self._is_locked(state, state, device, ends, _AFTER_FAULTS)

    def check_swept(self, state: State, swept: State) -> None:
        """Check what the next sweep makes of a state at rest."""
        for device in self._devices:
            ends = self._expected.edited_ends(state, device)
            self._is_locked(state, swept, device, ends, _AFTER_SWEEP)
            self._is_unlocked(state, swept, device, ends)
            self._tag_is_recorded(swept, device)
            self._is_told(state, swept, device)

    def _every_outcome_is_announced(self, state: State) -> None:
        if state.lost:
            return
        dead_letters = {self._numbering.event(command) for command in state.dead_letters}
        for number, event in enumerate(self._events):
            if event.user == NUMBER:
                continue  # each device's command has an outcome of its own
            if state.certain >> number & 1 and not event.copy_of and number not in dead_letters:
                if not state.outcomes[number]:
                    raise ViolationError(f"{event.name} has no recorded outcome")
                item = self._values[state.items[event.device]] if event.device >= 0 else None
                recorded = self._values[state.outcomes[number]]
                done = item and item.last and item.last.command == recorded.id and not item.failed
                if recorded.result == "failed" and done:
                    raise ViolationError(f"{event.name} is told as failed, but it was done")
                if not state.announced >> number & 1:
                    raise ViolationError(f"the outcome of {event.name} was never announced")

    def _nothing_rejected_is_kept(self, state: State) -> None:
        """Check that no lock that was told as rejected is live in the ledger.

        After a loss of the ledger nothing says whose the name in a report was. So a redelivery may be rejected.
        """
        if state.lost:
            return
        for number, event in enumerate(self._events):
            outcome = state.outcomes[number]
            if not outcome or self._values[outcome].result != "rejected" or event.claim is None:
                continue
            for device, user in enumerate(self._numbering.user_of):
                item: DeviceRecord = self._values[state.items[device]] or DeviceRecord()
                known = replace(item, user=self._values[state.users[user]] or UserRecord())
                live = known.live(self._numbering.now(state))
                if any(lock_id(claim) == lock_id(event.claim) and claim.source for claim in live):
                    raise ViolationError(f"{event.name} was told as rejected, but the ledger has its lock")

    def _has_one_user(self, state: State) -> None:
        """Check that the ledger has a lock or a release for one user only, whoever got the name that its report used.

        A release that a newer one includes is no longer there, and nothing tells two of one time apart.
        """
        of_one_time = Counter((event.releases, event.at) for event in self._events if not event.copy_of)
        for event in self._numbering.moving.values():
            if event.releases is not None and of_one_time[event.releases, event.at] > 1:
                continue
            items = zip(self._numbering.user_of, state.items, strict=True)
            known = {user for user, item in items if item and _counts(event, self._values[item])}
            users = ((user, DeviceRecord(user=self._values[item])) for user, item in enumerate(state.users) if item)
            known |= {user for user, record in users if _counts(event, record)}
            if len(known) > 1 and not state.lost:
                raise ViolationError(f"{event.name} counts for {len(known)} users")

    def _is_told(self, before: State, swept: State, device: int) -> None:
        """Check that people heard of an override that is left alone: a broken one, or a ``DENY`` in place of ours.

        The next sweep tells of an override that this one brought, and a refused write has an outcome of its own.
        """
        row = swept.rows[device]
        item: DeviceRecord | None = self._values[swept.items[device]]
        if row != before.rows[device] or (item is not None and item.failed):
            return
        left = isinstance(self._reading(row), Broken) or swept.replaced >> device & 1
        if left and (device, row) not in (*before.told, *swept.told):
            raise ViolationError(f"after a sweep nobody heard that {self._words.row(row)} was left alone")

    def _is_locked(self, before: State, state: State, device: int, ends: Ends, when: str) -> None:
        """Check that a device with a live lock is denied by the wanted tag or by somebody else's override.

        Only a sweep that removes puts our lock in the place of a hand-written override that is over. After a loss of
        the ledger the lock of an exempt user may be a forged one.
        """
        exempt = before.lost and before.exempt >> self._numbering.user_of[device] & 1
        live = self._expected.certainly_live(before, device, ends, swept=when == _AFTER_SWEEP)
        if not live or before.disabled or exempt:
            return
        row = state.rows[device]
        override: Override | None = self._values[row]
        found = (
            f"{when} {self._words.lock(live[0])} is live on {self._words.device(device)},"
            f" but the device has {self._words.row(row)}"
        )
        if override is None or override.effect != "DENY":
            raise ViolationError(found)
        shown = self._reading(row)
        if not isinstance(shown, Tag):
            swept = when == _AFTER_SWEEP
            baseline = self._expected.without_lock(state, device) if swept else state.baseline[device]
            if baseline not in (row, self._numbering.any_row):
                raise ViolationError(f"{found}, which no person put there")
            return
        if (before.lost or self._is_foreign_to(before, device, shown)) and shown.until >= live[0].until:
            return  # a person wrote this tag, or it lost its milliseconds with the ledger
        certain = self._expected.possibly_live(before, device, ends) == live
        if not _shows(shown, live[0]) and (certain or shown.until < live[0].until):
            raise ViolationError(found)

    def _is_unlocked(self, before: State, state: State, device: int, ends: Ends) -> None:
        """Check that a device without a lock has its baseline, to the byte."""
        row, expected = state.rows[device], self._expected.without_lock(before, device)
        refused = before.disabled and (expected or before.lost or not self._scenario.readable)
        if self._scenario.guarded or refused or self._expected.possibly_live(before, device, ends):
            return
        found = f"after a sweep {self._words.device(device)} has {self._words.row(row)}"
        shown = self._reading(row)
        if isinstance(shown, Tag):
            if self._is_foreign_to(state, device, shown) and shown.until > self._numbering.now(state):
                return
            raise ViolationError(f"{found}, but no lock is live")
        if row != expected and expected != self._numbering.any_row:
            if before.lost and row == self._numbering.lost_row:
                return
            raise ViolationError(f"{found}, expected {self._words.row(expected)}")

    def shows_unknown_lock(self, state: State) -> bool:
        """Whether a tag shows a lock that the ledger does not know, or a person's copy of a tag of ours."""
        return any(self._shows_unknown_lock(state, device) for device in self._devices)

    def _shows_unknown_lock(self, state: State, device: int) -> bool:
        shown = self._reading(state.rows[device])
        return isinstance(shown, Tag) and lock_id(shown) not in self._expected.recorded(state, device)

    def _is_foreign_to(self, state: State, device: int, shown: Tag) -> bool:
        """Whether no event of this device asked for the lock that a tag shows: a person wrote the tag."""
        event = self._numbering.by_lock.get(lock_id(shown))
        if event is None:
            return True
        if self._events[event].user == NUMBER:
            return not self._expected.has_number(device)
        return not self._numbering.is_about(state, event, device)

    def _tag_is_recorded(self, state: State, device: int) -> None:
        """Check that the ledger knows each lock that stands, but for those of an exempt user that a person wrote.

        After a loss nobody can tell these from ours.
        """
        row = state.rows[device]
        shown = self._reading(row)
        if not isinstance(shown, Tag) or self._scenario.guarded or state.disabled:
            return
        exempt = state.exempt >> self._numbering.user_of[device] & 1
        if exempt and (state.lost or self._is_foreign_to(state, device, shown)):
            return
        if lock_id(shown) not in self._expected.recorded(state, device):
            raise ViolationError(f"after a sweep the ledger does not know of {self._words.row(row)}")


def _shows(tag: Tag, claim: Claim) -> bool:
    return lock_id(tag) == lock_id(claim) and tag.until == claim.until


def _counts(event: Event, record: DeviceRecord) -> bool:
    """Whether a record has an event's lock, or its release as the newest of that kind."""
    if event.claim is not None:
        return event.is_kept(record)
    newest = (*record.released.newest, *record.user.released.newest)
    return (event.releases, event.command.cause.happened) in newest
