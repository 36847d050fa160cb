"""Breadth-first search through all histories of a scenario, to its end or to the first violation, which is shortest."""

import gc
from array import array
from collections import deque
from dataclasses import dataclass
from time import process_time

from verify.scenarios import Scenario
from verify.state import Move, State, ViolationError
from verify.world import Switches, World


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to: ``complete`` unless it was cut at a number of states or by a violation.

    ``at_rest``: states without anything under way, each checked after the next sweep; ``blind``: states in whose past a
    person's edit fell between our read and our write, where what that person wrote can't be held against us.
    ``seconds`` of this processor; ``history``: the steps that lead to the violation, in words, and what the next sweep
    did where it shows only then.
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
    """The states found, each by its number, and the move that each was first found by."""

    numbers: dict[State, int]
    parents: array[int]
    moves: list[Move]

    def path(self, number: int) -> list[Move]:
        moves = []
        while number:
            moves.append(self.moves[number])
            number = self.parents[number]
        return moves[::-1]


def explore(scenario: Scenario, switches: Switches | None = None, most_states: int | None = None) -> Found:
    """Search ``scenario`` until every state is known, a violation is found, or ``most_states`` have been seen."""
    began = process_time()
    gc.disable()  # nothing here goes in circles, and looking for circles among millions of tuples takes half the time
    try:
        return _explore(World(scenario, switches), most_states, began)
    finally:
        gc.enable()


def _explore(world: World, most_states: int | None, began: float) -> Found:
    seen = _Seen({}, array("l", [0]), [()])
    frontier: deque[tuple[State, int, int]] = deque()
    transitions = depth = at_rest = blind = 0

    def found(violation: str | None = None, history: tuple[str, ...] = ()) -> Found:
        complete = violation is None and not frontier
        return Found(
            world.scenario.name,
            len(seen.numbers),
            transitions,
            depth,
            at_rest,
            blind,
            process_time() - began,
            complete,
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
            if world.at_rest(state):
                at_rest += 1
                world.invariants.check_at_rest(state)
                stage = "swept"
                world.invariants.check_swept(state)
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
