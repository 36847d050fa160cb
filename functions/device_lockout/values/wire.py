"""Values as JSON: commands on the queue, claims and overrides in the ledger, details on the bus.

Two releases meet in the queue and in the ledger, since a deployment or a rollback empties neither. So a reader takes
the default for a field that it misses and ignores one that it does not know. What the ledger keeps, it hands on.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from device_lockout.values import instant
from device_lockout.values.command import KINDS, Cause, Change, Command, Lock, Target
from device_lockout.values.dataclass_json import FORMS, Form, form, of_fields
from device_lockout.values.device import DeviceName
from device_lockout.values.errors import TransientError, UnreadableError
from device_lockout.values.outcome import Outcome
from device_lockout.values.override import Effect, Override
from device_lockout.values.record import Claim, DeviceRecord, Ending, Last, Released, Scope, UserRecord
from device_lockout.values.tag import read_time, write_time

FORMAT = 1
"""The newest format of messages and of the ledger's items that this release reads.

A writer gives the oldest format that is safe to read. A new field needs no new one if a reader that ignores it locks
no less and lets no more back in. Anything else does, such as a field that narrows a release, or another command.
"""

MAX_ERROR_LENGTH = 500  # What is said of a message that can't be read may quote it.


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))


_ITEM = {"claims", "released", "prior", "last", "put_back", "known", "version"}
"""The attributes of an item. One that was just made has a version only."""


def _one_of(name: str, *words: str) -> Form:
    """Return the form of a text that is one of these words."""

    def read(plain: Any) -> Any:
        if plain not in words:
            raise ValueError(f"{name} is {plain!r}: expected {' or '.join(words)}")
        return plain

    return Form(str, read)


_wire = partial(of_fields, key=_camel, may_lack=())
FORMS.update((kind, _wire(kind)) for kind in (Target, Ending, Override, Last, *KINDS))
FORMS[Cause] = _wire(Cause, may_lack={"correction", "part", "page", "reporter", "held"})
FORMS[Claim] = _wire(Claim, may_lack={"source"})
FORMS[Outcome] = _wire(Outcome, without={"devices", "user", "lock", "ticket", "elsewhere", "claims", "written"})
FORMS[DeviceRecord] = _wire(DeviceRecord, may_lack=_ITEM, without={"user"})
FORMS[UserRecord] = _wire(UserRecord, may_lack=_ITEM)
FORMS[Scope], FORMS[Effect] = _one_of("scope", "device", "user"), _one_of("effect", "ALLOW", "DENY")
FORMS[tuple[DeviceName, ...]] = Form(
    lambda names: {name.kind: name.value for name in names},
    lambda plain: tuple(DeviceName(kind, form(str).read(value)) for kind, value in plain.items()),
)
FORMS[Released] = Form(
    lambda released: [form(Ending).write(ending) | {"at": instant.write(at)} for ending, at in released.newest],
    lambda plain: Released(tuple((_ending(fields), instant.read(fields["at"])) for fields in plain)),
)
_COMMANDS = {name: kind for kind, name in KINDS.items()}


def _ending(fields: dict[str, Any]) -> Ending:
    """Return which locks a release of the ledger's ends. It has the release's time beside them."""
    ending: Ending = form(Ending).read({name: value for name, value in fields.items() if name != "at"})
    return ending


def compact(detail: Any) -> str:
    """Return ``detail`` as JSON for the bus, without spaces.

    Raises:
        ValueError: It has a number that JSON can't write, such as infinity.
    """
    return json.dumps(detail, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dump(command: Command) -> str:
    """Return ``command`` as the JSON text of its message."""
    kind = type(command)
    return json.dumps({"format": FORMAT, "command": KINDS[kind], **form(kind).write(command)})


def load(text: str) -> Command:
    """Return the command in a message that :func:`dump` wrote.

    Raises:
        TransientError: A newer release wrote it, in a format of its own.
        UnreadableError: No release wrote this message.
    """
    try:
        body = json.loads(text)
        check_format(body, "the message")
        if body["command"] not in _COMMANDS:
            raise ValueError(f"command is {body['command']!r}: expected one of {', '.join(_COMMANDS)}")
        command: Command = form(_COMMANDS[body["command"]]).read(body)
        if isinstance(command, Lock | Change) and read_time(write_time(command.claim.until)) != command.claim.until:
            raise ValueError("until is not as it was written")
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise UnreadableError(f"the message is no command: {error!r}"[:MAX_ERROR_LENGTH]) from error
    return command


def check_format(fields: Mapping[str, Any], what: str) -> None:
    """Check that this release can read a message, or an item of the ledger. Without a format it has the first one.

    Raises:
        TransientError: It has a newer format. It waits for a release that reads it, and people are told.
    """
    written = fields.get("format", 1)
    if type(written) is not int:
        raise TypeError(f"format is {written!r}: expected a whole number")
    if written > FORMAT:
        raise TransientError(
            f"{what} has format {written}: expected at most {FORMAT}. Deploy the release that wrote it, or a later one"
        )


def dump_claim(claim: Claim) -> dict[str, Any]:
    """Return ``claim`` as fields, as the queue and the ledger have it."""
    fields: dict[str, Any] = form(Claim).write(claim)
    return fields
