"""One moment of a history as one value: overrides, ledger, queue, processes, and what the invariants remember."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from device_lockout.values.record import Claim
from device_lockout.values.tag import Tag

Call = tuple[Any, ...]
"""What a process asks of a port: the kind of call, then its arguments as numbers."""

Move = tuple[Any, ...]
"""What happens between two states: its kind, then what tells it from others of that kind."""

LockId = tuple[str, str]
"""A lock as its tag names it: ID and reason."""

HERE, ELSEWHERE = 1, 2
"""The last complete sweep was over this table, or over the one that this is a copy of."""
MISSING, GIVEN = 1, 2
"""A person has yet to let the sweeps go on after the ledger was set back, or did so: the next sweep is theirs."""
ROW_EDITED, LEDGER_LOST = 1, 2
"""Marks on a process or a late write.

A person changed the row since the process read it; the ledger was lost since the process began.
"""


class ViolationError(Exception):
    """An invariant does not hold. The message says which one."""


class Group(NamedTuple):
    """A message group.

    Attributes:
        queue: The waiting commands, head first.
        node: The process that works on the head; 0 for none.
        marks: The marks on that process.
        held: The head stays invisible until no late write is pending.
    """

    queue: tuple[int, ...] = ()
    node: int = 0
    marks: int = 0
    held: bool = False


class Late(NamedTuple):
    """A write without an answer that may still take effect.

    Attributes:
        group: The message group of the process that made it.
        call: The write.
        marks: The marks on that process.
    """

    group: int
    call: Call
    marks: int


class State(NamedTuple):
    """One moment of a history.

    Sets of events, people's acts, devices and users are bit sets.
    Tuples without another index go by device, by user, by group or by event.

    Attributes:
        clock: The index of the current instant.
        rows: The override on each device.
        items: The ledger's item of each device.
        users: The ledger's item of each user.
        groups: The message groups.
        late: The writes that may still land.
        frozen: Processes that stand still while their message is delivered again; ``queue`` holds their group.
        sweeps: The running sweeps.
        pending: The events that have not arrived yet.
        acts: The acts that no person has done yet.
        faults: How many faults may still happen.
        sweeps_left: How many sweeps may still start.
        swept: The ledger knows of a complete sweep: none, one over this table, or one over another (:data:`HERE`).
        word: A person's word about a ledger that was set back: none needed, missing, or given (:data:`GIVEN`).
        inventory_at: The second of each device's newest enrolment or retirement.
        named: The devices whose item keeps the serial number or the asset tag.
        numbered: The row of each device under it.
        disabled: The users whom WorkMail refuses to write for.
        deleted: The users whom WorkMail does not know.
        exempt: The users whom only a forced lock locks.
        names: The names that the ledger keeps, each with whom reports meant by it.
        found: What the first look-up for each event found.
        policy: The policy that holds.
        read: The policy that held when each event arrived.
        holders: The user who has each user's mail address now; -1 for nobody.
        meant: Of each event by a name that moves: the devices whose item has had its lock or release, or the users.
            Of each event by the asset tag: the devices whose own command is done.
        dead_letters: The commands in the dead-letter queue.
        sent: What the queue has for deduplication.
        outcomes: The recorded outcome of each event.

        decided: The result that was first decided for each event.
        announced: The events with an announced outcome.
        certain: The events that the ledger knows for certain.
        edited: A person has changed an override or a user.
        lost: The ledger has been lost.
        blind: A write of ours hit a row that a person had changed since our read.
        baseline: The override that each device must have while no lock is live.
        edits: The ends that people set and the ledger adopted, as (device, lock, end).
        swept_since: A sweep began while all was at rest, and neither a person nor the clock changed anything since.
        noted: What the ledger has of the sweeps: outcomes of their commands, and overrides that they told of.
        told: The overrides that were left alone and told of, as (device, override).
        kept: A copy of the ledger: the items of devices and of users, what is noted, the outcomes, the inventory, and
            what look-ups found.
        watch: What the tamper watch came to, as (device, result, command).
        counted: The locks that were counted, as (source, lock).
        held: The commands that are held.
        let: The events that a person let through.
        replaced: The devices where a person's ``DENY`` took the place of our lock, and nobody was told.
    """

    clock: int
    rows: tuple[int, ...]
    items: tuple[int, ...]
    users: tuple[int, ...]
    groups: tuple[Group, ...]
    late: tuple[Late, ...]
    frozen: tuple[Group, ...]
    sweeps: tuple[int, ...]
    pending: int
    acts: int
    faults: int
    sweeps_left: int
    swept: int
    word: int
    inventory_at: tuple[int, ...]
    named: int
    numbered: tuple[int, ...]
    disabled: int
    deleted: int
    exempt: int
    names: tuple[tuple[str, int], ...]
    found: tuple[int, ...]
    policy: int
    read: tuple[int, ...]
    holders: tuple[int, ...]
    meant: tuple[int, ...]
    dead_letters: tuple[int, ...]
    sent: tuple[int, ...]
    outcomes: tuple[int, ...]
    decided: tuple[int, ...]
    announced: int
    certain: int
    edited: bool
    lost: bool
    blind: bool
    baseline: tuple[int, ...]
    edits: tuple[tuple[int, LockId, int], ...]
    swept_since: bool
    noted: tuple[int, ...]
    told: tuple[tuple[int, int], ...]
    kept: tuple[tuple[int, ...], ...]
    watch: tuple[int, ...]
    counted: tuple[int, ...]
    held: tuple[int, ...]
    let: int
    replaced: int


def lock_id(shown: Claim | Tag) -> LockId:
    return shown.id, shown.why


def at_rest(state: State) -> bool:
    """Whether no process runs, no command waits and no write is late."""
    return not (state.late or state.sweeps or state.frozen) and not any(
        group.node or group.queue for group in state.groups
    )


def put[T](values: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    """Replace one of ``values``."""
    return (*values[:index], value, *values[index + 1 :])


def without[T](values: tuple[T, ...], index: int) -> tuple[T, ...]:
    """Leave out one of ``values``."""
    return (*values[:index], *values[index + 1 :])


def but(state: State, index: int, value: Any) -> State:
    """Replace the field at ``index``. Faster than ``_replace``, for the hot paths."""
    return State._make((*state[:index], value, *state[index + 1 :]))


def with_group(state: State, where: int, group: Group) -> State:
    return but(state, GROUPS, put(state.groups, where, group))


def enqueue(state: State, where: int, command: int) -> State:
    """Append a command to a message group, which may be new."""
    groups = state.groups + (Group(),) * (where + 1 - len(state.groups))
    queue, node, marks, held = groups[where]
    return but(state, GROUPS, put(groups, where, Group((*queue, command), node, marks, held)))


ITEMS, GROUPS, PENDING = (State._fields.index(name) for name in ("items", "groups", "pending"))

Moves = Iterator[tuple[Move, State]]
"""Moves, each with the state after it."""
