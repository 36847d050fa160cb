"""Breadth-first search through all histories of a scenario, to its end or to the first violation, which is shortest."""

import gc
from array import array
from collections import deque
from dataclasses import dataclass
from time import process_time

from verify.processes import Switches
from verify.scenario import Scenario
from verify.state import Move, State, ViolationError, at_rest
from verify.world import World


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search.

    Attributes:
        scenario: The scenario's name.
        states: How many states were found.
        transitions: How many moves were made.
        depth: The length of the longest history.
        at_rest: How many states have nothing under way. Each was checked again after the next sweep.
        blind: How many states follow an edit between our read and our write, which the invariants ignore.
        seconds: Processor time.
        complete: Neither a violation nor a limit of states ended the search.
        violation: The invariant that does not hold.
        history: The steps to the violation in words, with the next sweep if it shows only then.
    """

    scenario: str
    states: int
    transitions: int
    depth: int
    at_rest: int
    blind: int
    seconds: float
    complete: bool
    violation: str | None = None
    history: tuple[str, ...] = ()


@dataclass(slots=True)
class _Seen:
    """The states found so far.

    Attributes:
        numbers: The number of each state.
        parents: The state that each state was first found from.
        moves: The move that each state was first found by.
    """

    numbers: dict[State, int]
    parents: array[int]
    moves: list[Move]

    def path(self, number: int) -> list[Move]:
        """Return the moves to a state."""
        moves = []
        while number:
            moves.append(self.moves[number])
            number = self.parents[number]
        return moves[::-1]


def explore(scenario: Scenario, switches: Switches | None = None, most_states: int | None = None) -> Found:
    """Search ``scenario`` until no state is new, an invariant fails or ``most_states`` have been found."""
    began = process_time()
    gc.disable()  # There are no reference cycles here. Looking for them among millions of tuples takes half the time.
    try:
        return _explore(World(scenario, switches), most_states, began)
    finally:
        gc.enable()


def _explore(world: World, most_states: int | None, began: float) -> Found:
    seen = _Seen({}, array("l", [0]), [()])
    frontier: deque[tuple[State, int, int]] = deque()
    transitions = depth = resting = blind = 0

    def found(violation: str | None = None, history: tuple[str, ...] = ()) -> Found:
        return Found(
            world.scenario.name,
            len(seen.numbers),
            transitions,
            depth,
            resting,
            blind,
            process_time() - began,
            violation is None and not frontier,
            violation,
            history,
        )

    try:
        start = world.initial()
    except ViolationError as violation:
        return found(str(violation), world.tell([]))
    seen.numbers[start] = 0
    frontier.append((start, 0, 0))
    while frontier and (most_states is None or len(seen.numbers) < most_states):
        state, number, depth = frontier.popleft()
        blind += state.blind
        stage = "at rest"
        try:
            if at_rest(state):
                resting += 1
                world.check_at_rest(state)
                stage = "swept"
                world.check_swept(state)
            stage = "moving"
            for move, after in world.successors(state):
                transitions += 1
                if after not in seen.numbers:
                    seen.numbers[after] = len(seen.moves)
                    frontier.append((after, len(seen.moves), depth + 1))
                    seen.parents.append(number)
                    seen.moves.append(move)
        except ViolationError as violation:
            moves = [*seen.path(number), world.trying] if stage == "moving" else seen.path(number)
            return found(str(violation), world.tell(moves, swept=stage == "swept"))
    return found()
