"""Webhooks: which requests are accepted, what becomes of their bodies, what a sender learns, and rotated secrets."""

import base64
import gzip
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

import receive_webhooks
from device_lockout import wiring
from device_lockout.aws.secret_store import CACHE_LIFETIME, SecretStore
from device_lockout.aws.webhook_log import ABANDONED_AFTER
from device_lockout.inbound import webhook
from device_lockout.inbound.webhook import MAX_BYTES, REMEMBERED, Answer, Receiver, RefusedRequestError, proof
from device_lockout.values.errors import TransientError
from device_lockout.values.settings import MOST_ELEMENTS, Webhook
from device_lockout.values.webhook_schemes import FIVE_MINUTES, HOUR, SCHEMES
from local.in_memory import at

BODY = b'{"EventType": "Compromised Status Changed", "SerialNumber": "S1"}'
NOW = at(0)
SECOND = timedelta(seconds=1)
KEY, LOGIN = (
    "k\N{LATIN SMALL LETTER E WITH ACUTE}y of forty characters",
    '{"username": "jamf", "password": "p:w\u00f6rd p:w\u00f6rd p:w\u00f6rd"}',
)
SIGNERS = sorted(name for name, scheme in SCHEMES.items() if scheme.signed)
TIMED = sorted(name for name, scheme in SCHEMES.items() if scheme.timestamp)
CONTEXT = SimpleNamespace(
    function_name="receive",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:x",
    aws_request_id="r",
    log_group_name="g",
)


class Secrets:
    """Secrets Manager: versions by stage, with dates."""

    class exceptions:  # noqa: N801 - as the SDK has it
        class ResourceNotFoundException(Exception):  # noqa: N818 - as the SDK calls it
            pass

    def __init__(self, values: dict[str, str]) -> None:
        self.stages = {name: {"AWSCURRENT": (value, NOW - timedelta(days=9))} for name, value in values.items()}
        self.asked = 0

    def rotate(self, name: str, value: str, when: datetime) -> None:
        self.stages[name] = {"AWSPREVIOUS": self.stages[name]["AWSCURRENT"], "AWSCURRENT": (value, when)}

    def get_secret_value(self, SecretId: str, VersionStage: str) -> dict[str, Any]:  # noqa: N803 - the SDK's names
        self.asked += 1
        if VersionStage not in self.stages[SecretId]:
            raise self.exceptions.ResourceNotFoundException
        value, created = self.stages[SecretId][VersionStage]
        return {"SecretString": value, "CreatedDate": created}


class Notes:
    """The log of what was passed on. It can't be written while it is ``deaf``."""

    def __init__(self) -> None:
        self.started: dict[tuple[str, str], datetime] = {}
        self.passed: dict[tuple[str, str], datetime] = {}
        self.deaf = False

    def begin(self, sender: str, key: str, until: datetime, now: datetime) -> bool:  # noqa: ARG002
        if self.passed.get((sender, key), now - SECOND) >= now:
            return False
        if self.started.get((sender, key), now - timedelta(days=1)) >= now - ABANDONED_AFTER:
            raise TransientError("under way")
        self.started[sender, key] = now
        return True

    def finish(self, sender: str, key: str, until: datetime, *, passed: bool) -> None:
        if self.deaf:
            raise TransientError("the ledger is away")
        self.started.pop((sender, key), None)
        self.passed.pop((sender, key), None)
        if passed:
            self.passed[sender, key] = until


class Bus:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.room = 1_000_000

    def put(self, source: str, detail_type: str, detail: dict[str, Any]) -> str:
        if len(self.events) >= self.room:
            raise TransientError("the bus is away")
        self.events.append((source, detail_type, detail))
        return f"event-{len(self.events)}"


class World:
    """A sender of each scheme, under the scheme's name. Each has a secret of its own."""

    def __init__(self) -> None:
        self.secrets = Secrets({name: LOGIN if name == "basic" else f"{KEY} {name}" for name in SCHEMES})
        self.bus = Bus()
        self.notes = Notes()
        senders = {name: Webhook(name, name, name) for name in SCHEMES}
        senders["header"] = replace(senders["header"], header="X-Api-Key")
        self.receiver = Receiver(senders, SecretStore(self.secrets), self.notes, self.bus)

    def answer(self, event: dict[str, Any], now: datetime = NOW) -> Answer:
        return self.receiver.accept(webhook.read(event), now)

    def call(self, event: dict[str, Any], now: datetime = NOW) -> str:
        """The events' IDs, or the status and the reason of the refusal."""
        try:
            return " ".join(self.answer(event, now).event_ids)
        except RefusedRequestError as refused:
            return f"{refused.status} {refused}"

    @property
    def rejected(self) -> str:
        """What people are told of a body that could not be read: the only event."""
        ((source, _, detail),) = self.bus.events
        assert source.endswith(".unreadable")
        assert [*detail] == ["because"]
        return str(detail["because"])


@pytest.fixture
def world() -> World:
    return World()


def event(sender: str, headers: dict[str, str], body: bytes = BODY, method: str = "POST") -> dict[str, Any]:
    """What Lambda hands over; https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html."""
    return {
        "version": "2.0",
        "rawPath": f"/{sender}",
        "headers": headers,
        "requestContext": {"http": {"method": method, "sourceIp": "203.0.113.7"}},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def good(
    name: str,
    body: bytes = BODY,
    when: datetime = NOW,
    secret: str = "",
    method: str = "POST",
    more: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A request that the sender of this scheme makes."""
    scheme = SCHEMES[name]
    time = when.strftime("%Y-%m-%dT%H:%M:%SZ") if name == "zendesk" else str(int(when.timestamp()))
    signed = scheme.signed % {b"time": time.encode(), b"body": body}
    secret = secret or (LOGIN if name == "basic" else f"{KEY} {name}")
    headers = {scheme.header or "x-api-key": proof(scheme, secret, signed)}
    if scheme.timestamp:
        headers[scheme.timestamp] = time
    return event(name, headers | (more or {}), body, method)


def changed(request: dict[str, Any], **headers: str) -> dict[str, Any]:
    return request | {"headers": request["headers"] | {name.replace("_", "-"): each for name, each in headers.items()}}


# Who may pass on


SLACKS = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)


@pytest.mark.parametrize(
    ("name", "secret", "time", "body", "expected"),
    [
        # Published: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
        (
            "github",
            "It's a Secret to Everybody",
            "",
            b"Hello, World!",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
        # Published: https://docs.slack.dev/authentication/verifying-requests-from-slack
        (
            "slack",
            "8f742231b10e8888abcd99yyyzzz85a5",
            "1531420618",
            SLACKS,
            "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        ),
        # Made with: printf '…' | openssl dgst -sha256 -hmac '…', with -binary | base64 for Zendesk.
        (
            "jira",
            "the secret of Jira",
            "",
            b'{"a":1}',
            "sha256=e6b8404a3836efce02bdf1f2748bc0ec4d23595c98c7a90c129c116999cd3308",
        ),
        (
            "pagerduty",
            "the secret of PagerDuty",
            "",
            b'{"a":1}',
            "v1=cc3c5f4f098a172c9a1931fb979bfe5852ec8c060bd9f9b7268edb823368cda5",
        ),
        (
            "zendesk",
            "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==",
            "2021-03-25T05:09:27Z",
            b'{"a":1}',
            "/mXSigLOoEkcTQbsWqgaVKrxFhN+K298pf/niM2rAnI=",
        ),
        (
            "hmac",
            "key of 16 bytes!",
            "1795338000",
            b'{"a":1}',
            "sha256=860818e353498b33c652cd34453682750e645135c2511a9d4e32f29d306908f4",
        ),
        # Made with: printf 'Aladdin:open sesame please' | base64, as in RFC 7617 with a longer password.
        (
            "basic",
            '{"username": "Aladdin", "password": "open sesame please"}',
            "",
            b"",
            "basic QWxhZGRpbjpvcGVuIHNlc2FtZSBwbGVhc2U=",
        ),
        ("bearer", "a bearer's secret", "", b"", "bearer a bearer's secret"),
        ("okta", "an event hook's secret", "", b"", "an event hook's secret"),
        ("header", "an API key of ours", "", b"", "an API key of ours"),
    ],
)
def test_the_proof_of_each_scheme(name: str, secret: str, time: str, body: bytes, expected: str) -> None:
    scheme = SCHEMES[name]
    assert proof(scheme, secret, scheme.signed % {b"time": time.encode(), b"body": body}) == expected


@pytest.mark.parametrize("name", SCHEMES)
def test_a_request_with_a_good_proof_goes_to_the_bus_under_its_senders_source(name: str, world: World) -> None:
    assert world.call(good(name)) == "event-1"
    assert world.bus.events == [(f"webhook.{name}", "Webhook", json.loads(BODY))]


@pytest.mark.parametrize("name", SCHEMES)
def test_no_other_proof_is_good_enough(name: str, world: World) -> None:
    header = SCHEMES[name].header or "x-api-key"
    right = good(name)["headers"][header]
    for wrong in ("", " ", right[:-1], right + "x", right[1:], f"x{right}", "\udce9", "x" * 9000, ",", "\u0661"):
        assert world.call(changed(good(name), **{header: wrong})).startswith("401 "), wrong
    other = '{"username": "jamf", "password": "another password"}' if name == "basic" else "another secret of ours"
    assert world.call(good(name, secret=other)) == f"401 {header} is made of none of the values that the secret has"
    assert world.call(event(name, {})) == f"401 no header {header}"
    stranger = good(name) | {"rawPath": "/nobody"}
    assert world.call(stranger) == "401 no such sender"
    assert world.bus.events == []


@pytest.mark.parametrize("name", SIGNERS)
def test_a_signature_is_good_for_one_body_only(name: str, world: World) -> None:
    request = good(name)
    assert world.call(request | {"body": base64.b64encode(BODY + b" ").decode()}).startswith("401 ")
    assert world.call(good(name) | {"requestContext": {"http": {"method": "PUT"}}}) == "event-1"


@pytest.mark.parametrize("name", TIMED)
def test_a_signature_is_good_for_some_minutes_only(name: str, world: World) -> None:
    header = SCHEMES[name].timestamp
    for away in (-FIVE_MINUTES - SECOND, FIVE_MINUTES + SECOND):
        assert world.call(good(name, when=NOW + away)).startswith(f"401 {header} says '")
    for wrong in ("", "1", "-1", "\u0661", "9" * 5000, "1e9"):
        assert world.call(changed(good(name), **{header: wrong})).startswith("401 ")
    assert world.bus.events == []
    assert world.call(good(name, when=NOW - FIVE_MINUTES)) == "event-1"


def test_a_signed_time_that_is_none_is_refused(world: World) -> None:
    signed = hmac.new(f"{KEY} slack".encode(), b"v0:soon:" + BODY, hashlib.sha256).hexdigest()
    request = event("slack", {"x-slack-signature": f"v0={signed}", "x-slack-request-timestamp": "soon"})
    assert world.call(request).startswith("401 x-slack-request-timestamp says 'soon': expected a time near 20")


def test_the_word_before_credentials_may_be_in_any_case_and_the_credentials_may_not(world: World) -> None:
    for name, word in (("basic", "Basic "), ("bearer", "BEARER ")):
        header = good(name)["headers"]["authorization"].partition(" ")[2]
        assert world.call(changed(good(name), authorization=word + header)).startswith("event")
        assert world.call(changed(good(name), authorization=word + header.swapcase())).startswith("401 ")


def test_a_sender_that_rotates_its_key_signs_with_both(world: World) -> None:
    old = proof(SCHEMES["pagerduty"], "the key of last year", BODY)
    new = good("pagerduty")["headers"]["x-pagerduty-signature"]
    for number, both in enumerate((f"{old},{new}", f"{new}, {old}", f"v2=x,{new}")):
        assert world.call(changed(good("pagerduty"), x_pagerduty_signature=both)) == ("" if number else "event-1")
    assert world.call(changed(good("pagerduty"), x_pagerduty_signature=f"{old},{old}")).startswith("401 ")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_connection_is_tested_with_a_proof_and_passes_nothing_on(name: str, method: str, world: World) -> None:
    for _ in range(2):
        assert world.answer(good(name, b"", method=method)) == Answer(200)
    assert world.call(event(name, {}, b"", method)).startswith("401 no header")
    assert world.call(event("nobody", {}, b"", method)) == "401 no such sender"
    assert world.bus.events == []


def test_okta_gets_its_challenge_back_if_it_knows_the_secret(world: World) -> None:
    challenge = {"x-okta-verification-challenge": 'a "challenge" \N{SNOWMAN}'}
    answer = world.answer(good("okta", b"", method="GET", more=challenge))
    assert (answer.status, json.loads(answer.body)) == (200, {"verification": 'a "challenge" \N{SNOWMAN}'})
    assert world.call(event("okta", challenge, b"", "GET")) == "401 no header authorization"
    assert world.answer(good("bearer", b"", method="GET", more=challenge)) == Answer(200)


# What is passed on once


@pytest.mark.parametrize("name", SIGNERS)
def test_a_signed_request_is_passed_on_once(name: str, world: World) -> None:
    assert world.call(good(name)) == "event-1"
    assert world.call(good(name), at(10)) == ""
    assert world.call(good(name, b'{"another": 1}'), at(10)) == "event-2"
    late = NOW + SCHEMES[name].window + SECOND
    assert world.call(good(name), late).startswith("401 " if name in TIMED else "event-3")
    assert world.call(good(name, when=late), late + SECOND) == ("event-3" if name in TIMED else "")


@pytest.mark.parametrize("name", sorted(SCHEMES.keys() - {*SIGNERS}))
def test_one_with_credentials_is_passed_on_again_and_again(name: str, world: World) -> None:
    assert [world.call(good(name)) for _ in range(2)] == ["event-1", "event-2"]


def test_the_same_request_of_two_senders_is_passed_on_for_each(world: World) -> None:
    assert [world.call(good(name)) for name in ("github", "jira")] == ["event-1", "event-2"]


def test_a_request_that_the_bus_did_not_take_may_come_again_as_it_was(world: World) -> None:
    world.bus.room = 0
    with pytest.raises(TransientError):
        world.call(good("hmac"))
    world.bus.room = 1
    assert world.call(good("hmac")) == "event-1"


def test_a_request_during_which_we_crashed_may_come_again_when_the_crashed_function_can_no_longer_run(
    world: World,
) -> None:
    world.notes.deaf = True
    with pytest.raises(TransientError):
        world.call(good("hmac"))
    with pytest.raises(TransientError, match="under way"):
        world.call(good("hmac"), at(15))
    world.notes.deaf = False
    assert world.call(good("hmac"), at(25)) == "event-2"
    assert world.call(good("hmac"), at(50)) == ""


# What a body may be


@pytest.mark.parametrize("name", ["basic", "hmac", "github"])
@pytest.mark.parametrize(
    "body",
    [
        b'[{"a": 1}, {"b": 2}]',
        b'{"a": 1}\n{"b": 2}\n',
        b'\r\n{"a": 1}\r\n\r\n{"b": 2}\r\n',
        '\ufeff[{"a": 1}, {"b": 2}]'.encode(),
        '{"a": 1}\n{"b": 2}'.encode("utf-16"),
    ],
)
def test_a_list_is_taken_apart(name: str, body: bytes, world: World) -> None:
    assert world.call(good(name, body)) == "event-1 event-2"
    assert world.bus.events == [(f"webhook.{name}", "Webhook", detail) for detail in ({"a": 1}, {"b": 2})]


def test_a_list_of_one_is_one_object(world: World) -> None:
    assert [world.call(good("basic", b'[{"a": 1}]')) for _ in range(2)] == ["event-1", "event-2"]


def test_equal_elements_of_a_list_are_events_each(world: World) -> None:
    assert world.call(good("github", b'[{"a": 1}, {"a": 1}]')) == "event-1 event-2"


@pytest.mark.parametrize("name", ["basic", "hmac", "github"])
def test_a_list_that_got_halfway_goes_on_where_it_stopped(name: str, world: World) -> None:
    body = json.dumps([{"number": number} for number in range(5)]).encode()
    world.bus.room = 3
    with pytest.raises(TransientError):
        world.call(good(name, body))
    world.bus.room = 100
    assert world.call(good(name, body, when=at(5)), at(5)) == "event-4 event-5"
    assert [detail["number"] for _, _, detail in world.bus.events] == [*range(5)]
    soon, late = at(6), NOW + REMEMBERED + 6 * SECOND
    again = "event-6 event-7 event-8 event-9 event-10"
    assert world.call(good(name, body, when=soon), soon) == (again if name == "basic" else "")
    assert world.call(good(name, body, when=late), late).startswith("event-11 " if name == "basic" else "event-6 ")


def test_a_list_without_a_signature_is_another_report_once_all_of_it_was_passed_on(world: World) -> None:
    lost = b'[{"lost": 1}, {"lost": 2}]'
    assert world.call(good("basic", lost)) == "event-1 event-2"
    assert world.call(good("basic", lost), at(1200)) == "event-3 event-4", "lost, found, and lost again"


@pytest.mark.parametrize("most", [MOST_ELEMENTS, 2])
def test_a_list_has_a_largest_length_and_above_it_nothing_is_passed_on(world: World, most: int) -> None:
    sender = replace(world.receiver.webhooks["basic"], at_most=most)
    world.receiver = replace(world.receiver, webhooks={"basic": sender})
    assert len(world.call(good("basic", json.dumps([{}] * most).encode())).split()) == most
    world.bus.events.clear()
    assert world.call(good("basic", json.dumps([{}] * (most + 1)).encode())) == "event-1"
    assert world.rejected.endswith(f"that were not taken: {most + 1} JSON objects: expected 1 to {most}")


def test_what_gzip_packed_is_unpacked(world: World) -> None:
    """Not every sender has the header that says so, and whoever unpacks on the way may leave it there."""
    for name, body in (
        ("basic", gzip.compress(BODY, mtime=0)),
        ("github", gzip.compress(BODY, mtime=1)),
        ("hmac", BODY),
    ):
        more = {} if name == "basic" else {"content-encoding": "gzip"}
        assert world.call(good(name, body, more=more)).startswith("event-")
        assert world.bus.events.pop()[2] == json.loads(BODY)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "0 JSON objects: expected 1 to 50"),
        (b"[]", "0 JSON objects: expected 1 to 50"),
        (b"<event/>", "expected JSON"),
        (b"payload=%7B%7D&x=1", "expected JSON"),
        (b'{"a": 1}\n{"b": ', "expected JSON"),
        (b"\xff", "expected JSON"),
        (gzip.compress(b"<event/>", mtime=0), "expected JSON"),
        (gzip.compress(BODY, mtime=0)[:-1], "expected one whole gzip"),
        (gzip.compress(BODY, mtime=0) + b"x", "expected one whole gzip"),
        (b"\x1f\x8b" + BODY, "expected one whole gzip"),
        (gzip.compress(b" " * 100_000_000, mtime=0), "expected at most 131072 bytes of JSON"),
        (b'{"a": NaN}', "expected JSON"),
        (b'{"a": 1e999}', "expected JSON"),
        (b'{"a": %s}' % (b"9" * 5000), "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b'{"a":' * 20_000, "expected JSON"),
        (b"1", "expected a JSON object, or a list of nothing else"),
        (b"null", "expected a JSON object, or a list of nothing else"),
        (b'"a"', "expected a JSON object, or a list of nothing else"),
        (b'[{"a": 1}, 2]', "expected a JSON object, or a list of nothing else"),
        (b'[[{"a": 1}]]', "expected a JSON object, or a list of nothing else"),
        (b"x" * (MAX_BYTES + 1), "expected at most 131072 bytes of JSON"),
        (b'{"a": [%s1]}' % (b"1e15," * 20_000), "expected at most 131072 bytes of JSON"),
    ],
)
@pytest.mark.parametrize("name", ["basic", "hmac", "github"])
def test_what_can_t_be_read_becomes_an_event_that_names_sender_and_fault_once(
    name: str, body: bytes, expected: str, world: World
) -> None:
    assert world.answer(good(name, body)) == Answer(202, "", ("event-1",))
    digest = hashlib.sha256(body).hexdigest()
    sender = f"the webhook sender {name}"
    assert world.rejected == f"{sender} sent {len(body)} bytes (SHA-256 {digest}) that were not taken: {expected}"
    assert world.bus.events[0][0] == f"webhook.{name}.unreadable"
    assert world.answer(good(name, body, when=at(5)), at(5)) == Answer(202)
    assert len(world.bus.events) == 1


def test_gzip_is_unpacked_no_further_than_the_limit() -> None:
    assert len(webhook.unpacked(gzip.compress(b" " * 100_000_000, mtime=0))) == MAX_BYTES + 1


def test_a_body_that_is_text_is_read_like_one_in_base64(world: World) -> None:
    assert world.call(good("hmac") | {"body": BODY.decode(), "isBase64Encoded": False}) == "event-1"


def test_a_body_that_lambda_can_t_have_sent_is_refused(world: World) -> None:
    assert world.call(good("hmac") | {"body": "?"}).startswith("400 the body can't be decoded")


# Secrets


@pytest.mark.parametrize("name", SCHEMES)
def test_a_new_secret_holds_at_once_and_the_one_before_it_no_longer_than_nobody_knows_of_the_new_one(
    name: str, world: World
) -> None:
    def body(number: int) -> bytes:
        return json.dumps({"number": number}).encode()

    before, new, newer = (
        json.dumps({"username": "jamf", "password": secret}) if name == "basic" else secret
        for secret in ("the secret before", "a new secret of ours", "a newer secret of ours")
    )
    world.secrets.stages[name]["AWSCURRENT"] = (before, NOW)
    assert world.call(good(name, body(1), secret=before)) == "event-1"
    world.secrets.rotate(name, new, at(60))
    assert world.call(good(name, body(2), at(61), secret=before), at(61)) == "event-2"
    assert world.call(good(name, body(3), at(61), secret=new), at(61)) == "event-3"
    assert world.call(good(name, body(4), at(62), secret=before), at(62)).startswith("401 ")
    world.secrets.rotate(name, newer, at(63))
    known = at(61) + CACHE_LIFETIME
    assert world.call(good(name, body(5), known, secret=new), known).startswith("401 ")


@pytest.mark.parametrize("name", SCHEMES)
def test_the_secret_before_a_rotation_holds_as_long_as_its_senders_configuration_says(name: str, world: World) -> None:
    hour = timedelta(hours=1)
    sender = replace(world.receiver.webhooks[name], accept_previous_for=hour)
    world.receiver = replace(world.receiver, webhooks={name: sender})
    new = '{"username": "new", "password": "a new secret of ours"}' if name == "basic" else "a new secret of ours"
    world.secrets.rotate(name, new, at(60))
    assert world.call(good(name, b'{"a": 1}', at(61), secret=new), at(61)) == "event-1"
    soon, late = at(60) + hour - SECOND, at(60) + hour
    assert world.call(good(name, b'{"a": 2}', soon), soon) == "event-2"
    assert world.call(good(name, b'{"a": 3}', late), late).startswith("401 ")
    assert world.call(good(name, b'{"a": 4}', late, secret=new), late) == "event-3"


def test_a_secret_rotated_away_twice_is_refused(world: World) -> None:
    world.secrets.rotate("hmac", "a new signing key", at(60))
    world.secrets.rotate("hmac", "a newer signing key", at(61))
    sender = replace(world.receiver.webhooks["hmac"], accept_previous_for=timedelta(days=1))
    world.receiver = replace(world.receiver, webhooks={"hmac": sender})
    assert world.call(good("hmac", when=at(62)), at(62)).startswith("401 ")


def test_strangers_do_not_make_us_ask_for_the_secret_again_and_again(world: World) -> None:
    for second in range(14):
        world.call(good("hmac", when=at(second), secret="a secret of nobody"), at(second))
    assert world.secrets.asked == 2  # the current version, and the one before it
    world.call(good("hmac", when=at(0)), at(0) + CACHE_LIFETIME - SECOND)
    assert world.secrets.asked == 2


@pytest.mark.parametrize(
    "kept",
    [
        "jamf:a password of jamf's",
        "[]",
        "1",
        "{}",
        '{"username": "jamf"}',
        '{"username": "jamf", "password": 1}',
        '{"username": "jamf", "password": null}',
        '{"username": "jamf", "password": "long enough for all \\ud800"}',
        '{"username": "\\ud800", "password": "long enough for all of us"}',
    ],
)
def test_credentials_that_are_kept_wrongly_are_our_trouble_not_the_senders(kept: str, world: World) -> None:
    world.secrets.stages["basic"]["AWSCURRENT"] = (kept, NOW)
    with pytest.raises(TransientError, match="the secret is not as expected"):
        world.call(good("basic"))


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, "fifteen bytes..") for name in SCHEMES if name != "basic"),
        ("hmac", ""),
        ("basic", '{"username": "", "password": "long enough for all"}'),
        ("basic", '{"username": "jamf", "password": ""}'),
        ("basic", '{"username": "jamf", "password": "fifteen bytes.."}'),
    ],
)
def test_a_secret_that_could_be_guessed_lets_nobody_in(name: str, secret: str, world: World) -> None:
    world.secrets.stages[name]["AWSCURRENT"] = (secret, NOW)
    for asked in (good(name), event(name, {}, b"", "HEAD")):
        with pytest.raises(TransientError, match="less than 16 bytes"):
            world.call(asked)


# The function


@pytest.fixture
def handle(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(receive_webhooks.metrics, "namespace", "DeviceLockout")
    monkeypatch.setattr(wiring, "webhook_receiver", lambda: world.receiver)
    return lambda asked: receive_webhooks.handler(asked, CONTEXT)


def fresh(name: str, body: bytes = BODY, **more: Any) -> dict[str, Any]:
    return good(name, body, datetime.now(UTC), **more)


def counted(output: str, metric: str) -> list[Any]:
    """The values of a metric, one for each call."""
    return [json.loads(line).get(metric) for line in output.splitlines() if "_aws" in line]


def test_the_caller_learns_nothing_of_why_it_was_refused_and_our_log_all_of_it(
    handle: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    calls = (good("hmac", secret="a secret of nobody"), good("hmac"), event("nobody", {}), event("hmac", {}))
    assert [handle(each) for each in calls] == [{"statusCode": 401}] * 4
    reasons = [record.__dict__["because"] for record in caplog.records if record.message == "refused"]
    assert [reason[:29] for reason in reasons] == [
        "x-lockout-signature is made o",
        "x-lockout-timestamp says '179",
        "no such sender",
        "no header x-lockout-signature",
    ]
    assert handle(event("hmac", {}, b"", "HEAD")) == {"statusCode": 401}, "as the doctor asks"
    said = capsys.readouterr().out
    assert counted(said, "WebhookRefused") == [[1.0]] * 5
    assert counted(said, "SenderRefused") == [[1.0], [1.0], None, [1.0], None]
    assert all(KEY not in str(record.__dict__) for record in caplog.records)


def test_what_is_passed_on_is_accepted_and_what_can_t_be_is_asked_for_again(handle: Any, world: World) -> None:
    assert handle(fresh("hmac")) == {"statusCode": 202}
    assert handle(fresh("basic", b"<event/>")) == {"statusCode": 202}
    assert handle(fresh("basic", b"", method="GET")) == {"statusCode": 200}
    challenge = {"x-okta-verification-challenge": "a challenge"}
    assert handle(fresh("okta", b"", method="GET", more=challenge)) == {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": '{"verification":"a challenge"}',
    }
    world.bus.room = 0
    assert handle(fresh("hmac", b"{}"))["statusCode"] == 503


BODIES = st.one_of(
    st.binary(max_size=2000),
    st.binary(max_size=200).map(gzip.compress),
    st.text().map(lambda text: json.dumps(text).encode()),
    st.lists(st.dictionaries(st.text(), st.floats() | st.text())).map(lambda value: json.dumps(value).encode()),
    st.lists(st.dictionaries(st.text(), st.text())).map(lambda lines: "\n".join(map(json.dumps, lines)).encode()),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(lambda value: json.dumps(value).encode()),
)
NAMES = sorted({scheme.header for scheme in SCHEMES.values()} | {scheme.timestamp for scheme in SCHEMES.values()})


@pytest.fixture(scope="module")
def answer_of() -> Any:
    """The function in a world that is new for each call."""

    def call(asked: dict[str, Any]) -> tuple[int, World]:
        world = World()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(receive_webhooks.metrics, "namespace", "DeviceLockout")
            patch.setattr(wiring, "webhook_receiver", lambda: world.receiver)
            return int(receive_webhooks.handler(asked, CONTEXT)["statusCode"]), world

    return call


@pytest.mark.slow
@profile(max_examples=500)
@given(BODIES, st.sampled_from([*SCHEMES]), st.sampled_from([{}, {"content-encoding": "gzip"}]))
def test_a_random_body_of_a_sender_is_never_an_error_of_ours_nor_of_its(
    answer_of: Callable[[Any], tuple[int, World]], body: bytes, name: str, more: dict[str, str]
) -> None:
    status, world = answer_of(fresh(name, body, more=more))
    assert status == 202
    assert world.bus.events, "taken, and nothing came of it"
    assert answer_of(fresh(name, body, secret=LOGIN.replace("jamf", "mdm"), more=more))[0] == 401


@pytest.mark.slow
@profile(max_examples=500)
@given(
    st.sampled_from([*SCHEMES, "", "nobody"]),
    st.sampled_from(["POST", "GET", "HEAD", "PUT", "DELETE", "?"]),
    st.dictionaries(st.sampled_from([*NAMES, "x-api-key", "content-encoding"]), st.text(max_size=99)),
    st.text(max_size=99) | st.binary(max_size=99).map(lambda body: body.decode(errors="surrogateescape")),
    st.booleans(),
)
def test_a_random_request_of_a_stranger_is_refused_and_never_an_error_of_ours(
    answer_of: Callable[[Any], tuple[int, World]],
    name: str,
    method: str,
    headers: dict[str, str],
    body: str,
    encoded: bool,
) -> None:
    asked = event(name, headers, b"", method) | {"body": body, "isBase64Encoded": encoded}
    status, world = answer_of(asked)
    assert status in (400, 401)
    assert world.bus.events == []


def test_the_windows_are_as_the_documentation_says() -> None:
    assert {name: scheme.window for name, scheme in SCHEMES.items() if scheme.signed} == {
        name: FIVE_MINUTES if name in TIMED else HOUR for name in SIGNERS
    }
