"""Processes: runs of the real code from its start to its next call.

The code is synchronous, and its answers decide what it does.
So a run with the same answers stops at the same call, and the runs of a scenario form a tree.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from device_lockout.decisions import decision
from device_lockout.protocol import steps, sweep
from device_lockout.protocol.ports import Ports
from device_lockout.values import record
from device_lockout.values.device import DeviceKey, Named
from device_lockout.values.policy import Rules
from device_lockout.values.record import UserRecord
from device_lockout.values.settings import Settings
from verify.numbering import Numbering
from verify.scenario import START, Scenario, at
from verify.scripted_ports import AskedError, Failure, Tape, TapeBus, TapeLedger, TapeQueue, TapeWorkMail
from verify.state import LEDGER_LOST, Call, Group, State, ViolationError

CHANGES = frozenset(
    {
        "open",
        "save",
        "put",
        "delete",
        "save user",
        "enroll",
        "retire",
        "save names",
        "save named",
        "saw",
        "remember",
        "keep found",
        "send",
        "outcome",
        "announce",
        "count",
        "first",
        "hold",
        "note",
        "left",
    }
)
"""The calls that change something: a crash after one is worth a try."""
SAVES = frozenset({"save", "save user"})
"""The conditional writes to the ledger."""


@dataclass(slots=True)
class Switches:
    """What a break changes outside the code.

    Attributes:
        off: The guards of the queue and the ledger that are off.
        wrap: Wraps the ports that commands are carried out with.
        rules: Changes the rules that commands are carried out by.
    """

    off: set[str] = field(default_factory=set)
    wrap: Callable[[Ports], Ports] = lambda ports: ports
    rules: Callable[[Rules], Rules] = lambda rules: rules


@dataclass(frozen=True, slots=True)
class Start:
    """What a process starts with.

    Attributes:
        command: The command to carry out; 0 for a sweep.
        run: The sweep's run ID; empty for a command.
        organization: The organization that it is about.
        second: The second of the start.
        exempt: The users whom only a forced lock locks.
        policy: The policy that holds.
        accepted: A person let the sweep go on although the ledger was set back.
    """

    command: int
    run: str
    organization: str
    second: int
    exempt: int = 0
    policy: int = 0
    accepted: bool = False


@dataclass(slots=True)
class Node:
    """A process that waits for an answer or has ended: a node in the tree of runs.

    Attributes:
        number: Its number in states.
        start: What the process started with.
        answers: The answers so far.
        asked: The kinds of its calls so far.
        call: The call that waits for an answer; None after the end.
        error: What the code raised; None if it returned or still runs.
        changed: It has made one of the :data:`CHANGES`.
        saved: It has saved a device's item.
        has_read: The devices whose override it has read.
        list_failed: A page of its list has failed.
        next: The nodes that follow, by answer.
    """

    number: int
    start: Start
    answers: tuple[Any, ...]
    asked: tuple[str, ...] = ()
    call: Call | None = None
    error: Exception | None = None
    changed: bool = False
    saved: bool = False
    has_read: frozenset[int] = frozenset()
    list_failed: bool = False
    next: dict[int, int] = field(default_factory=dict)

    @property
    def next_call(self) -> Call:
        """The call that waits for an answer."""
        assert self.call is not None, "a process that has ended makes no call"
        return self.call


class Processes:
    """The processes of one scenario.

    Attributes:
        nodes: Each node by its number; number 0 is no process.
    """

    def __init__(self, numbering: Numbering, switches: Switches, settings: Sequence[Settings]) -> None:
        self.nodes = [Node(0, Start(0, "", "", 0), ())]
        self._roots: dict[tuple[int, str, str, int, int, int, bool], int] = {}
        self._numbering = numbering
        self._values = numbering.values
        self._wrap = switches.wrap
        scenario = numbering.scenario
        sources, most = {event.command.cause.source for event in scenario.events}, scenario.locks_per_hour
        scaled: dict[str, Any] = {"most_claims": scenario.most_claims, "no_more_claims": scenario.no_more_claims}
        scaled["locks_per_hour"] = {} if most is None else dict.fromkeys(sources, most)
        self._rules = [switches.rules(replace(each.rules, **scaled)) for each in settings]
        caps = (record, "MOST_RELEASES", scenario.most_releases), (decision, "MOST_PUT_BACK", scenario.most_put_back)
        self._caps = [cap for cap in caps if getattr(*cap[:2]) != cap[2]]
        self._settings = settings
        self._fixed = _fixed_answers(numbering.scenario)

    def start(
        self,
        command: int,
        run: str,
        clock: int,
        exempt: int = 0,
        policy: int = 0,
        *,
        organization: str = "",
        accepted: bool = False,
    ) -> Node:
        """Start a command or a sweep's run over an organization, up to its first call."""
        key = command, run, organization, clock, exempt, policy, accepted
        known = self._roots.get(key)
        if known is None:
            about = organization or self._values[command].target.organization
            start = Start(command, run, about, self._numbering.seconds[clock], exempt, policy, accepted)
            known = self._roots[key] = self._run(start, ()).number
        return self.nodes[known]

    def follow(self, node: Node, answer: int) -> Node:
        """Give a process the answer to its call, and run it up to its next one."""
        known = node.next.get(answer)
        if known is None:
            value = self._values[answer]
            after = self._run(node.start, (*node.answers, value))
            kind, *arguments = node.next_call
            failed = isinstance(value, Failure)
            assert after.asked[: len(node.asked)] == node.asked, "the code does not repeat itself on the same answers"
            after.changed = node.changed or kind in CHANGES
            after.saved = node.saved or (kind == "save" and not failed)
            after.has_read = node.has_read | {arguments[0]} if kind == "get" else node.has_read
            after.list_failed = node.list_failed or (kind == "page" and failed)
            known = node.next[answer] = after.number
        return self.nodes[known]

    def mark(self, state: State, mark: int, device: int = -1) -> State:
        """Mark processes that have read the device's override, and late writes to it; after a loss, all of them."""
        lost = mark == LEDGER_LOST

        def marked(group: Group) -> Group:
            affected = group.node and (lost or device in self.nodes[group.node].has_read)
            return group._replace(marks=group.marks | mark) if affected else group

        return state._replace(
            groups=tuple(marked(group) for group in state.groups),
            frozen=tuple(marked(group) for group in state.frozen),
            late=tuple(
                late._replace(marks=late.marks | mark)
                if lost or (late.call[0] != "save user" and late.call[1] == device)
                else late
                for late in state.late
            ),
        )

    def _run(self, start: Start, answers: tuple[Any, ...]) -> Node:
        """Run the real code on these answers to its next call or to its end, with the scenario's caps."""
        with ExitStack() as caps:
            for module, name, value in self._caps:
                caps.enter_context(patch.object(module, name, value))
            return self._run_capped(start, answers)

    def _run_capped(self, start: Start, answers: tuple[Any, ...]) -> Node:
        node = Node(len(self.nodes), start, answers)
        self.nodes.append(node)
        tape = Tape(answers, self._fixed)
        ports = Ports(TapeWorkMail(tape), TapeLedger(tape), TapeQueue(tape), TapeBus(tape))
        now = at(start.second)
        try:
            if start.run:
                run = sweep.Run(
                    start.run, start.organization, now, lambda: now, lambda: True, lambda: None, start.accepted
                )
                sweep.run(run, ports, self._settings[start.policy])
            else:
                users = enumerate(self._numbering.users)
                exempt = (user.split()[0] for number, user in users if start.exempt >> number & 1)
                rules = replace(self._rules[start.policy], exempt=frozenset(exempt))
                steps.carry_out(self._values[start.command], self._wrap(ports), rules, now)
        except AskedError as asked:
            self._stays_home(start, asked.call)
            node.call = self._numbered(asked.call)
        except Exception as error:  # noqa: BLE001 (any exception ends the process)
            node.error = error.with_traceback(None)
        node.asked = tuple(tape.asked)
        return node

    @staticmethod
    def _stays_home(start: Start, call: tuple[Any, ...]) -> None:
        """Check that a process of one organization touches and sends nothing of another."""
        for part in call:
            about = part if isinstance(part, DeviceKey) else getattr(part, "target", None)
            if about is not None and about.organization != start.organization:
                raise ViolationError(f"a process of {start.organization} asks for {call[0]} in {about.organization}")

    def _numbered(self, call: tuple[Any, ...]) -> Call:
        """Put numbers in place of a call's arguments. Calls that save get the version that was read as well."""
        number, devices, users = self._numbering.number, self._numbering.device_numbers, self._numbering.user_numbers
        match call:
            case ("send" | "note" | "hold" as kind, value):
                return kind, number(value)
            case ("save", key, record):
                read = record.version
                return "save", devices[key], number(replace(record, version=read + 1, user=UserRecord())), read
            case ("save user", user, record):
                read = record.version
                return "save user", users[user], number(replace(record, version=read + 1)), read
            case ("open" | "get" | "saw" as kind, key):
                return kind, devices[key]
            case ("put" | "delete" | "left" | "save names" | "save named" as kind, key, value):
                return kind, devices[key], number(value)
            case ("enroll" | "retire" as kind, key, happened):
                return kind, devices[key], int((happened - START).total_seconds())
            case ("user" | "devices of" | "look" as kind, about):
                return kind, (devices if kind == "look" else users).get(about, -1)
            case ("found" | "keep found" as kind, command, *found):
                return kind, self._numbering.by_command_id[command], *map(number, found)
            case ("count", source, lock, most):
                return "count", number((source, lock)), most
            case ("recorded", outcome_id):
                return "recorded", self._numbering.by_command_id.get(outcome_id, -1), number(outcome_id)
            case ("outcome" | "announce" as kind, recorded):
                return kind, self._numbering.by_command_id.get(recorded.id, -1), number(recorded)
            case _:
                return call


def _fixed_answers(scenario: Scenario) -> dict[str, Any]:
    """Answer the calls that can't matter in a scenario, so that they are no calls to the search."""
    fixed: dict[str, Any] = {}
    if not any(act.kind in ("remove", "exempt", "rename", "inherit") for act in scenario.acts):
        fixed |= {"remember": None, "recall": Named()}
    return fixed
