import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.workmail.operations import WorkMail
from local.workmail.shapes import service_model
from tests.local.workmail.asking import (
    ANA,
    GET,
    LIST,
    ORGANIZATION,
    PUT,
    SIGNED,
    RefusedError,
    answer,
    ask,
    emulator,
    outcome,
    parsed,
    refusal,
)

MODEL = service_model()
SERVED = sorted(WorkMail().served)
FINE: dict[str, Any] = {
    "OrganizationId": ORGANIZATION,
    "UserId": "ana",
    "DeviceId": "ABC123",
    "Effect": "DENY",
    "Description": "why",
    "MaxResults": 1,
    "DeviceType": "iPhone",
    "DeviceModel": "14",
    "DeviceOperatingSystem": "iOS",
    "DeviceUserAgent": "Apple-iPhone",
    "Filters": {"State": "ENABLED"},
}


def fine_request(operation: str) -> dict[str, Any]:
    members = MODEL.operation_model(operation).input_shape.members
    return {name: value for name, value in FINE.items() if name in members}


def violations() -> list[Any]:
    """One request for each constraint in the model of each served operation, breaking just that one."""
    cases = []
    for operation in SERVED:
        shape = MODEL.operation_model(operation).input_shape
        cases += [
            pytest.param(operation, name, None, "null", "must not be null", id=f"{operation}-{name}-missing")
            for name in shape.required_members
        ]
        for name, member in shape.members.items():
            for label, value, words in broken(member):
                cases.append(pytest.param(operation, name, value, value, words, id=f"{operation}-{name}-{label}"))
    return cases


def broken(shape: Any) -> list[tuple[str, Any, str]]:
    limits = shape.metadata
    found: list[tuple[str, Any, str]] = []
    if shape.type_name == "string":
        found.append(("type", 17, "must be a string"))
        if limits.get("min", 0) > 0:
            found.append(("min", "m" * (limits["min"] - 1), f"greater than or equal to {limits['min']}"))
        if "max" in limits:
            found.append(("max", "m" * (limits["max"] + 1), f"less than or equal to {limits['max']}"))
        if "enum" in limits:
            found.append(("enum", limits["enum"][0].lower(), f"[{', '.join(limits['enum'])}]"))
        if limits.get("pattern", "").startswith(("[a-z", "[A-Z", "^")):
            found.append(("pattern", "é" * limits["min"], f"pattern: {limits['pattern']}"))
            found.append(("trailing-newline", "m" * (limits["min"] - 1) + "\n", "regular expression"))
    elif shape.type_name == "integer":
        found.append(("type", "17", "must be an integer"))
        found.append(("boolean", True, "must be an integer"))
        found.append(("fraction", 1.5, "must be an integer"))
        found.append(("min", limits["min"] - 1, f"greater than or equal to {limits['min']}"))
        found.append(("max", limits["max"] + 1, f"less than or equal to {limits['max']}"))
    else:
        found.append(("type", "flat", "must be a structure"))
    return found


@pytest.mark.parametrize(("operation", "member", "value", "shown", "words"), violations())
def test_a_broken_constraint_is_named_with_its_member_and_value(operation, member, value, shown, words):
    refused = refusal(emulator(), operation, **(fine_request(operation) | {member: value}))
    assert (refused.status, refused.code) == (400, "InvalidParameterException")
    assert f"'{member}'" in refused.message
    assert words in refused.message
    assert str(shown)[:300] in refused.message


def test_there_are_constraints_of_every_kind_to_break():
    kinds = {case.id.rpartition("-")[2] for case in violations()}
    assert kinds == {"missing", "type", "min", "max", "enum", "pattern", "newline", "boolean", "fraction"}


@pytest.mark.parametrize("operation", SERVED)
def test_a_fine_request_is_answered(operation):
    to = emulator()
    ask(to, PUT, UserId="ana", DeviceId="ABC123", Effect="DENY")
    ask(to, operation, **fine_request(operation))


@pytest.mark.parametrize("operation", SERVED)
def test_the_error_for_invalid_requests_is_modelled(operation):
    assert "InvalidParameterException" in {shape.name for shape in MODEL.operation_model(operation).error_shapes}


def test_the_limits_themselves_are_fine():
    to = emulator()
    for device in ("a", "A" * 32):
        for description in ("x", "x" * 256, "\n", "é" * 256, "😀" * 256):
            ask(to, PUT, UserId="ana", DeviceId=device, Effect="ALLOW", Description=description)
            assert ask(to, GET, UserId="ana", DeviceId=device)["Description"] == description
    assert refusal(to, GET, UserId="a" * 256, DeviceId="a").code == "EntityNotFoundException"


@pytest.mark.parametrize(
    "device", ["A" * 33, "1A2B-3C4D", "", " ABC", "ABC ", "AB\n", "ÄBC", "\u0410BC", "A_B", "A.B", "\u0660"]
)
def test_a_device_id_is_never_repaired(device):
    to = emulator()
    assert refusal(to, PUT, UserId="ana", DeviceId=device, Effect="DENY").code == "InvalidParameterException"
    assert ask(to, LIST)["Overrides"] == []


def test_all_broken_constraints_are_named_at_once():
    message = refusal(emulator(), PUT, DeviceId="a-b" * 20, Effect="deny", Description="").message
    assert message.startswith("6 validation errors detected: ")
    assert re.findall(r"at '(\w+)'", message) == [
        "UserId",
        "DeviceId",
        "DeviceId",
        "Effect",
        "Description",
        "Description",
    ]


def test_constraints_inside_structures_are_named_by_their_path():
    refused = refusal(emulator(), "ListUsers", Filters={"State": "enabled", "UsernamePrefix": 5})
    assert "'Filters.State'" in refused.message
    assert "'Filters.UsernamePrefix'" in refused.message


def test_null_counts_as_absent_and_unknown_members_are_ignored():
    to = emulator()
    ask(to, PUT, UserId="ana", DeviceId="A1", Effect="DENY", Description=None, Colour="blue", Filters=None)
    assert "Description" not in ask(to, GET, UserId="ana", DeviceId="A1", DryRun=True)


def test_half_a_surrogate_pair_is_no_text():
    body = b'{"OrganizationId":"%s","UserId":"ana","DeviceId":"A","Effect":"DENY","Description":"\\ud83d"}'
    status, _, answered = asyncio.run(answer(emulator(), PUT, body % ORGANIZATION.encode()))
    assert (status, json.loads(answered)["__type"]) == (400, "InvalidParameterException")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "SerializationException"),
        (b"[]", 400, "SerializationException"),
        (b'"text"', 400, "SerializationException"),
        (b"\xff\xfe", 400, "SerializationException"),
        (b"[" * 100_000, 400, "SerializationException"),
        (b'{"MaxResults": ' + b"9" * 5000 + b"}", 400, "SerializationException"),
        (b" " * (1024 * 1024 + 1), 413, "RequestEntityTooLargeException"),
        (b"", 400, "InvalidParameterException"),
        (b"null", 400, "SerializationException"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body, status, code):
    answered, _, document = asyncio.run(answer(emulator(), GET, body))
    assert (answered, json.loads(document)["__type"]) == (status, code)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", "MissingAuthenticationTokenException"),
        ("Basic YTpi", "MissingAuthenticationTokenException"),
        ("AWS4-HMAC-SHA256", "IncompleteSignatureException"),
        (SIGNED.replace("Signature=", "Sig="), "IncompleteSignatureException"),
        (SIGNED.replace("SignedHeaders=", ""), "IncompleteSignatureException"),
        (SIGNED.replace("/20261122/", "/today/"), "IncompleteSignatureException"),
        (SIGNED.replace("/workmail/", "/sqs/"), "InvalidSignatureException"),
    ],
)
def test_a_request_without_a_whole_signature_for_workmail_is_refused(authorization, code):
    to = emulator()
    request = fine_request(PUT)
    status, headers, body = asyncio.run(answer(to, PUT, request, headers={"authorization": authorization}))
    with pytest.raises(RefusedError) as refused:
        parsed(PUT, status, headers, body)
    assert (refused.value.status, refused.value.code) == (403, code)
    assert ask(to, LIST)["Overrides"] == []


def test_a_signature_of_either_kind_will_do():
    sigv4a = SIGNED.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256").replace("/eu-west-1", "")
    assert asyncio.run(answer(emulator(), PUT, fine_request(PUT), headers={"authorization": sigv4a}))[0] == 200


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("WorkMailService.LockEverything", 400, "UnknownOperationException"),
        ("WorkMailService.", 400, "UnknownOperationException"),
        ("", 400, "UnknownOperationException"),
        (PUT, 400, "UnknownOperationException"),
        (f"workmailservice.{PUT}", 400, "UnknownOperationException"),
        ("WorkMailService.CreateUser", 501, "NotInThisEmulator"),
    ],
)
def test_an_operation_that_is_not_here_says_so(target, status, code):
    answered, _, body = asyncio.run(answer(emulator(), PUT, {}, headers={"x-amz-target": target}))
    assert (answered, json.loads(body)["__type"]) == (status, code)


def test_every_modelled_operation_is_either_served_or_said_not_to_be():
    to = emulator()
    for operation in MODEL.operation_names:
        status, _, body = asyncio.run(answer(to, operation, {}))
        assert (json.loads(body).get("__type") == "NotInThisEmulator") == (operation not in SERVED), operation
        assert status != 500


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 102),
    st.text(max_size=40),
    st.sampled_from(["ana", "ANA@example.com", ANA, "frank", "A1", "a1", "DENY", "ALLOW", ORGANIZATION]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["State", "UsernamePrefix"]), st.sampled_from(["ENABLED", "a", 1]), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SERVED), st.dictionaries(st.sampled_from(sorted(FINE)), VALUES)), max_size=6))
def test_whatever_is_asked_the_answer_is_one_that_the_model_has(calls):
    to = emulator()
    for operation, request in calls:
        modelled = {shape.name for shape in MODEL.operation_model(operation).error_shapes}
        refused = outcome(to, operation, **(fine_request(operation) | request))
        assert refused is None or (refused.code in modelled and refused.status == 400), refused
