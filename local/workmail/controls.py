"""The emulator's controls under `/_emulator/`. They take unsigned JSON from anyone who reaches the loopback port."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from local.workmail.calls import Call
from local.workmail.cloudtrail import envelope
from local.workmail.emulator import Emulator
from local.workmail.errors import ControlError
from local.workmail.protocol import Response
from local.workmail.seeding import seconds_of

type Json = dict[str, Any]
type Query = Mapping[str, Sequence[str]]

_ROOT = "/_emulator"
_CALLS_AT_ONCE = 10_000
_DIGITS = 18
"""The most digits that a number in a query has. No index of the record gets that long."""
_EVENT_MEMBERS: Mapping[str, tuple[type, str]] = {
    "source": (str, "a text, not empty"),
    "detail-type": (str, "a text, not empty"),
    "detail": (dict, "an object"),
    "bus": (str, "the name of a bus"),
    "id": (str, "a text"),
    "time": (str, "ISO 8601 with an offset"),
    "account": (str, "a text"),
    "region": (str, "a text"),
    "resources": (list, "a list of ARNs"),
    "version": (str, "a text"),
}


def is_control(path: str) -> bool:
    """Return whether a path belongs to the controls."""
    return f"{path}/".startswith(f"{_ROOT}/")


async def handle(emulator: Emulator, method: str, path: str, body: bytes, query: Query) -> Response:
    """Answer one request to a control; a refusal says what is wrong.

    `query` has the parameters as `urllib.parse.parse_qs` returns them.
    """
    status = 200
    try:
        document = await _dispatch(emulator, method, path, body, query)
    except ControlError as error:
        status, document = error.status, {"error": error.message, "problems": list(error.problems)}
    return emulator.response(status, document, "application/json")


async def _dispatch(emulator: Emulator, method: str, path: str, body: bytes, query: Query) -> Json:
    methods = _CONTROLS.get(path.removeprefix(_ROOT).strip("/"))
    if methods is None:
        known = ", ".join(f"{verb} {_ROOT}/{name}" for name, verbs in _CONTROLS.items() for verb in verbs)
        raise ControlError(f"there is no control {path}; there are {known}", status=404)
    if method not in methods:
        raise ControlError(f"{path} takes {' and '.join(methods)}, not {method}", status=405)
    return await methods[method](emulator, body, query)


async def _reset(emulator: Emulator, _body: bytes, _query: Query) -> Json:
    emulator.reset()
    return emulator.settings.as_json()


async def _get_settings(emulator: Emulator, _body: bytes, _query: Query) -> Json:
    return emulator.settings.as_json()


async def _put_settings(emulator: Emulator, body: bytes, _query: Query) -> Json:
    return emulator.change_settings(_document(body)).as_json()


async def _seed(emulator: Emulator, body: bytes, _query: Query) -> Json:
    return await emulator.seed(_document(body))


async def _put_event(emulator: Emulator, body: bytes, _query: Query) -> Json:
    """Put an event with any source, even `aws.…`, on the default bus or on `bus`.

    As for AWS, source and detail-type must not be empty:
    https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html
    """
    event = _document(body)
    if not isinstance(event, dict):
        raise ControlError(f"the event is {event!r:.100}; expected an object")
    problems = [f"{name} is missing" for name in ("source", "detail-type", "detail") if name not in event]
    for name, value in event.items():
        kind, expected = _EVENT_MEMBERS.get(name, (object, ""))
        if not expected:
            problems.append(f"unknown member {name}; expected one of {', '.join(_EVENT_MEMBERS)}")
        elif (
            not isinstance(value, kind)
            or (name == "time" and seconds_of(value) is None)
            or (name in ("source", "detail-type") and not value)
        ):
            problems.append(f"{name} is {value!r:.100}; expected {expected}")
    if problems:
        raise ControlError(f"no event was put: {'; '.join(problems)}", problems)
    if emulator.publish is None:
        raise ControlError("there is no bus: the emulator runs alone, without MiniStack", status=501)
    now = emulator.clock()
    full = envelope(event["source"], event["detail-type"], event["detail"], now, emulator.account, emulator.region)
    full |= event
    emulator.publish(full)
    return {"id": full["id"]}


async def _get_calls(emulator: Emulator, _body: bytes, query: Query) -> Json:
    """Return the recorded calls from the index `since` on that match every filter, `limit` at most.

    In the answer, `next` is the `since` of the next page and `first` the oldest kept index.
    """
    known = ("since", "limit", "operation", "principal", "status", "error", "user", "device")
    problems = [f"unknown filter {name}; expected one of {', '.join(known)}" for name in query if name not in known]
    given = {name: values[-1] for name, values in query.items()}
    wrong = (name for name in ("since", "limit") if not _is_number(given.get(name, "0")))
    problems += [f"{name} is {given[name]!r:.100}; expected a number of at most {_DIGITS} digits" for name in wrong]
    if problems:
        raise ControlError("; ".join(problems), problems)
    limit = min(int(given.get("limit", _CALLS_AT_ONCE)), _CALLS_AT_ONCE)
    since = max(int(given.get("since", 0)), emulator.calls.first_index)
    found: list[Json] = []
    position = since
    for call in emulator.calls.since(since):
        if len(found) == limit:
            break
        position = call.index + 1
        if _wanted(emulator, call, given):
            found.append(call.as_json())
    return {"calls": found, "next": position, "first": emulator.calls.first_index}


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS


def _wanted(emulator: Emulator, call: Call, given: Mapping[str, str]) -> bool:
    plain = {"operation": call.operation, "principal": call.principal, "error": call.error}
    plain["status"] = "none" if call.status is None else str(call.status)
    if any(name in given and given[name] != value for name, value in plain.items()):
        return False
    if "device" in given and str(call.request.get("DeviceId")).lower() != given["device"].lower():
        return False
    if "user" not in given:
        return True
    return given["user"].lower() in emulator.user_forms(call.request.get("OrganizationId"), call.request.get("UserId"))


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"the body is not JSON: {error}") from None


type _Control = Callable[[Emulator, bytes, Query], Awaitable[Json]]

_CONTROLS: Mapping[str, Mapping[str, _Control]] = {
    "reset": {"POST": _reset},
    "settings": {"GET": _get_settings, "PUT": _put_settings},
    "calls": {"GET": _get_calls},
    "seed": {"POST": _seed},
    "events": {"POST": _put_event},
}
