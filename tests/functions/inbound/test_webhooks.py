"""Webhooks: which requests are accepted, what a refused sender learns, and rotated secrets."""

import base64
import json
from dataclasses import replace
from datetime import datetime, timedelta
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
from device_lockout.inbound.webhook import MAX_BYTES, WINDOW, Receiver, RefusedRequestError, sign
from device_lockout.values.errors import TransientError
from device_lockout.values.settings import Webhook
from local.in_memory import at

BODY = b'{"EventType": "Compromised Status Changed", "SerialNumber": "S1"}'
NOW = at(0)
KEY, CREDENTIALS = (
    "k\N{LATIN SMALL LETTER E WITH ACUTE}y of forty characters",
    '{"username": "jamf", "password": "p:w\u00f6rd p:w\u00f6rd p:w\u00f6rd"}',
)
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

    def __init__(self, **values: str) -> None:
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
    """The log of signed requests. It can't be written while it is ``deaf``."""

    def __init__(self) -> None:
        self.started: dict[tuple[str, str], datetime] = {}
        self.passed: set[tuple[str, str]] = set()
        self.deaf = False

    def begin(self, sender: str, signature: str, until: datetime, now: datetime) -> bool:  # noqa: ARG002
        if (sender, signature) in self.passed:
            return False
        if self.started.get((sender, signature), now - timedelta(days=1)) >= now - ABANDONED_AFTER:
            raise TransientError("under way")
        self.started[sender, signature] = now
        return True

    def finish(self, sender: str, signature: str, until: datetime, *, passed: bool) -> None:  # noqa: ARG002
        if self.deaf:
            raise TransientError("the ledger is away")
        del self.started[sender, signature]
        if passed:
            self.passed.add((sender, signature))


class Bus:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.broken = False

    def put(self, source: str, detail_type: str, detail: dict[str, Any]) -> str:
        if self.broken:
            raise TransientError("the bus is away")
        self.events.append((source, detail_type, detail))
        return f"event-{len(self.events)}"


class World:
    def __init__(self) -> None:
        self.secrets = Secrets(signing=KEY, credentials=CREDENTIALS)
        self.bus = Bus()
        self.notes = Notes()
        self.receiver = Receiver(
            {"signer": Webhook("signer", "hmac", "signing"), "jamf": Webhook("jamf", "basic", "credentials")},
            SecretStore(self.secrets),
            self.notes,
            self.bus,
        )

    def call(self, event: dict[str, Any], now: datetime = NOW) -> str:
        """The event's ID, or the status and the reason of the refusal."""
        try:
            return self.receiver.accept(webhook.read(event), now)
        except RefusedRequestError as refused:
            return f"{refused.status} {refused}"


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


def signed(body: bytes = BODY, key: str = KEY, when: datetime = NOW, **more: str) -> dict[str, Any]:
    timestamp = int(when.timestamp())
    headers = {"x-lockout-timestamp": str(timestamp), "x-lockout-signature": sign(key, timestamp, body)}
    return event("signer", headers | more, body)


def basic(credentials: str, body: bytes = BODY) -> dict[str, Any]:
    encoded = base64.b64encode(credentials.encode()).decode()
    return event("jamf", {"authorization": f"Basic {encoded}"}, body)


def test_a_signed_request_goes_to_the_bus_as_it_is_under_its_senders_source(world: World) -> None:
    assert world.call(signed()) == "event-1"
    assert world.bus.events == [("webhook.signer", "Webhook", json.loads(BODY))]


def test_so_does_one_with_the_right_credentials_again_and_again(world: World) -> None:
    assert [world.call(basic("jamf:p:w\u00f6rd p:w\u00f6rd p:w\u00f6rd")) for _ in range(2)] == ["event-1", "event-2"]
    assert world.bus.events[0][0] == "webhook.jamf"


def test_a_body_that_is_text_is_read_like_one_in_base64(world: World) -> None:
    assert world.call(signed() | {"body": BODY.decode(), "isBase64Encoded": False}) == "event-1"


@pytest.mark.parametrize(
    ("request_event", "expected"),
    [
        (signed(key="another"), "401 the signature is of none"),
        (signed() | {"body": base64.b64encode(b'{"other": 1}').decode()}, "401 the signature is of none"),
        (signed(**{"x-lockout-timestamp": "1"}), "401 the signature is of none"),
        (signed(**{"x-lockout-timestamp": "\u0661"}), "401 the timestamp is not in seconds"),
        (signed(**{"x-lockout-timestamp": "-1"}), "401 the timestamp is not in seconds"),
        (signed(**{"x-lockout-timestamp": "9" * 5000}), "401 the timestamp is not in seconds"),
        (signed(**{"x-lockout-signature": "sha256=\udce9"}), "401 the signature is of none"),
        (signed(**{"x-lockout-signature": ""}), "401 no timestamp or no signature"),
        (event("signer", {}), "401 no timestamp or no signature"),
        (signed(when=NOW - WINDOW - timedelta(seconds=1)), "401 the timestamp says"),
        (signed(when=NOW + WINDOW + timedelta(seconds=1)), "401 the timestamp says"),
        (signed() | {"rawPath": "/nobody"}, "401 no such sender"),
        (signed() | {"rawPath": "/jamf"}, "401 no basic credentials"),
        (basic("jamf:wrong"), "401 the credentials are none of those"),
        (basic("jamf"), "401 the credentials are none of those"),
        (event("jamf", {"authorization": "Basic \N{SNOWMAN}"}), "401 the credentials can't be decoded"),
        (event("jamf", {"authorization": "Bearer x"}), "401 no basic credentials"),
        (signed() | {"requestContext": {"http": {"method": "GET"}}}, "405 not a POST"),
        (signed(b"x" * (MAX_BYTES + 1)), "413 the body has 131073 bytes"),
        (signed(b"[]"), "400 the body is not a JSON object"),
        (signed(b'{"a": NaN}'), "400 the body is not JSON"),
        (signed(b'{"a": 1e999}'), "400 the body is not JSON"),
        (signed(b"[%s1]" % (b"1e15," * 20_000)), "400 the body is not a JSON object"),
        (signed(b'{"a": [%s1]}' % (b"1e15," * 20_000)), "413 the body has 3"),
        (signed(b"\xff"), "400 the body is not JSON"),
        (signed(b"[" * 100_000), "400 the body is not JSON"),
        (signed() | {"body": "?"}, "400 the body can't be decoded"),
    ],
)
def test_what_is_refused_and_why(request_event: dict[str, Any], expected: str, world: World) -> None:
    assert world.call(request_event).startswith(expected)
    assert world.bus.events == []


def test_a_signed_request_is_taken_once(world: World) -> None:
    assert world.call(signed()) == "event-1"
    assert world.call(signed(), at(10)) == "401 this very request was passed on before"
    again = signed(**{"x-lockout-timestamp": f"0{int(NOW.timestamp())}"})
    assert world.call(again) == "401 this very request was passed on before"
    assert world.call(signed(when=at(1)), at(10)) == "event-2"


def test_a_request_that_the_bus_did_not_take_may_come_again_as_it_was(world: World) -> None:
    world.bus.broken = True
    with pytest.raises(TransientError):
        world.call(signed())
    world.bus.broken = False
    assert world.call(signed()) == "event-1"


def test_a_request_during_which_we_crashed_may_come_again_when_the_crashed_function_can_no_longer_run(
    world: World,
) -> None:
    world.notes.deaf = True
    with pytest.raises(TransientError):
        world.call(signed())
    with pytest.raises(TransientError, match="under way"):
        world.call(signed(), at(15))
    world.notes.deaf = False
    assert world.call(signed(), at(25)) == "event-2"
    assert world.call(signed(), at(50)) == "401 this very request was passed on before"


def test_a_new_secret_holds_at_once_and_the_one_before_it_no_longer_than_nobody_knows_of_the_new_one(
    world: World,
) -> None:
    assert world.call(signed()) == "event-1"
    world.secrets.rotate("signing", "a new signing key", at(60))
    assert world.call(signed(when=at(61)), at(61)) == "event-2"
    assert world.call(signed(key="a new signing key", when=at(61)), at(61)) == "event-3"
    assert world.call(signed(when=at(62)), at(62)).startswith("401 the signature is of none")
    world.secrets.rotate("signing", "a newer signing key", at(63))
    known = at(61) + CACHE_LIFETIME
    assert world.call(signed(key="a new signing key", when=known), known).startswith("401 the signature is of none")


def test_the_secret_before_a_rotation_holds_as_long_as_its_senders_configuration_says(world: World) -> None:
    hour = timedelta(hours=1)
    receiver = replace(
        world.receiver, webhooks={"signer": Webhook("signer", "hmac", "signing", accept_previous_for=hour)}
    )
    world.receiver = receiver
    world.secrets.rotate("signing", "a new signing key", at(60))
    assert world.call(signed(key="a new signing key", when=at(61)), at(61)) == "event-1"
    soon = at(60) + hour - timedelta(seconds=1)
    assert world.call(signed(when=soon), soon) == "event-2"
    late = at(60) + hour
    assert world.call(signed(when=late), late).startswith("401 the signature is of none")
    assert world.call(signed(key="a new signing key", when=late), late) == "event-3"


def test_a_secret_rotated_away_twice_is_refused(world: World) -> None:
    world.secrets.rotate("signing", "a new signing key", at(60))
    world.secrets.rotate("signing", "a newer signing key", at(61))
    world.receiver = replace(
        world.receiver, webhooks={"signer": Webhook("signer", "hmac", "signing", accept_previous_for=timedelta(days=1))}
    )
    assert world.call(signed(when=at(62)), at(62)).startswith("401 the signature is of none")


def test_strangers_do_not_make_us_ask_for_the_secret_again_and_again(world: World) -> None:
    for second in range(14):
        world.call(signed(key="wrong", when=at(second)), at(second))
    assert world.secrets.asked == 2  # the current version, and the one before it
    world.call(signed(when=at(0)), at(0) + CACHE_LIFETIME - timedelta(seconds=1))
    assert world.secrets.asked == 2


def test_credentials_that_are_kept_wrongly_are_our_trouble_not_the_senders(world: World) -> None:
    world.secrets.stages["credentials"]["AWSCURRENT"] = ("jamf:secret", NOW)
    with pytest.raises(TransientError, match="the secret is not as expected"):
        world.call(basic("jamf:secret"))


# The function


@pytest.fixture
def handle(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(receive_webhooks.metrics, "namespace", "DeviceLockout")
    monkeypatch.setattr(wiring, "webhook_receiver", lambda: world.receiver)
    return lambda asked: receive_webhooks.handler(asked, CONTEXT)


def fresh(body: bytes = BODY) -> dict[str, Any]:
    from datetime import UTC

    return signed(body, when=datetime.now(UTC))


def test_the_caller_learns_nothing_of_why_it_was_refused_and_our_log_all_of_it(
    handle: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    answers = [handle(each) for each in (signed(key="wrong"), signed(), event("nobody", {}), event("signer", {}))]
    assert answers == [{"statusCode": 401}] * 4
    reasons = [record.__dict__["because"] for record in caplog.records if record.message == "refused"]
    assert [reason[:22] for reason in reasons] == [
        "the signature is of no",
        "the timestamp says 202",
        "no such sender",
        "no timestamp or no sig",
    ]
    counted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [line["WebhookRefused"] for line in counted] == [[1.0]] * 4
    assert all(KEY not in str(record.__dict__) for record in caplog.records)


def test_what_is_passed_on_is_accepted_and_what_can_t_be_is_asked_for_again(handle: Any, world: World) -> None:
    assert handle(fresh()) == {"statusCode": 202}
    world.bus.broken = True
    assert handle(fresh(b"{}"))["statusCode"] == 503


@pytest.mark.slow
@profile(max_examples=1000)
@given(
    st.one_of(
        st.binary(max_size=2000),
        st.text().map(lambda text: json.dumps(text).encode()),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_a_random_body_is_never_an_error_of_ours(body: bytes) -> None:
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receive_webhooks.metrics, "namespace", "DeviceLockout")
        patch.setattr(wiring, "webhook_receiver", lambda: world.receiver)
        assert receive_webhooks.handler(fresh(body), CONTEXT)["statusCode"] in (202, 400)
        assert receive_webhooks.handler(signed(body, key="wrong"), CONTEXT) == {"statusCode": 401}
        raw = event("signer", {}) | {"body": body.decode(errors="surrogateescape"), "isBase64Encoded": False}
        assert receive_webhooks.handler(raw, CONTEXT)["statusCode"] in (400, 401)


@pytest.mark.parametrize(
    ("sender", "secret"),
    [
        ("signing", "x"),
        ("signing", "fifteen bytes.."),
        ("credentials", '{"username": "", "password": "long enough for all"}'),
        ("credentials", '{"username": "jamf", "password": ""}'),
        ("credentials", '{"username": "jamf", "password": "fifteen bytes.."}'),
    ],
)
def test_a_secret_that_could_be_guessed_lets_nobody_in(world: World, sender: str, secret: str) -> None:
    world.secrets.stages[sender]["AWSCURRENT"] = (secret, NOW)
    call = signed(key=secret) if sender == "signing" else basic(":".join(json.loads(secret).values()))
    with pytest.raises(TransientError, match="less than 16 bytes"):
        world.call(call)
