"""Joins the functions to AWS: packaged settings, environment variables, and clients behind the protocol's ports.

Each function imports only the gateways that it uses. Imports inside functions keep the other functions' cold starts
short. Clients live as long as the Lambda environment.
"""

import hmac
import json
import os
import re
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device_lockout.values.errors import SettingsError
from device_lockout.values.settings import Settings, load

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger, Metrics
    from mypy_boto3_dynamodb import DynamoDBClient

    from device_lockout.aws.call_rate import EnoughTime, Pace
    from device_lockout.aws.command_queue import CommandQueue
    from device_lockout.aws.event_bus import Bus
    from device_lockout.aws.ledger import Ledger
    from device_lockout.aws.workmail import WorkMail
    from device_lockout.inbound.webhook import Receiver
    from device_lockout.protocol.ports import Ports

PACKAGE = Path(__file__).parent.parent

ADDRESS = r"[\w.%+'-]+@[\w-]+(?:\.[\w-]+)+"  # An e-mail address.


def logger_and_metrics() -> "tuple[Logger, Metrics]":
    """Return a function's own."""
    from aws_lambda_powertools import Logger, Metrics

    return Logger(json_serializer=log_line), Metrics()


def log_line(fields: dict[str, Any]) -> str:
    """Return a line of the log as JSON. Each e-mail address and each name in the field ``about`` becomes a short hash.

    The same name in any case has the same hash, so lines about a device or a user can be joined. The key is the
    stack's: nobody can try names without it. Without a key names are shown.
    """
    about = [name for name in fields.pop("about", ()) if name]
    key = os.environ.get("LOCKOUT_LOG_KEY", "").encode()
    if key:
        names = "|".join([*map(re.escape, sorted(about, key=len, reverse=True)), ADDRESS])
        personal = re.compile(rf"(?<!\w)(?:{names})(?!\w)", re.IGNORECASE)
        own = {"level", "location", "timestamp", "service"}
        fields = {name: value if name in own else _hashed(value, personal, key) for name, value in fields.items()}
    return json.dumps(fields, default=str, separators=(",", ":"), ensure_ascii=False)


def _hashed(value: Any, personal: re.Pattern[str], key: bytes) -> Any:
    if isinstance(value, dict):
        return {name: _hashed(each, personal, key) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hashed(each, personal, key) for each in value]
    if not isinstance(value, str):
        return value
    return personal.sub(lambda name: f"#{hmac.digest(key, name[0].casefold().encode(), 'sha256').hex()[:10]}", value)


@cache
def settings() -> Settings:
    """Return the packaged settings, read once.

    Raises:
        SettingsError: The package has no settings, or settings of another version of this code.
    """
    path = PACKAGE / "settings.json"
    try:
        return load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"{path} is missing: expected the settings that the build writes beside the handlers"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{path} can't be read ({error!r}): build the package again") from error


def environment(name: str) -> str:
    """Return an environment variable that the stack sets.

    Raises:
        SettingsError: It is missing or empty.
    """
    value = os.environ.get(name, "")
    if not value:
        raise SettingsError(f"environment variable {name} is not set: expected the value that the stack gives it")
    return value


@cache
def command_queue() -> "CommandQueue":
    from device_lockout.aws.command_queue import CommandQueue

    return CommandQueue(environment("COMMANDS_QUEUE_URL"), os.environ.get("DEAD_COMMANDS_QUEUE_URL", ""))


def ledger() -> "Ledger":
    from device_lockout.aws.ledger import Ledger

    return Ledger(_ledger_client(), environment("LEDGER_TABLE"))


@cache
def bus() -> "Bus":
    from device_lockout.aws import event_bus

    return event_bus.Bus(event_bus.client(), environment("LOCKOUT_EVENT_BUS"))


def ports(attempts: int, pace: "Pace", enough_time: "EnoughTime") -> "Ports":
    """Return the protocol's ports for one invocation. botocore tries a call to WorkMail so many times in all.

    The rate of calls to WorkMail holds for all invocations of an environment.
    """
    from device_lockout.protocol.ports import Ports

    workmail = _workmail(attempts)(pace=pace, enough_time=enough_time)
    return Ports(workmail, ledger(), command_queue(), bus())


@cache
def webhook_receiver() -> "Receiver":
    from device_lockout.aws import secret_store
    from device_lockout.aws.webhook_log import WebhookLog
    from device_lockout.inbound.webhook import Receiver

    senders = {each.name: each for each in settings().webhooks}
    secrets = secret_store.SecretStore(secret_store.client())
    return Receiver(senders, secrets, WebhookLog(_ledger_client(), environment("LEDGER_TABLE")), bus())


@cache
def _ledger_client() -> "DynamoDBClient":
    from device_lockout.aws import ledger_table

    return ledger_table.client()


@cache
def _workmail(attempts: int) -> "partial[WorkMail]":
    from device_lockout.aws.workmail import RecentUsers, WorkMail, client

    return partial(WorkMail, client(settings().limits.workmail_timeout, attempts), recent=RecentUsers())
