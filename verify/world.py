"""The world around the code as one value, and everything that may happen to it next.

A state holds what stands in WorkMail, the ledger's items, the queue with its FIFO groups, the processes between two of
their calls, writes that may yet land, and what is owed by the invariants. Values are kept as small numbers, so that a
state is a tuple of numbers: quick to compare, to hash and to keep.

Three reductions, none of which hides a history, since what they join nobody else can tell apart:
calls outside a scenario's ``pauses`` run together with the call before them (a crash between them is still tried);
an event arrives only while its group has no process; versions start anew when no process holds one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from device_lockout.aws import command_queue
from device_lockout.decisions.decision import DESCRIPTION_LOST
from device_lockout.protocol import redelivery, steps, sweep
from device_lockout.protocol.ports import Ports
from device_lockout.values import tag
from device_lockout.values.command import Cause, Command, Expire, Target, command_id
from device_lockout.values.device import DeviceKey, User
from device_lockout.values.errors import LockoutError, RefusedError, TransientError, UnansweredError, UnknownUserError
from device_lockout.values.override import ListedOverride, Observation, Override
from device_lockout.values.policy import Rules
from device_lockout.values.record import Claim, DeviceRecord, UserRecord
from device_lockout.values.tag import Tag
from verify.invariants import Invariants
from verify.scenarios import ORGANIZATION, OWNER, START, Act, Scenario, at, second_of, settings_of, user_name
from verify.state import (
    FORGOTTEN,
    GROUPS,
    ITEMS,
    PENDING,
    TOUCHED,
    Group,
    Late,
    Move,
    Node,
    Shown,
    Start,
    State,
    ViolationError,
    but,
    put,
    with_group,
)
from verify.tape import AskedError, Failure, Tape, TapeBus, TapeLedger, TapeQueue, TapeWorkMail


@dataclass(slots=True)
class Switches:
    """What ``breaks`` changes about the world: guards of the queue and the ledger, and a wrapper around the ports."""

    off: set[str] = field(default_factory=set)
    wrap: Callable[[Ports], Ports] = lambda ports: ports
    rules: Callable[[Rules], Rules] = lambda rules: rules


class World:
    """One scenario: its values, its processes, and the successors of each state."""

    def __init__(self, scenario: Scenario, switches: Switches | None = None) -> None:
        self.scenario = scenario
        self.switches = switches or Switches()
        self.values: list[Any] = [None]
        self._numbers: dict[Any, int] = {None: 0}
        self.nodes: list[Node] = [Node(0, Start(0, "", 0), ())]
        self._roots: dict[tuple[int, str, int], int] = {}
        self.trying: Move = ()
        self.lines: list[str] | None = None
        self.told: list[str] = []
        self.any_row = self.number("whatever a person put there unseen")
        self.lost_row = self.number(Override("ALLOW", DESCRIPTION_LOST))

        self.users = sorted({user_name(user) for user, _ in scenario.devices})
        self.keys = [DeviceKey(ORGANIZATION, user_name(user), device) for user, device in scenario.devices]
        self._device = {key: index for index, key in enumerate(self.keys)}
        self._user = {user: index for index, user in enumerate(self.users)}
        self.user_of = [self._user[key.user_id] for key in self.keys]
        self.events = scenario.events
        self._by_id: dict[str, int] = {}
        self.by_claim: dict[Shown, int] = {}
        for index, event in enumerate(self.events):
            self._by_id.setdefault(command_id(event.command), index)
            if event.claim is not None:
                self.by_claim.setdefault((event.claim.id, event.claim.why), index)
        self._original = {
            name: next(index for index, event in enumerate(self.events) if event.name == name)
            for name in {event.copy_of for event in self.events if event.copy_of} | set(scenario.before)
        }
        self.edited_to = frozenset(at(act.until) for act in scenario.acts if act.kind == "edit")
        self._groups: dict[str, int] = {}
        self._group_of_number: dict[int, int] = {}
        self._event_of_number: dict[int, int] = {}
        self._copies: dict[int, int] = {}
        self._event_commands = [self.number(event.command) for event in self.events]
        self._devices_in: dict[int, list[int]] = {}
        self._users_in: dict[int, list[int]] = {}
        for index, key in enumerate(self.keys):
            named = Expire(_CAUSE, Target.of(key), Override("DENY"))
            self._devices_in.setdefault(self._group_of(named), []).append(index)
        for event in self.events:
            where = self._group_of(event.command)
            if event.device < 0 and self._user[user_name(event.user)] not in self._users_in.setdefault(where, []):
                self._users_in[where].append(self._user[user_name(event.user)])
        self._removes = any(act.kind == "remove" for act in scenario.acts)
        self._settings = settings_of(scenario)
        settle = self._settings.limits.settle
        self._settles = {
            error: redelivery.delay_after(error(""), 1, settle) >= settle for error in (UnansweredError, TransientError)
        }
        self._fixed: dict[str, Any] = {} if self._removes else {"remember": None}
        if scenario.on_tampering != "alert":
            self._fixed |= {"told": ("told", None), "note": None, "alarm": None}
        self._readings: dict[int, tag.Reading | None] = {}
        self._sights: dict[tuple[int, int], int] = {}
        self._settled: dict[State, State] = {}
        self._renewed: dict[int, int] = {}
        self._nothing = (0,) * len(self.events)
        self.invariants = Invariants(self)

    # Values and processes

    def number(self, value: Any) -> int:
        """The number that stands for ``value`` in states."""
        known = self._numbers.get(value)
        if known is None:
            known = self._numbers[value] = len(self.values)
            self.values.append(value)
        return known

    def _group_of(self, command: Command) -> int:
        return self._groups.setdefault(_queue_name("group_id", command), len(self._groups))

    def _group(self, command: int) -> int:
        """The group of the command with that number."""
        known = self._group_of_number.get(command)
        if known is None:
            known = self._group_of_number[command] = self._group_of(self.values[command])
        return known

    def _copy_of(self, command: int) -> int:
        """What the queue tells copies by: the group and the deduplication ID."""
        known = self._copies.get(command)
        if known is None:
            sent: Command = self.values[command]
            known = self.number((_queue_name("group_id", sent), _queue_name("command_id", sent)))
            self._copies[command] = known
        return known

    def _event(self, command: int) -> int:
        """The event whose command has that number; -1 for a command that we made."""
        known = self._event_of_number.get(command)
        if known is None:
            known = self._event_of_number[command] = self._by_id.get(command_id(self.values[command]), -1)
        return known

    def _start(self, command: int, run: str, clock: int) -> Node:
        known = self._roots.get((command, run, clock))
        if known is None:
            node = self._run(Start(command, run, self.second[clock]), ())
            known = self._roots[command, run, clock] = node.number
        return self.nodes[known]

    def follow(self, node: Node, answer: int) -> Node:
        """The process after ``answer``."""
        known = node.next.get(answer)
        if known is None:
            value = self.values[answer]
            after = self._run(node.start, (*node.answers, value))
            call = node.call
            assert call is not None, "a process that ended has no next call"
            failed = isinstance(value, Failure)
            assert after.asked[: len(node.asked)] == node.asked, "the code does not do the same when it is run again"
            after.changed = node.changed or call[0] in _CHANGING
            after.saved = node.saved or (call[0] == "save" and not failed)
            after.looked = node.looked | {call[1]} if call[0] == "get" else node.looked
            after.unsure = node.unsure or (failed and call[0] == "page")
            known = node.next[answer] = after.number
        return self.nodes[known]

    def _run(self, start: Start, answers: tuple[Any, ...]) -> Node:
        """Run the real code with these answers, to its next call or to its end."""
        node = Node(len(self.nodes), start, answers)
        self.nodes.append(node)
        tape = Tape(answers, self._fixed)
        try:
            if start.run:
                self._sweep(start, tape)
            else:
                ports = self.switches.wrap(_ports(tape))
                rules = replace(self.switches.rules(self._settings.rules), most_claims=self.scenario.most_claims)
                steps.carry_out(self.values[start.command], ports, rules, at(start.clock))
        except AskedError as asked:
            node.call = self._compiled(asked.call)
        except Exception as error:  # noqa: BLE001 (whatever the code raises ends its process)
            node.error = error.with_traceback(None)
        node.asked = tuple(tape.asked)
        return node

    def _sweep(self, start: Start, tape: Tape) -> None:
        now = at(start.clock)
        run = sweep.Run(start.run, ORGANIZATION, now, lambda: now, lambda: True, lambda: None)
        sweep.run(run, _ports(tape), self._settings)

    def _compiled(self, call: tuple[Any, ...]) -> tuple[Any, ...]:
        """A call with numbers in place of values."""
        match call:
            case ("put" | "delete" as kind, key, override):
                return kind, self._device[key], self.number(override)
            case ("save", key, record):
                read = record.version
                return "save", self._device[key], self.number(replace(record, version=read + 1, user=_NO_USER)), read
            case ("save user", user, record):
                return (
                    "save user",
                    self._user[user],
                    self.number(replace(record, version=record.version + 1)),
                    record.version,
                )
            case ("open" | "get" | "saw" as kind, key):
                return kind, self._device[key]
            case ("enroll" | "retire" as kind, key, happened):
                return kind, self._device[key], int((happened - START).total_seconds())
            case ("user" | "devices of" as kind, user):
                return kind, self._user.get(user, -1)
            case ("send", command):
                return "send", self.number(command)
            case ("told" | "note" as kind, outcome):
                return kind, self.number(outcome)
            case ("alarm", key):
                return "alarm", self._device[key]
            case ("outcome" | "announce" as kind, told):
                return kind, self._by_id.get(told.id, -1), self.number(told)
            case _:
                return call

    # The beginning

    def initial(self) -> State:
        """The state before anything happened, or after what the scenario says had happened before."""
        scenario = self.scenario
        rows = tuple(self.number(row) for row in scenario.rows)
        state = State(
            clock=0,
            rows=rows,
            items=(0,) * len(self.keys),
            users=(0,) * len(self.users),
            groups=(Group(),) * len(self._groups),
            late=(),
            frozen=(),
            sweeps=(),
            pending=(1 << len(self.events)) - 1,
            acts=(1 << len(scenario.acts)) - 1,
            faults=0,
            runs=0,
            swept=True,
            news=(0,) * len(self.keys),
            disabled=0,
            removed=0,
            names=0,
            buried=(),
            sent=(),
            outcomes=(0,) * len(self.events),
            first=(0,) * len(self.events),
            announced=0,
            sure=0,
            meddled=False,
            lost=False,
            blind=False,
            owed=rows,
            edits=(),
            tended=False,
            undone=0,
            alarmed=0,
            noted=(),
        )
        for name in scenario.before:
            self._say(lambda name=name: f"before: {name} arrives")  # type: ignore[misc]
            self._keep_lines()
            state = self.drain(self._arrive(state, self._original[name]))
        return state._replace(faults=scenario.faults, runs=scenario.runs, sent=())

    @property
    def second(self) -> tuple[int, ...]:
        return self.scenario.instants

    # What may happen next

    def successors(self, state: State) -> Iterator[tuple[Move, State]]:
        """Every move from ``state`` and the state after it; ViolationError, while ``trying`` says which move it was."""
        yield from self._arrivals(state)
        yield from self._work(state)
        if state.faults:
            yield from self._faults(state)
            yield from self._sweep_faults(state)
        yield from self._people(state)
        if state.runs:
            yield self._try("sweep"), self._start_sweep(state)
        if state.clock + 1 < len(self.second):
            self._try("tick")
            self._say(lambda: f"it is {self.second[state.clock + 1]} s")
            yield self.trying, state._replace(clock=state.clock + 1, tended=False)

    def _try(self, *move: Any) -> Move:
        self.trying = move
        if self.lines is not None:
            self.lines.clear()
        return move

    def _say(self, line: Callable[[], str]) -> None:
        if self.lines is not None:
            self.lines.append(line())

    def _arrivals(self, state: State) -> Iterator[tuple[Move, State]]:
        for index, event in enumerate(self.events):
            if not state.pending >> index & 1 or event.at > self.second[state.clock]:
                continue
            if event.copy_of and state.pending >> self._original[event.copy_of] & 1:
                continue
            if event.at + self.scenario.max_event_age < self.second[state.clock]:
                continue
            if state.groups[self._group(self._event_commands[index])].node:
                continue
            move = self._try("arrive", index)
            self._say(lambda event=event: f"{event.name} arrives")  # type: ignore[misc]
            yield move, self._arrive(state, index)

    def _arrive(self, state: State, index: int) -> State:
        state = but(state, PENDING, state.pending & ~(1 << index))
        return self._enqueue(state, self._event_commands[index])

    def _enqueue(self, state: State, command: int) -> State:
        where = self._group(command)
        groups = state.groups + (Group(),) * (where + 1 - len(state.groups))
        queue, node, marks, held = groups[where]
        return but(state, GROUPS, put(groups, where, Group((*queue, command), node, marks, held)))

    def _work(self, state: State) -> Iterator[tuple[Move, State]]:
        """What goes on by itself: deliveries, processes, sweeps, and writes that land late."""
        for where, group in enumerate(state.groups):
            if group.node:
                yield from self._advance(state, where, self._try("step", where), "answered")
            elif group.queue and not group.held and not self._overtaken(state, where):
                move = self._try("deliver", where)
                self._say(lambda group=group: f"{self.name(group.queue[0])} is delivered")  # type: ignore[misc]
                node = self._start(group.queue[0], "", state.clock)
                state_then = with_group(state, where, group._replace(node=node.number, marks=0))
                if node.call is not None and node.call[0] in self.scenario.pauses:
                    yield move, state_then
                else:
                    yield from self._advance(state_then, where, move, "answered")
        for index in range(len(state.frozen)):
            yield from self._thaw(state, index)
        for index in range(len(state.sweeps)):
            move = self._try("sweep goes on", index)
            for made, after in self._goes_on(state, index, None):
                yield ((*move, "dies", made) if made else move), after
                self.trying = move
        for index, late in enumerate(state.late):
            yield self._try("land", index), self._land(state, index, late)

    def _overtaken(self, state: State, where: int) -> bool:
        """Whether a frozen process of this group woke up and saved: the version keeps all others from beginning."""
        return "single-writer" not in self.switches.off and any(
            self.nodes[frozen.node].saved for frozen in state.frozen if frozen.queue == (where,)
        )

    def _advance(self, state: State, where: int, move: Move, how: str) -> Iterator[tuple[Move, State]]:
        """A group's process makes its call, ``how`` answered, and goes on to the next call to pause before."""
        group = state.groups[where]
        node = self.nodes[group.node]
        made = 0
        while True:
            state, answer = self._perform(state, node, group.marks, where, how)
            how = "answered"
            node = self.follow(node, answer)
            made += 1
            if node.call is None:
                if state.faults and node.error is None and node.changed:
                    yield (*move, "dies", made), self._dies(state, where, "the process dies before it says it is done")
                    self._unsay()
                    self.trying = move
                yield move, self._ends(state, where, node)
                return
            if node.call[0] in self.scenario.pauses:
                yield move, with_group(state, where, group._replace(node=node.number))
                return
            if state.faults and node.changed:
                yield (*move, "dies", made), self._dies(state, where, f"the process dies before it can {_verb(node)}")
                self._unsay()
                self.trying = move

    def _unsay(self) -> None:
        if self.lines is not None:
            self.lines.pop()

    def _dies(self, state: State, where: int, said: str) -> State:
        """The process is gone; its message comes back when all that it sent has settled."""
        self._say(lambda: said)
        return self._comes_back(state._replace(faults=state.faults - 1), where, settles=True)

    def _comes_back(self, state: State, where: int, *, settles: bool) -> State:
        """The head of the group will be delivered again, after what is pending has settled or before."""
        held = self._is_pending(state, where) and settles and "wait-for-late-writes" not in self.switches.off
        return with_group(state, where, state.groups[where]._replace(node=0, marks=0, held=held))

    @staticmethod
    def _is_pending(state: State, where: int) -> bool:
        """Whether a write to WorkMail may yet land that a process of the group made; nobody waits for the ledger's."""
        return any(late.group == where and late.call[0] not in _SAVES for late in state.late)

    def _ends(self, state: State, where: int, node: Node) -> State:
        """The code returned, and its message is deleted, or it raised, and the message comes back."""
        error = node.error
        if isinstance(error, UnansweredError | TransientError):
            self._say(lambda: f"the delivery fails: {error}")
            return self._comes_back(state, where, settles=self._settles[type(error)])
        if error is not None:
            raise ViolationError(f"the code raised {error!r}")
        group = state.groups[where]
        command, *rest = group.queue
        self._say(lambda: f"{self.name(command)} is done")
        event = self._event(command)
        if event >= 0 and not group.marks & FORGOTTEN and not self._of_nobody(state, event):
            state = state._replace(sure=state.sure | 1 << event)
        state = with_group(state, where, Group(tuple(rest)))
        return self._renumbered(state, where)

    def _of_nobody(self, state: State, event: int) -> bool:
        """Whether a lock was rejected since WorkMail does not know its user: the ledger has nothing of it."""
        if self.events[event].claim is None:
            return False
        user = self._user[user_name(self.events[event].user)]
        told = state.outcomes[event]
        return bool(state.removed >> user & 1 and told and self.values[told].result == "rejected")

    def _renumbered(self, state: State, where: int) -> State:
        """Versions start anew where no process holds one: all that matters of them is whether they changed."""
        if state.frozen or any(late.call[0] in _SAVES for late in state.late):
            return state
        items, users = state.items, state.users
        for device in self._devices_in.get(where, ()):
            items = put(items, device, self._first_version(items[device]))
        for user in self._users_in.get(where, ()):
            users = put(users, user, self._first_version(users[user]))
        return state if items == state.items and users == state.users else state._replace(items=items, users=users)

    def _first_version(self, item: int) -> int:
        known = self._renewed.get(item)
        if known is None:
            record = self.values[item]
            known = self.number(replace(record, version=1)) if item and record.version > 1 else item
            self._renewed[item] = known
        return known

    def _thaw(self, state: State, index: int) -> Iterator[tuple[Move, State]]:
        """A frozen process makes one call; its message is no longer its own to delete."""
        frozen = state.frozen[index]
        node = self.nodes[frozen.node]
        move = self._try("thaw", index)
        self._say(lambda: f"the frozen process of {self.name(node.start.command)} goes on")
        state, answer = self._perform(state, node, frozen.marks, frozen.queue[0], "answered")
        node = self.follow(node, answer)
        ended = node.call is None
        if node.error is not None and not isinstance(node.error, LockoutError):
            raise ViolationError(f"the code raised {node.error!r}")
        after = () if ended else (frozen._replace(node=node.number),)
        yield move, state._replace(frozen=(*state.frozen[:index], *after, *state.frozen[index + 1 :]))

    def _land(self, state: State, index: int, late: Late) -> State:
        """A write without an answer takes effect after all."""
        state = state._replace(late=(*state.late[:index], *state.late[index + 1 :]))
        self._say(lambda: f"late, {self._told(late.call)}")
        if late.call[0] == "save":
            state, _ = self._save(state, late.call)
        elif late.call[0] == "save user":
            state, _ = self._perform_for_user(state, late.call)
        else:
            state = self.invariants.written(state, late.call[1], late.call[2], late.marks)
        if not self._is_pending(state, late.group):
            state = with_group(state, late.group, state.groups[late.group]._replace(held=False))
        return state

    def _faults(self, state: State) -> Iterator[tuple[Move, State]]:
        for where, group in enumerate(state.groups):
            if not group.node:
                if self.scenario.buries and group.queue and not group.held:
                    yield self._try("bury", where), self._bury(state, where)
                continue
            node = self.nodes[group.node]
            assert node.call is not None, "a process that ended is gone"
            if node.changed:
                move = self._try("die", where)
                yield move, self._dies(state, where, f"the process dies before it can {_verb(node)}")
            if node.call[0] in _SAVES:  # done or not is the same as a death after or before it
                spent = state._replace(faults=state.faults - 1)
                how = "lost, and done late"
                yield from self._advance(spent, where, self._try("answer lost", where, how), how)
            if node.call[0] in ("put", "delete"):
                for how in ("lost after it was done", "lost, and nothing was done", "lost, and done late"):
                    spent = state._replace(faults=state.faults - 1)
                    yield from self._advance(spent, where, self._try("answer lost", where, how), how)
            if node.call[0] == "save" and self.scenario.freezes:
                spent = state._replace(faults=state.faults - 1)
                yield from self._advance(spent, where, self._try("sent twice", where), "sent twice")
            if self.scenario.freezes and not state.frozen and (not node.saved or "single-writer" in self.switches.off):
                move = self._try("freeze", where)
                self._say(lambda group=group: f"the process of {self.name(group.queue[0])} stands still")  # type: ignore[misc]
                frozen = Group((where,), group.node, group.marks)
                later = state._replace(faults=state.faults - 1, frozen=(*state.frozen, frozen))
                yield move, with_group(later, where, Group(group.queue))

    def _sweep_faults(self, state: State) -> Iterator[tuple[Move, State]]:
        """A sweep dies, or a page of its listing can't be had, or lacks a row.

        The latter not where undone locks are told of: one that a list lacks can't be told from one that is gone.
        """
        for index, number in enumerate(state.sweeps):
            call = self.nodes[number].call
            if self.nodes[number].changed:
                move = self._try("sweep dies", index)
                self._say(lambda number=number: f"the sweep dies before it can {_verb(self.nodes[number])}")  # type: ignore[misc]
                yield move, self._sweep_dies(state, index)
            if call is not None and call[0] == "page":
                spent = state._replace(faults=state.faults - 1)
                failure = self.number(Failure(TransientError, "a page that can't be had"))
                yield self._try("page fails", index), self._go_on(spent, index, failure)
                lacking = self._page(state, call[1], lacking=1)
                if lacking != self._page(state, call[1]) and self.scenario.on_tampering != "alert":
                    yield self._try("page lacks a row", index), self._go_on(spent, index, lacking)

    def buried(self, state: State) -> set[int]:
        """The events whose commands are in the dead-letter queue."""
        return {self._event(command) for command in state.buried}

    def _is_kept(self, state: State, event: int) -> bool:
        """Whether the ledger already has what a command asks for: then it is certain, be it never carried out."""
        about = self.events[event]
        user: UserRecord = self.values[state.users[self._user[user_name(about.user)]]] or _NO_USER
        item: DeviceRecord = (self.values[state.items[about.device]] if about.device >= 0 else None) or DeviceRecord()
        known = replace(item, user=user)
        if about.claim is not None:
            return known.known_as(about.claim) is not None
        released = known.released_at(about.releases) if about.releases else None
        return released is not None and released >= about.command.cause.happened

    def _bury(self, state: State, where: int) -> State:
        group = state.groups[where]
        self._say(lambda: f"{self.name(group.queue[0])} goes to the dead-letter queue")
        event = self._event(group.queue[0])
        state = state._replace(
            faults=state.faults - 1,
            buried=(*state.buried, group.queue[0]),
            first=put(state.first, event, 0) if event >= 0 else state.first,
            tended=False,
        )
        if event >= 0 and self._is_kept(state, event):
            state = state._replace(sure=state.sure | 1 << event)
        return with_group(state, where, group._replace(queue=group.queue[1:]))

    def _people(self, state: State) -> Iterator[tuple[Move, State]]:
        for index, act in enumerate(self.scenario.acts):
            if state.acts >> index & 1 and act.after <= self.second[state.clock]:
                move = self._try("act", index)
                after = self._act(state._replace(acts=state.acts & ~(1 << index)), act)
                if after is not None:
                    yield move, after
        for index, command in enumerate(state.buried):
            move = self._try("redrive", index)
            self._say(lambda command=command: f"{self.name(command)} is redriven")  # type: ignore[misc]
            rest = (*state.buried[:index], *state.buried[index + 1 :])
            if not state.groups[self._group(command)].node:
                yield move, self._enqueue(state._replace(buried=rest), command)

    def _act(self, state: State, act: Act) -> State | None:
        """The state after a person's act; None where there is nothing to act on."""
        if act.kind in ("lose", "reap"):
            return self._lose(state) if act.kind == "lose" else self._reap(state, act.device)
        if act.kind in ("disable", "enable", "remove"):
            bit = 1 << self.user_of[act.device]
            self._say(lambda: f"somebody will {act.kind} user {self.keys[act.device].user_id}")
            if act.kind == "remove":
                return state._replace(removed=state.removed | bit, disabled=state.disabled | bit, meddled=True)
            if act.kind == "enable":
                state = state._replace(removed=state.removed & ~bit, tended=False)
            changed = state.disabled | bit if act.kind == "disable" else state.disabled & ~bit
            return None if changed == state.disabled else state._replace(disabled=changed, meddled=True)
        device = act.device
        stands: Override | None = self.values[state.rows[device]]
        reading = self.reading(state.rows[device])
        owed = state.owed
        match act.kind:
            case "put":
                row = self.number(act.override)
                owed = put(owed, device, row)
            case "delete":
                row = 0
                owed = put(owed, device, 0)
            case "flip":
                if stands is None or not isinstance(reading, Tag):
                    return None
                row = self.number(replace(stands, effect="ALLOW"))
            case _:
                if stands is None or not isinstance(reading, Tag):
                    return None
                edited = tag.write(replace(reading, until=at(act.until)))
                row = self.number(replace(stands, description=edited))
        if row == state.rows[device]:
            return None
        state = self._undone(self._unless_adopted(state, device, row), device, row)
        self._say(lambda: f"a person makes it {self.row(row)} on {self.keys[device].device}")
        state = state._replace(rows=put(state.rows, device, row), owed=owed, meddled=True, tended=False)
        return self._touch(state, device, TOUCHED)

    def _undone(self, state: State, device: int, row: int) -> State:
        """A person undid a lock, or made it another than they were found out to have made it."""
        if self.scenario.on_tampering != "alert":
            return state
        bit, stood = 1 << device, self.values[state.rows[device]]
        ours = stood is not None and stood.effect == "DENY" and isinstance(self.reading(state.rows[device]), Tag)
        denied = row and self.values[row].effect == "DENY"
        undone = state.undone & ~bit if denied else state.undone | (bit if ours else 0)
        return state._replace(undone=undone, alarmed=state.alarmed & ~bit)

    def _unless_adopted(self, state: State, device: int, row: int) -> State:
        """After a loss of the ledger a lock that only its tag knew of is gone with the tag."""
        shown, item = self.reading(state.rows[device]), state.items[device]
        if not state.lost or not isinstance(shown, Tag) or isinstance(self.reading(row), Tag):
            return state
        event = self.by_claim.get((shown.id, shown.why))
        if event is not None and (not item or not self.values[item].shown_by(shown)):
            return state._replace(sure=state.sure & ~(1 << event))
        return state

    def _touch(self, state: State, device: int, mark: int) -> State:
        """Mark every process and pending write that looked before this happened."""

        def marked(group: Group) -> Group:
            looked = group.node and (mark == FORGOTTEN or device in self.nodes[group.node].looked)
            return group._replace(marks=group.marks | mark) if looked else group

        return state._replace(
            groups=tuple(marked(group) for group in state.groups),
            frozen=tuple(marked(group) for group in state.frozen),
            late=tuple(
                late._replace(marks=late.marks | mark)
                if mark == FORGOTTEN or (late.call[0] != "save user" and late.call[1] == device)
                else late
                for late in state.late
            ),
        )

    def _lose(self, state: State) -> State:
        """The ledger is empty from now on. Certain is only what the standing tags say."""
        self._say(lambda: "the ledger is lost")
        readings = [self.reading(row) for row in state.rows]
        tags = [tag for tag in readings if isinstance(tag, Tag)]
        shown = {self.by_claim[tag.id, tag.why] for tag in tags if (tag.id, tag.why) in self.by_claim}
        state = self._touch(state, 0, FORGOTTEN)
        return state._replace(
            items=(0,) * len(state.items),
            users=(0,) * len(state.users),
            news=(0,) * len(self.keys),
            names=0,
            swept=False,
            outcomes=(0,) * len(state.outcomes),
            sure=sum(1 << index for index in shown),
            lost=True,
            tended=False,
            noted=(),
        )

    def _reap(self, state: State, device: int) -> State | None:
        """What a time to live would do to a device on which nothing is live, if there were one."""
        item = state.items[device]
        if "no-ttl" not in self.switches.off or not item or self.values[item].live(self.now(state)):
            return None
        self._say(lambda: f"the item of {self.keys[device].device} outlives its time to live")
        return state._replace(items=put(state.items, device, 0))

    # Sweeps

    def _start_sweep(self, state: State, run: str = "") -> State:
        run = run or f"run-{self.scenario.runs - state.runs + 1}"
        self._say(lambda: f"sweep {run} starts")
        node = self._start(0, run, state.clock)
        state = state._replace(
            runs=max(state.runs - 1, 0), sweeps=(*state.sweeps, node.number), tended=self.at_rest(state)
        )
        if node.call is not None and node.call[0] in self.scenario.pauses:
            return state
        return self._go_on(state, len(state.sweeps) - 1, None)

    def _go_on(self, state: State, index: int, answer: int | None) -> State:
        """A sweep makes its call and goes on to the next one to pause before."""
        _, after = next(self._goes_on(state._replace(faults=0), index, answer))
        return after._replace(faults=state.faults)

    def _goes_on(self, state: State, index: int, answer: int | None) -> Iterator[tuple[int, State]]:
        """What may become of a sweep on the way to its next pause: after how many calls it dies, 0 if it does not.

        It dies only where it has done something: before that nobody could tell that it ever began.
        """
        made = 0
        node = self.nodes[state.sweeps[index]]
        while True:
            if answer is None:
                state, answer = self._perform(state, node, 0, -1, "answered")
            elif self.lines is not None:
                self._say(lambda: self.trying[0])
            node = self.follow(node, answer)
            answer = None
            made += 1
            if node.error is not None:
                raise ViolationError(f"the sweep raised {node.error!r}")
            if node.call is None or node.call[0] in self.scenario.pauses:
                yield 0, self._sweep_at(state, index, node)
                return
            if state.faults and node.changed:
                self._say(lambda node=node: f"the sweep dies before it can {_verb(node)}")  # type: ignore[misc]
                yield made, self._sweep_dies(state, index)
                self._unsay()

    def _sweep_at(self, state: State, index: int, node: Node) -> State:
        """The sweep goes on at ``node``, or is over."""
        after = () if node.call is None else (node.number,)
        return state._replace(sweeps=(*state.sweeps[:index], *after, *state.sweeps[index + 1 :]))

    def _sweep_dies(self, state: State, index: int) -> State:
        over = self._sweep_at(state, index, self.nodes[0])
        return over._replace(faults=state.faults - 1, tended=False)

    # Calls

    def _perform(self, state: State, node: Node, marks: int, where: int, how: str) -> tuple[State, int]:
        """Make the process's call: the state after it, and the number of the answer."""
        call = node.call
        assert call is not None, "a process that ended makes no call"
        if call[0] not in _QUIET:
            self._say(lambda: f"{self._told(call)}{'' if how == 'answered' else f': the answer is {how}'}")
        if how in ("lost, and done late", "lost, and nothing was done"):
            if how == "lost, and done late":
                state = state._replace(late=(*state.late, Late(where, call, marks)))
            return state, self._unsaved if call[0] in _SAVES else self._unanswered
        match call[0]:
            case "get" | "open" | "user" | "save" | "put" | "delete":
                return self._perform_on_device(state, call, marks, where, how)
            case "outcome":
                return self._record_outcome(state, call[1], call[2])
            case "announce":
                return self._announce(state, call[1], call[2]), 0
            case "send":
                return self._send(state, node, call[1]), 0
            case "page" | "records" | "last sweep" | "save sweep" | "told" | "note" | "alarm":
                return self._perform_for_sweep(state, call)
            case _:
                return self._perform_for_user(state, call)

    def _perform_on_device(
        self, state: State, call: tuple[Any, ...], marks: int, where: int, how: str
    ) -> tuple[State, int]:
        match call[0]:
            case "get":
                if state.removed >> self.user_of[call[1]] & 1 and not self.scenario.readable:
                    return state, self._refusal(state, call[1])
                return state, self._sight(state, call[1])
            case "open":
                return self._open(state, call[1])
            case "user":
                return state, state.users[call[1]] or self.number(_NO_USER)
            case "save":
                if how == "sent twice":
                    state = state._replace(late=(*state.late, Late(where, call, marks)))
                return self._save(state, call)
            case _:
                refused = state.disabled if call[0] == "put" or not self.scenario.readable else 0
                if refused >> self.user_of[call[1]] & 1:
                    return state, self._refusal(state, call[1])
                state = self.invariants.written(state, call[1], call[2], marks)
                return state, 0 if how == "answered" else self._unanswered

    def _perform_for_sweep(self, state: State, call: tuple[Any, ...]) -> tuple[State, int]:
        match call[0]:
            case "page":
                return state, self._page(state, call[1])
            case "records":
                return state, self._records(state, call[1])
            case "last sweep":
                return state, self.number(self.now(state)) if state.swept else 0
            case "told":
                return state, self.number(("told", self.told_at(state, call[1])))
            case "note":
                return self._noted(state, call[1]), 0
            case "alarm":
                self.invariants.true_alarm(state, call[1])
                return state._replace(alarmed=state.alarmed | 1 << call[1]), 0
            case _:
                return state._replace(swept=True), 0

    def _noted(self, state: State, outcome: int) -> State:
        if self.scenario.on_tampering != "alert":
            return state
        if any(noted == outcome for noted, _ in state.noted):
            return state
        return state._replace(noted=tuple(sorted((*state.noted, (outcome, state.clock)))))

    def told_at(self, state: State, outcome: int) -> datetime | None:
        """When the ledger first had an outcome; None if it has not."""
        return next((at(self.second[clock]) for noted, clock in state.noted if noted == outcome), None)

    def _perform_for_user(self, state: State, call: tuple[Any, ...]) -> tuple[State, int]:
        match call[0]:
            case "save user":
                _, user, record, read = call
                stands = state.users[user]
                if (self.values[stands].version if stands else 0) != read and "version" not in self.switches.off:
                    return state, self.number(Failure(TransientError, "the user was changed in the ledger"))
                return state._replace(users=put(state.users, user, record)), 0
            case "devices of":
                known = [
                    key
                    for index, key in enumerate(self.keys)
                    if self._user[key.user_id] == call[1] and state.items[index]
                ]
                return state, self.number(tuple(known))
            case "saw":
                return self._in_inventory(state, call[1], known=True), 0
            case "enroll" | "retire":
                kind, device, happened = call
                if happened < state.news[device]:
                    return state, self.number((kind, False))
                state = state._replace(news=put(state.news, device, happened))
                return self._in_inventory(state, device, known=kind == "enroll"), self.number((kind, True))
            case "look up":
                user = call[1].partition("@")[0]
                if user not in self._user or state.removed >> self._user[user] & 1:
                    return state, self.number(Failure(UnknownUserError, f"WorkMail knows no user {call[1]}"))
                return state, self.number(User(user, frozenset({call[1], user})))
            case "remember":
                return state._replace(names=state.names | 1 << self._user[call[1]]), 0
            case "recall":
                user = call[1].partition("@")[0]
                return state, self.number(user) if state.names >> self._user[user] & 1 else 0
        raise AssertionError(f"the world has no answer to {call}")

    def _in_inventory(self, state: State, device: int, *, known: bool) -> State:
        """The state with an item of the device, which is marked as known for certain, or stays as it is."""
        item: DeviceRecord = self.values[state.items[device]] or DeviceRecord()
        changed = self.number(replace(item, known=item.known or known))
        return but(state, ITEMS, put(state.items, device, changed))

    @property
    def _unsaved(self) -> int:
        return self.number(Failure(TransientError, "the ledger did not answer"))

    @property
    def _unanswered(self) -> int:
        return self.number(Failure(UnansweredError, "WorkMail did not answer"))

    def _refusal(self, state: State, device: int) -> int:
        gone = state.removed >> self.user_of[device] & 1
        return self.number(Failure(UnknownUserError if gone else RefusedError, "the user is disabled or deleted"))

    def now(self, state: State) -> datetime:
        return at(self.second[state.clock])

    def _sight(self, state: State, device: int) -> int:
        key = state.rows[device], state.clock
        known = self._sights.get(key)
        if known is None:
            date = self.now(state) + timedelta(seconds=self.scenario.skew)
            known = self._sights[key] = self.number(Observation(self.values[state.rows[device]], date))
        return known

    def _open(self, state: State, device: int) -> tuple[State, int]:
        item = state.items[device]
        if item:
            return state, item
        item = self.number(DeviceRecord())
        return state._replace(items=put(state.items, device, item)), item

    def _save(self, state: State, call: tuple[Any, ...]) -> tuple[State, int]:
        _, device, saved, read = call
        item = state.items[device]
        if (self.values[item].version if item else 0) != read and "version" not in self.switches.off:
            return state, self.number(Failure(TransientError, "the device was changed in the ledger"))
        record: DeviceRecord = self.values[saved]
        edits = {(where, claim): until for where, claim, until in state.edits}
        for claim in record.claims:
            shown = claim.id, claim.why
            index = self.by_claim.get(shown)
            known = self.events[index].claim if index is not None else None
            edited = known is not None and known.until != claim.until
            if claim.until in self.edited_to and (edited or (device, shown) in edits):
                edits[device, shown] = self.number(claim.until)
        first = state.first
        if record.last is not None:
            event = self._by_id.get(record.last.command, -1)
            if event >= 0 and not first[event]:
                first = put(first, event, self.number(record.last.outcome.result))
        return state._replace(
            items=put(state.items, device, saved),
            edits=tuple(sorted((*key, until) for key, until in edits.items())),
            first=first,
        ), 0

    def _page(self, state: State, page: int, lacking: int = 0) -> int:
        """One page of the listing; ``lacking`` rows are left out, as where rows move while a list is read."""
        size = self.scenario.page_size
        stands = [index for index, row in enumerate(state.rows) if row]
        here = [index for index in stands if index // size == page][lacking:]
        rows = tuple(ListedOverride(self.keys[index], self.values[state.rows[index]]) for index in here)
        date = self.now(state) + timedelta(seconds=self.scenario.skew)
        return self.number((rows, date, (page + 1) * size < len(self.keys)))

    def _records(self, state: State, kind: str) -> int:
        if kind == "user":
            found = zip(self.users, state.users, strict=True)
            return self.number(tuple((user, self.values[item]) for user, item in found if item))
        devices = zip(self.keys, state.items, strict=True)
        return self.number(tuple((key, self.values[item]) for key, item in devices if item))

    def _send(self, state: State, node: Node, number: int) -> State:
        if node.unsure and isinstance(self.values[number], Expire):
            raise ViolationError("a sweep whose listing failed asks to let a device back in")
        copy = self._copy_of(number)
        if copy in state.sent and self.scenario.deduplicates:
            self._say(lambda: f"the queue drops {self.name(number)}, a copy")
            return state
        return self._enqueue(state, number)._replace(sent=tuple(sorted({*state.sent, copy})))

    # Outcomes

    def _record_outcome(self, state: State, event: int, told: int) -> tuple[State, int]:
        state = self._noted(state, self.number(self.values[told].id))
        if event < 0:
            return state, told
        recorded = state.outcomes[event]
        if recorded and "first-outcome" not in self.switches.off:
            return state, recorded
        if recorded and recorded != told:
            raise ViolationError(f"{self.events[event].name} has two outcomes: {self._results(recorded, told)}")
        self.invariants.true_outcome(state, event, self.values[told].result)
        return state._replace(outcomes=put(state.outcomes, event, told)), told

    def _results(self, *told: int) -> str:
        return " and ".join(self.values[number].result for number in told)

    def _announce(self, state: State, event: int, told: int) -> State:
        if event < 0:
            return state
        if state.outcomes[event] != told:
            raise ViolationError(f"announced is {self.values[told].result}, which is not what was recorded")
        return state._replace(announced=state.announced | 1 << event)

    # WorkMail, and what the invariants say of every change to it

    def at_rest(self, state: State) -> bool:
        """Whether nothing is going on and nothing is on its way."""
        return not (state.late or state.sweeps or state.frozen) and not any(
            group.node or group.queue for group in state.groups
        )

    # At rest

    def settle(self, state: State) -> State:
        """The state after one undisturbed sweep; ViolationError if the next one still finds something to do.

        After two, where the ledger was lost since the last one: the first then lets nothing back in.
        """
        key = state._replace(
            pending=0,
            acts=0,
            faults=0,
            runs=0,
            outcomes=self._nothing,
            first=self._nothing,
            announced=0,
            sure=0,
            meddled=True,
            blind=False,
            buried=(),
            edits=(),
            tended=False,
        )
        known = self._settled.get(key)
        if known is None:
            known = key
            for number in range(1 if state.swept else 2):
                known = self.whole_sweep(known, f"settle-{number + 1}")
            if not self.scenario.guarded and not known.disabled:
                again = self.drain_sweeps(self._start_sweep(known._replace(alarmed=0), "settle-3"))
                if any(group.queue for group in again.groups):
                    raise ViolationError("after a sweep the next one still finds something to do")
                if again.alarmed:
                    raise ViolationError("after a sweep the next one tells of the same again")
            self._settled[key] = known
        return known

    def whole_sweep(self, state: State, run: str) -> State:
        """The state after one undisturbed sweep and all that it asked for."""
        return self.drain(self.drain_sweeps(self._start_sweep(state, run)))

    def drain_sweeps(self, state: State) -> State:
        """Run the sweeps under way to their ends."""
        while state.sweeps:
            state = self._go_on(state, 0, None)
        self._keep_lines()
        return state

    def drain(self, state: State) -> State:
        """Let everything that goes on by itself go on to its end, without faults."""
        while True:
            for _, after in self._work(state):
                state = after
                self._keep_lines()
                break
            else:
                return state

    # In words

    def tell(self, moves: list[Move], *, swept: bool = False) -> tuple[str, ...]:
        """A history in words: what was there before, and then each move with all that it did, up to the violation.

        And, if ``swept``, what happened in the sweep after it.
        """
        self.lines, self.told, self._settled = [], [], {}
        try:
            state = self.initial()
            stands = ", ".join(self.row(row) for row in state.rows)
            self.told.append(f"it is {self.second[0]} s, {stands} stands")
            for move in moves:
                state = next(after for tried, after in self.successors(state) if tried == move)
                self._keep_lines()
            if swept:
                self.settle(self.drain(state))
        except ViolationError:
            self._keep_lines()
        told, self.lines = tuple(self.told), None
        return told

    def _keep_lines(self) -> None:
        if self.lines:
            self.told.append("; ".join(self.lines))
            self.lines.clear()

    def reading(self, row: int) -> tag.Reading | None:
        """What a row's description says to us; None where nothing stands."""
        if row not in self._readings:
            stands = self.values[row]
            self._readings[row] = tag.read(stands.description, OWNER) if isinstance(stands, Override) else None
        return self._readings[row]

    def name(self, command: int) -> str:
        """A command as histories call it."""
        value: Command = self.values[command]
        event = self._by_id.get(command_id(value))
        kind = type(value).__name__
        sent = f"{kind}({value.cause.event_id}, {value.target.device})"
        return self.events[event].name if event is not None else sent

    def claim(self, shown: Claim | Tag) -> str:
        """A lock as histories call it."""
        event = self.by_claim.get((shown.id, shown.why))
        return self.events[event].name if event is not None else f"lock {shown.id}"

    def row(self, row: int) -> str:
        """An override as histories show it."""
        stands = self.values[row]
        if not isinstance(stands, Override):
            return "nothing" if stands is None else str(stands)
        shown = self.reading(row)
        if isinstance(shown, Tag):
            return f"{stands.effect} [{self.claim(shown)} until {second_of(shown.until)} was={shown.was}]"
        return f"{stands.effect} {stands.description!r}"

    def _told(self, call: tuple[Any, ...]) -> str:
        """A call in words."""
        match call:
            case ("get", device):
                return f"reads what stands on {self.keys[device].device}"
            case ("put", device, row):
                return f"puts {self.row(row)} on {self.keys[device].device}"
            case ("delete", device, _):
                return f"deletes what stands on {self.keys[device].device}"
            case ("save", device, record, read):
                saved: DeviceRecord = self.values[record]
                claims = ", ".join(f"{self.claim(claim)} until {second_of(claim.until)}" for claim in saved.claims)
                prior = f", prior {self.row(self.number(saved.prior))}" if saved.prior else ""
                return f"saves version {read + 1} of {self.keys[device].device}: {claims or 'no claims'}{prior}"
            case ("open", device):
                return f"opens the item of {self.keys[device].device}"
            case ("send", command):
                return f"sends {self.name(command)}"
            case ("alarm", device):
                return f"tells that the lock of {self.keys[device].device} was undone"
            case ("outcome" | "announce" as kind, _, told):
                return f"{'records' if kind == 'outcome' else 'announces'} {self.values[told].result}"
            case ("user" | "save user" | "devices of" as kind, user, *_):
                doing = {"user": "reads the item", "save user": "writes the item", "devices of": "lists the devices"}
                return f"{doing[kind]} of {self.users[user]}"
            case ("enroll" | "retire" as kind, device, _):
                return f"{kind}s {self.keys[device].device} in the inventory"
            case _:
                return " ".join(str(part) for part in call)


def _queue_name(kind: str, command: Command) -> str:
    """The group or deduplication ID as the queue's gateway takes it (``breaks`` replaces them there)."""
    name: str = getattr(command_queue, kind)(command)
    return name


def _verb(node: Node) -> str:
    assert node.call is not None, "a process that ended makes no call"
    return str(node.call[0])


def _ports(tape: Tape) -> Ports:
    return Ports(TapeWorkMail(tape), TapeLedger(tape), TapeQueue(tape), TapeBus(tape))


_NO_USER = UserRecord()
_CAUSE = Cause("", "", "", START, START)
_CHANGING = frozenset(
    {
        "open",
        "save",
        "put",
        "delete",
        "save user",
        "enroll",
        "retire",
        "saw",
        "remember",
        "send",
        "outcome",
        "announce",
        "note",
        "alarm",
    }
)
_SAVES = ("save", "save user")
_QUIET = frozenset({"look up", "remember", "recall", "last sweep", "save sweep", "told", "note"})
