"""Long random histories of many events over several devices and users, in the same world, by the same invariants.

Where :mod:`verify.explorer` tries everything about little, this tries a little of everything; hypothesis picks, and
cuts a failing history down to its shortest. ``python -m verify.histories 10000`` walks that many.
"""

import sys
from time import perf_counter

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from verify.scenarios import (
    ALL_CALLS,
    BROKEN_ALLOW,
    BROKEN_DENY,
    LEGAL_HOLD,
    OTHER_ALLOW,
    USER_CALLS,
    VIP,
    Act,
    Event,
    Scenario,
    copy,
    enroll,
    lock,
    lock_user,
    release,
    release_user,
    retire,
    written,
)
from verify.state import Move, State, ViolationError
from verify.world import World

INSTANTS = (10, 16, 23, 31, 41)
STEPS = 60
"""Rules in one history; each lets things happen once or several times."""

_ROWS = (None, None, None, VIP, OTHER_ALLOW, LEGAL_HOLD, BROKEN_ALLOW, written(12), written(20, "ALLOW"))
_PUTS = (VIP, OTHER_ALLOW, LEGAL_HOLD, BROKEN_DENY, written(13), written(21, "ALLOW"))


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Up to four devices of two users, up to a dozen events and copies, what people do, and what stands at first."""
    devices = tuple(
        (draw(st.integers(0, 1)), f"DEV{number}")
        for number in range(1, 1 + draw(st.integers(min_value=1, max_value=4)))
    )
    numbers = st.integers(0, len(devices) - 1)
    events: list[Event] = []
    for number in range(draw(st.integers(2, 8))):
        events.append(draw(_events(number, devices)))
        if draw(st.integers(0, 4)) == 0:
            events.append(copy(events[-1]))
    changes = st.one_of(
        st.builds(Act, st.just("put"), numbers, st.sampled_from(_PUTS)),
        st.builds(Act, st.sampled_from(("delete", "flip")), numbers),
        st.builds(Act, st.just("edit"), numbers, until=st.sampled_from((12, 20, 40))),
        st.builds(Act, st.sampled_from(("disable", "enable")), numbers),
    )
    acts = draw(st.lists(changes, max_size=4))
    if draw(st.integers(0, 5)) == 0:
        acts.append(Act("lose"))
    return Scenario(
        "random",
        "drawn by hypothesis",
        tuple(events),
        tuple(acts),
        INSTANTS,
        rows=tuple(draw(st.sampled_from(_ROWS)) for _ in devices),
        devices=devices,
        runs=4,
        faults=draw(st.integers(0, 4)),
        buries=draw(st.booleans()),
        page_size=draw(st.sampled_from((1, 100))),
        pauses=draw(st.sampled_from((USER_CALLS, ALL_CALLS))),
    )


@st.composite
def _events(draw: st.DrawFn, number: int, devices: tuple[tuple[int, str], ...]) -> Event:
    device = draw(st.integers(0, len(devices) - 1))
    user, name = devices[device]
    kind = draw(
        st.sampled_from(("lock", "lock", "lock", "release", "release", "lock user", "release user", "inventory"))
    )
    happened = draw(st.integers(1, 9))
    until = draw(st.sampled_from((None, 15, 22, 30)))
    match kind:
        case "lock":
            return lock(f"L{happened}({until or 'hold'})#{number}", happened, until, device, device_id=name, user=user)
        case "release":
            return release(f"R{happened}#{number}", happened, device, device_id=name, user=user)
        case "lock user":
            return lock_user(f"U{happened}({until or 'hold'})#{number}", happened, until, user)
        case "release user":
            return release_user(f"RU{happened}#{number}", happened, user)
        case _:
            make = draw(st.sampled_from((enroll, retire)))
            return make(f"I{happened}#{number}", happened, device, device_id=name, user=user)


class Histories(RuleBasedStateMachine):
    """One history: each rule lets something happen that may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.moves: list[Move] = []

    @initialize(scenario=scenarios())
    def begin(self, scenario: Scenario) -> None:
        """Nothing has happened yet."""
        self.world = World(scenario)
        self.state = self.world.initial()

    @rule(steps=st.integers(1, 8), pick=st.integers(0, 2**20))
    def go_on(self, steps: int, pick: int) -> None:
        """What goes on by itself goes on."""
        for _ in range(steps):
            if not self._happens(("deliver", "step", "sweep goes on", "land"), pick):
                break
            pick //= 3

    @rule(pick=st.integers(0, 2**20))
    def arrive(self, pick: int) -> None:
        """An event arrives."""
        self._happens(("arrive",), pick)

    @rule(pick=st.integers(0, 2**20))
    @precondition(lambda self: self.world is not None and self.state.faults)
    def fail(self, pick: int) -> None:
        """A process or a sweep dies, an answer is lost, a page fails, a command goes to the dead-letter queue."""
        self._happens(("die", "answer lost", "page fails", "page lacks a row", "dies", "sweep dies", "bury"), pick)

    @rule(pick=st.integers(0, 2**20))
    @precondition(lambda self: self.world is not None and self.state.acts)
    def act(self, pick: int) -> None:
        """A person does something."""
        self._happens(("act",), pick)

    @rule(pick=st.integers(0, 2**20))
    @precondition(lambda self: self.world is not None and self.state.buried)
    def redrive(self, pick: int) -> None:
        """A command comes back from the dead-letter queue."""
        self._happens(("redrive",), pick)

    @rule()
    @precondition(lambda self: self.world is not None and self.state.runs)
    def sweep(self) -> None:
        """A sweep starts."""
        self._happens(("sweep",), 0)

    @rule()
    def tick(self) -> None:
        """Time passes."""
        self._happens(("tick",), 0)

    def teardown(self) -> None:
        """Everything comes to rest, and is swept."""
        if self.world is not None:
            try:
                self.state = self.world.drain(self.state._replace(faults=0))
                self.world.invariants.check_at_rest(self.state)
                self.world.invariants.check_swept(self.state)
            except ViolationError:
                self._retell(self.moves)
                raise

    def _happens(self, kinds: tuple[str, ...], pick: int) -> bool:
        """Let one of the moves of these kinds happen, if there is one."""
        world = self.world
        assert world is not None, "a history begins with its scenario"
        try:
            open_to: list[tuple[Move, State]] = [
                (move, after)
                for move, after in world.successors(self.state)
                if (("dies" if "dies" in move else move[0]) in kinds)
            ]
        except ViolationError:
            self._retell([*self.moves, world.trying])
            raise
        if not open_to:
            return False
        move, self.state = open_to[pick % len(open_to)]
        self.moves.append(move)
        try:
            if world.at_rest(self.state):
                world.invariants.check_at_rest(self.state)
                world.invariants.check_swept(self.state)
        except ViolationError:
            self._retell(self.moves)
            raise
        return True

    def _retell(self, moves: list[Move]) -> None:
        assert self.world is not None, "a history begins with its scenario"
        for number, step in enumerate(self.world.tell(moves, swept=True)):
            note(f"{number:>4}  {step}")


def walk(histories: int, *, same_every_time: bool = False) -> None:
    """Walk random histories; the first violation is raised, cut down."""
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=histories,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=same_every_time,
            suppress_health_check=list(HealthCheck),
        ),
    )


if __name__ == "__main__":
    asked = int(sys.argv[1])
    began = perf_counter()
    walk(asked)
    print(f"{asked:,} random histories of up to {STEPS} steps, no violation, {perf_counter() - began:.0f} s")
