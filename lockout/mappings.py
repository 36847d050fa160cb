"""What each source would make of an event, by the functions' own code and a local match of EventBridge's patterns."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from configuration import event_pattern
from configuration.loader import Configuration
from device_lockout.inbound import report
from device_lockout.values import instant
from device_lockout.values.command import Command, Enroll, Lock, Reject, Release, Retire
from device_lockout.values.tag import write_time


def try_event(file: Path, deployment: Configuration, now: datetime) -> int:
    """Print a line for each source. Return 0 if one of them would accept the event, otherwise 1.

    Raises:
        ValueError: The file holds no event.
    """
    expected = "expected an event as EventBridge delivers it, a JSON object in UTF-8"
    try:
        event = json.loads(file.read_text(encoding="utf-8-sig"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{file}: {expected}: {error}") from error
    if not isinstance(event, dict):
        raise ValueError(f"{file}: {expected}, and found {type(event).__name__}")  # noqa: TRY004 (a file's fault)
    accepted = False
    for source, text, command in read(event, deployment, now):
        print(f"{source}: {text}")
        accepted = accepted or (command is not None and not isinstance(command, Reject))
    return 0 if accepted else 1


def read(event: dict[str, Any], deployment: Configuration, now: datetime) -> Iterator[tuple[str, str, Command | None]]:
    """Yield each source with what it makes of the event, in words and as a command.

    The command is None if the source's pattern does not match.
    The event counts as received at its own `time`, so that an old sample is not too old.
    """
    received = _time(event) or now
    mapped = [source.name for source in deployment.settings.sources if source.mapping is not None]
    found = event_pattern.matching([deployment.routes[name].pattern for name in mapped], event)
    for name, matches in zip(mapped, found, strict=True):
        where = f"{name} (bus {deployment.routes[name].bus or deployment.bus})"
        if matches is False:
            yield where, "does not get it, its pattern does not match", None
            continue
        body = json.dumps({"mappedSource": name, "event": event})
        command = report.read(body, "tried", received, deployment.settings)
        unsure = "" if matches else "if its pattern matches (`make up` installs what can tell): "
        yield where, unsure + describe(command), command
    ours = deployment.settings.source(str(event.get("source")))
    if not any(found) or (ours is not None and ours.mapping is None):
        command = report.read(json.dumps(event), "tried", received, deployment.settings)
        yield f"the contract (bus {deployment.bus})", describe(command), command


def describe(command: Command) -> str:
    """Return what a command would do, in one line."""
    target, cause = command.target, command.cause
    what = f"device {target.device}" if target.device else " and ".join(f"{n.kind} {n.value}" for n in target.names)
    whom = f"{what} of {target.user}" if what and target.user else what or f"all devices of {target.user}"
    happened = f"happened {instant.write(cause.happened)}"
    reference = f", reference {cause.reference}" if cause.reference else ""
    rest = f"in {target.organization}, {happened}{reference}"
    match command:
        case Lock(claim=claim, force=force):
            until = "until released" if write_time(claim.until) == "hold" else f"until {write_time(claim.until)}"
            return f"locks {whom} ({claim.why}) {until}{', even if exempt' if force else ''}, {rest}"
        case Release(ending=ending):
            limits = f", {ending}" if str(ending) else ""
            return f"ends the {ending.scope}'s locks of {whom}{limits}, {rest}"
        case Enroll():
            names = "".join(f", {name.kind} {name.value}" for name in target.names)
            return f"enrols device {target.device} of {target.user}{names}, in {target.organization}, {happened}"
        case Retire():
            return f"retires {whom}, {rest}"
        case Reject(because=because):
            return f"rejected: {because}"
        case _:
            raise TypeError(f"no report becomes a {type(command).__name__}")


def _time(event: dict[str, Any]) -> datetime | None:
    try:
        return instant.read(str(event.get("time")))
    except ValueError:
        return None
