"""One scenario's world: its first state, the moves from each state, and what the next sweep makes of it.

Three reductions keep the number of states small.
The states that each one joins look the same to everybody, so none hides a history.

- Calls outside a scenario's ``pauses`` run together with the call before them. A crash between them is still tried.
- An event arrives only while its message group has no process.
- Versions start again from 1 when no process holds one (:mod:`verify.deliveries`).
"""

from verify.calls import Calls
from verify.deliveries import Deliveries
from verify.in_words import Story, Words
from verify.invariants import Invariants
from verify.numbering import Numbering
from verify.people import People
from verify.processes import Processes, Switches
from verify.scenario import Scenario, settings_of
from verify.state import ELSEWHERE, GIVEN, HERE, PENDING, Group, Move, Moves, State, ViolationError, but, enqueue, put
from verify.sweeps import Sweeps


class World:
    """All that may happen in one scenario.

    Attributes:
        scenario: The scenario.
        numbering: What the numbers in states mean.
    """

    def __init__(self, scenario: Scenario, switches: Switches | None = None) -> None:
        switches = switches or Switches()
        settings = [settings_of(scenario, policy) for policy in scenario.policies]
        self.scenario = scenario
        self.numbering = numbering = Numbering(scenario, settings)
        words = Words(numbering)
        self._story = story = Story(words)
        self._invariants = Invariants(numbering, words)
        processes = Processes(numbering, switches, settings)
        calls = Calls(numbering, self._invariants, story, switches.off)
        self._deliveries = Deliveries(
            numbering, processes, calls, self._invariants, story, switches.off, settings[0].limits.settle
        )
        self._sweeps = Sweeps(numbering, processes, calls, story)
        self._people = People(numbering, processes, story, switches.off)
        self._swept: dict[State, State] = {}

    @property
    def trying(self) -> Move:
        """The move from which :meth:`successors` raised ViolationError."""
        return self._story.trying

    def initial(self) -> State:
        """Return the state in which the commands of the scenario's ``before`` are done, and nothing else happened."""
        scenario, numbering = self.scenario, self.numbering
        rows = tuple(map(numbering.number, scenario.rows))
        none = (0,) * len(numbering.keys)
        no_events = (0,) * len(numbering.events)
        state = State(
            clock=0,
            rows=rows,
            items=none,
            users=(0,) * len(numbering.users),
            groups=(Group(),) * numbering.groups,
            late=(),
            frozen=(),
            sweeps=(),
            pending=(1 << len(numbering.events)) - 1,
            acts=(1 << len(scenario.acts)) - 1,
            faults=0,
            sweeps_left=0,
            swept=HERE,
            word=0,
            inventory_at=none,
            named=0,
            numbered=none,
            disabled=0,
            deleted=0,
            exempt=0,
            names=(),
            found=no_events,
            policy=0,
            read=no_events,
            holders=tuple(range(len(numbering.users))),
            meant=no_events,
            dead_letters=(),
            sent=(),
            outcomes=no_events,
            decided=no_events,
            announced=0,
            certain=0,
            edited=False,
            lost=False,
            blind=False,
            baseline=rows,
            edits=(),
            swept_since=False,
            noted=(),
            told=(),
            kept=(),
            watch=(),
            counted=(),
            held=(),
            let=0,
            replaced=0,
        )
        for name in scenario.before:
            self._story.came_before(name)
            self._story.end_line()
            state = self.drain(self._arrive(state, numbering.by_name[name]))
        return state._replace(faults=scenario.faults, sweeps_left=scenario.sweeps, sent=())

    # Moves

    def successors(self, state: State) -> Moves:
        """Yield every move from ``state`` with the state after it.

        Raises:
            ViolationError: A move violates an invariant. :attr:`trying` says which move.
        """
        yield from self._arrivals(state)
        yield from self._undisturbed(state)
        if state.faults:
            yield from self._deliveries.faults(state)
            yield from self._sweeps.faults(state)
        yield from self._people.acts(state)
        yield from self._deliveries.redrives(state)
        yield from self._deliveries.decided_by_people(state)
        yield from self._sweeps.starts(state)
        if state.clock + 1 < len(self.numbering.seconds):
            move = self._story.attempt("tick")
            self._story.clock_shows(self.numbering.seconds[state.clock + 1])
            yield move, state._replace(clock=state.clock + 1, swept_since=False)

    def _arrivals(self, state: State) -> Moves:
        numbering = self.numbering
        second = numbering.seconds[state.clock]
        for number, event in enumerate(numbering.events):
            arrives = event.at <= second and (event.body or second - self.scenario.max_event_age <= event.at)
            if not state.pending >> number & 1 or not arrives:
                continue
            if event.copy_of and state.pending >> numbering.by_name[event.copy_of] & 1:
                continue
            if state.groups[numbering.group(numbering.commands[number])].node:
                continue
            move = self._story.attempt("arrive", number)
            self._story.arrives(event.name)
            yield move, self._arrive(state, number)

    def _arrive(self, state: State, number: int) -> State:
        command = self.numbering.command_at(number, state.clock, state.policy)
        state = but(state, PENDING, state.pending & ~(1 << number))
        if state.policy:
            state = state._replace(read=put(state.read, number, state.policy))
        return enqueue(state, self.numbering.group(command), command)

    def _undisturbed(self, state: State) -> Moves:
        """Yield what happens without faults, people and new events."""
        yield from self._deliveries.steps(state)
        yield from self._deliveries.thaws(state)
        yield from self._sweeps.steps(state)
        yield from self._deliveries.landings(state)

    # To rest

    def drain(self, state: State) -> State:
        """Let everything come to rest without faults, one move at a time."""
        while True:
            move = next(self._undisturbed(state), None)
            if move is None:
                return state
            _, state = move
            self._story.end_line()

    def sweep(self, state: State, run: str) -> State:
        """Run one undisturbed sweep of each organization, under one ID, and all commands that they send."""
        return self.drain(self._sweep_only(state, run))

    def _sweep_only(self, state: State, run: str) -> State:
        for organization in self.numbering.organizations:
            state = self._sweeps.start(state, run, organization)
            while state.sweeps:
                state = self._sweeps.go_on(state, 0)
        self._story.end_line()
        return state

    def settle(self, state: State) -> State:
        """Run one undisturbed sweep, or two.

        Two it takes after a loss of the ledger, when the first one removes nothing, after an overrun, and for a tag
        that the ledger does not know: a sweep reads only the records that have a lock. If the ledger was set back, a
        person lets the first one go on.

        Raise ViolationError if another sweep still finds something to do or to announce.
        """
        no_events = (0,) * len(state.outcomes)
        # Whatever can't matter to a sweep gets the same value, so that the sweep runs once for many states.
        before = state._replace(
            pending=0,
            acts=0,
            faults=0,
            sweeps_left=0,
            outcomes=no_events,
            decided=no_events,
            announced=0,
            certain=0,
            meant=no_events,
            read=no_events,
            edited=True,
            blind=False,
            dead_letters=(),
            edits=(),
            swept_since=False,
            told=(),
            kept=(),
            watch=(),
            counted=(),
            held=(),
            let=0,
            word=GIVEN if state.swept == ELSEWHERE else 0,
        )
        known = self._swept.get(before)
        if known is None:
            known = before
            twice = not state.swept or self.scenario.overruns or self._invariants.shows_unknown_lock(state)
            for number in range(2 if twice else 1):
                known = self.sweep(known, f"settle-{number + 1}")
            if not self.scenario.guarded and not known.disabled:
                again = self._sweep_only(known._replace(told=()), "settle-3")
                if any(group.queue for group in again.groups):
                    raise ViolationError("after a sweep the next one still finds something to do")
                if not set(known.told).isdisjoint(again.told):
                    raise ViolationError("after a sweep the next one announces the same again")
            self._swept[before] = known
        return known

    # Checks

    def check_at_rest(self, state: State) -> None:
        """Hold a state at rest against the invariants. Raise ViolationError if one does not hold."""
        self._invariants.check_at_rest(state)

    def check_swept(self, state: State) -> None:
        """Hold what the next sweep makes of a state at rest against the invariants."""
        self._invariants.check_swept(state, self.settle(state))

    # In words

    def tell(self, moves: list[Move], *, swept: bool = False) -> tuple[str, ...]:
        """Tell a history: a line for what was there before, and one for each move, up to a violation.

        If ``swept``, lines for the next sweep follow.
        """
        self._story.begin()
        self._swept = {}
        try:
            state = self.initial()
            self._story.begins(self.numbering.seconds[0], state.rows)
            self._story.end_line()
            for move in moves:
                state = next(after for tried, after in self.successors(state) if tried == move)
                self._story.end_line()
            if swept:
                self.settle(self.drain(state))
        except ViolationError:
            self._story.end_line()
        return self._story.end()
