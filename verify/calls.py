"""What each call of a process does to the state, and its answer."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from device_lockout.values.command import WATCH, Expire
from device_lockout.values.device import Named, User
from device_lockout.values.errors import RefusedError, TransientError, UnansweredError, UnknownUserError
from device_lockout.values.outcome import SOURCE
from device_lockout.values.override import ListedOverride, Observation
from device_lockout.values.record import DeviceRecord, LastSweep, UserRecord
from device_lockout.values.tag import Tag
from verify.in_words import Story
from verify.invariants import Invariants
from verify.numbering import Numbering
from verify.processes import SAVES, Node
from verify.scripted_ports import Failure, Recorded
from verify.state import HERE, ITEMS, Call, Late, LockId, State, ViolationError, but, enqueue, lock_id, put

ANSWERED = ""
DONE_UNANSWERED = "done, but not answered"
NOT_DONE = "neither done nor answered"
LATE = "not answered, and may land later"
SENT_TWICE = "sent twice; the second write may land later"

NOTED = Recorded("noted", "", "", "")
"""Stands for the outcome of a command that no event asked for, or a warning. The code asks only if there is one."""

Result = tuple[State, int]
"""The state after a call, and the number of its answer."""
Effect = Callable[[State, Call], Result]


class Calls:
    """WorkMail, the ledger, the queue and the bus of one scenario."""

    def __init__(self, numbering: Numbering, invariants: Invariants, story: Story, off: set[str]) -> None:
        self._scenario = numbering.scenario
        self._numbering = numbering
        self._number, self._values, self._user_of = numbering.number, numbering.values, numbering.user_of
        self._invariants = invariants
        self._story = story
        self._off = off
        self._skew = timedelta(seconds=numbering.scenario.skew)
        self._observations: dict[tuple[int, int], int] = {}
        self._of_sweeps: set[int] = set()
        self._no_device, self._no_user = self._number(DeviceRecord()), self._number(UserRecord())
        self._unanswered = self._failure(UnansweredError, "WorkMail did not answer")
        self._unsaved = self._failure(TransientError, "the ledger did not answer")
        self._refused = self._failure(RefusedError, "the user is disabled or deleted")
        self._unknown = self._failure(UnknownUserError, "the user is disabled or deleted")
        self._effects: dict[str, Effect] = {
            "look up": self._look_up,
            "get": self._get,
            "open": self._open,
            "look": self._look,
            "save": self.save,
            "user": self._user,
            "save user": self.save_user,
            "devices of": self._devices_of,
            "enroll": self._enroll,
            "retire": self._enroll,
            "save names": self._save_names,
            "save named": self._save_named,
            "devices named": self._devices_named,
            "saw": self._saw,
            "remember": self._remember,
            "recall": self._recall,
            "found": self._found,
            "keep found": self._keep_found,
            "outcome": self._record_outcome,
            "announce": self._announce,
            "recorded": self._recorded,
            "note": self._note,
            "first": self._first,
            "count": self._count,
            "hold": self._hold,
            "left": self._left,
            "page": self._page,
            "records": self._records,
            "last sweep": self._last_sweep,
            "save sweep": self._save_sweep,
        }

    def _failure(self, error: type[Any], text: str) -> int:
        return self._number(Failure(error, text))

    def perform(self, state: State, node: Node, marks: int = 0, group: int = -1, how: str = ANSWERED) -> Result:
        """Make the call that ``node`` waits for.

        ``marks`` and ``group`` are those of the process, and ``how`` says what becomes of the call.
        """
        call = node.next_call
        kind = call[0]
        self._story.makes_call(call, how)
        if how in (LATE, SENT_TWICE):
            state = state._replace(late=(*state.late, Late(group, call, marks)))
        if how in (LATE, NOT_DONE):
            return state, self._unsaved if kind in SAVES else self._unanswered
        if kind in SAVES and self._numbering.moving:
            self._invariants.meant_it(state, call, self._numbering.event(node.start.command), node.answers)
        if kind in ("put", "delete"):
            return self._write(state, node, marks, how)
        if kind == "devices named":
            self._invariants.knows_who_has_it(state)
        if kind in ("send", "outcome"):
            self._invariants.former_are_told(node, self._values[call[-1]])
        if kind == "outcome":
            state = self._invariants.watch_is_bounded(state, node.start.command, call[-1])
        if kind == "send":
            return self._send(state, node, call[1]), 0
        return self._effects[kind](state, call)

    # WorkMail

    def _look_up(self, state: State, call: Call) -> Result:
        name, elsewhere, organization = call[1].partition(" ")
        user, by_mail, _ = name.partition("@")
        number = self._numbering.user_numbers.get(user + elsewhere + organization, -1)
        if by_mail and number >= 0:
            number = state.holders[number]
        if number < 0 or state.deleted >> number & 1:
            return state, self._failure(UnknownUserError, f"WorkMail does not know user {call[1]}")
        user, *_ = self._numbering.users[number].split()
        return state, self._number(User(user, frozenset({name, user})))

    def _get(self, state: State, call: Call) -> Result:
        device = call[1]
        if not self._scenario.readable and state.deleted >> self._user_of[device] & 1:
            return state, self._unknown
        key = state.rows[device], state.clock
        known = self._observations.get(key)
        if known is None:
            observed = Observation(self._values[state.rows[device]], self._numbering.now(state) + self._skew)
            known = self._observations[key] = self._number(observed)
        return state, known

    def _write(self, state: State, node: Node, marks: int, how: str) -> Result:
        kind, device, row = node.next_call
        user = self._user_of[device]
        if state.disabled >> user & 1 and (kind == "put" or not self._scenario.readable):
            return state, self._unknown if state.deleted >> user & 1 else self._refused
        cause = self._values[node.start.command].cause
        of_sweep = cause.source == SOURCE and cause.detail_type != WATCH
        written = self._invariants.written(state, device, row, marks, of_sweep=of_sweep)
        return written, self._unanswered if how else 0

    def _page(self, state: State, call: Call) -> Result:
        return state, self.page(state, *call[1:])

    def page(self, state: State, page: int, organization: str, lacking: int = 0) -> int:
        """Return one page of WorkMail's list. It lacks its first ``lacking`` rows, as if rows moved meanwhile."""
        size = self._scenario.page_size
        keys = self._numbering.keys
        on_page = [
            device
            for device, row in enumerate(state.rows)
            if row and device // size == page and keys[device].organization == organization
        ]
        rows = tuple(ListedOverride(keys[device], self._values[state.rows[device]]) for device in on_page[lacking:])
        more = (page + 1) * size < len(state.rows)
        return self._number((rows, self._numbering.now(state) + self._skew, more))

    # The ledger: devices

    def _open(self, state: State, call: Call) -> Result:
        item = state.items[call[1]]
        if item:
            return state, item
        return but(state, ITEMS, put(state.items, call[1], self._no_device)), self._no_device

    def _look(self, state: State, call: Call) -> Result:
        return state, state.items[call[1]] if call[1] >= 0 and state.items[call[1]] else self._no_device

    def save(self, state: State, call: Call) -> Result:
        """Save a device's item, if it still has the version that was read."""
        _, device, saved, read = call
        if self._is_stale(state.items[device], read):
            return state, self._failure(TransientError, "the device was changed in the ledger")
        record: DeviceRecord = self._values[saved]
        self._invariants.news_is_told(state, device, record)
        self._invariants.has_room(record)
        decided = state.decided
        if record.last is not None:
            event = self._numbering.by_command_id.get(record.last.command, -1)
            if event >= 0 and not decided[event]:
                decided = put(decided, event, self._number(record.last.outcome.result))
        return state._replace(
            items=put(state.items, device, saved),
            edits=self._adopted(state, device, record),
            decided=decided,
            noted=self._still_asked_for(state, device, record),
            meant=self._meant(state, device, record, of_device=True),
            replaced=state.replaced & ~(1 << device) if self._is_told(state, device, record) else state.replaced,
        ), 0

    def _still_asked_for(self, state: State, device: int, saved: DeviceRecord) -> tuple[int, ...]:
        """Return ``state.noted`` without the outcome of a sweep's command that is no longer the device's last one.

        Nobody asks for it any more.
        """
        item: DeviceRecord | None = self._values[state.items[device]]
        if item is None or item.last is None or saved.last is None or item.last.command == saved.last.command:
            return state.noted
        old = self._number(item.last.command)
        return tuple(noted for noted in state.noted if noted != old) if old in self._of_sweeps else state.noted

    def _is_told(self, state: State, device: int, saved: DeviceRecord) -> bool:
        """Whether the outcome that is saved tells of the override that stands."""
        last = saved.last
        standing = self._values[state.rows[device]]
        return last is not None and last.outcome.after == standing and last.outcome.result != "skipped"

    def _is_stale(self, item: int, read: int) -> bool:
        return (self._values[item].version if item else 0) != read and "version" not in self._off

    def _adopted(self, state: State, device: int, record: DeviceRecord) -> tuple[tuple[int, LockId, int], ...]:
        """Return ``state.edits`` with the ends of the record's claims that people set."""
        if not self._numbering.edited_to:
            return ()
        edits = {(where, lock): until for where, lock, until in state.edits}
        for claim in record.claims:
            if claim.until not in self._numbering.edited_to:
                continue
            lock = lock_id(claim)
            event = self._numbering.by_lock.get(lock)
            about = self._numbering.events[event] if event is not None else None
            change = about.change.claim if about is not None and about.change is not None else None
            reported = about.claim or change if about is not None else None
            if (device, lock) in edits or (reported is not None and reported.until != claim.until):
                edits[device, lock] = self._number(claim.until)
        if record.last is None or record.last.outcome.before != self._values[state.rows[device]]:
            return tuple(sorted((*key, until) for key, until in edits.items()))
        shown = self._numbering.reading(state.rows[device])
        known = {lock_id(claim) for claim in record.claims}
        override, user = self._values[state.rows[device]], state.users[self._user_of[device]]
        honoured = all(policy.honours == "all" for policy in self._scenario.policies)
        if user and override is not None and (override.effect == "ALLOW" or not honoured):  # then its end may not count
            known |= {lock_id(claim) for claim in self._values[user].claims}
        if isinstance(shown, Tag) and shown.until in self._numbering.edited_to and lock_id(shown) not in known:
            edits[device, lock_id(shown)] = self._number(shown.until)  # adopted, and old enough to be forgotten
        return tuple(sorted((*key, until) for key, until in edits.items()))

    def _enroll(self, state: State, call: Call) -> Result:
        kind, device, happened = call
        if happened < state.inventory_at[device]:
            return state, self._number((kind, None))
        state = state._replace(inventory_at=put(state.inventory_at, device, happened))
        kept = (self._numbering.name,) if state.named >> device & 1 else ()
        return self._in_inventory(state, device, known=kind == "enroll"), self._number((kind, kept))

    def _save_names(self, state: State, call: Call) -> Result:
        _, device, names = call
        kept = self._numbering.name in self._values[names]
        return state._replace(named=state.named & ~(1 << device) | kept << device), 0

    def _save_named(self, state: State, call: Call) -> Result:
        """Write a device's row under the name, unless newer news wrote it."""
        _, device, row = call
        there = state.numbered[device]
        if there and self._values[there].heard > self._values[row].heard:
            return state, 0
        return state._replace(numbered=put(state.numbered, device, row)), 0

    def _devices_named(self, state: State, call: Call) -> Result:
        rows = [self._values[row] for row in state.numbered if row]
        return state, self._number(tuple(row for row in rows if row.key.organization == call[1]))

    def _saw(self, state: State, call: Call) -> Result:
        return self._in_inventory(state, call[1], known=True), 0

    def _in_inventory(self, state: State, device: int, *, known: bool) -> State:
        """Give the device an item, and mark it as known if it is."""
        item: DeviceRecord = self._values[state.items[device]] or DeviceRecord()
        changed = self._number(replace(item, known=item.known or known))
        return but(state, ITEMS, put(state.items, device, changed))

    # The ledger: users

    def _user(self, state: State, call: Call) -> Result:
        return state, state.users[call[1]] if call[1] >= 0 and state.users[call[1]] else self._no_user

    def save_user(self, state: State, call: Call) -> Result:
        """Save a user's item, if it still has the version that was read."""
        _, user, saved, read = call
        if self._is_stale(state.users[user], read):
            return state, self._failure(TransientError, "the user was changed in the ledger")
        self._invariants.has_room(self._values[saved])
        meant = self._meant(state, user, DeviceRecord(user=self._values[saved]), of_device=False)
        return state._replace(users=put(state.users, user, saved), meant=meant), 0

    def _meant(self, state: State, place: int, saved: DeviceRecord, *, of_device: bool) -> tuple[int, ...]:
        """Return ``state.meant`` with the events whose lock or release is saved for a device or a user."""
        meant = state.meant
        for number, event in self._numbering.moving.items():
            if (event.device >= 0) == of_device and event.is_kept(saved):
                meant = put(meant, number, meant[number] | 1 << place)
        return meant

    def _devices_of(self, state: State, call: Call) -> Result:
        keys = zip(self._numbering.keys, self._user_of, state.items, strict=True)
        return state, self._number(tuple(key for key, user, item in keys if user == call[1] and item))

    def _remember(self, state: State, call: Call) -> Result:
        _, name, named = call
        known: Named = self._values[dict(state.names).get(name, 0)] or named
        if known.user not in (named.before, named.user) and "name-at-once" not in self._off:
            return state, self._failure(TransientError, "the name means another user in the ledger")
        return state._replace(names=tuple(sorted({**dict(state.names), name: self._number(named)}.items()))), 0

    def _recall(self, state: State, call: Call) -> Result:
        return state, dict(state.names).get(call[1]) or self._number(Named())

    @staticmethod
    def _found(state: State, call: Call) -> Result:
        return state, state.found[call[1]]

    @staticmethod
    def _keep_found(state: State, call: Call) -> Result:
        """Keep what a look-up found, unless an earlier one did."""
        _, event, found = call
        kept = state.found[event] or found
        return state._replace(found=put(state.found, event, kept)), kept

    # The ledger: sweeps

    def _records(self, state: State, call: Call) -> Result:
        items: list[tuple[Any, int]]
        _, kind, organization = call
        if kind == "user":
            users = {self._user_of[device]: key for device, key in enumerate(self._numbering.keys)}
            items = [
                (key.user_id, state.users[user]) for user, key in users.items() if key.organization == organization
            ]
        else:
            keys = zip(self._numbering.keys, state.items, strict=True)
            items = [(key, item) for key, item in keys if key.organization == organization]
        return state, self._number(tuple((key, self._values[item]) for key, item in items if item))

    def _last_sweep(self, state: State, _: Call) -> Result:
        last = LastSweep(self._numbering.now(state), here=state.swept == HERE)
        return state, self._number(last) if state.swept else 0

    def _save_sweep(self, state: State, _: Call) -> Result:
        return state._replace(swept=HERE), 0

    # The queue

    def _send(self, state: State, node: Node, command: int) -> State:
        if node.list_failed and isinstance(self._values[command], Expire):
            raise ViolationError("a sweep sends an Expire although its list failed")
        copy = self._numbering.copy_of(command)
        if copy in state.sent and self._scenario.deduplicates:
            self._story.is_dropped(command)
            return state
        state = enqueue(state, self._numbering.group(command), command)
        return state._replace(sent=tuple(sorted({*state.sent, copy})))

    # Outcomes

    def _record_outcome(self, state: State, call: Call) -> Result:
        _, event, outcome = call
        said: Recorded = self._values[outcome]
        result = said.result
        if event < 0:
            number = self._number(said.id)
            if said.source == SOURCE:
                self._of_sweeps.add(number)
            return self._noted(state, number), outcome
        recorded = state.outcomes[event]
        first = self._values[recorded].result if recorded else ""
        failed, held = first == "failed", first == "held"
        mends = failed and result != "failed" and "failure-is-mended" not in self._off
        mends |= held and result != "held"
        if recorded and not mends:
            return state, recorded
        if recorded and recorded != outcome and not (failed or held):
            both = f"{self._values[recorded].result} and {result}"
            raise ViolationError(f"{self._numbering.events[event].name} has two outcomes: {both}")
        self._invariants.true_outcome(state, event, result)
        self._invariants.held_pages_once(state, event, said)
        return state._replace(outcomes=put(state.outcomes, event, outcome)), outcome

    def _announce(self, state: State, call: Call) -> Result:
        _, event, outcome = call
        if event < 0:
            return state, 0
        if state.outcomes[event] != outcome:
            raise ViolationError(f"{self._values[outcome].result} is announced, but another outcome is recorded")
        return state._replace(announced=state.announced | 1 << event), 0

    def _recorded(self, state: State, call: Call) -> Result:
        """Return an event's recorded outcome, or whether the ledger has noted another one."""
        _, event, number = call
        if event >= 0:
            return state, state.outcomes[event] if "done-means-done" not in self._off else 0
        return state, self._number(NOTED) if number in state.noted else 0

    def _note(self, state: State, call: Call) -> Result:
        return self._noted(state, call[1]), 0

    # Floods

    def _first(self, state: State, call: Call) -> Result:
        """Return the command of the first call with this mark."""
        _, mark, command = call
        noted = (self._values[number] for number in state.noted)
        known = next((value[1] for value in noted if isinstance(value, tuple) and value[0] == mark), None)
        if known is not None:
            return state, self._number(known)
        return self._noted(state, self._number((mark, command))), self._number(command)

    def _count(self, state: State, call: Call) -> Result:
        _, lock, most = call
        source, _ = self._values[lock]
        others = sum(self._values[counted][0] == source for counted in state.counted if counted != lock)
        if others >= most and lock not in state.counted:
            return state, 0
        return state._replace(counted=tuple(sorted({*state.counted, lock}))), self._number("counted")

    @staticmethod
    def _hold(state: State, call: Call) -> Result:
        """Keep a held command. The queue of the dead letters drops copies, too."""
        return state._replace(held=tuple(sorted({*state.held, call[1]}))), 0

    @staticmethod
    def _noted(state: State, number: int) -> State:
        return state if number in state.noted else state._replace(noted=tuple(sorted((*state.noted, number))))

    @staticmethod
    def _left(state: State, call: Call) -> Result:
        _, device, row = call
        return state._replace(told=tuple(sorted({*state.told, (device, row)}))), 0
