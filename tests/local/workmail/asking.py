"""Asks an emulator in this process, as a signed HTTP request; answers are parsed by botocore and held to its model."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.parsers
from botocore.model import OperationModel

from local.workmail import Emulator, controls
from local.workmail.shapes import compile_check, service_model

ORGANIZATION = "m-5eed5eed5eed5eed5eed5eed5eed5eed"
ANA = "545f2c6b-dde6-5f1c-a40d-d6e9e8f21700"
BOB = "42e62c2b-917a-5703-a63a-4636dfee9728"
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/eu-west-1/workmail/aws4_request, "
    "SignedHeaders=host;x-amz-date;x-amz-target, Signature=0123456789abcdef"
)
PUT, GET, DELETE, LIST = (
    f"{verb}MobileDeviceAccessOverride{plural}"
    for verb, plural in (("Put", ""), ("Get", ""), ("Delete", ""), ("List", "s"))
)
PARSER = botocore.parsers.create_parser("json")


class RefusedError(Exception):
    """An error answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def emulator(clock: Clock | None = None, **settings: Any) -> Emulator:
    made = Emulator(clock=clock or Clock())
    made.change_settings(settings)
    return made


async def answer(to: Emulator, operation: str, request: Any, **more: Any) -> tuple[int, dict[str, str], bytes]:
    headers = {"x-amz-target": f"WorkMailService.{operation}", "authorization": SIGNED} | more.pop("headers", {})
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return await to.handle(headers, body, **more)


def parsed(operation: str, status: int, headers: dict[str, str], body: bytes) -> Any:
    """The answer as botocore's parser gives it; an error is raised, and an answer outside the model fails."""
    model = service_model().operation_model(operation)
    parse = {"status_code": status, "headers": headers, "body": body}
    found = PARSER.parse(parse, model.output_shape)
    if status >= 300:
        raise RefusedError(status, found["Error"]["Code"], found["Error"]["Message"])
    assert complaints_about(model, json.loads(body)) == []
    found.pop("ResponseMetadata")
    return found


def complaints_about(model: OperationModel, document: Any) -> list[str]:
    complaints: list[str] = []
    if model.output_shape is None:
        return [] if document == {} else [f"{document} where nothing is modelled"]
    compile_check(model.output_shape)(document, "", complaints)
    _unknown_members(document, model.output_shape, complaints)
    return complaints


def _unknown_members(value: Any, shape: Any, complaints: list[str]) -> None:
    if shape.type_name == "structure":
        complaints.extend(f"{name} is not in {shape.name}" for name in value if name not in shape.members)
        for name in value.keys() & shape.members.keys():
            _unknown_members(value[name], shape.members[name], complaints)
    elif shape.type_name == "list":
        for item in value:
            _unknown_members(item, shape.member, complaints)


def ask(to: Emulator, operation: str, /, **request: Any) -> Any:
    """One call in the seeded organization, unless another is given."""
    whole = {"OrganizationId": ORGANIZATION, **request}
    return parsed(operation, *asyncio.run(answer(to, operation, whole)))


def outcome(to: Emulator, operation: str, /, **request: Any) -> RefusedError | None:
    """The refusal, if it was refused."""
    try:
        ask(to, operation, **request)
    except RefusedError as refused:
        return refused
    return None


def refusal(to: Emulator, operation: str, /, **request: Any) -> RefusedError:
    refused = outcome(to, operation, **request)
    assert refused is not None, f"{operation} {request} was answered"
    return refused


def control(to: Emulator, method: str, name: str, document: Any = None, **query: str) -> tuple[int, Any]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode() if document is not None else b""
    values = {key: [value] for key, value in query.items()}
    status, _, answered = asyncio.run(controls.handle(to, method, f"/_emulator/{name}", body, values))
    return status, json.loads(answered)


def listed(to: Emulator, **request: Any) -> list[Any]:
    """All rows of a listing, all pages."""
    rows: list[Any] = []
    token: dict[str, str] = {}
    while True:
        page = ask(to, LIST, **request, **token)
        rows += page["Overrides"]
        if "NextToken" not in page:
            return rows
        token = {"NextToken": page["NextToken"]}
