"""What each source would make of an event, by the functions' own code and a local match of EventBridge's patterns."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from config_reader import event_pattern, loader
from config_reader.loader import Configuration
from device_lockout.inbound import lenient_reading, report
from device_lockout.values import instant
from device_lockout.values.command import Change, Command, Enroll, Expire, Lock, Reassert, Reject, Release, Retire
from device_lockout.values.outcome import SOURCE
from device_lockout.values.tag import until
from lockout import output
from lockout.deployment import Deployment
from lockout.errors import DONE, NO

EXPECTED = "expected an event as EventBridge delivers it, a JSON object"
UNSURE = "if its pattern matches (`make up` installs what can tell): "
NOBODY = "nobody gets it, or it is not meant"

mapping = click.Group("mapping", help="How events of other products are read.")


@output.command(
    *("lockout mapping try samples/okta-suspicious-activity.json", "lockout mapping try events.jsonl --config prod"),
    name="try",
    within=mapping,
)
@click.argument("events", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="EVENT.json…")
@click.option("--config", default="local", show_default=True, metavar="NAME", help="the sources of config/NAME.toml")
def try_(__: Deployment, events: tuple[Path, ...], config: str) -> int:
    """Say what each configured source would make of an event, or why it would be rejected. AWS is not called.

    EVENT.json is an event as EventBridge delivers it, entries as put-events takes them, JSON lines or a directory.
    The exit status is 0 if somebody gets each event and nothing is rejected.
    """
    whole = loader.load(config)
    tried = _read_in(events, whole)
    width, ends = max((len(name) for name, _ in tried), default=0), []
    for name, event in tried:
        if isinstance(event, str):
            output.say(f"lockout: {name}: {event}")
            ends.append((False, f"{name:{width}}  no event"))
            continue
        if len(tried) > 1:
            output.line(f"{name}:")
        lines = [*read(event, whole, datetime.now(UTC))]
        for source, text, _ in lines:
            output.line(f"{source}: {text}")
        commands = [command for _, _, command in lines if command is not None]
        accepted = sum(not isinstance(command, Reject) for command in commands)
        rejected = sum(isinstance(command, Reject) and not text.startswith(UNSURE) for _, text, command in lines)
        said = f"accepted: {accepted}" + f", rejected: {rejected}" * bool(rejected)
        ends.append((bool(accepted) and not rejected, f"{name:{width}}  {said if commands else NOBODY}"))
    if len(tried) > 1:
        output.line("\n" + "\n".join(end for _, end in ends))
    return DONE if all(accepted for accepted, _ in ends) else NO


@output.command(
    "lockout mapping replay events.jsonl --config prod",
    "lockout mapping replay findings.json --config prod --against new.toml",
    within=mapping,
    prints="rows",
)
@click.argument("events", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="EVENTS…")
@click.option("--config", required=True, metavar="NAME", help="the configuration config/NAME.toml, or a .toml file")
@click.option("--against", metavar="NAME", help="print only what another configuration would do differently")
def replay(__: Deployment, events: tuple[Path, ...], config: str, against: str | None, form: str | None) -> int:
    """Print what past events would do, by the router's own code. AWS is not called.

    EVENTS are files and directories as `mapping try` takes them: events, CloudTrail's log files, and what
    `aws cloudtrail lookup-events` and `aws securityhub get-findings` print.
    The exit status is 1 if something would be rejected.
    """
    names = {"would": config} | ({"other": against} if against else {})
    wholes = {column: loader.load(name) for column, name in names.items()}
    read_in = _read_in(events, *wholes.values())
    wrong = [f"{name}: {event}" for name, event in read_in if isinstance(event, str)]
    if wrong:
        raise ValueError("\n".join(wrong))
    found = [(name, event) for name, event in read_in if isinstance(event, dict)]
    rejected = 0

    def did(event: dict[str, Any], column: str) -> list[str]:
        nonlocal rejected
        made = [each for each in read(event, wholes[column], datetime.now(UTC)) if each[2] is not None]
        rejected += sum(column == "would" and isinstance(command, Reject) for _, _, command in made)
        return [f"{source}: {said}" for source, said, _ in made]

    def rows() -> Iterator[dict[str, str]]:
        for name, event in found:
            known = {"when": str(event.get("time", "")), "event": str(event.get("id") or name)}
            all_of = {column: did(event, column) for column in wholes}
            if against is None:
                yield from ({**known, "would": each} for each in all_of["would"])
            elif all_of["would"] != all_of["other"]:
                yield known | {column: "; ".join(each) or "-" for column, each in all_of.items()}

    count = output.rows(rows(), {"when": 24, "event": 36, **dict.fromkeys(names, 0)}, form)
    output.say(f"events: {len(found)}, rows: {count}, would be rejected: {rejected}")
    return NO if rejected else DONE


type Found = tuple[str, dict[str, Any] | str]
"""A name, and an event or what is wrong with it."""


def _read_in(paths: Iterable[Path], *wholes: Configuration) -> list[Found]:
    """Return each event below the paths. One process has then answered whether patterns of the configurations match."""
    found = [each for path in paths for each in events_in(path)]
    for whole in wholes:
        routes = (whole.routes[each.name].pattern for each in whole.settings.sources if each.mapping is not None)
        event_pattern.ask_ahead([*routes], [event for _, event in found if isinstance(event, dict)])
    return found


def events_in(path: Path) -> Iterator[Found]:
    """Yield each event below a path: a file of JSON values, also one that gzip packed, or a directory of such files."""
    if path.is_dir():
        endings = (".json", ".jsonl", ".ndjson")
        files = sorted(file for file in path.rglob("*") if file.name.removesuffix(".gz").endswith(endings))
        if not files:
            yield str(path), f"expected {', '.join(endings)} files in this directory, each also with .gz"
        for file in files:
            yield from events_in(file)
        return
    unwrapped: list[Any] = []
    wrong, a_list = "", False
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        for value in _values(content.decode(json.detect_encoding(content))):
            unwrapped.extend(_unwrapped(value))
            a_list = isinstance(value, list)
        if not unwrapped:
            wrong = f"{EXPECTED}, and found none in it"
    except OSError as error:
        wrong = str(error.strerror or error)
    except (EOFError, RecursionError, ValueError, zlib.error) as error:
        wrong = f"{EXPECTED}: {error}" + "; what comes after that was not tried" * bool(unwrapped)
    for number, event in enumerate(unwrapped, 1):
        found = _how_to_wrap(event, a_list=a_list) if isinstance(event, dict) else type(event).__name__
        name = f"{path}:{number}" if len(unwrapped) > 1 else str(path)
        yield name, f"{EXPECTED}, and found {found}" if found else event
    if wrong:
        yield str(path), wrong


def _values(text: str) -> Iterator[Any]:
    """Yield the JSON values of a text: one, or several as JSON lines or as jq prints them."""
    at = 0
    while True:
        while text[at : at + 1].isspace():
            at += 1
        if at == len(text):
            return
        value, at = json.JSONDecoder().raw_decode(text, at)
        yield value


def _unwrapped(found: Any) -> Iterator[Any]:
    """Yield the events that CloudTrail's and Security Hub's own files stand for. Anything else is yielded as it is."""
    match found:
        case {"Events": [{"CloudTrailEvent": str()}, *_] as looked_up}:
            yield from (event for each in looked_up for event in _unwrapped(each))
        case {"CloudTrailEvent": str(record)}:
            yield _of_entry(json.loads(record))
        case {"mappedSource": str(), "event": dict(event)}:  # in a queue of ours
            yield event
        case {"Events": []}:  # nothing was found
            return
        case {"Records": [*many]} | {"Entries": [*many]} | {"Findings": [*many]} | {"Messages": [*many]} | [*many]:
            yield from map(_of_entry, many)
        case _:
            yield _of_entry(found)


def _of_entry(entry: Any) -> Any:
    """Return the event that an entry for put-events, a finding of Security Hub or CloudTrail's record becomes."""
    match entry:
        case {"DetailType": str(kind), "Detail": str(detail)}:
            known = {"id": "entry", "source": entry.get("Source"), "detail-type": kind, "time": entry.get("Time")}
            return known | {"resources": entry.get("Resources", []), "detail": json.loads(detail)}
        case {"Id": id_, "UpdatedAt": time, "GeneratorId": _}:
            known = {"source": "aws.securityhub", "detail-type": "Security Hub Findings - Imported"}
            return known | {"id": id_, "time": time, "detail": {"findings": [entry]}}
        case {"eventID": _, "eventTime": _, "eventSource": _}:
            return _of_cloudtrail(entry)
    return entry


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


_EVENT = '{id: "1", source: "%s", "detail-type": "%s", detail: %s}'
_GUARDDUTY = _EVENT % ("aws.guardduty", "GuardDuty Finding", ".") + " + {time: .detail.updatedAt}"
_SMALL = 'walk(if type == "object" then with_entries(.key |= (.[:1] | ascii_downcase) + .[1:]) else . end)'
_WAYS: tuple[tuple[set[str], str, str], ...] = (
    ({"Sns"}, "a record of SNS", "(.Records? // [.])[].Sns.Message | fromjson"),
    ({"TopicArn", "Message"}, "SNS's envelope", ".Message | fromjson"),
    ({"eventSource", "body"}, "a record of SQS", "(.Records? // [.])[].body | fromjson"),
    ({"ReceiptHandle", "Body"}, "a message of SQS", "(.Messages? // [.])[].Body | fromjson"),
    ({"searchedLogStreams"}, "lines of a log", ".events[].message | fromjson"),
    (
        {"class_uid"},
        "a finding of the new Security Hub",
        "(.Findings? // [.])[] | " + _EVENT % ("aws.securityhub", "Findings Imported V2", "{findings: [.]}"),
    ),
    ({"schemaVersion", "accountId"}, "a finding of GuardDuty", _GUARDDUTY),
    ({"SchemaVersion", "AccountId"}, "a finding of GuardDuty", f"{_SMALL} | .findings[] | {_GUARDDUTY}"),
    ({"eventType", "published", "target"}, "an entry of Okta's log", _EVENT % ("aws.partner/NAME", "SystemLog", ".")),
    ({"log_id", "data"}, "an entry of Auth0's log", _EVENT % ("aws.partner/NAME", "Auth0 log", ".")),
    ({"DetailType", "Detail"}, "an entry whose Detail is no text", ".Detail |= tojson"),
    ({"userId", "deviceId"}, "what may be the detail of a report", _EVENT % ("NAME", "Device Lost", ".")),
    (set(), "what may be a product's own payload, the body of a webhook", _EVENT % ("webhook.NAME", "Webhook", ".")),
)
"""What else products and AWS write, the keys that show it, and the program for jq that makes an event of it."""


def _how_to_wrap(found: dict[str, Any], *, a_list: bool) -> str:
    """Say what it is and how to make an event of it; empty if it is one. The file may have a list of such."""
    if "detail-type" in found or ("source" in found and isinstance(found.get("detail"), dict)):
        return ""
    _, what, program = next(way for way in _WAYS if way[0] <= found.keys())
    return f"{what}. This makes events of it: jq '{'.[] | ' * a_list}{program}' FILE"


def read(event: dict[str, Any], whole: Configuration, now: datetime) -> Iterator[tuple[str, str, Command | None]]:
    """Yield each source with what it makes of the event, in words and as a command; several for several reports.

    The command is None if the source's pattern does not match, or the event is not meant.
    The event counts as received at its own `time`, so that an old sample is not too old. It may lack the ID that
    EventBridge gives it.
    """
    received = lenient_reading.read_time(event.get("time")) or now

    def reported(body: dict[str, Any]) -> Sequence[Command]:
        return report.read(json.dumps({"id": "tried"} | body), "tried", received, whole.settings)

    mapped = [source.name for source in whole.settings.sources if source.mapping is not None]
    matched = event_pattern.matching([whole.routes[name].pattern for name in mapped], event)
    found = [_comes(event, whole.routes[name].bus) and each for name, each in zip(mapped, matched, strict=True)]
    for name, matches in zip(mapped, found, strict=True):
        where = f"{name} (bus {whole.routes[name].bus or whole.bus})"
        if matches is False:
            yield where, "does not get it, its bus or pattern does not match", None
            continue
        commands = reported({"mappedSource": name, "event": event})
        unsure = "" if matches else UNSURE
        if not commands:
            yield where, f"{unsure}leaves it, since `when` is false", None
        for command in commands:
            yield where, unsure + describe(command), command
    name, contract = str(event.get("source")), f"the contract (bus {whole.bus})"
    nobody = "nothing is recorded and nobody is told"
    ours = whole.settings.source(name)
    if ours is not None and ours.mapping is None:
        yield from ((contract, describe(command), command) for command in reported(event))
    elif not any(found):
        listed = {source for route in whole.routes.values() for source in route.on_own_bus}
        if name.startswith("aws.") or name in {SOURCE, *listed}:
            yield "nobody", f"gets this: {nobody}", None
        else:
            for command in reported(event):
                yield contract, f"{describe(command)}; on another bus {nobody}", command


def _comes(event: dict[str, Any], bus: str | None) -> bool:
    """Return whether an event may come to a bus: a partner's bus has the events whose `source` is its name."""
    partners = any(str(name).startswith("aws.partner/") for name in (event.get("source"), bus))
    return bus is None or not partners or event.get("source") == bus


def describe(command: Command) -> str:
    """Return what a command would do, in one line."""
    target, cause = command.target, command.cause
    what = f"device {target.device}" if target.device else " and ".join(f"{n.kind} {n.value}" for n in target.names)
    whom = f"{what} of {target.user}" if what and target.user else what or f"all devices of {target.user}"
    happened = f"happened {instant.write(cause.happened)}"
    rest = f", in {target.organization}, {happened}" + (f", reference {cause.reference}" if cause.reference else "")
    rest += f" ({cause.correction})" if cause.correction else ""
    match command:
        case Lock(claim=claim, force=force):
            return f"locks {whom} ({claim.why}) {until(claim.until)}{', even if exempt' if force else ''}{rest}"
        case Release(ending=ending):
            limits = f", {ending}" if str(ending) else ""
            return f"ends the {ending.scope}'s locks of {whom}{limits}{rest}"
        case Change(ending=ending, claim=claim):
            return f"changes the {ending.scope}'s locks of {whom}: {until(claim.until)}{rest}"
        case Enroll():
            names = "".join(f", {name.kind} {name.value}" for name in target.names)
            return f"enrols device {target.device} of {target.user}{names}, in {target.organization}, {happened}"
        case Retire():
            return f"retires {whom}{rest}"
        case Reject(because=because):
            return f"rejected: {because}" + (f" ({cause.correction})" if cause.correction else "")
        case Expire():
            return f"ends the override of {whom}{rest}"
        case Reassert():
            return f"puts back what is wanted of {whom}{rest}"
