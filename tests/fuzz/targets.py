"""The doors at which strangers write: one target each, with mutated inputs and what must hold of every one of them.

An input is a text. A target's check raises for an input that is dropped, takes too long, or ends in an error that the
code does not document.
"""

import base64
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from config_reader import event_pattern, loader, sources
from config_reader.checked_toml import CheckedTable
from config_reader.loader import ConfigurationError
from device_lockout.inbound import event_mapping, report, webhook
from device_lockout.inbound.webhook import Receiver, RefusedRequestError
from device_lockout.protocol import authority
from device_lockout.values import settings as packaged
from device_lockout.values import tag, wire
from device_lockout.values.command import Command, Expire, Lock, Reassert, Reject, command_id, group_id
from device_lockout.values.command import Target as CommandTarget
from device_lockout.values.errors import LockoutError, TransientError, UnreadableError
from device_lockout.values.outcome import SOURCE
from device_lockout.values.override import Override
from device_lockout.values.settings import EventMapping, Source, Webhook
from device_lockout.values.tag import Broken, Foreign, HandWritten, Tag
from device_lockout.values.webhook_schemes import SCHEMES
from local.in_memory import KEY, World, at, cause
from lockout.commands import inventory
from tests.fuzz.mutations import PIECES, document, text

ROOT = Path(__file__).parents[2]
FOUND = Path(__file__).parent / "found"
DEPLOYMENT = loader.load("local")
SETTINGS = DEPLOYMENT.settings
NOW = at(7200)
"""When events arrive: ten minutes after those in ``samples/``."""

SQS_BATCH = 1_048_576
"""Bytes of one batch (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html)."""
ROUTER, ANY = 0.05, 1.0
"""Seconds of processor time that an event, and anything else, may take."""


@dataclass(frozen=True)
class Target:
    """One door.

    Attributes:
        make: Makes an input by chance.
        check: Raises if the input breaks something.
        share: How many of a hundred inputs the target gets.
    """

    make: Callable[[Random], str]
    check: Callable[[str], None]
    share: int


def within(longest: float, run: Callable[[], Any]) -> Any:
    """Return what ``run`` returns. It may take so many seconds of processor time, in the best of five attempts."""
    taken = []
    while True:
        began = time.thread_time()
        result = run()
        taken.append(time.thread_time() - began)
        if taken[-1] <= longest:
            return result
        assert len(taken) < 5, f"took {min(taken):.3f} s: expected at most {longest} s"


# Events: whatever the queue `reports` delivers. Each becomes commands that the writer carries out, or is not meant.


def _body(sample: Path) -> dict[str, Any]:
    event = json.loads(sample.read_text(encoding="utf-8"))
    if isinstance(event, list):  # of the contract, as `aws events put-events` takes it
        (entry,) = event
        detail = json.loads(entry["Detail"])
        time = "2026-11-22T09:00:05Z"
        return {
            "id": "e",
            "source": entry["Source"],
            "detail-type": entry["DetailType"],
            "time": time,
            "detail": detail,
        }
    source = SETTINGS.source(sample.stem)
    return {"mappedSource": sample.stem, "event": event} if source is not None and source.mapping else event


WATCHED = {
    "mappedSource": SOURCE,
    "event": {
        "source": "aws.workmail",
        "detail-type": "AWS API Call via CloudTrail",
        "detail": {
            "eventID": "0c5a5f4e-0000-4000-8000-000000000000",
            "userIdentity": {"arn": "arn:aws:sts::111122223333:assumed-role/admin/eve"},
            "sourceIPAddress": "203.0.113.9",
            "requestParameters": {"organizationId": KEY.organization, "userId": "bob", "deviceId": "ABC123"},
        },
    },
}
BODIES = [WATCHED, *map(_body, sorted((ROOT / "samples").glob("*.json")))]


def check_event(body: str) -> None:
    try:
        commands = within(ROUTER, lambda: report.read(body, "message", NOW, SETTINGS))
    except TransientError:  # of a source that another release knows
        known = SETTINGS.source(str(json.loads(body)["mappedSource"]))
        assert known is None or known.mapping is None
        return
    given = report._parse(body)
    named, event = given.get("mappedSource"), given.get("event")
    source = SETTINGS.source(named) if isinstance(named, str) else None
    if source is not None and source.mapping is not None and isinstance(event, dict):
        check_elements(commands, source, event)
    elif named != SOURCE:  # the tamper watch's may be a change of no override that we know
        assert len(commands) == 1, "dropped"
    _check_commands(commands, SETTINGS)
    for command in commands[:3]:
        _carry_out(command)


def check_elements(commands: tuple[Command, ...], source: Source, event: dict[str, Any]) -> None:
    """Check that each element of an event's list has a command or a rejection of its own, or the whole has one."""
    mapping = source.mapping
    assert mapping is not None
    meant, fault = event_mapping._search("when", mapping.when or "`true`", event)
    if not fault and (meant is None or meant is False or meant in ("", [], {})):
        assert not commands, "not meant"
        return
    found, no_list = event_mapping._search("each", mapping.each, event) if mapping.each else ([event], "")
    whole = fault or no_list or event.get("source") == SOURCE or not isinstance(found, list)
    several = not whole and 1 <= len(found) <= mapping.at_most
    parts = sorted(command.cause.part for command in commands)  # the lock that lasts longest goes first
    assert parts == (list(range(1, len(found) + 1)) if several and len(found) > 1 else [0]), "an element vanished"
    assert not several or len(found) >= len(BY_HAND.get(source.name, lambda _: ())(event)), "an element is not found"


def _in(value: Any, *keys: str) -> Any:
    """Return what is below the keys, None if nothing is."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _list(value: Any, *keys: str) -> list[Any]:
    found = _in(value, *keys)
    return found if isinstance(found, list) else []


def _users(of: Any) -> list[Any]:
    return [target for target in _list(of, "target") if _in(target, "type") == "User"]


BY_HAND: dict[str, Callable[[dict[str, Any]], list[Any]]] = {
    "okta-user-deactivated": lambda event: _users(_in(event, "detail")),
    "okta-suspicious-activity": lambda event: _users(_in(event, "detail")),
    "okta-hook-user-deactivated": lambda event: [
        user
        for each in _list(event, "detail", "data", "events")
        if str(_in(each, "eventType")) in ("user.lifecycle.suspend", "user.lifecycle.deactivate")
        if _in(each, "outcome", "result") == "SUCCESS"
        for user in _users(each)
    ],
    "jamf-lost-mode-on": lambda event: _list(event, "detail", "event", "groupAddedDevicesIds"),
    "jamf-lost-mode-off": lambda event: _list(event, "detail", "event", "groupRemovedDevicesIds"),
    "security-hub-lock-button": lambda event: [
        each
        for finding in _list(event, "detail", "findings")
        for each in _list(finding, "Resources")
        if _in(each, "Details", "Other", "easDeviceId")
    ],
    "defender-alert": lambda event: [
        each
        for each in _list(event, "detail", "evidence")
        if _in(each, "@odata.type") == "#microsoft.graph.security.userEvidence"
    ],
}
"""How a person finds the elements of some ready-made sources' events, without their expressions."""


def _check_commands(commands: tuple[Command, ...], settings: packaged.Settings) -> None:
    """Check that the queue takes the commands, that the writer reads them as they were, and that it may act on them."""
    assert len({command_id(command) for command in commands}) == len(commands), "two reports count as one"
    sizes = [len(wire.dump(command).encode()) for command in commands]
    assert all(sum(sizes[first : first + 10]) < SQS_BATCH for first in range(0, len(sizes), 10)), "the queue refuses it"
    for command in commands:
        assert wire.load(wire.dump(command)) == command
        assert authority.checked(command, settings, command.cause.received, World().ledger) == command, (
            "the writer takes it for a forgery"
        )
        if isinstance(command, Reject):
            assert command.because.strip(), "a rejection without a reason"
            assert len(command.because) <= report.MAX_REASON_LENGTH
        if isinstance(command, Lock):
            _check_tag(tag.Tag(SETTINGS.owner, *_of_claim(command), was="none"), command.claim.note)


def _of_claim(command: Lock) -> tuple[str, datetime, datetime, str]:
    claim = command.claim
    return claim.why, claim.until.replace(microsecond=0), claim.at.replace(microsecond=0), claim.id


def _check_tag(written: Tag, note: str) -> None:
    description = tag.write(written, note)
    assert len(description) <= tag.DESCRIPTION_LIMIT
    assert description.isascii()
    assert tag.read(description, written.owner) == written


def _carry_out(command: Command) -> None:
    """Let the writer carry out a command. It may refuse and ask to be called again, but not break."""
    try:
        outcome = World(known=SETTINGS).carry_out(command, NOW)
    except LockoutError:
        return
    assert outcome.result


# Mappings: an operator's expressions on a stranger's event.

EXPRESSIONS = sorted(
    {
        expression
        for source in SETTINGS.sources
        if source.mapping is not None
        for expression in (*source.mapping.expressions.values(), source.mapping.when, source.mapping.each)
        if expression
    }
    | {"join('-', detail.target[].alternateId)", "detail.target[?type == 'User'] | [0].alternateId", "to_string(@)"}
    | {"sort_by(detail.target, &alternateId)[-1]", "sum(values(detail)[])", "merge(detail, {a: detail.b || `1`})"}
    | {"max_by(detail.findings, &to_number(Id))", "reverse(detail)", "map(&type(@), detail.*)", "avg([`1`, `null`])"}
)
EVENTS = [body.get("event", body) for body in BODIES]
WORDS = (
    *PIECES,
    *("detail", "target", "each", "[0]", "[*]", "[]", "[::-1]", "[?", "?type == 'User']", "||", "!", "&", ".*", "$"),
    *("length(", "to_number(", "to_string(", "contains(", "join(", "max(", "sort_by(", "map(&", "not_null(", "keys("),
    *("`{}`", "`[1,2]`", '`"', "`1e400`", "[1:99999999999]", "[" * 900, "(" * 900, "a." * 900, "!" * 900),
)


def mapping(chance: Random) -> str:
    expressions = {key: text(chance, EXPRESSIONS, WORDS) for key in ("user", "note")}
    optional = {key: chance.choice(["", text(chance, EXPRESSIONS, WORDS)]) for key in ("when", "each")}
    return json.dumps({**expressions, **optional, "event": document(chance, EVENTS, most=2)})


def check_mapping(written: str) -> None:
    given = json.loads(written)
    expressions = {key: given[key] for key in ("user", "note", "when", "each") if given[key]}
    faults: list[str] = []
    table = CheckedTable(expressions, "", lambda key, said: faults.append(f"{key}: {said}"))
    within(ANY, lambda: [sources._expression(table, key) for key in expressions])
    assert all("expected" in fault for fault in faults)
    if faults or "user" not in expressions:
        return
    read = EventMapping(
        "lock-user",
        "stolen",
        {key: expressions[key] for key in ("user", "note") if key in expressions},
        expressions.get("when", ""),
        expressions.get("each", ""),
    )
    known = replace(SETTINGS, sources=(Source("fuzzed", frozenset({"lock"}), read),))
    body = json.dumps({"mappedSource": "fuzzed", "event": json.loads(given["event"])})
    commands = within(ANY, lambda: report.read(body, "message", NOW, known))
    event = report._parse(body)["event"]
    if isinstance(event, dict):
        check_elements(commands, known.sources[0], event)
    else:
        assert len(commands) == 1, "dropped"
    _check_commands(commands, known)


# Tags: what anybody with WorkMail's console writes in a description.

DESCRIPTIONS = (
    "[lockout/1 by=local why=lost until=2026-12-22T07:30:00Z at=2026-11-22T07:30:00Z id=9f3c2a1b was=none] INC-1 taxi",
    "[lockout/1 by=local why=stolen until=hold at=2026-11-22T07:30:00Z id=9f3c2a1b was=allow]",
    "[lockout/1 by=other why=lost until=2026-12-22 at=2026-11-22T07:30:00Z id=00000000 was=none]",
    "[lockout/2 by=local x=y]",
    "[until=2026-12-01] travel phone",
    "[until=9999-12-31T23:59:59Z]",
    "somebody's own words",
)


def check_tag(description: str) -> None:
    reading = within(ANY, lambda: tag.read(description, "local"))
    match reading:
        case Tag():
            assert reading.owner == "local"
            _check_tag(reading, description.partition("]")[2])
        case HandWritten(until=until):
            assert until.tzinfo is not None
        case Broken(fault=fault):
            assert fault
        case _:
            assert isinstance(reading, Foreign)
            assert not description.startswith("[lockout/1 by=local "), "ours is taken for somebody else's"


# Webhook requests: what anybody on the internet sends to the URL.

LOGIN = {"username": "jamf", "password": "p:w\u00f6rd p:w\u00f6rd p:w\u00f6rd"}
SECRETS = {name: json.dumps(LOGIN) if name == "basic" else f"the signing key of {name}" for name in SCHEMES}
SENDERS = {name: Webhook(name, name, name, header="" if SCHEMES[name].header else "X-Api-Key") for name in SCHEMES}
REQUEST_BODIES = (
    *(
        '{"EventType": "Compromised Status Changed", "SerialNumber": "S1"}',
        '[{"a": 1}, {"b": 2}]',
        '{"a": 1}\n{"b": 2}',
    ),
    *("[]", "{}", '{"a": NaN}', '{"\\ud800": 1e999}', '{"\\ud800": 1}', '{"a": "\\u0000"}', "[" * 400, "", "\x00"),
)


def _request(name: str, body: str, *, encoded: bool) -> dict[str, Any]:
    """Return an authentic request, as Lambda hands it over."""
    scheme, time = SCHEMES[name], str(int(NOW.timestamp()))
    signed = scheme.signed % {b"time": time.encode(), b"body": body.encode()}
    headers = {scheme.header or "x-api-key": webhook.proof(scheme, SECRETS[name], signed)}
    return {
        "rawPath": f"/{name}",
        "headers": headers | ({scheme.timestamp: time} if scheme.timestamp else {}),
        "requestContext": {"http": {"method": "POST", "sourceIp": "203.0.113.7"}},
        "body": base64.b64encode(body.encode()).decode() if encoded else body,
        "isBase64Encoded": encoded,
    }


REQUESTS = [
    _request(name, body, encoded=encoded) for name in SCHEMES for body in REQUEST_BODIES for encoded in (True, False)
]


def request(chance: Random) -> str:
    """Return a request with changes, and sometimes with another body in the right encoding."""
    if chance.random() < 0.7:
        return document(chance, REQUESTS)
    made, body = dict(chance.choice(REQUESTS)), text(chance, REQUEST_BODIES)
    made["body"] = base64.b64encode(body.encode()).decode() if made["isBase64Encoded"] else body
    return json.dumps(made)


class _Parties:
    """A secret store, a log of requests and a bus that are always there."""

    def __init__(self) -> None:
        self.put_on_the_bus: list[dict[str, Any]] = []

    def values(self, secret: str, *_: Any, **__: Any) -> tuple[str, ...]:
        return (SECRETS[secret],)

    def begin(self, *_: Any) -> bool:
        return True

    def finish(self, *_: Any, passed: bool) -> None: ...

    def put(self, source: str, detail_type: str, detail: dict[str, Any]) -> str:  # noqa: ARG002 (the port's)
        self.put_on_the_bus.append(detail)
        return "event"


def check_request(written: str) -> None:
    event = json.loads(written)
    if not _is_of_lambda(event):
        return
    parties = _Parties()
    webhook.log_fields(event)
    try:
        asked = webhook.read(event)
        answer = within(ANY, lambda: Receiver(SENDERS, parties, parties, parties).accept(asked, NOW))
    except (RefusedRequestError, TransientError):
        return
    scheme = SCHEMES[asked.sender]
    if scheme.signed:
        assert asked.body.decode(errors="replace") in REQUEST_BODIES, "nobody signed this"
    else:
        proof = asked.headers[scheme.header or "x-api-key"].strip()
        good = webhook.proof(scheme, SECRETS[asked.sender], b"")[len(scheme.prefix) :]
        assert proof.endswith(good), "anybody may come in"
    assert answer.status == 200 or answer.event_ids, "dropped"
    for detail in parties.put_on_the_bus:
        assert isinstance(detail, dict)
        wire.compact(detail).encode()


def _is_of_lambda(event: Any) -> bool:
    """Return whether Lambda could have made the event. Strangers choose the texts in it, not its form."""
    try:
        http = event["requestContext"]["http"]
        written = [http["method"], http["sourceIp"], event["rawPath"], event["body"], *event["headers"].values()]
        encoded = event["isBase64Encoded"]
    except (AttributeError, KeyError, TypeError):
        return False
    return all(isinstance(each, str) for each in written) and isinstance(encoded, bool)


# Queue messages: what whoever may send to `commands.fifo` writes.

RUN = replace(cause("run", at(0)), source="device-lockout", detail_type="Sweep")
MESSAGES = [
    json.loads(wire.dump(command))
    for command in (
        *(command for body in BODIES for command in report.read(json.dumps(body), "message", NOW, SETTINGS)),
        Reassert(RUN, CommandTarget.of(KEY)),
        Expire(RUN, CommandTarget.of(KEY), Override("DENY", DESCRIPTIONS[0])),
    )
]


def check_message(body: str) -> None:
    try:
        command = within(ANY, lambda: wire.load(body))
    except TransientError:  # another release's
        assert json.loads(body)["format"] > wire.FORMAT
        return
    except UnreadableError:
        return
    asked = authority.checked(command, SETTINGS, NOW, World().ledger)
    assert len(command_id(asked)) == len(group_id(asked)) == 64
    assert wire.load(wire.dump(asked)) == asked
    if isinstance(asked, Reject) and not isinstance(command, Reject):
        assert "the command queue held" in asked.because
    within(ANY, lambda: _carry_out(asked))


# CSV files: an inventory as some product exports it. An input's characters are the file's bytes.

FILES = [
    "userId,deviceId,serialNumber,assetTag\nana@example.com,ApplDNQX1,S1,A1\nbob,ApplDNQX2,,\n",
    "userId;deviceId;note\r\nana;A1;\xe9\r\n;;\r\n",
    '\xef\xbb\xbf"userId"\t"deviceId"\n"ana"\t"A1"\n',
    "userId,deviceId\nana,A1\n".encode("utf-16").decode("latin-1"),
    'userId,deviceId,reference\nana,A1,"a\nb"\nana,3.5E+14,\'1\n',
    "userId,deviceId\n" + "".join(f"u{number},d{number}\n" for number in range(50)),
]


def check_file(content: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(content.encode("latin-1", errors="replace"))
        file.flush()
        try:
            lines = within(
                ANY, lambda: inventory.read(Path(file.name), "inventory", SETTINGS, NOW, ignore_other_columns=True)
            )
        except ValueError:
            return
    for line in lines:
        assert line.number > 1
        if not line.faults:
            event = {"id": "1", "source": "inventory", "detail-type": inventory.KIND, "detail": line.detail}
            (command,) = report.read(json.dumps(event), "line", NOW, SETTINGS)
            assert not isinstance(command, Reject)


# Configuration: an operator's TOML.

TOMLS = [
    (ROOT / "config" / "example.toml").read_text(encoding="utf-8"),
    (ROOT / "config" / "local.toml").read_text(encoding="utf-8"),
]
LITERALS = (
    *('""', '"x"', "0", "-1", "1.5", "nan", "inf", "true", "[]", "{}", '[""]', "[1]", "2026-11-22", "9" * 30),
    *('"hold"', '"1d"', '"999999999d"', '"anyone"', "[[]]", "[{a = 1}]", "12:00:00", "'''\n'''", '"\\uD800"'),
)


def configuration(chance: Random) -> str:
    """Return a configuration with lines removed, repeated, exchanged, and values of other types."""
    lines = chance.choice(TOMLS).splitlines()
    for _ in range(chance.randint(0, 4)):
        place = chance.randrange(len(lines))
        key, equals, _ = lines[place].partition(" = ")
        match chance.randint(0, 4):
            case 0:
                lines[place] = ""
            case 1:
                lines.insert(chance.randrange(len(lines)), lines[place])
            case 2 | 3 if equals:
                lines[place] = f"{key} = {chance.choice(LITERALS)}"
            case _:
                lines[place] = text(chance, [lines[place]], most=2)
    return "\n".join(lines)


def check_configuration(written: str) -> None:
    try:
        with patch.object(event_pattern, "MINISTACK", Path("nowhere")):  # its answers take a process each
            read = within(ANY, lambda: loader.read(written, "config/fuzz.toml"))
    except ConfigurationError as wrong:
        if wrong.problems and all(problem.startswith("config/fuzz.toml: ") for problem in wrong.problems):
            return
        raise
    assert packaged.load(packaged.dump(read.settings)) == read.settings


def json_or_text(originals: list[Any]) -> Callable[[Random], str]:
    """Return what makes a document with changed values, or its text with changed characters."""
    written = [json.dumps(each) for each in originals]
    return lambda chance: document(chance, originals) if chance.random() < 0.7 else text(chance, written)


TARGETS = {
    "events": Target(json_or_text(BODIES), check_event, 30),
    "mappings": Target(mapping, check_mapping, 10),
    "tags": Target(lambda chance: text(chance, DESCRIPTIONS, (*PIECES, *DESCRIPTIONS)), check_tag, 20),
    "requests": Target(request, check_request, 15),
    "messages": Target(json_or_text(MESSAGES), check_message, 15),
    "files": Target(lambda chance: text(chance, FILES), check_file, 5),
    "configurations": Target(configuration, check_configuration, 5),
}
