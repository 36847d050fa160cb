"""What may happen to the commands in the queue, to their processes and to late writes."""

from dataclasses import replace
from datetime import timedelta

from device_lockout.protocol import redelivery
from device_lockout.values.command import Command
from device_lockout.values.device import DeviceKey
from device_lockout.values.errors import LockoutError, TransientError, UnansweredError
from verify.calls import ANSWERED, DONE_UNANSWERED, LATE, NOT_DONE, SENT_TWICE, Calls
from verify.in_words import Story
from verify.invariants import Invariants
from verify.numbering import Numbering
from verify.processes import SAVES, Node, Processes
from verify.state import (
    LEDGER_LOST,
    ROW_EDITED,
    Group,
    Late,
    Move,
    Moves,
    State,
    ViolationError,
    enqueue,
    put,
    with_group,
    without,
)


class Deliveries:
    """The message groups of one scenario."""

    def __init__(
        self,
        numbering: Numbering,
        processes: Processes,
        calls: Calls,
        invariants: Invariants,
        story: Story,
        off: set[str],
        settle: timedelta,
    ) -> None:
        self._scenario = numbering.scenario
        self._pauses = numbering.scenario.pauses
        self._numbering = numbering
        self._values = numbering.values
        self._processes = processes
        self._nodes = processes.nodes
        self._perform = calls.perform
        self._calls = calls
        self._invariants = invariants
        self._story = story
        self._single_writer = "single-writer" not in off
        self._waits_for_late_writes = "wait-for-late-writes" not in off
        self._settles = {
            error: redelivery.delay_after(error(""), 1, settle) >= settle for error in (UnansweredError, TransientError)
        }
        self._renumbered: dict[int, int] = {}

    def steps(self, state: State) -> Moves:
        """Yield the next calls of each process, and the delivery of each head of a group without a process."""
        for where, group in enumerate(state.groups):
            if group.node:
                yield from self._advance(state, where, self._story.attempt("step", where))
            elif group.queue and not group.held and not (state.frozen and self._is_overtaken(state, where)):
                move = self._story.attempt("deliver", where)
                self._story.is_delivered(group.queue[0])
                node = self._processes.start(group.queue[0], "", state.clock, state.exempt, state.policy)
                delivered = with_group(state, where, group._replace(node=node.number, marks=0))
                if node.call is not None and node.call[0] in self._pauses:
                    yield move, delivered
                else:
                    yield from self._advance(delivered, where, move)

    def _is_overtaken(self, state: State, where: int) -> bool:
        """Whether a frozen process of this group has saved. Its version keeps all others from beginning."""
        return (self._single_writer and not self._scenario.overruns) and any(
            self._nodes[frozen.node].saved for frozen in state.frozen if frozen.queue == (where,)
        )

    def _advance(self, state: State, where: int, move: Move, how: str = ANSWERED) -> Moves:
        """Make a process's call, and go on to its next pause or its end. Yield a death before each call on the way."""
        group = state.groups[where]
        node = self._nodes[group.node]
        made = 0
        while True:
            state, answer = self._perform(state, node, group.marks, where, how)
            how = ANSWERED
            node = self._processes.follow(node, answer)
            made += 1
            ended = node.call is None
            if node.call is not None and node.call[0] in self._pauses:
                yield move, with_group(state, where, group._replace(node=node.number))
                return
            if state.faults and node.changed and node.error is None:
                yield (*move, "dies", made), self._dies(state, where, node)
                self._story.take_back()
            if ended:
                yield move, self._ends(state, where, node)
                return

    def _dies(self, state: State, where: int, node: Node) -> State:
        self._story.dies(node)
        return self._comes_back(state._replace(faults=state.faults - 1), where, settles=True)

    def _ends(self, state: State, where: int, node: Node) -> State:
        """Delete the message if the code returned. If it raised, let the message come back."""
        error = node.error
        if isinstance(error, UnansweredError | TransientError):
            self._story.delivery_fails(error)
            return self._comes_back(state, where, settles=self._settles[type(error)])
        if error is not None:
            raise ViolationError(f"the code raised {error!r}")
        group = state.groups[where]
        command = group.queue[0]
        self._story.is_done(command)
        event = self._numbering.event(command)
        repeats = state.lost and node.asked == ("recorded", "announce")  # what the ledger lost stays lost
        if event >= 0 and not group.marks & LEDGER_LOST and not repeats and not self._is_rejected(state, event):
            state = state._replace(certain=state.certain | 1 << event)
        self._invariants.reaches_all(state, node)
        if not group.marks & LEDGER_LOST:
            state = self._done_by_asset(state, self._values[command])
        return self._with_first_versions(with_group(state, where, Group(group.queue[1:])), where)

    def _done_by_asset(self, state: State, command: Command) -> State:
        """Note the device of a command that a look-up of the asset tag sent on, and that is done."""
        event = self._numbering.by_name.get(command.cause.event_id, -1)
        if event < 0 or not self._numbering.events[event].by_asset or not command.target.resolved:
            return state
        key = DeviceKey(command.target.organization, command.target.user, command.target.device)
        device = self._numbering.device_numbers[key]
        self._invariants.goes_to_first_found(state, event, device)
        done = state.meant[event] | 1 << device
        return state._replace(meant=put(state.meant, event, done))

    def _comes_back(self, state: State, where: int, *, settles: bool) -> State:
        """Deliver the head again; if ``settles``, only when no write to WorkMail is late any more."""
        held = settles and self._waits_for_late_writes and _has_late_write(state, where)
        return with_group(state, where, state.groups[where]._replace(node=0, marks=0, held=held))

    def _is_rejected(self, state: State, event: int) -> bool:
        """Whether an event was told as rejected or held. Then the ledger has nothing of it."""
        outcome = state.outcomes[event]
        return bool(outcome and self._values[outcome].result in ("rejected", "held"))

    def _with_first_versions(self, state: State, where: int) -> State:
        """Renumber the versions of a group's items from 1, if no process holds one.

        Only a change of versions matters, so states that differ in nothing else become one.
        """
        if state.frozen or any(late.call[0] in SAVES for late in state.late):
            return state
        items, users = state.items, state.users
        for device in self._numbering.devices_in.get(where, ()):
            items = put(items, device, self._with_first_version(items[device]))
        for user in self._numbering.users_in.get(where, ()):
            users = put(users, user, self._with_first_version(users[user]))
        return state if items == state.items and users == state.users else state._replace(items=items, users=users)

    def _with_first_version(self, item: int) -> int:
        known = self._renumbered.get(item)
        if known is None:
            record = self._values[item]
            newer = item and record.version > 1
            known = self._renumbered[item] = self._numbering.number(replace(record, version=1)) if newer else item
        return known

    def thaws(self, state: State) -> Moves:
        """Yield one call of each frozen process. Such a process can't delete its message any more."""
        for index, frozen in enumerate(state.frozen):
            node = self._nodes[frozen.node]
            move = self._story.attempt("thaw", index)
            self._story.thaws(node.start.command)
            if self._scenario.overruns and node.next_call[0] in ("put", "delete"):
                _, device, row = node.next_call
                after = self._processes.mark(self._invariants.overrun(state, device, row), ROW_EDITED, device)
                answer = 0
            else:
                after, answer = self._perform(state, node, frozen.marks, frozen.queue[0])
            node = self._processes.follow(node, answer)
            if node.error is not None and not isinstance(node.error, LockoutError):
                raise ViolationError(f"the code raised {node.error!r}")
            processes = without(state.frozen, index)
            if node.call is not None:
                processes = put(state.frozen, index, frozen._replace(node=node.number))
            yield move, after._replace(frozen=processes)

    def landings(self, state: State) -> Moves:
        """Yield the landing of each late write."""
        for index, late in enumerate(state.late):
            yield self._story.attempt("land", index), self._land(state._replace(late=without(state.late, index)), late)

    def _land(self, state: State, late: Late) -> State:
        self._story.lands(late.call)
        match late.call:
            case ("save", *_):
                decided = state.decided
                state, _ = self._calls.save(state, late.call)
                if state.dead_letters:  # what its command decides comes later, if ever
                    state = state._replace(decided=decided)
            case ("save user", *_):
                state, _ = self._calls.save_user(state, late.call)
            case (_, device, row):
                state = self._invariants.written(state, device, row, late.marks)
        if not _has_late_write(state, late.group):
            state = with_group(state, late.group, state.groups[late.group]._replace(held=False))
        return state

    def faults(self, state: State) -> Moves:
        """Yield deaths, lost answers and freezes of processes, and moves of commands to the dead-letter queue."""
        spent = state._replace(faults=state.faults - 1)
        for where, group in enumerate(state.groups):
            if group.node:
                yield from self._faults_of_process(spent, where, group)
            elif self._scenario.dead_letters and group.queue and not group.held:
                yield self._story.attempt("dead letter", where), self._to_dead_letters(spent, where)

    def _faults_of_process(self, spent: State, where: int, group: Group) -> Moves:
        node = self._nodes[group.node]
        kind = node.next_call[0]
        if node.changed:
            move = self._story.attempt("die", where)
            self._story.dies(node)
            yield move, self._comes_back(spent, where, settles=True)
        # A save that is done at once or never, with a lost answer, is the same as a death after or before it.
        lost = (LATE,) if kind in SAVES else (DONE_UNANSWERED, NOT_DONE, LATE) if kind in ("put", "delete") else ()
        for how in lost:
            yield from self._advance(spent, where, self._story.attempt("answer lost", where, how), how)
        if kind == "save" and self._scenario.freezes:
            yield from self._advance(spent, where, self._story.attempt("sent twice", where), SENT_TWICE)
        if (
            self._scenario.freezes
            and not spent.frozen
            and (self._scenario.overruns or not (node.saved and self._single_writer))
        ):
            move = self._story.attempt("freeze", where)
            self._story.freezes(group.queue[0])
            frozen = Group((where,), group.node, group.marks)
            yield move, with_group(spent._replace(frozen=(frozen,)), where, Group(group.queue))

    def _to_dead_letters(self, spent: State, where: int) -> State:
        group = spent.groups[where]
        command, *rest = group.queue
        self._story.goes_to_dead_letters(command)
        event = self._numbering.event(command)
        state = spent._replace(dead_letters=(*spent.dead_letters, command), swept_since=False)
        if event >= 0:
            kept = state.meant[event] or self._invariants.is_kept(state, event)  # then it is certain
            certain = state.certain | (1 << event if kept else 0)
            state = state._replace(decided=put(state.decided, event, 0), certain=certain)
        return with_group(state, where, group._replace(queue=tuple(rest)))

    def redrives(self, state: State) -> Moves:
        """Yield the redrive of each command in the dead-letter queue."""
        for index, command in enumerate(state.dead_letters):
            where = self._numbering.group(command)
            if state.groups[where].node:
                continue
            move = self._story.attempt("redrive", index)
            self._story.is_redriven(command)
            yield move, enqueue(state._replace(dead_letters=without(state.dead_letters, index)), where, command)

    def decided_by_people(self, state: State) -> Moves:
        """Yield what a person may do about each held command: let it through, or drop it with its flood."""
        for index, command in enumerate(state.held):
            where = self._numbering.group(command)
            if state.groups[where].node:
                continue
            rest = state._replace(held=without(state.held, index))
            move = self._story.attempt("let through", index)
            self._story.is_let_through(command)
            yield move, enqueue(rest._replace(let=state.let | 1 << self._numbering.event(command)), where, command)
            move = self._story.attempt("drop", index)
            self._story.is_undone(command)
            yield move, rest


def _has_late_write(state: State, where: int) -> bool:
    """Whether a write of this group to WorkMail may still land. Nobody waits for writes to the ledger."""
    return any(late.group == where and late.call[0] not in SAVES for late in state.late)
