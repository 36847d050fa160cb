"""`lockout COMMAND`. The exit status is 0 for success, 1 for failure, also in part, and 2 for wrong usage."""

import argparse
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from configuration import loader
from configuration.loader import ConfigurationError
from device_lockout.values.errors import LockoutError
from lockout import export, handover, inventory, mappings

CLIENT_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 10})
"""A command line has time. It repeats throttled calls for about a minute."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Results go to standard output, errors to standard error."""
    parser = argparse.ArgumentParser(prog="lockout", description="Operate a deployment of device lockout.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    try_mapping = commands.add_parser(
        "try-mapping",
        help="say what each source would make of an event, without calling AWS",
        description="Say what each configured source would make of an event, or why it would be rejected.",
    )
    try_mapping.add_argument(
        "events",
        type=Path,
        nargs="+",
        metavar="EVENT.json",
        help="an event as EventBridge delivers it, a .jsonl file of them, or a directory",
    )
    _add_config(try_mapping, default="local")

    inventory_ = commands.add_parser("inventory", help="the devices that the ledger knows")
    inventory_commands = inventory_.add_subparsers(dest="inventory_command", required=True, metavar="COMMAND")
    import_ = inventory_commands.add_parser(
        "import",
        help="enrol the devices of a CSV file",
        description="Enrol the devices of a CSV file. It needs the columns userId and deviceId. It may have"
        " serialNumber, assetTag, organizationId, reference and note. If any line is wrong, nothing is sent, unless"
        " --valid-lines says otherwise.",
    )
    import_.add_argument("file", type=Path, metavar="FILE.csv")
    import_.add_argument("--check", action="store_true", help="check the lines and send nothing")
    import_.add_argument(
        "--column",
        action="append",
        default=[],
        type=_column,
        metavar="FIELD=NAME",
        help='which column fills a field, such as deviceId="Exchange Device ID"; may be repeated',
    )
    import_.add_argument(
        "--ignore-other-columns", action="store_true", help="leave out columns that fill no field, such as a model"
    )
    import_.add_argument("--valid-lines", action="store_true", help="send the good lines, even if others are wrong")
    import_.add_argument("--source", default="inventory", help="report as this source (%(default)s)")
    _add_config(import_)

    export_ = commands.add_parser(
        "export",
        help="print every override: whose it is, why it is there and until when",
        description="Print every override of the deployment's organizations, or none if one can't be read.",
    )
    export_.add_argument("--format", choices=("csv", "json"), default="csv", help="which form (%(default)s)")
    export_.add_argument(
        "--ledger-table", metavar="NAME", help="the ledger's table, for covered ALLOWs (default: the stack's)"
    )
    _add_config(export_)

    text = "write everything that must not be lost when WorkMail ends, with commands for Exchange, or nothing"
    handover_ = commands.add_parser("handover", help=text, description=text[0].upper() + text[1:] + ".")
    handover_.add_argument("directory", type=Path, metavar="DIRECTORY", help="a new one")
    handover_.add_argument("--ledger-table", metavar="NAME", help="the ledger's table (default: the stack's)")
    _add_config(handover_)

    chosen = parser.parse_args(arguments)
    now = datetime.now(UTC)
    try:
        deployment = loader.load(chosen.config)
        if chosen.command == "try-mapping":
            return mappings.try_events(chosen.events, deployment, now)
        clients = partial(boto3.client, region_name=deployment.region, config=CLIENT_CONFIG)
        if chosen.command == "export":
            return export.export(deployment, clients, chosen.ledger_table, chosen.format, now)
        if chosen.command == "handover":
            return handover.handover(deployment, clients, chosen.ledger_table, chosen.directory, now)
        client = None if chosen.check else clients("events")
        return inventory.import_file(
            chosen.file,
            chosen.source,
            deployment,
            client,
            now,
            dict(chosen.column),
            ignore_others=chosen.ignore_other_columns,
            valid_lines=chosen.valid_lines,
        )
    except (BotoCoreError, ClientError, ConfigurationError, LockoutError, OSError, TypeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


def _column(text: str) -> tuple[str, str]:
    field, equals, name = text.partition("=")
    if not equals or not name.strip() or field not in inventory.COLUMNS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected one of {', '.join(inventory.COLUMNS)}, '=' and a name")
    return field, name.strip()


def _add_config(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add `--config`. Only a command that makes no calls may have a default."""
    text = "which config/NAME.toml" + (" (%(default)s)" if default else "")
    parser.add_argument("--config", required=default is None, default=default, metavar="NAME", help=text)


if __name__ == "__main__":
    sys.exit(main())
