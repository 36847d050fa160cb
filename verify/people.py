"""What people do, and what else happens to the ledger from outside."""

from dataclasses import replace
from typing import TYPE_CHECKING

from device_lockout.values import tag
from device_lockout.values.command import WATCH, Cause, Reassert, Target
from device_lockout.values.outcome import SOURCE
from device_lockout.values.record import DeviceRecord, UserRecord
from device_lockout.values.tag import HandWritten, Tag
from verify.in_words import Story
from verify.numbering import Numbering
from verify.processes import Processes
from verify.scenario import NUMBER, Act, at
from verify.state import ELSEWHERE, GIVEN, LEDGER_LOST, MISSING, ROW_EDITED, Moves, State, enqueue, lock_id, put

if TYPE_CHECKING:
    from device_lockout.values.override import Override


class People:
    """The people of one scenario."""

    def __init__(self, numbering: Numbering, processes: Processes, story: Story, off: set[str]) -> None:
        self._scenario = numbering.scenario
        self._numbering = numbering
        self._number, self._values, self._reading = numbering.number, numbering.values, numbering.reading
        self._mark = processes.mark
        self._story = story
        self._off = off

    def acts(self, state: State) -> Moves:
        """Yield each act that is left and has something to act on."""
        for index, act in enumerate(self._scenario.acts):
            if state.acts >> index & 1 and act.after <= self._numbering.seconds[state.clock]:
                move = self._story.attempt("act", index)
                after = self._act(state._replace(acts=state.acts & ~(1 << index)), act)
                if after is not None:
                    yield move, after

    def _act(self, state: State, act: Act) -> State | None:
        """Return the state after an act; None if there is nothing to act on."""
        match act.kind:
            case "lose":
                return self._lose(state)
            case "reap":
                return self._reap(state, act.device)
            case "keep":
                self._story.ledger_is_kept()
                inventory = state.inventory_at, state.numbered, (state.named,), state.found
                return state._replace(kept=(state.items, state.users, state.noted, state.outcomes, *inventory))
            case "restore":
                return self._restore(state) if state.kept else None
            case "accept":
                self._story.ledger_is_accepted()
                return state._replace(word=GIVEN) if state.word == MISSING else None
            case "carry":
                return self._carry(state, act.device)
            case "configure":
                policy = (state.policy + 1) % len(self._scenario.policies)
                self._story.is_configured(self._scenario.policies[policy])
                return state._replace(policy=policy, swept_since=False)
            case "rename" | "inherit":
                return self._move_name(state, act)
            case "disable" | "enable" | "remove" | "exempt":
                return self._change_user(state, act)
        row = self._changed_row(state, act)
        if row is None or row == state.rows[act.device]:
            return None
        return self._change_row(state, act, row)

    def _change_user(self, state: State, act: Act) -> State | None:
        bit = 1 << self._numbering.user_of[act.device]
        self._story.person_changes_user(act.kind, self._numbering.keys[act.device].user_id)
        if act.kind == "exempt":
            name = self._numbering.keys[act.device].user_id
            named = (number for number, user in enumerate(self._numbering.users) if user.split()[0] == name)
            return state._replace(exempt=state.exempt ^ sum(1 << number for number in named))
        disabled, deleted = state.disabled | bit, state.deleted
        if act.kind == "remove":
            return state._replace(deleted=deleted | bit, disabled=disabled, edited=True)
        if act.kind == "enable":
            disabled, deleted = state.disabled & ~bit, deleted & ~bit
            state = state._replace(swept_since=False)
        if disabled == state.disabled:
            return None
        return state._replace(deleted=deleted, disabled=disabled, edited=True)

    def _move_name(self, state: State, act: Act) -> State | None:
        """Take a user's mail address away, or give it to the other user."""
        user = self._numbering.user_of[act.device]
        others = [other for other in self._numbering.user_of if other != user]
        holder = others[0] if others and act.kind == "inherit" else -1
        self._story.name_moves(self._numbering.users[user], self._numbering.users[holder] if holder >= 0 else "nobody")
        if state.holders[user] == holder:
            return None
        return state._replace(holders=put(state.holders, user, holder))

    def _changed_row(self, state: State, act: Act) -> int | None:
        """Return the override that an act leaves; None if the act needs an override of ours."""
        if act.kind == "put":
            return self._number(act.override)
        if act.kind == "delete":
            return 0
        override = self._values[state.rows[act.device]]
        shown = self._reading(state.rows[act.device])
        if not isinstance(shown, Tag):
            return None
        if act.kind == "flip":
            return self._number(replace(override, effect="ALLOW"))
        if act.kind == "rewrite":
            return self._number(replace(override, description=override.description.replace(*act.text, 1)))
        return self._number(replace(override, description=tag.write(replace(shown, until=at(act.until)))))

    def _change_row(self, state: State, act: Act, row: int) -> State:
        device = act.device
        state = self._unless_adopted(state, device, row)
        self._story.person_changes_row(device, row)
        baseline = put(state.baseline, device, self._baseline_after(state, act, row))
        rows = put(state.rows, device, row)
        replaced = state.replaced & ~(1 << device) | self._replaces(state, device, row) << device
        if self._scenario.watched and "watch" not in self._off:
            state = self._is_seen(state, act)
        return self._mark(
            state._replace(rows=rows, baseline=baseline, replaced=replaced, edited=True, swept_since=False),
            ROW_EDITED,
            device,
        )

    def _is_seen(self, state: State, act: Act) -> State:
        """Send the command that the tamper watch makes of an act."""
        now, acts = self._numbering.now(state), self._scenario.acts
        done = sum(each == act and not state.acts >> number & 1 for number, each in enumerate(acts))
        cause = Cause(f"watch {acts.index(act)}, {done}", SOURCE, WATCH, now, now)
        command = self._number(Reassert(cause, Target.of(self._numbering.keys[act.device])))
        return enqueue(state, self._numbering.group(command), command)

    def _baseline_after(self, state: State, act: Act, row: int) -> int:
        """Return what must stand after our locks. A tag that a person wrote says so itself, whatever it says."""
        before, after = self._reading(state.rows[act.device]), self._reading(row)
        if not isinstance(after, Tag):
            return row
        kept = isinstance(before, Tag) and before.was == after.was
        return state.baseline[act.device] if kept else self._numbering.any_row

    def _carry(self, state: State, device: int) -> State | None:
        """Put our override on the next device, too."""
        row, other = state.rows[device], device + 1
        if not isinstance(self._reading(row), Tag) or state.rows[other] == row:
            return None
        return self._change_row(state, Act("put", other), row)

    def _replaces(self, state: State, device: int, row: int) -> bool:
        """Whether a person's ``DENY`` takes the place of our own that we set. Nothing would undo it.

        A copy of our lock that a person put on another device was never ours.
        """
        before: Override | None = self._values[state.rows[device]]
        override: Override | None = self._values[row]
        shown = self._reading(state.rows[device])
        if before is None or override is None or isinstance(self._reading(row), Tag | HandWritten):
            return False
        if not isinstance(shown, Tag) or not before.effect == override.effect == "DENY":
            return False
        item, user = state.items[device], state.users[self._numbering.user_of[device]]
        record: DeviceRecord = self._values[item] or DeviceRecord()
        return record.last is not None and bool(
            replace(record, user=self._values[user] or UserRecord()).shown_by(shown)
        )

    def _unless_adopted(self, state: State, device: int, row: int) -> State:
        """Make a lock uncertain if it goes with its tag, since the ledger lost it and has not adopted it again."""
        shown, item = self._reading(state.rows[device]), state.items[device]
        new = self._reading(row)
        if not state.lost or not isinstance(shown, Tag) or (isinstance(new, Tag) and lock_id(new) == lock_id(shown)):
            return state
        event = self._numbering.by_lock.get(lock_id(shown))
        if event is not None and (not item or not self._values[item].shown_by(shown)):
            return state._replace(certain=state.certain & ~(1 << event))
        return state

    def _lose(self, state: State) -> State:
        """Empty the ledger. From then on only the locks in tags are certain."""
        self._story.ledger_is_lost()
        none = (0,) * len(state.items)
        no_events = (0,) * len(state.outcomes)
        nothing = none, (0,) * len(state.users), (), no_events, none, none, (0,), no_events
        return self._set_back(state, nothing)._replace(names=(), swept=0, word=0)

    def _restore(self, state: State) -> State | None:
        """Bring a copy of the ledger back. What it lacks is certain only where a tag shows it.

        It is another table, made in minutes: what ran meanwhile does no more, no write is late, and the queue
        has forgotten what came before. Nobody brings it
        back while a sweep's command waits: it would be of a plan that knew more.
        """
        waiting = (*state.dead_letters, *(command for group in state.groups for command in group.queue))
        if any(self._values[command].cause.source == SOURCE for command in waiting):
            return None
        self._story.ledger_is_restored()
        groups = tuple(group._replace(node=0, marks=0, held=False) for group in state.groups)
        baseline = tuple(
            row if self._knows(item, shown) in (None, row) else self._numbering.any_row
            for row, item, shown in zip(state.baseline, state.kept[0], state.rows, strict=True)
        )
        edits = tuple(
            (device, lock, until)
            for device, lock, until in state.edits
            if any(
                lock_id(claim) == lock and claim.until == self._values[until]
                for claim in (self._values[state.kept[0][device]] or DeviceRecord()).claims
            )
        )
        state = state._replace(groups=groups, sweeps=(), frozen=(), late=(), sent=(), baseline=baseline, edits=edits)
        swept = ELSEWHERE if state.swept else 0
        return self._set_back(state, state.kept)._replace(swept=swept, word=MISSING if swept else 0)

    def _knows(self, item: int, row: int) -> int | None:
        """Return what a copy of an item says was there before the lock in a tag; None if it does not know the lock.

        It may know of another ``ALLOW`` than the one that the lock covers now. Nothing shows that.
        """
        shown, record = self._reading(row), self._values[item]
        if not isinstance(shown, Tag) or record is None or not record.shown_by(shown):
            return None
        return self._number(record.prior)

    def _set_back(self, state: State, ledger: tuple[tuple[int, ...], ...]) -> State:
        items, users, noted, outcomes, inventory_at, numbered, (named,), found = ledger
        shown = {self._event_shown(state, device, row) for device, row in enumerate(state.rows)}
        in_tags = sum(1 << event for event in shown if event is not None)
        answered = sum(1 << event for event, outcome in enumerate(outcomes) if outcome)
        for number, event in enumerate(self._numbering.events):
            record: UserRecord | None = self._values[users[self._numbering.event_users[number]]]
            if event.user == NUMBER and event.claim and record and event.is_kept(DeviceRecord(user=record)):
                answered |= 1 << number  # each device's command has an outcome of its own
        return self._mark(state, LEDGER_LOST)._replace(
            items=items,
            users=users,
            noted=noted,
            outcomes=outcomes,
            inventory_at=inventory_at,
            named=named,
            numbered=numbered,
            found=found,
            meant=(0,) * len(state.meant),
            certain=in_tags | answered & state.certain,
            replaced=0,
            lost=True,
            swept_since=False,
        )

    def _event_shown(self, state: State, device: int, row: int) -> int | None:
        """Return the event whose lock a device's tag shows; None if there is none, or if it is another device's."""
        shown = self._reading(row)
        event = self._numbering.by_lock.get(lock_id(shown)) if isinstance(shown, Tag) else None
        if event is None:
            return None
        return event if self._numbering.is_about(state, event, device) else None

    def _reap(self, state: State, device: int) -> State | None:
        """Delete an item without a live lock, if items had a time to live."""
        item = state.items[device]
        if "no-ttl" not in self._off or not item or self._values[item].live(self._numbering.now(state)):
            return None
        self._story.item_expires(device)
        return state._replace(items=put(state.items, device, 0))
