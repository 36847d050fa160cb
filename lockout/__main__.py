"""`lockout COMMAND`; exit status 0: done, 1: not, or not all, 2: it was called wrongly."""

import argparse
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from configuration.loader import ConfigurationError
from device_lockout.values.errors import LockoutError
from lockout import export, inventory, mappings
from lockout.deployment import Deployment

PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})
"""A command line has more time than a function: what is throttled is asked for again for about a minute."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; everything it has to say goes to standard output, what is wrong to standard error."""
    parser = argparse.ArgumentParser(prog="lockout", description="Operate a deployment of device lockout.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    trying = commands.add_parser(
        "try-mapping",
        help="say what each source would make of an event; touches nothing",
        description="Say what each configured source would make of an event, or why it would be rejected.",
    )
    trying.add_argument("event", type=Path, metavar="EVENT.json", help="an event as EventBridge delivers it")
    _names_a_deployment(trying, default="local")

    stock = commands.add_parser("inventory", help="which devices there are")
    stock_commands = stock.add_subparsers(dest="inventory_command", required=True, metavar="COMMAND")
    importing = stock_commands.add_parser(
        "import",
        help="enrol the devices of a CSV file",
        description="Enrol the devices of a CSV file with the columns userId and deviceId, and if you like"
        " serialNumber, assetTag, organizationId, reference, note. If any line is wrong nothing is sent, unless"
        " --valid-lines.",
    )
    importing.add_argument("file", type=Path, metavar="FILE.csv")
    importing.add_argument("--check", action="store_true", help="look at the lines only, and send nothing")
    importing.add_argument(
        "--valid-lines", action="store_true", help="leave out lines that are wrong and send the rest"
    )
    importing.add_argument("--source", default="inventory", help="report as this source (%(default)s)")
    _names_a_deployment(importing)

    exporting = commands.add_parser(
        "export",
        help="print every override: whose it is, why it is there and until when",
        description="Print every override of the deployment's organizations, all or none of them.",
    )
    exporting.add_argument("--format", choices=("csv", "json"), default="csv", help="which form (%(default)s)")
    exporting.add_argument(
        "--ledger-table", metavar="NAME", help="where the covered ALLOWs are (what the deployment's stack says)"
    )
    _names_a_deployment(exporting)

    chosen = parser.parse_args(arguments)
    try:
        deployment = Deployment.load(chosen.config)
        if chosen.command == "try-mapping":
            return mappings.try_event(chosen.event, deployment, datetime.now(UTC))
        clients = partial(boto3.client, region_name=deployment.configuration.region, config=PATIENT)
        if chosen.command == "export":
            return export.export(deployment, clients, chosen.ledger_table, chosen.format)
        client = None if chosen.check else clients("events")
        return inventory.import_file(
            chosen.file, chosen.source, deployment, client, datetime.now(UTC), valid_lines=chosen.valid_lines
        )
    except (BotoCoreError, ClientError, ConfigurationError, LockoutError, OSError, TypeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


def _names_a_deployment(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Whoever talks to AWS says of which deployment; only what touches nothing may have a default."""
    said = "which config/NAME.toml" + (" (%(default)s)" if default else "")
    parser.add_argument("--config", required=default is None, default=default, metavar="NAME", help=said)


if __name__ == "__main__":
    sys.exit(main())
