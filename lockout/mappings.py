"""What each source would make of an event, by the functions' own code and a local match of EventBridge's patterns."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from configuration import event_pattern, loader
from configuration.loader import Configuration
from device_lockout.inbound import leniency, report
from device_lockout.values import instant
from device_lockout.values.command import Change, Command, Enroll, Expire, Lock, Reassert, Reject, Release, Retire
from device_lockout.values.tag import until
from lockout import answers, plain
from lockout.errors import DONE, NO

EXPECTED = "expected an event as EventBridge delivers it, a JSON object in UTF-8"


@click.group()
def mapping() -> None:
    """How events of other products are read."""


@mapping.command(
    "try",
    epilog=answers.examples(
        "lockout mapping try samples/okta-suspicious-activity.json", "lockout mapping try events.jsonl --config prod"
    ),
)
@click.argument("events", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="EVENT.json…")
@click.option("--config", default="local", show_default=True, metavar="NAME", help="the sources of config/NAME.toml")
def try_(events: tuple[Path, ...], config: str) -> int:
    """Say what each configured source would make of an event, or why it would be rejected. AWS is not called.

    EVENT.json is an event as EventBridge delivers it, entries as put-events takes them, a .jsonl file or a directory.
    """
    return try_events(events, loader.load(config), datetime.now(UTC))


@mapping.command(
    epilog=answers.examples(
        "lockout mapping replay events.jsonl --config prod",
        "lockout mapping replay findings.json --config prod --against new.toml",
    )
)
@click.argument("events", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="EVENTS…")
@click.option("--config", required=True, metavar="NAME", help="the configuration config/NAME.toml, or a .toml file")
@click.option("--against", metavar="NAME", help="print only what another configuration would do differently")
@answers.forms
def replay(events: tuple[Path, ...], config: str, against: str | None, form: str | None) -> int:
    """Print what past events would do, by the router's own code. AWS is not called.

    EVENTS are files and directories as `mapping try` takes them: events, CloudTrail's log files, and what
    `aws cloudtrail lookup-events` and `aws securityhub get-findings` print.
    The exit status is 1 if something would be rejected.
    """
    found = [each for path in events for each in events_in(path)]
    names = {"would": config} | ({"other": against} if against else {})
    wholes = {column: loader.load(name) for column, name in names.items()}
    for whole in wholes.values():
        routes = (whole.routes[each.name].pattern for each in whole.settings.sources if each.mapping is not None)
        event_pattern.ask_ahead([*routes], [event for _, event in found])
    rejected = 0

    def rows() -> Iterator[dict[str, str]]:
        nonlocal rejected
        for name, event in found:
            all_of = {column: [*_would(event, whole)] for column, whole in wholes.items()}
            rejected += sum(isinstance(command, Reject) for command, _ in all_of["would"])
            did = {column: [said for _, said in each] for column, each in all_of.items()}
            known = {"when": str(event.get("time", "")), "event": str(event.get("id") or name)}
            if against is None:
                yield from ({**known, "would": each} for each in did["would"])
            elif did["would"] != did["other"]:
                yield known | {column: "; ".join(each) or "-" for column, each in did.items()}

    count = answers.rows(rows(), {"when": 24, "event": 36, **dict.fromkeys(names, 0)}, form)
    answers.say(f"{len(found)} events, {count} rows, {rejected} would be rejected")
    return NO if rejected else DONE


def _would(event: dict[str, Any], whole: Configuration) -> Iterator[tuple[Command, str]]:
    for source, said, command in read(event, whole, datetime.now(UTC)):
        if command is not None:
            yield command, f"{source}: {said}"


def try_events(paths: Sequence[Path], deployment: Configuration, now: datetime) -> int:
    """Print what each source makes of each event, and for several events a table. Return 0 if all are accepted.

    A path is a JSON file, a file of JSON lines (`.jsonl`), or a directory of both.

    Raises:
        ValueError: A file holds no event.
    """
    tried = [(name, event) for path in paths for name, event in events_in(path)]
    ends: list[str] = []
    for name, event in tried:
        if len(tried) > 1:
            print(f"{name}:")
        lines = [*read(event, deployment, now)]
        for source, text, _ in lines:
            print(plain.text(f"{source}: {text}"))
        commands = [command for _, _, command in lines if command is not None]
        accepted = sum(not isinstance(command, Reject) for command in commands)
        if not commands:
            ends.append("nobody gets it, or it is not meant")
        else:
            ends.append(
                f"accepted: {accepted}" + f", rejected: {len(commands) - accepted}" * (accepted < len(commands))
            )
    if len(tried) > 1:
        width = max(len(name) for name, _ in tried)
        print("\n" + "\n".join(f"{name:{width}}  {end}" for (name, _), end in zip(tried, ends, strict=True)))
    return 0 if all(end.startswith("accepted: ") and not end.startswith("accepted: 0") for end in ends) else 1


def events_in(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each event below a path, with its name."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".json", ".jsonl"))
        if not files:
            raise ValueError(f"{path}: expected .json or .jsonl files in this directory")
        for file in files:
            yield from events_in(file)
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
        texts = [line for line in text.splitlines() if line.strip()] if path.suffix == ".jsonl" else [text]
        read = [json.loads(each) for each in texts]
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path}: {EXPECTED}: {error}") from error
    unwrapped = [event for each in read for event in _unwrapped(each)]
    for number, event in enumerate(unwrapped, 1):
        name = f"{path}:{number}" if len(unwrapped) > 1 else str(path)
        if not isinstance(event, dict):
            raise ValueError(f"{name}: {EXPECTED}, and found {type(event).__name__}")  # noqa: TRY004 (a file's fault)
        wrap = _how_to_wrap(event)
        if wrap:
            raise ValueError(f"{name}: {EXPECTED}, and found {wrap}")
        yield name, event


def _unwrapped(found: Any) -> Iterator[Any]:
    """Yield the events that CloudTrail's and Security Hub's own files stand for. Anything else is yielded as it is."""
    match found:
        case {"Records": [*records]}:
            yield from map(_of_cloudtrail, records)
        case {"Events": [{"CloudTrailEvent": str()}, *_] as looked_up}:
            yield from (_of_cloudtrail(json.loads(each["CloudTrailEvent"])) for each in looked_up)
        case [{"DetailType": str(), "Detail": str()}, *_] as entries:  # as `aws events put-events` takes them
            for number, each in enumerate(entries, 1):
                known = {"id": f"entry-{number}", "source": each.get("Source"), "detail-type": each["DetailType"]}
                yield known | {"time": each.get("Time"), "detail": json.loads(each["Detail"])}
        case {"Findings": [*findings]}:
            for each in findings:
                known = {"source": "aws.securityhub", "detail-type": "Security Hub Findings - Imported"}
                yield known | {"id": each["Id"], "time": each["UpdatedAt"], "detail": {"findings": [each]}}
        case _:
            yield found


def _of_cloudtrail(record: dict[str, Any]) -> dict[str, Any]:
    """Return the event that EventBridge makes of a record of CloudTrail."""
    kinds = {"AwsServiceEvent": "AWS Service Event", "AwsConsoleSignIn": "AWS Console Sign In"}
    return {
        "id": record.get("eventID"),
        "source": f"aws.{str(record.get('eventSource')).removesuffix('.amazonaws.com')}",
        "detail-type": f"{kinds.get(str(record.get('eventType')), 'AWS API Call')} via CloudTrail",
        "account": record.get("recipientAccountId"),
        "region": record.get("awsRegion"),
        "time": record.get("eventTime"),
        "detail": record,
    }


def _how_to_wrap(event: dict[str, Any]) -> str:
    """Say how to make an event of something else that products write; empty if it is an event."""
    if "source" in event or "detail-type" in event or "detail" in event:
        return ""
    if event.get("Type") == "Notification" and "Message" in event:
        return "SNS's envelope. The event is the text in Message"
    return (
        "what may be a product's own payload. As the body of a webhook it makes this event:"
        ' {"id": "1", "source": "webhook.NAME", "detail-type": "Webhook", "detail": PAYLOAD}'
    )


def read(event: dict[str, Any], deployment: Configuration, now: datetime) -> Iterator[tuple[str, str, Command | None]]:
    """Yield each source with what it makes of the event, in words and as a command; several for several reports.

    The command is None if the source's pattern does not match, or the event is not meant.
    The event counts as received at its own `time`, so that an old sample is not too old.
    """
    received = leniency.read_time(event.get("time")) or now
    mapped = [source.name for source in deployment.settings.sources if source.mapping is not None]
    found = event_pattern.matching([deployment.routes[name].pattern for name in mapped], event)
    for name, matches in zip(mapped, found, strict=True):
        where = f"{name} (bus {deployment.routes[name].bus or deployment.bus})"
        if matches is False:
            yield where, "does not get it, its pattern does not match", None
            continue
        body = json.dumps({"mappedSource": name, "event": event})
        commands = report.read(body, "tried", received, deployment.settings)
        unsure = "" if matches else "if its pattern matches (`make up` installs what can tell): "
        if not commands:
            yield where, f"{unsure}leaves it, since `when` is false", None
        for command in commands:
            yield where, unsure + describe(command), command
    name = str(event.get("source"))
    ours = deployment.settings.source(name)
    if ours is not None and ours.mapping is None:
        (command,) = report.read(json.dumps(event), "tried", received, deployment.settings)
        yield f"the contract (bus {deployment.bus})", describe(command), command
    elif not any(found):
        routed = any(name in route.on_own_bus for route in deployment.routes.values())
        nobody = "nothing is recorded and nobody is told"
        if name.startswith("aws.") or routed:
            yield "nobody", f"gets this: {nobody}", None
        else:
            (command,) = report.read(json.dumps(event), "tried", received, deployment.settings)
            yield f"the contract (bus {deployment.bus})", f"{describe(command)}; on another bus {nobody}", command


def describe(command: Command) -> str:
    """Return what a command would do, in one line."""
    target, cause = command.target, command.cause
    what = f"device {target.device}" if target.device else " and ".join(f"{n.kind} {n.value}" for n in target.names)
    whom = f"{what} of {target.user}" if what and target.user else what or f"all devices of {target.user}"
    happened = f"happened {instant.write(cause.happened)}"
    reference = f", reference {cause.reference}" if cause.reference else ""
    rest = f"in {target.organization}, {happened}{reference}"
    rest += f" ({cause.correction})" if cause.correction else ""
    match command:
        case Lock(claim=claim, force=force):
            return f"locks {whom} ({claim.why}) {until(claim.until)}{', even if exempt' if force else ''}, {rest}"
        case Release(ending=ending):
            limits = f", {ending}" if str(ending) else ""
            return f"ends the {ending.scope}'s locks of {whom}{limits}, {rest}"
        case Change(ending=ending, claim=claim):
            return f"changes the {ending.scope}'s locks of {whom}: {until(claim.until)}, {rest}"
        case Enroll():
            names = "".join(f", {name.kind} {name.value}" for name in target.names)
            return f"enrols device {target.device} of {target.user}{names}, in {target.organization}, {happened}"
        case Retire():
            return f"retires {whom}, {rest}"
        case Reject(because=because):
            return f"rejected: {because}"
        case Expire():
            return f"ends the override of {whom}, {rest}"
        case Reassert():
            return f"puts back what is wanted of {whom}, {rest}"
