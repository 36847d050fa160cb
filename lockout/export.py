"""The export: every override with its user and what its tag says, for the time after WorkMail.

The export is whole or absent. Nothing is printed before the last page is read.
The operator needs the permissions `workmail:ListMobileDeviceAccessOverrides` and `workmail:ListUsers`. The ledger takes
`dynamodb:Query`, and `cloudformation:DescribeStacks` to find its table.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

from botocore.exceptions import ClientError

from configuration.loader import Configuration
from device_lockout.aws.ledger import Ledger
from device_lockout.aws.workmail import WorkMail
from device_lockout.values.override import Override
from device_lockout.values.tag import Broken, HandWritten, Tag, write_time
from lockout import plain

COLUMNS = (
    *("organizationId", "userId", "userName", "email", "deviceId", "effect"),
    *("kind", "why", "until", "was", "reference", "description"),
)
PRIOR_COLUMNS = ("priorEffect", "priorDescription")
"""The ALLOW that a lock covers. Without the ledger these columns are left out, so that empty always means none."""

PAGE_SIZE = 100
"""The most rows of one page (https://docs.aws.amazon.com/workmail/latest/APIReference/API_ListUsers.html)."""

type Clients = Callable[[str], Any]
"""Makes the client of a named AWS service."""
type Row = dict[str, str | None]


def export(deployment: Configuration, clients: Clients, ledger_table: str | None, form: Literal["csv", "json"]) -> int:
    """Print every override of the deployment's organizations. Return 0.

    Args:
        deployment: The deployment.
        clients: Makes the clients.
        ledger_table: The ledger's table. By default it is found by the deployment's stack.
        form: The form of the output.

    Raises:
        LockoutError: WorkMail or the ledger can't be read. Nothing was printed.
        ClientError: WorkMail's users can't be read. Nothing was printed.
        BotoCoreError: The same, without an answer.
    """
    table = ledger_table or _ledger_table(deployment.settings.owner, clients)
    rows: list[Row] = []
    for organization in deployment.settings.organizations:
        rows.extend(_rows(organization.id, table, deployment.settings.owner, clients))
    if form == "json":
        print(plain.text(json.dumps(rows, indent=2, ensure_ascii=False)))
    else:
        columns = (*COLUMNS, *PRIOR_COLUMNS) if table else COLUMNS
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: plain.cell(value) for name, value in row.items()} for row in rows)
    print(f"{len(rows)} overrides: all there are", file=sys.stderr)
    return 0


def _ledger_table(owner: str, clients: Clients) -> str | None:
    """Return the ledger's table from the stack's outputs. If it is not there, print why and return None."""
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
    """Yield the rows of one organization in WorkMail's order. A deleted user's row has an ID only."""
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
            **_tag_columns(each.override, owner),
            "description": each.override.description,
        }
        if table:
            record = records.get(each.key)
            prior = record.prior if record is not None and row["was"] == "allow" else None
            row["priorEffect"], row["priorDescription"] = (prior.effect, prior.description) if prior else (None, None)
        yield row


def _tag_columns(override: Override, owner: str) -> Row:
    """Return what the description says. The text after the tag is the reference."""
    columns: Row = dict.fromkeys(("kind", "why", "until", "was", "reference"))
    match override.read(owner):
        case Tag(why=why, until=until, was=was):
            columns |= {"kind": "ours", "why": why, "until": write_time(until), "was": was}
        case HandWritten(until=until):
            columns |= {"kind": "hand-written", "until": write_time(until)}
        case Broken():
            return columns | {"kind": "broken"}
        case _:
            return columns | {"kind": "foreign"}
    return columns | {"reference": (override.description or "").partition("]")[2].strip() or None}
