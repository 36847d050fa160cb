"""Histories in words."""

from collections.abc import Callable
from functools import wraps

from device_lockout.values.command import Command, command_id
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, DeviceRecord
from device_lockout.values.tag import Tag
from verify.numbering import Numbering
from verify.processes import Node
from verify.scenario import Policy, second_of
from verify.state import Call, Move, lock_id

_UNTOLD = frozenset({"look up", "remember", "recall", "found", "last sweep", "save sweep", "recorded", "note", "first"})
"""The calls that histories leave out."""
_ON_DEVICE = {
    "get": "reads the override on {}",
    "delete": "deletes the override on {}",
    "open": "opens the item of {}",
    "enroll": "enrolls {} in the inventory",
    "retire": "retires {} in the inventory",
    "save names": "keeps the name of {}",
    "save named": "writes the row of {} under the name",
    "saw": "adds {} to the inventory",
    "left": "tells of the override on {}, which is left alone",
}
_ON_USER = {
    "user": "reads the item of {}",
    "save user": "saves the item of {}",
    "devices of": "lists the devices of {}",
}


class Words:
    """Names for what numbers stand for."""

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self._values = numbering.values

    def command(self, command: int) -> str:
        value: Command = self._values[command]
        event = self._numbering.by_command_id.get(command_id(value))
        if event is not None:
            return self._numbering.events[event].name
        return f"{type(value).__name__}({value.cause.event_id}, {value.target.device})"

    def lock(self, shown: Claim | Tag) -> str:
        event = self._numbering.by_lock.get(lock_id(shown))
        return self._numbering.events[event].name if event is not None else f"lock {shown.id}"

    def device(self, device: int) -> str:
        return self._numbering.keys[device].device

    def row(self, row: int) -> str:
        override = self._values[row]
        if not isinstance(override, Override):
            return "nothing" if override is None else str(override)
        shown = self._numbering.reading(row)
        if isinstance(shown, Tag):
            return f"{override.effect} [{self.lock(shown)} until {second_of(shown.until)} was={shown.was}]"
        return f"{override.effect} {override.description!r}"

    def call(self, call: Call) -> str:
        match call:
            case (kind, device, *_) if kind in _ON_DEVICE:
                return _ON_DEVICE[kind].format(self.device(device))
            case (kind, user, *_) if kind in _ON_USER:
                return _ON_USER[kind].format(self._numbering.users[user] if user >= 0 else "an unknown user")
            case ("put", device, row):
                return f"puts {self.row(row)} on {self.device(device)}"
            case ("save", device, record, read):
                saved: DeviceRecord = self._values[record]
                claims = ", ".join(f"{self.lock(claim)} until {second_of(claim.until)}" for claim in saved.claims)
                prior = f", prior {self.row(self._numbering.number(saved.prior))}" if saved.prior else ""
                return f"saves version {read + 1} of {self.device(device)}: {claims or 'no claims'}{prior}"
            case ("send", command):
                return f"sends {self.command(command)}"
            case ("outcome" | "announce" as kind, _, outcome):
                return f"{'records' if kind == 'outcome' else 'announces'} {self._values[outcome].result}"
            case ("devices named", *_):
                return "lists the devices with the name"
            case ("keep found", *_):
                return "keeps which these are"
            case ("page", page, *_):
                return f"lists page {page + 1}"
            case ("records", kind, *_):
                return f"reads the items of all {kind}s"
            case _:
                return " ".join(str(part) for part in call)


def _sentence[*About](words: Callable[["Story", *About], str]) -> Callable[["Story", *About], None]:
    """Make a method of :class:`Story` of one that returns words. While no history is told it does nothing."""

    @wraps(words)
    def say(story: "Story", *about: *About) -> None:
        if story.parts is not None:
            story.parts.append(words(story, *about))

    return say


class Story:
    """What the search tries right now and, while it tells a history, what happens.

    Attributes:
        trying: The move whose next states are being made.
        parts: What this move has done so far; None while no history is told.
    """

    def __init__(self, words: Words) -> None:
        self.trying: Move = ()
        self.parts: list[str] | None = None
        self._words = words
        self._lines: list[str] = []

    def attempt(self, *move: object) -> Move:
        """Begin to try a move."""
        self.trying = move
        if self.parts is not None:
            self.parts.clear()
        return move

    def begin(self) -> None:
        """Tell from here on."""
        self.parts, self._lines = [], []

    def end(self) -> tuple[str, ...]:
        """Stop telling, and return a line for each move."""
        self.parts = None
        return tuple(self._lines)

    def end_line(self) -> None:
        """Make a line of what the move did."""
        if self.parts:
            self._lines.append("; ".join(self.parts))
            self.parts.clear()

    def take_back(self) -> None:
        """Forget the last part. It belonged to another branch."""
        if self.parts is not None:
            self.parts.pop()

    @_sentence
    def begins(self, second: int, rows: tuple[int, ...]) -> str:
        found = [f"{self._words.device(device)} has {self._words.row(row)}" for device, row in enumerate(rows)]
        return f"it is {second} s; {', '.join(found)}"

    @_sentence
    def clock_shows(self, second: int) -> str:
        return f"it is {second} s"

    @_sentence
    def came_before(self, name: str) -> str:
        return f"before: {name} arrives"

    @_sentence
    def arrives(self, name: str) -> str:
        return f"{name} arrives"

    @_sentence
    def is_delivered(self, command: int) -> str:
        return f"{self._words.command(command)} is delivered"

    @_sentence
    def is_done(self, command: int) -> str:
        return f"{self._words.command(command)} is done"

    @_sentence
    def delivery_fails(self, error: Exception) -> str:
        return f"the delivery fails: {error}"

    @_sentence
    def is_dropped(self, command: int) -> str:
        return f"the queue drops {self._words.command(command)}, a copy"

    @_sentence
    def goes_to_dead_letters(self, command: int) -> str:
        return f"{self._words.command(command)} goes to the dead-letter queue"

    @_sentence
    def is_redriven(self, command: int) -> str:
        return f"{self._words.command(command)} is redriven"

    @_sentence
    def is_let_through(self, command: int) -> str:
        return f"a person lets {self._words.command(command)} through"

    @_sentence
    def is_undone(self, command: int) -> str:
        return f"a person drops {self._words.command(command)}, which is held"

    def makes_call(self, call: Call, how: str) -> None:
        if self.parts is not None and call[0] not in _UNTOLD:
            self.parts.append(f"{self._words.call(call)} ({how})" if how else self._words.call(call))

    @_sentence
    def dies(self, node: Node) -> str:
        process = "the sweep" if node.start.run else "the process"
        return f"{process} dies before it can {node.call[0] if node.call else 'delete its message'}"

    @_sentence
    def freezes(self, command: int) -> str:
        return f"the process of {self._words.command(command)} freezes"

    @_sentence
    def thaws(self, command: int) -> str:
        return f"the frozen process of {self._words.command(command)} goes on"

    @_sentence
    def lands(self, call: Call) -> str:
        return f"a late write lands: it {self._words.call(call)}"

    @_sentence
    def sweep_starts(self, run: str) -> str:
        return f"sweep {run} starts"

    @_sentence
    def page_fails(self, page: int) -> str:
        return f"page {page + 1} of the list fails"

    @_sentence
    def page_lacks_row(self, page: int) -> str:
        return f"page {page + 1} of the list lacks a row"

    @_sentence
    def person_changes_user(self, act: str, user: str) -> str:
        return f"a person {act}s {user}"

    @_sentence
    def is_configured(self, policy: Policy) -> str:
        return f"from now on {policy} holds"

    @_sentence
    def name_moves(self, user: str, holder: str) -> str:
        return f"{user}@example.com is {holder}'s from now on"

    @_sentence
    def person_changes_row(self, device: int, row: int) -> str:
        return f"a person makes it {self._words.row(row)} on {self._words.device(device)}"

    @_sentence
    def ledger_is_lost(self) -> str:
        return "the ledger is lost"

    @_sentence
    def ledger_is_kept(self) -> str:
        return "a copy of the ledger is made"

    @_sentence
    def ledger_is_restored(self) -> str:
        return "the copy of the ledger is restored"

    @_sentence
    def ledger_is_accepted(self) -> str:
        return "a person lets the sweeps go on with this ledger"

    @_sentence
    def item_expires(self, device: int) -> str:
        return f"the item of {self._words.device(device)} outlives its time to live"
