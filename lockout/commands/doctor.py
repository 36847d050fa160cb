"""Is this deployment whole? One line for each question, with the command that mends it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import click
from botocore.exceptions import ClientError

from config_reader import loader
from device_lockout.aws.ledger_table import TIMELINE
from device_lockout.values.errors import LockoutError
from device_lockout.values.outcome import DRILL, SOURCE
from lockout import lookup, output
from lockout.deployment import DEAD_LETTERS, Deployment
from lockout.errors import DENIED, DONE, NO, explain

DEPLOY = "npx cdk deploy"
CONFIRM = "aws sns confirm-subscription --authenticate-on-unsubscribe true"
CONDITIONS = ("Device", "NotDevice")
"""Beginnings of a mobile device access rule's conditions."""

type Finding = tuple[str, str, str]
"""``ok``, ``wrong`` or ``note``; what was found; and the command that mends it."""
type Check = Callable[[Deployment], Iterator[Finding]]


@output.command("lockout doctor", "lockout doctor --config prod", prints="rows")
@click.option("--config", metavar="NAME", help="compare the stack with config/NAME.toml, too")
def doctor(deployment: Deployment, config: str | None, form: str | None) -> int:
    """Say whether the deployment is whole, a line for each question. The exit status is 1 if anything is wrong."""
    wrong = 0

    def rows() -> Iterator[dict[str, str]]:
        nonlocal wrong
        for check in (*CHECKS, *([_settings(config)] if config else [])):
            for state, said, mend in answered(check, deployment):
                wrong += state == "wrong"
                yield {"state": state, "found": said if form or not mend else f"{said}  {mend}", "mend": mend}

    output.rows(rows(), {"state": 6, "found": 0}, form)
    return NO if wrong else DONE


def answered(check: Check, deployment: Deployment) -> Iterator[Finding]:
    """Yield what a check finds. What can't be asked is no reason to trust."""
    try:
        yield from check(deployment)
    except (ClientError, LockoutError) as error:
        yield "wrong", f"{check.__name__.strip('_').replace('_', ' ')}: {explain(error)}", "aws sts get-caller-identity"


def found(well: bool, said: str, mend: str = DEPLOY) -> Finding:
    return ("ok", said, "") if well else ("wrong", said, mend)


def _stack(there: Deployment) -> Iterator[Finding]:
    whole = there.status.endswith("_COMPLETE") and "ROLLBACK" not in there.status
    yield found(whole, f"stack {there.stack}: {there.status}")


def _drift(there: Deployment) -> Iterator[Finding]:
    """Say what the last detection of drift found. It takes minutes, so it is not begun here."""
    (stack,) = there.client("cloudformation").describe_stacks(StackName=there.stack)["Stacks"]
    drift = stack.get("DriftInformation", {}).get("StackDriftStatus", "NOT_CHECKED")
    call = "describe-stack-resource-drifts" if drift == "DRIFTED" else "detect-stack-drift"
    mend = "" if drift == "IN_SYNC" else f"aws cloudformation {call} --stack-name {there.stack}"
    yield {"IN_SYNC": "ok", "DRIFTED": "wrong"}.get(drift, "note"), f"drift from the template: {drift}", mend


def _settings(name: str) -> Check:
    def settings(there: Deployment) -> Iterator[Finding]:
        same = loader.load(name).settings == there.settings
        said = f"config/{name}.toml {'is what is deployed' if same else 'is not what is deployed'}"
        yield found(same, said, f"lockout config diff {name}")

    return settings


def _queue_consumers(there: Deployment) -> Iterator[Finding]:
    for name in ("RouteEventsFunctionName", "ApplyCommandsFunctionName"):
        answer = there.client("lambda").list_event_source_mappings(FunctionName=there.outputs[name])
        for mapping in answer["EventSourceMappings"] or [{"State": "Missing", "UUID": "?"}]:
            on = mapping["State"] in ("Enabled", "Updating", "Enabling")
            mend = f"aws lambda update-event-source-mapping --enabled --uuid {mapping['UUID']}"
            yield found(on, f"{name[:-12]} takes its queue: {mapping['State']}", mend)


def _schedules(there: Deployment) -> Iterator[Finding]:
    """Look for the sweep's schedule of each organization, and the drill's two, whose target is the bus."""
    sweep, bus, count = f":{there.outputs['SweepOverridesFunctionName']}", f"/{there.outputs['EventBusName']}", 0
    wanted = len(there.settings.organizations) + 2 * (there.settings.source(DRILL) is not None)
    for each in there.listed("scheduler", "list_schedules", "Schedules"):
        if each["Target"]["Arn"].endswith((sweep, bus) if "Drill" in each["Name"] else sweep):
            count += "Digest" not in each["Name"]
            yield found(each["State"] == "ENABLED", f"schedule {each['Name']}: {each['State']}")
    if count != wanted:
        yield found(False, f"schedules: {count} of {wanted}")


def _last_sweeps(there: Deployment) -> Iterator[Finding]:
    now = datetime.now(UTC)
    for each in there.settings.organizations:
        last = there.ledger.last_sweep(each.id)
        on_time = last is not None and now - last.began <= 2 * there.settings.sweep.every + timedelta(minutes=15)
        said = f"last sweep of {each.alias}: {f'{output.apart(last.began, now)} ago' if last else 'never'}"
        yield found(on_time, said, "lockout sweep now")


def _drill(there: Deployment) -> Iterator[Finding]:
    if there.settings.source(DRILL):
        yield found(*lookup.drilled(there, datetime.now(UTC)))


def _timeline(there: Deployment) -> Iterator[Finding]:
    """Look for the index in the ledger. A table that was made elsewhere and adopted may lack it."""
    table = there.outputs["LedgerTableName"]
    indexes = there.client("dynamodb").describe_table(TableName=table)["Table"].get("GlobalSecondaryIndexes", [])
    state = next((each.get("IndexStatus", "ACTIVE") for each in indexes if each["IndexName"] == TIMELINE), "missing")
    index = f"IndexName={TIMELINE},KeySchema=[{{AttributeName=month,KeyType=HASH}},{{AttributeName=at,KeyType=RANGE}}]"
    mend = (
        f"aws dynamodb update-table --table-name {table}"
        " --attribute-definitions AttributeName=month,AttributeType=S AttributeName=at,AttributeType=S"
        f" --global-secondary-index-updates 'Create={{{index},Projection={{ProjectionType=ALL}}}}'"
    )
    said = f"the ledger's index of what happened: {state}"
    yield found(state == "ACTIVE", said, mend if state == "missing" else "")


def _subscriptions(there: Deployment) -> Iterator[Finding]:
    topic, chat = there.outputs["NoticesTopicArn"], there.outputs.get("ChatTopicArn")
    subscriptions = [*there.listed("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic)]
    if not subscriptions:
        mend = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS"
        yield found(False, "nobody is told of anything: the topic of the notices has no subscription", mend)
    if chat:
        channels = [*there.listed("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=chat)]
        mend = "aws chatbot describe-slack-channel-configurations"
        yield found(bool(channels), f"chat {'gets notices' if channels else 'gets none: no channel subscribed'}", mend)
    for each in subscriptions:
        confirmed, mail = each["SubscriptionArn"].startswith("arn:"), each["Protocol"].startswith("email")
        said = f"{each['Endpoint']} {'gets notices' if confirmed else 'has not confirmed its subscription'}"
        if confirmed and mail:
            asked = there.client("sns").get_subscription_attributes(SubscriptionArn=each["SubscriptionArn"])
            confirmed = asked["Attributes"].get("ConfirmationWasAuthenticated") == "true"
            said += "" if confirmed else ", until anybody who has a mail clicks its link to unsubscribe"
        yield found(confirmed, said, f"{CONFIRM} --topic-arn {topic} --token TOKEN")
    if subscriptions and not chat and all(each["Protocol"].startswith("email") for each in subscriptions):
        yield "note", "mail alone is subscribed to the notices. Without chat, nobody is told what it loses", ""


def _access_rules(there: Deployment) -> Iterator[Finding]:
    """Say what an override means. WorkMail lets a device in if a rule allows it, and none denies it.

    https://docs.aws.amazon.com/workmail/latest/adminguide/mobile-overrides.html
    """
    for each in there.settings.organizations:
        rules = there.client("workmail").list_mobile_device_access_rules(OrganizationId=each.id)["Rules"]
        of_all = {rule["Effect"] for rule in rules if not any(rule[key] for key in rule if key.startswith(CONDITIONS))}
        if "DENY" in of_all or not any(rule["Effect"] == "ALLOW" for rule in rules):
            said = "deny every device: only an ALLOW lets one in, and the end of a lock alone does not"
        elif of_all and all(rule["Effect"] == "ALLOW" for rule in rules):
            said = "allow every device: only a DENY keeps one out, and its end lets it in"
        else:
            said = "tell devices apart: a DENY keeps one out, and after its end they decide"
        yield "note", f"access rules of {each.alias} {said}", ""


def _bus_policy(there: Deployment) -> Iterator[Finding]:
    """Try to speak as the deployment itself. An event that is taken pages nobody, and no rule of ours takes it."""
    try:
        (answer,) = there.put(SOURCE, "Trying the policy", {})
        code = answer.get("ErrorCode", "")
    except ClientError as error:
        code = error.response["Error"]["Code"]
    refused = code.startswith(DENIED)
    said = f"the bus {'refuses' if refused else 'does not refuse'} an event of source {SOURCE} from others (tried)"
    yield found(refused, said, f"aws events describe-event-bus --name {there.outputs['EventBusName']}")


def _dead_letters(there: Deployment) -> Iterator[Finding]:
    count = there.waiting(*DEAD_LETTERS.values())
    yield found(not count, f"dead letters: {count}", "lockout dead show")


def _alarms(there: Deployment) -> Iterator[Finding]:
    alarms = [*there.listed("cloudwatch", "describe_alarms", "MetricAlarms", AlarmNamePrefix=there.stack)]
    on = [each for each in alarms if each["StateValue"] == "ALARM"]
    for each in on:
        yield found(False, f"alarm is on: {each['AlarmDescription']}", "docs/runbook.md")
    if not on:
        yield found(bool(alarms), f"alarms that are on: 0 of {len(alarms)}", "")


def _secrets(there: Deployment) -> Iterator[Finding]:
    """Call the webhooks' function without a proof, as anybody may. It knows the secrets, and nobody else reads them.

    It answers 503 before it refuses, if a secret can't be read, has less than 16 bytes or the wrong form.
    """
    for each in there.settings.webhooks:
        event = {"rawPath": f"/{each.name}", "requestContext": {"http": {"method": "HEAD"}}}
        function = there.outputs["ReceiveWebhooksFunctionName"]
        answer = there.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
        good = json.load(answer["Payload"]).get("statusCode") == 401
        said = f"secret {each.secret} of webhook {each.name} {'is good' if good else 'is missing, short or malformed'}"
        yield found(good, said, f"aws secretsmanager put-secret-value --secret-id {each.secret} --secret-string …")


def _quota(there: Deployment) -> Iterator[Finding]:
    """Look at what all functions of the account may run at once. New accounts may have 10.

    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    """
    most = there.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    mend = "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384"
    said = f"functions that may run at once in this account: {most} (100 at least)"
    yield found(most >= 100, said, f"{mend} --desired-value 1000")


def _workmail(there: Deployment) -> Iterator[Finding]:
    now = datetime.now(UTC)
    for each in there.settings.organizations:
        _, date = next(iter(there.workmail.pages(each.id)))
        apart = abs(date - datetime.now(UTC))
        agrees = apart <= there.settings.limits.clock_skew
        yield found(agrees, f"WorkMail's clock and this one in {each.alias}: {apart.seconds} s apart", "")
        left = f"{each.ends_at:%d %b %Y}, in {(each.ends_at - now).days} days"
        yield "note", f"WorkMail of {each.alias} ends on {left}", "lockout handover after-workmail"


READING = (
    *(_stack, _drift, _queue_consumers, _quota, _schedules, _last_sweeps, _drill, _subscriptions),
    *(_timeline, _dead_letters, _alarms, _secrets, _workmail, _access_rules),
)
"""The checks that only read."""
CHECKS = (*READING, _bus_policy)
