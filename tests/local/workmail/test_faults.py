import asyncio
from collections import Counter
from unittest.mock import Mock

import pytest

from local.workmail.asgi import application
from tests.local.workmail.asking import (
    ANA,
    DELETE,
    GET,
    LIST,
    ORGANIZATION,
    PUT,
    SIGNED,
    Clock,
    answer,
    ask,
    control,
    emulator,
    listed,
    outcome,
    refusal,
)

A_PUT = {"UserId": "ana", "DeviceId": "A1", "Effect": "DENY"}
WHOLE_PUT = {"OrganizationId": ORGANIZATION, **A_PUT}


def with_fault(clock=None, **fault):
    made = emulator(clock)
    made.change_settings({"faults": {"it": fault}})
    return made


def codes(to, operation, times, **request):
    refused = [outcome(to, operation, **request) for _ in range(times)]
    return [None if one is None else one.code for one in refused]


class Timer:
    """Stands for asyncio.sleep: every sleeper waits until told."""

    def __init__(self):
        self.asked, self.release, self.asleep = [], asyncio.Event(), asyncio.Event()

    async def __call__(self, seconds):
        self.asked.append(seconds)
        self.asleep.set()
        await self.release.wait()


def test_without_faults_nothing_fails():
    assert codes(emulator(), PUT, 50, **A_PUT) == [None] * 50


def test_there_is_nothing_to_hold_when_the_emulator_runs_alone():
    to = emulator()
    status, said = control(to, "PUT", "settings", {"faults": {"hold": {"target": "AWSEvents.PutEvents"}}})
    assert (status, "runs alone" in said["error"]) == (501, True)
    assert control(to, "GET", "settings")[1]["faults"] == {}


def test_a_hold_is_of_its_target_caller_and_body_and_counts_only_those():
    to = emulator()
    to.publish = Mock()
    fault = {"target": "AWSEvents.PutEvents", "principal": ":role/W/", "body": "Phone", "skip": 1, "count": 1}
    control(to, "PUT", "settings", {"faults": {"hold": fault}})
    hold = to.settings.faults["hold"]
    fitting = ("AWSEvents.PutEvents", "arn:aws:iam::0:role/W/x", '{"device": "a PHONE"}')
    others = [
        ("AWSEvents.PutRule", *fitting[1:]),
        (fitting[0], "arn:aws:iam::0:role/S/x", fitting[2]),
        (*fitting[:2], '{"device": "a tablet"}'),
    ]
    assert not any(hold.holds(*other) for other in others)
    assert [hold.holds(*fitting) for _ in range(3)] == [False, True, False]
    assert codes(to, PUT, 1, **A_PUT) == [None]


def test_a_rate_limit_is_a_bucket():
    clock = Clock()
    to = with_fault(clock, kind="throttle", per_second=2, burst=3)
    assert codes(to, PUT, 5, **A_PUT) == [None] * 3 + ["ThrottlingException"] * 2
    clock.pass_seconds(0.5)
    assert codes(to, PUT, 2, **A_PUT) == [None, "ThrottlingException"]
    clock.pass_seconds(60)
    assert Counter(codes(to, PUT, 10, **A_PUT)) == {None: 3, "ThrottlingException": 7}


def test_a_throttled_write_did_not_happen():
    to = with_fault(kind="throttle")
    refusal(to, PUT, **A_PUT)
    to.change_settings({"faults": None})
    assert listed(to) == []


@pytest.mark.parametrize(("kind", "code"), [("throttle", "ThrottlingException"), ("error", "InternalFailure")])
def test_a_probability_is_thrown_with_dice_that_repeat_themselves(kind, code):
    def sequence(seed, **more):
        to = emulator(seed=seed, faults={"it": {"kind": kind, "probability": 0.3}, **more})
        return codes(to, GET, 200, UserId="ana", DeviceId="A1")

    first = sequence(1)
    assert 30 < first.count(code) < 90
    assert sequence(1) == first
    assert sequence(2) != first
    assert sequence(1, another={"kind": "latency", "ms": 0, "probability": 0.5}) == first


def test_each_fault_has_dice_of_its_own():
    def sequence(name):
        return codes(emulator(faults={name: {"kind": "throttle", "probability": 0.5}}), LIST, 50)

    assert sequence("a") == sequence("a")
    assert sequence("a") != sequence("b")


@pytest.mark.parametrize("change", ["nothing", "the same", "others"])
def test_a_change_of_something_else_leaves_dice_and_bucket_alone(change):
    def sequence(*, changes):
        to = emulator(
            faults={"dice": {"kind": "error", "probability": 0.5}, "throttle": {"per_second": 1, "burst": 30}}
        )
        found = codes(to, LIST, 40)
        if changes == "the same":
            to.change_settings({"faults": to.settings.as_json()["faults"]})
        if changes == "others":
            to.change_settings({"quirks": {"page_tokens": "skip"}, "faults": {"error": {"count": 0}}})
        return found + codes(to, LIST, 40)

    assert sequence(changes=change) == sequence(changes="nothing")
    assert sequence(changes=change)[:40] != sequence(changes=change)[40:]


def test_setting_the_seed_starts_the_dice_anew():
    to = emulator(seed=7, faults={"throttle": {"probability": 0.5}})
    first = codes(to, LIST, 50)
    assert codes(to, LIST, 50) != first
    to.change_settings({"seed": 7})
    assert codes(to, LIST, 50) == first


@pytest.mark.parametrize(
    ("limits", "operation", "request_", "hit"),
    [
        ({"operations": [PUT]}, PUT, A_PUT, True),
        ({"operations": [PUT, DELETE]}, LIST, {}, False),
        ({"user": "ana"}, PUT, A_PUT, True),
        ({"user": ANA.upper()}, PUT, A_PUT, True),
        ({"user": "ANA@example.com"}, PUT, {**A_PUT, "UserId": ANA}, True),
        ({"user": "bob"}, PUT, A_PUT, False),
        ({"user": "nobody"}, GET, {"UserId": "Nobody", "DeviceId": "A1"}, True),
        ({"user": "ana"}, LIST, {}, False),
        ({"device": "a1"}, PUT, A_PUT, True),
        ({"device": "A2"}, PUT, A_PUT, False),
        ({"device": "A2"}, LIST, {}, False),
        ({"operations": [PUT], "user": "ana", "device": "A1"}, PUT, A_PUT, True),
        ({"operations": [PUT], "user": "bob", "device": "A1"}, PUT, A_PUT, False),
        ({"probability": 0}, PUT, A_PUT, False),
        ({"probability": 1}, PUT, A_PUT, True),
    ],
)
def test_a_fault_hits_only_what_it_names(limits, operation, request_, hit):
    to = with_fault(kind="error", **limits)
    assert (codes(to, operation, 1, **request_) == ["InternalFailure"]) == hit


def test_a_fault_can_be_for_the_next_calls_only_or_skip_some():
    to = with_fault(kind="error", operations=[PUT], skip=1, count=2)
    assert codes(to, DELETE, 3, UserId="ana", DeviceId="A1") == [None] * 3
    assert codes(to, PUT, 5, **A_PUT) == [None, "InternalFailure", "InternalFailure", None, None]
    assert to.settings.as_json()["faults"]["it"]["count"] == 0
    to.change_settings({"faults": {"it": {"count": 1}}})
    assert codes(to, PUT, 2, **A_PUT) == ["InternalFailure", None]


def test_a_fault_that_a_change_does_not_touch_keeps_its_count():
    to = with_fault(kind="error", count=2)
    assert codes(to, LIST, 1) == ["InternalFailure"]
    to.change_settings({"quirks": {"aliases_resolve": True}, "faults": {"other": {"kind": "latency", "ms": 0}}})
    assert codes(to, LIST, 2) == ["InternalFailure", None]


@pytest.mark.parametrize(("status", "code"), [(500, "InternalFailure"), (503, "ServiceUnavailable")])
@pytest.mark.parametrize(("effect", "rows"), [("applied", 1), ("not_applied", 0)])
def test_an_error_comes_with_the_effect_applied_or_not(status, code, effect, rows):
    to = with_fault(kind="error", status=status, effect=effect)
    refused = refusal(to, PUT, **A_PUT)
    assert (refused.status, refused.code) == (status, code)
    to.change_settings({"faults": {"it": None}})
    assert len(listed(to)) == rows
    call = control(to, "GET", "calls", operation=PUT)[1]["calls"][0]
    assert (call["status"], call["effect"], call["faults"]) == (status, effect, ["it"])


def test_an_effect_that_the_service_refuses_is_told():
    to = with_fault(kind="error", effect="applied")
    refusal(to, PUT, **{**A_PUT, "UserId": "nobody"})
    assert control(to, "GET", "calls")[1]["calls"][0]["effect"] == "refused: EntityNotFoundException"


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_effect_can_come_late(when):
    async def story():
        timer, clock = Timer(), Clock()
        to = emulator(clock)
        to._sleep = timer
        to.change_settings({"faults": {"error": {"effect": "late", "after_seconds": 5, "count": 1}}})
        assert (await answer(to, PUT, {**WHOLE_PUT, "Description": "late"}))[0] == 500
        await timer.asleep.wait()
        assert timer.asked == [5]
        read = {"OrganizationId": ORGANIZATION, "UserId": "ana", "DeviceId": "A1"}
        assert (await answer(to, GET, read))[0] == 400
        if when == "after":
            await answer(to, PUT, {**WHOLE_PUT, "Description": "later still"})
        clock.pass_seconds(5)
        timer.release.set()
        await asyncio.gather(*to._late)
        assert b'"late"' in (await answer(to, GET, read))[2]
        calls = list(to.calls.since(0))
        assert calls[0].effect == "applied_late"

    asyncio.run(story())


@pytest.mark.parametrize(("effect", "rows"), [("applied", 1), ("not_applied", 0)])
def test_an_answer_that_never_comes_ends_when_the_client_gives_up(effect, rows):
    async def story():
        to = with_fault(kind="no_answer", effect=effect, operations=[PUT], count=1)
        held_open, gave_up = asyncio.Event(), asyncio.Event()

        async def gone():
            held_open.set()
            await gave_up.wait()

        held = asyncio.create_task(answer(to, PUT, WHOLE_PUT, gone=gone))
        await held_open.wait()
        for _ in range(20):
            assert (await answer(to, LIST, {"OrganizationId": ORGANIZATION}))[0] == 200
        assert not held.done()
        assert len(to.workmail.organizations[ORGANIZATION].overrides) == rows
        gave_up.set()
        await held
        call = next(to.calls.since(0))
        assert (call.status, call.effect) == (None, effect)

    asyncio.run(story())


def test_a_held_call_of_a_client_that_is_gone_does_not_stay():
    async def story():
        app = application(with_fault(kind="no_answer"))
        incoming = [{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}]
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b""}
        headers = {b"x-amz-target": f"WorkMailService.{LIST}".encode(), b"authorization": SIGNED.encode()}
        outgoing = []

        async def receive():
            if not incoming:
                await asyncio.Event().wait()
            return incoming.pop(0)

        async def send(message):
            outgoing.append(message["type"])

        async with asyncio.timeout(5):
            await app({**scope, "headers": list(headers.items())}, receive, send)
        assert outgoing == ["http.response.start", "http.response.body"]

    asyncio.run(story())


def test_a_reset_lets_go_of_held_calls_and_forgets_late_effects():
    async def story():
        timer = Timer()
        to = with_fault(kind="no_answer", effect="late", after_seconds=9, operations=[PUT])
        to._sleep = timer
        held = asyncio.create_task(answer(to, PUT, WHOLE_PUT))
        await timer.asleep.wait()
        to.reset()
        assert (await held)[0] == 503
        timer.release.set()
        await asyncio.sleep(0)
        assert len(to.workmail.organizations[ORGANIZATION].overrides) == 0
        assert to.settings.faults == {}
        assert to.calls.next_index == 0

    asyncio.run(story())


def test_a_call_that_waited_through_a_reset_does_nothing():
    async def story():
        timer = Timer()
        to = with_fault(kind="latency", ms=100)
        to._sleep = timer
        waiting = asyncio.create_task(answer(to, PUT, WHOLE_PUT))
        await timer.asleep.wait()
        to.reset()
        timer.release.set()
        assert (await waiting)[0] == 503
        assert len(to.workmail.organizations[ORGANIZATION].overrides) == 0

    asyncio.run(story())


def test_latencies_add_up_and_hold_nobody_else_up():
    async def story():
        timer = Timer()
        to = emulator(faults={"a": {"kind": "latency", "ms": 100, "device": "A1"}, "b": {"kind": "latency", "ms": 250}})
        to._sleep = timer
        waiting = asyncio.create_task(answer(to, PUT, WHOLE_PUT))
        await timer.asleep.wait()
        to.change_settings({"faults": None})
        assert (await answer(to, LIST, {"OrganizationId": ORGANIZATION}))[0] == 200
        assert not waiting.done()
        timer.release.set()
        assert (await waiting)[0] == 200
        assert timer.asked == [pytest.approx(0.35)]

    asyncio.run(story())


def test_the_first_fault_in_the_settings_decides():
    to = emulator(faults={"error": {"count": 1}, "throttle": {"count": 2}})
    assert codes(to, LIST, 4) == ["InternalFailure", "ThrottlingException", "ThrottlingException", None]


def test_faults_come_before_validation_as_throttling_does():
    assert refusal(with_fault(kind="throttle"), PUT, DeviceId="").code == "ThrottlingException"


@pytest.mark.parametrize(("skew", "date"), [(0, "09:00:00"), (-90, "08:58:30"), (3600.5, "10:00:00")])
def test_only_the_date_header_is_skewed(skew, date):
    to = emulator(date_header_skew_seconds=skew)
    status, headers, _ = asyncio.run(answer(to, PUT, WHOLE_PUT))
    assert (status, headers["date"]) == (200, f"Sun, 22 Nov 2026 {date} GMT")
    assert ask(to, GET, UserId="ana", DeviceId="A1")["DateCreated"] == Clock().now
