"""What people do, and what else happens to the ledger from outside."""

from dataclasses import replace

from device_lockout.values import tag
from device_lockout.values.tag import Tag
from verify.numbering import Numbering
from verify.processes import Processes
from verify.scenario import Act, at
from verify.state import LEDGER_LOST, ROW_EDITED, Group, Moves, State, lock_id, put
from verify.telling import Story


class People:
    """The people of one scenario."""

    def __init__(self, numbering: Numbering, processes: Processes, story: Story, off: set[str]) -> None:
        self._scenario = numbering.scenario
        self._numbering = numbering
        self._number, self._values, self._reading = numbering.number, numbering.values, numbering.reading
        self._nodes = processes.nodes
        self._story = story
        self._items_expire = "no-ttl" in off

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
            case "disable" | "enable" | "remove":
                return self._change_user(state, act)
        row = self._changed_row(state, act)
        if row is None or row == state.rows[act.device]:
            return None
        return self._change_row(state, act, row)

    def _change_user(self, state: State, act: Act) -> State | None:
        bit = 1 << self._numbering.user_of[act.device]
        self._story.person_changes_user(act.kind, self._numbering.keys[act.device].user_id)
        disabled, deleted = state.disabled | bit, state.deleted
        if act.kind == "remove":
            return state._replace(deleted=deleted | bit, disabled=disabled, edited=True)
        if act.kind == "enable":
            disabled, deleted = state.disabled & ~bit, deleted & ~bit
            state = state._replace(swept_since=False)
        if disabled == state.disabled:
            return None
        return state._replace(deleted=deleted, disabled=disabled, edited=True)

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
        return self._number(replace(override, description=tag.write(replace(shown, until=at(act.until)))))

    def _change_row(self, state: State, act: Act, row: int) -> State:
        device = act.device
        state = self._with_undone(self._unless_adopted(state, device, row), device, row)
        self._story.person_changes_row(device, row)
        baseline = put(state.baseline, device, row) if act.kind in ("put", "delete") else state.baseline
        rows = put(state.rows, device, row)
        return self._mark(
            state._replace(rows=rows, baseline=baseline, edited=True, swept_since=False), ROW_EDITED, device
        )

    def _with_undone(self, state: State, device: int, row: int) -> State:
        """Note whether the person undoes our lock. Whatever was announced before was another state of it."""
        if self._scenario.on_tampering != "alert":
            return state
        bit, before = 1 << device, self._values[state.rows[device]]
        ours = before is not None and before.effect == "DENY" and isinstance(self._reading(state.rows[device]), Tag)
        undone = state.undone | (bit if ours else 0)
        if row and self._values[row].effect == "DENY":
            undone = state.undone & ~bit
        return state._replace(undone=undone, alarmed=state.alarmed & ~bit)

    def _unless_adopted(self, state: State, device: int, row: int) -> State:
        """Make a lock uncertain if it goes with its tag, since the ledger lost it and has not adopted it again."""
        shown, item = self._reading(state.rows[device]), state.items[device]
        if not state.lost or not isinstance(shown, Tag) or isinstance(self._reading(row), Tag):
            return state
        event = self._numbering.by_lock.get(lock_id(shown))
        if event is not None and (not item or not self._values[item].shown_by(shown)):
            return state._replace(certain=state.certain & ~(1 << event))
        return state

    def _mark(self, state: State, mark: int, device: int = -1) -> State:
        """Mark processes that have read the device's override, and late writes to it; after a loss, all of them."""
        lost = mark == LEDGER_LOST

        def marked(group: Group) -> Group:
            affected = group.node and (lost or device in self._nodes[group.node].has_read)
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

    def _lose(self, state: State) -> State:
        """Empty the ledger. From then on only the locks in tags are certain."""
        self._story.ledger_is_lost()
        shown = {lock_id(reading) for reading in map(self._reading, state.rows) if isinstance(reading, Tag)}
        by_lock = self._numbering.by_lock
        return self._mark(state, LEDGER_LOST)._replace(
            items=(0,) * len(state.items),
            users=(0,) * len(state.users),
            inventory_at=(0,) * len(state.items),
            names=0,
            swept=False,
            outcomes=(0,) * len(state.outcomes),
            certain=sum(1 << event for event in {by_lock[lock] for lock in shown if lock in by_lock}),
            lost=True,
            swept_since=False,
            told_at=(),
        )

    def _reap(self, state: State, device: int) -> State | None:
        """Delete an item without a live lock, if items had a time to live."""
        item = state.items[device]
        if not self._items_expire or not item or self._values[item].live(self._numbering.now(state)):
            return None
        self._story.item_expires(device)
        return state._replace(items=put(state.items, device, 0))
