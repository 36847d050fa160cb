"""Is this deployment whole? One line for each question, with the command that mends it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from botocore.exceptions import ClientError

from configuration import loader
from device_lockout.aws.ledger_table import TIMELINE
from device_lockout.values.errors import LockoutError
from device_lockout.values.outcome import SOURCE
from lockout import answers
from lockout.deployment import DEAD_LETTERS, Deployment
from lockout.errors import DENIED, DONE, NO, explain

DEPLOY = "npx cdk deploy"

type Finding = tuple[str, str, str]
"""``ok``, ``wrong`` or ``note``; what was found; and the command that mends it."""


@click.command(epilog=answers.examples("lockout doctor", "lockout doctor --config prod"))
@click.option("--config", metavar="NAME", help="compare the stack with config/NAME.toml, too")
@answers.forms
@click.pass_obj
def doctor(deployment: Deployment, config: str | None, form: str | None) -> int:
    """Say whether the deployment is whole, a line for each question. The exit status is 1 if anything is wrong."""
    wrong = 0

    def rows() -> Iterator[dict[str, str]]:
        nonlocal wrong
        for check in (*CHECKS, *([_settings(config)] if config else [])):
            for state, said, mend in answered(check, deployment):
                wrong += state == "wrong"
                yield {"state": state, "found": said if form or not mend else f"{said}  {mend}", "mend": mend}

    answers.rows(rows(), {"state": 6, "found": 0}, form)
    return NO if wrong else DONE


def answered(check: Callable[[Deployment], Iterator[Finding]], deployment: Deployment) -> Iterator[Finding]:
    """Yield what a check finds. What can't be asked is no reason to trust."""
    try:
        yield from check(deployment)
    except (ClientError, LockoutError) as error:
        yield "wrong", f"{check.__name__.strip('_').replace('_', ' ')}: {explain(error)}", "aws sts get-caller-identity"


def _stack(there: Deployment) -> Iterator[Finding]:
    whole = there.status.endswith("_COMPLETE") and "ROLLBACK" not in there.status
    yield "ok" if whole else "wrong", f"stack {there.stack}: {there.status}", "" if whole else DEPLOY


def _settings(name: str) -> Callable[[Deployment], Iterator[Finding]]:
    def settings(there: Deployment) -> Iterator[Finding]:
        same = loader.load(name).settings == there.settings
        said = f"config/{name}.toml {'is what is deployed' if same else 'is not what is deployed'}"
        yield "ok" if same else "wrong", said, "" if same else f"lockout config diff {name}"

    return settings


def _queue_consumers(there: Deployment) -> Iterator[Finding]:
    for name in ("RouteEventsFunctionName", "ApplyCommandsFunctionName"):
        found = there.client("lambda").list_event_source_mappings(FunctionName=there.outputs[name])
        for mapping in found["EventSourceMappings"] or [{"State": "Missing", "UUID": "?"}]:
            on = mapping["State"] in ("Enabled", "Updating", "Enabling")
            mend = f"aws lambda update-event-source-mapping --enabled --uuid {mapping['UUID']}"
            yield "ok" if on else "wrong", f"{name[:-12]} takes its queue: {mapping['State']}", "" if on else mend


def _schedules(there: Deployment) -> Iterator[Finding]:
    scheduler = there.client("scheduler")
    pages = scheduler.get_paginator("list_schedules").paginate()
    ours = there.outputs["SweepOverridesFunctionName"]
    found = [each for page in pages for each in page["Schedules"] if each["Target"]["Arn"].endswith(f":{ours}")]
    for each in found:
        on = each["State"] == "ENABLED"
        yield "ok" if on else "wrong", f"schedule {each['Name']}: {each['State']}", "" if on else DEPLOY
    if len(found) != len(there.settings.organizations):
        yield "wrong", f"{len(found)} schedules of {len(there.settings.organizations)}", DEPLOY


def _last_sweeps(there: Deployment) -> Iterator[Finding]:
    now = datetime.now(UTC)
    for each in there.settings.organizations:
        last = there.ledger.last_sweep(each.id)
        late = last is None or now - last.began > 2 * there.settings.sweep.every + timedelta(minutes=15)
        said = f"last sweep of {each.alias}: {f'{answers.apart(last.began, now)} ago' if last else 'never'}"
        yield "wrong" if late else "ok", said, "lockout sweep now" if late else ""


def _timeline(there: Deployment) -> Iterator[Finding]:
    """Look for the index in the ledger. A table that was made elsewhere and adopted may lack it."""
    table = there.outputs["LedgerTableName"]
    found = there.client("dynamodb").describe_table(TableName=table)["Table"].get("GlobalSecondaryIndexes", [])
    state = next((each.get("IndexStatus", "ACTIVE") for each in found if each["IndexName"] == TIMELINE), "missing")
    index = f"IndexName={TIMELINE},KeySchema=[{{AttributeName=month,KeyType=HASH}},{{AttributeName=at,KeyType=RANGE}}]"
    mend = (
        f"aws dynamodb update-table --table-name {table}"
        " --attribute-definitions AttributeName=month,AttributeType=S AttributeName=at,AttributeType=S"
        f" --global-secondary-index-updates 'Create={{{index},Projection={{ProjectionType=ALL}}}}'"
    )
    yield (
        "ok" if state == "ACTIVE" else "wrong",
        f"the ledger's index of what happened: {state}",
        mend * (state == "missing"),
    )


def _subscriptions(there: Deployment) -> Iterator[Finding]:
    topic = there.outputs["NoticesTopicArn"]
    pages = there.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    found = [each for page in pages for each in page["Subscriptions"]]
    if not found:
        mend = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS"
        yield "wrong", "nobody is told of anything: the topic of the notices has no subscription", mend
    for each in found:
        confirmed = each["SubscriptionArn"].startswith("arn:")
        said = f"{each['Endpoint']} {'gets notices' if confirmed else 'has not confirmed its subscription'}"
        yield "ok" if confirmed else "wrong", said, "" if confirmed else "open the mail from AWS and confirm"


def _bus_policy(there: Deployment) -> Iterator[Finding]:
    """Try to speak as the deployment itself. An event that is taken pages nobody, and no rule of ours takes it."""
    entry = {"EventBusName": there.bus, "Source": SOURCE, "DetailType": "Trying the policy", "Detail": "{}"}
    try:
        (answer,) = there.client("events").put_events(Entries=[entry])["Entries"]
        code = answer.get("ErrorCode", "")
    except ClientError as error:
        code = error.response["Error"]["Code"]
    refused = code.startswith(DENIED)
    said = f"the bus {'refuses' if refused else 'does not refuse'} an event of source {SOURCE} from others (tried)"
    yield "ok" if refused else "wrong", said, "" if refused else f"aws events describe-event-bus --name {there.bus}"


def _dead_letters(there: Deployment) -> Iterator[Finding]:
    count = there.waiting(*DEAD_LETTERS.values())
    yield "wrong" if count else "ok", f"dead letters: {count}", "lockout dead show" if count else ""


def _alarms(there: Deployment) -> Iterator[Finding]:
    pages = there.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=there.stack)
    found = [each for page in pages for each in page["MetricAlarms"]]
    on = [each for each in found if each["StateValue"] == "ALARM"]
    for each in on:
        yield "wrong", f"alarm is on: {each['AlarmDescription']}", "docs/runbook.md"
    if not on:
        yield "ok" if found else "wrong", f"alarms that are on: 0 of {len(found)}", ""


def _secrets(there: Deployment) -> Iterator[Finding]:
    for each in there.settings.webhooks:
        found: Any = there.client("secretsmanager").describe_secret(SecretId=each.secret)
        gone = "DeletedDate" in found
        said = f"secret {each.secret} of webhook {each.name} {'is to be deleted' if gone else 'is there'}"
        mend = f"aws secretsmanager restore-secret --secret-id {each.secret}"
        yield "wrong" if gone else "ok", said, mend if gone else ""


def _workmail(there: Deployment) -> Iterator[Finding]:
    now = datetime.now(UTC)
    for each in there.settings.organizations:
        _, date = next(iter(there.workmail.pages(each.id)))
        apart = abs(date - datetime.now(UTC))
        off = apart > there.settings.limits.clock_skew
        yield "wrong" if off else "ok", f"WorkMail's clock and this one in {each.alias}: {apart.seconds} s apart", ""
        left = f"{each.ends_at:%d %b %Y}, in {(each.ends_at - now).days} days"
        yield "note", f"WorkMail of {each.alias} ends on {left}", "lockout handover after-workmail"


READING = (
    *(_stack, _queue_consumers, _schedules, _last_sweeps, _subscriptions),
    *(_timeline, _dead_letters, _alarms, _secrets, _workmail),
)
"""The checks that only read."""
CHECKS = (*READING, _bus_policy)
