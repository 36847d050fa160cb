"""One moment of the world: everything that stands, waits, runs or may yet happen, and what is owed, as one value."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

TOUCHED, FORGOTTEN = 1, 2
"""Marks on a process or a pending write: a person changed the row since our Get; the ledger was lost meanwhile."""


Shown = tuple[str, str]
"""What a tag names a lock by: its ID and its reason."""


class Group(NamedTuple):
    """A message group: commands waiting, head first; the process that has the head, 0 for none, and its marks.

    ``held`` while the head is not to be seen before what is pending has settled.
    """

    queue: tuple[int, ...] = ()
    node: int = 0
    marks: int = 0
    held: bool = False


class Late(NamedTuple):
    """A write that was never answered and may yet land, with the group of its process and the process's marks."""

    group: int
    call: tuple[Any, ...]
    marks: int


class State(NamedTuple):
    """Everything at one moment; the second half is what the invariants need to know of the past.

    ``first``: how each event's command was first decided; ``sure``: events that the ledger certainly knows;
    ``owed``: what is to stand on each device when no lock does; ``edits``: (device, claim, until) that a person set and
    the ledger took over; ``tended``: a sweep began, with nothing else under way, since a person
    or the clock changed anything.
    ``undone``: the devices whose lock a person undid, and ``alarmed``, those of which it was told; ``noted``: what the
    ledger has of what was told, and the clock then. These three only where undone locks are told of and not put back.
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
    runs: int
    swept: bool
    news: tuple[int, ...]
    disabled: int
    removed: int
    names: int
    buried: tuple[int, ...]
    sent: tuple[int, ...]
    outcomes: tuple[int, ...]
    first: tuple[int, ...]
    announced: int
    sure: int
    meddled: bool
    lost: bool
    blind: bool
    owed: tuple[int, ...]
    edits: tuple[tuple[int, Shown, int], ...]
    tended: bool
    undone: int
    alarmed: int
    noted: tuple[tuple[int, int], ...]


Move = tuple[Any, ...]


class ViolationError(Exception):
    """An invariant does not hold; the message says which, in words."""


@dataclass(slots=True)
class Node:
    """A process between two calls: the code, started on ``start``, after ``answers``.

    ``asked`` names its calls so far, ``call`` is what it asks next, None when it ended; then ``error`` is None or what
    it raised.
    ``changed``: it has changed something, so that a crash matters; ``saved``: its ledger write went through;
    ``looked``: the devices whose override it has read; ``unsure``: a page of its listing failed.
    """

    number: int
    start: "Start"
    answers: tuple[Any, ...]
    asked: tuple[str, ...] = ()
    call: tuple[Any, ...] | None = None
    error: Exception | None = None
    changed: bool = False
    saved: bool = False
    looked: frozenset[int] = frozenset()
    unsure: bool = False
    next: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    """What a process was started with: a command's number, or a sweep's run ID; and the second when it was."""

    command: int
    run: str
    clock: int


def put(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


def with_group(state: State, where: int, group: Group) -> State:
    return but(state, GROUPS, put(state.groups, where, group))


def but(state: State, index: int, value: Any) -> State:
    """``state`` but for one field; quicker than ``_replace``, which matters here."""
    return State._make((*state[:index], value, *state[index + 1 :]))


GROUPS, PENDING, ITEMS = (State._fields.index(name) for name in ("groups", "pending", "items"))
