"""The way out: every override there is, with whose it is and what its tag says, in a file that outlives WorkMail.

It is whole or it is not there: nothing is written before the last page was read.
IAM: ``workmail:ListMobileDeviceAccessOverrides`` and ``ListUsers``; ``dynamodb:Query`` on the ledger and, to find it,
``cloudformation:DescribeStacks``.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

from botocore.exceptions import ClientError

from device_lockout.aws.ledger import Ledger
from device_lockout.aws.workmail import WorkMail
from device_lockout.values.override import Override
from device_lockout.values.tag import Broken, HandWritten, Tag, write_time
from lockout.deployment import Deployment

COLUMNS = (
    *("organizationId", "userId", "userName", "email", "deviceId", "effect"),
    *("kind", "why", "until", "was", "reference", "description"),
)
PRIOR_COLUMNS = ("priorEffect", "priorDescription")
"""The ALLOW that a lock of ours covers. Without the ledger they are left out, so that empty always means none."""

PAGE_SIZE = 100
"""The most that one ListUsers answers (https://docs.aws.amazon.com/workmail/latest/APIReference/API_ListUsers.html)."""

type Clients = Callable[[str], Any]
"""Makes a client of the AWS service of that name."""
type Row = dict[str, str | None]


def export(deployment: Deployment, clients: Clients, ledger_table: str | None, form: Literal["csv", "json"]) -> int:
    """Print every override of the deployment's organizations, and 0 once all are printed.

    Whatever can't be read is raised before anything is printed: LockoutError, or botocore's own errors.
    """
    table = ledger_table or _ledger_table(deployment.configuration.owner, clients)
    rows: list[Row] = []
    for organization in deployment.settings.organizations:
        rows.extend(_rows(organization.id, table, deployment.configuration.owner, clients))
    if form == "json":
        json.dump(rows, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        columns = (*COLUMNS, *PRIOR_COLUMNS) if table else COLUMNS
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} overrides: all there are", file=sys.stderr)
    return 0


def _ledger_table(owner: str, clients: Clients) -> str | None:
    """The ledger's table by the outputs of the deployment's stack; None, and people are told, where it is not there."""
    stack = f"device-lockout-{owner}"
    try:
        described = clients("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        because = str(error)
    else:
        for output in described.get("Outputs", []):
            if output["OutputKey"] == "LedgerTableName":
                return str(output["OutputValue"])
        because = "it has no output LedgerTableName"
    print(
        f"without {' and '.join(PRIOR_COLUMNS)}, since stack {stack} does not say where the ledger is: {because};"
        " name its table with --ledger-table",
        file=sys.stderr,
    )
    return None


def _rows(organization: str, table: str | None, owner: str, clients: Clients) -> Iterator[Row]:
    """The rows of one organization, in WorkMail's order; a user whom WorkMail no longer lists has an ID only."""
    workmail = clients("workmail")
    listed = [each for page, _ in WorkMail(workmail).pages(organization) for each in page]
    user_pages = workmail.get_paginator("list_users").paginate(
        OrganizationId=organization, PaginationConfig={"PageSize": PAGE_SIZE}
    )
    users = {user["Id"]: user for page in user_pages for user in page["Users"]}
    ledger = Ledger(clients("dynamodb"), table) if table else None
    records = ledger.records(organization, ledger.users(organization)) if ledger else {}
    for each in listed:
        user = users.get(each.key.user_id, {})
        row: Row = {
            "organizationId": organization,
            "userId": each.key.user_id,
            "userName": user.get("Name"),
            "email": user.get("Email"),
            "deviceId": each.key.device,
            "effect": each.override.effect,
            **_told(each.override, owner),
            "description": each.override.description,
        }
        if table:
            record = records.get(each.key)
            prior = record.prior if record is not None and row["was"] == "allow" else None
            row["priorEffect"], row["priorDescription"] = (prior.effect, prior.description) if prior else (None, None)
        yield row


def _told(override: Override, owner: str) -> Row:
    """What the description says; ``reference`` are the reporter's or the person's own words, after the tag."""
    reading = override.read(owner)
    told: Row = dict.fromkeys(("kind", "why", "until", "was", "reference"))
    match reading:
        case Tag(why=why, was=was):
            told |= {"kind": "ours", "why": why, "until": write_time(reading.until), "was": was}
        case HandWritten(until=until):
            told |= {"kind": "hand-written", "until": write_time(until)}
        case Broken():
            return told | {"kind": "broken"}
        case _:
            return told | {"kind": "foreign"}
    return told | {"reference": (override.description or "").partition("]")[2].strip() or None}
