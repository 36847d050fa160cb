"""Long random histories of many events over several devices and users, with the same moves and invariants.

The search tries all histories of small scenarios; this tries a few histories of large ones.
Hypothesis draws them, and shortens one that fails.
``python -m verify.histories 10000`` walks 10,000.
"""

import sys
from time import perf_counter

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from verify.scenario import (
    ALL_CALLS,
    USER_CALLS,
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
from verify.scenarios import BROKEN_ALLOW, BROKEN_DENY, LEGAL_HOLD, OTHER_ALLOW, VIP
from verify.state import Move, State, ViolationError, at_rest
from verify.world import World

INSTANTS = (10, 16, 23, 31, 41)
STEPS = 60
"""How many rules a history has. Each rule makes one move or several."""

_ROWS = (None, None, None, VIP, OTHER_ALLOW, LEGAL_HOLD, BROKEN_ALLOW, written(12), written(20, "ALLOW"))
_PUTS = (VIP, OTHER_ALLOW, LEGAL_HOLD, BROKEN_DENY, written(13), written(21, "ALLOW"))


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Draw four devices of two users at most, with 16 events and copies and five acts at most."""
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
        sweeps=4,
        faults=draw(st.integers(0, 4)),
        dead_letters=draw(st.booleans()),
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
    """One history. Each rule makes moves of some kinds, if there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.moves: list[Move] = []

    @initialize(scenario=scenarios())
    def begin(self, scenario: Scenario) -> None:
        """Begin with a scenario."""
        self.world = World(scenario)
        self.state = self.world.initial()

    @rule(steps=st.integers(1, 8), pick=st.integers(0, 2**20))
    def go_on(self, steps: int, pick: int) -> None:
        """Let the commands, processes, sweeps and late writes go on."""
        for _ in range(steps):
            if not self._happens(("deliver", "step", "sweep goes on", "land"), pick):
                break
            pick //= 3

    @rule(pick=st.integers(0, 2**20))
    def arrive(self, pick: int) -> None:
        """Let an event arrive."""
        self._happens(("arrive",), pick)

    @rule(pick=st.integers(0, 2**20))
    @precondition(lambda self: self.world is not None and self.state.faults)
    def fail(self, pick: int) -> None:
        """Kill a process or a sweep, lose an answer or a page, or send a command to the dead-letter queue."""
        kinds = ("die", "dies", "sweep dies", "answer lost", "page fails", "page lacks a row", "dead letter")
        self._happens(kinds, pick)

    @rule(pick=st.integers(0, 2**20))
    @precondition(lambda self: self.world is not None and self.state.acts)
    def act(self, pick: int) -> None:
        """Let a person do something."""
        self._happens(("act",), pick)

    @rule(pick=st.integers(0, 2**20))
    @precondition(lambda self: self.world is not None and self.state.dead_letters)
    def redrive(self, pick: int) -> None:
        """Send a command back from the dead-letter queue."""
        self._happens(("redrive",), pick)

    @rule()
    @precondition(lambda self: self.world is not None and self.state.sweeps_left)
    def sweep(self) -> None:
        """Start a sweep."""
        self._happens(("sweep",), 0)

    @rule()
    def tick(self) -> None:
        """Let time pass."""
        self._happens(("tick",), 0)

    def teardown(self) -> None:
        """Let everything come to rest, and sweep."""
        if self.world is not None:
            try:
                self.state = self.world.drain(self.state._replace(faults=0))
                self.world.check_at_rest(self.state)
                self.world.check_swept(self.state)
            except ViolationError:
                self._retell(self.moves)
                raise

    def _happens(self, kinds: tuple[str, ...], pick: int) -> bool:
        """Make one of the moves of these kinds. Return whether there is one."""
        world = self.world
        assert world is not None, "every history begins with a scenario"
        try:
            possible: list[tuple[Move, State]] = [
                (move, after)
                for move, after in world.successors(self.state)
                if (("dies" if "dies" in move else move[0]) in kinds)
            ]
        except ViolationError:
            self._retell([*self.moves, world.trying])
            raise
        if not possible:
            return False
        move, self.state = possible[pick % len(possible)]
        self.moves.append(move)
        try:
            if at_rest(self.state):
                world.check_at_rest(self.state)
                world.check_swept(self.state)
        except ViolationError:
            self._retell(self.moves)
            raise
        return True

    def _retell(self, moves: list[Move]) -> None:
        assert self.world is not None, "every history begins with a scenario"
        for number, step in enumerate(self.world.tell(moves, swept=True)):
            note(f"{number:>4}  {step}")


def walk(histories: int, *, same_every_time: bool = False) -> None:
    """Walk random histories. Raise the first violation, with its history as short as hypothesis can make it."""
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
    print(f"{asked:,} random histories of up to {STEPS} rules, no violation, in {perf_counter() - began:.0f} s")
