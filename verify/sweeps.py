"""What may happen to the sweeps."""

from collections.abc import Iterator

from device_lockout.values.errors import TransientError
from verify.calls import Calls
from verify.in_words import Story
from verify.numbering import Numbering
from verify.processes import Node, Processes
from verify.scripted_ports import Failure
from verify.state import GIVEN, Moves, State, ViolationError, at_rest, put, without


class Sweeps:
    """The sweeps of one scenario."""

    def __init__(self, numbering: Numbering, processes: Processes, calls: Calls, story: Story) -> None:
        self._scenario = numbering.scenario
        self._organizations = numbering.organizations
        self._pauses = numbering.scenario.pauses
        self._processes = processes
        self._nodes = processes.nodes
        self._perform = calls.perform
        self._page = calls.page
        self._story = story
        self._no_page = numbering.number(Failure(TransientError, "WorkMail did not answer"))

    def starts(self, state: State) -> Moves:
        """Yield the start of the next sweep, if one is left."""
        for organization in self._organizations if state.sweeps_left else ():
            move = self._story.attempt("sweep", organization)
            run = f"run-{self._scenario.sweeps - state.sweeps_left + 1}"
            yield move, self.start(state._replace(sweeps_left=state.sweeps_left - 1), run, organization)

    def start(self, state: State, run: str, organization: str) -> State:
        """Start a sweep of an organization, up to its first pause."""
        self._story.sweep_starts(f"{run} of {organization}" if len(self._organizations) > 1 else run)
        given = state.word == GIVEN
        node = self._processes.start(
            0, run, state.clock, policy=state.policy, organization=organization, accepted=given
        )
        word = 0 if given else state.word
        since = at_rest(state) and len(self._organizations) == 1
        state = state._replace(sweeps=(*state.sweeps, node.number), swept_since=since, word=word)
        if node.call is not None and node.call[0] in self._pauses:
            return state
        return self.go_on(state, len(state.sweeps) - 1)

    def steps(self, state: State) -> Moves:
        """Yield the next calls of each sweep, and its deaths before them."""
        for index in range(len(state.sweeps)):
            move = self._story.attempt("sweep goes on", index)
            for made, after in self._advance(state, index):
                yield (*move, "dies", made) if made else move, after

    def faults(self, state: State) -> Moves:
        """Yield deaths of sweeps, and pages of their lists that fail or lack a row."""
        spent = state._replace(faults=state.faults - 1)
        for index, number in enumerate(state.sweeps):
            node = self._nodes[number]
            if node.changed:
                move = self._story.attempt("sweep dies", index)
                self._story.dies(node)
                yield move, self._dies(state, index)
            if node.call is not None and node.call[0] == "page":
                move = self._story.attempt("page fails", index)
                self._story.page_fails(node.call[1])
                yield move, self.go_on(spent, index, self._no_page)
                _, page, organization = node.call
                lacking = self._page(state, page, organization, lacking=1)
                if lacking != self._page(state, page, organization):
                    move = self._story.attempt("page lacks a row", index)
                    self._story.page_lacks_row(node.call[1])
                    yield move, self.go_on(spent, index, lacking)

    def go_on(self, state: State, index: int, answer: int | None = None) -> State:
        """Let a sweep go on to its next pause without faults. ``answer`` takes the place of its call's own."""
        _, after = next(self._advance(state._replace(faults=0), index, answer))
        return after._replace(faults=state.faults)

    def _advance(self, state: State, index: int, answer: int | None = None) -> Iterator[tuple[int, State]]:
        """Make a sweep's call, and go on to its next pause or its end. Yield a death before each call on the way.

        Each state comes with the number of calls before the death, or 0 if the sweep lives.
        A sweep that has changed nothing does not die, since nobody could tell that it began.
        """
        made = 0
        node = self._nodes[state.sweeps[index]]
        while True:
            if answer is None:
                state, answer = self._perform(state, node)
            node = self._processes.follow(node, answer)
            answer = None
            made += 1
            if node.error is not None:
                raise ViolationError(f"the sweep raised {node.error!r}")
            if node.call is None or node.call[0] in self._pauses:
                yield 0, _at(state, index, node)
                return
            if state.faults and node.changed:
                self._story.dies(node)
                yield made, self._dies(state, index)
                self._story.take_back()

    @staticmethod
    def _dies(state: State, index: int) -> State:
        return state._replace(sweeps=without(state.sweeps, index), faults=state.faults - 1, swept_since=False)


def _at(state: State, index: int, node: Node) -> State:
    """Put a sweep at ``node``, or take it away if it has ended there."""
    sweeps = without(state.sweeps, index) if node.call is None else put(state.sweeps, index, node.number)
    return state._replace(sweeps=sweeps)
