"""Dead letters: what could not be delivered or done, and its way back.

A late message does no harm: the time of its event counts.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import click

from device_lockout.values import instant, wire
from device_lockout.values.errors import UnreadableError
from lockout import answers, mappings, sweeping
from lockout.act import confirm
from lockout.deployment import DEAD_LETTERS, Deployment
from lockout.errors import DONE, NO, CommandError

_COLUMNS = {"queue": 12, "since": 27, "message": 0}
_BATCH = 10

queue_option = click.option("--queue", type=click.Choice([*DEAD_LETTERS]), help="only this queue")


@click.group()
def dead() -> None:
    """What ended up in a dead-letter queue, and its way back."""


@dead.command(epilog=answers.examples("lockout dead show", "lockout dead show --queue commands --json"))
@queue_option
@answers.forms
@click.pass_obj
def show(deployment: Deployment, queue: str | None, form: str | None) -> int:
    """Print each dead letter in words. The exit status is 1 if there is any.

    It is hidden from others for ten seconds meanwhile.
    """
    found = (
        (name, letter) for name in ([queue] if queue else DEAD_LETTERS) for letter in letters(deployment, name, 10)
    )
    count = answers.rows((_row(*each) for each in found), _COLUMNS, form)
    if not count:
        answers.say("there are no dead letters")
    return NO if count else DONE


@dead.command("send-back", epilog=answers.examples("lockout dead send-back --queue commands --yes"))
@queue_option
@click.option("--yes", is_flag=True, help="do not ask")
@click.pass_obj
def send_back(deployment: Deployment, queue: str | None, *, yes: bool) -> int:
    """Send dead letters back to where they were going, once their cause is mended. It takes one of the `operators`.

    A missed sweep is asked for again.
    """
    if not yes:
        confirm("Is the cause mended, and shall they go back?", "--yes")
    count = 0
    for name in [queue] if queue else DEAD_LETTERS:
        for letter in letters(deployment, name, 60):
            _send(deployment, name, letter)
            url = deployment.outputs[DEAD_LETTERS[name]]
            deployment.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"])
            count += 1
            answers.line(f"{name}: {_words(letter)}")
    answers.say(f"sent back: {count}")
    return DONE


def letters(deployment: Deployment, name: str, hidden: int) -> Iterator[dict[str, Any]]:
    """Yield a queue's messages, each once. They are hidden for so many seconds."""
    seen: set[str] = set()
    while True:
        answer = deployment.client("sqs").receive_message(
            QueueUrl=deployment.outputs[DEAD_LETTERS[name]],
            MaxNumberOfMessages=_BATCH,
            VisibilityTimeout=hidden,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        fresh = [each for each in answer.get("Messages", []) if each["MessageId"] not in seen]
        if not fresh:
            return
        seen |= {each["MessageId"] for each in fresh}
        yield from fresh


def _row(name: str, letter: dict[str, Any]) -> dict[str, Any]:
    since = instant.from_epoch_milliseconds(letter["Attributes"]["SentTimestamp"])
    why = letter.get("MessageAttributes", {}).get("ERROR_MESSAGE", {}).get("StringValue")
    return {"queue": name, "since": since, "id": letter["MessageId"], "why": why, "message": _words(letter)}


def _words(letter: dict[str, Any]) -> str:
    """Say what a message asks for."""
    with suppress(UnreadableError):
        return mappings.describe(wire.load(letter["Body"]))
    try:
        body = json.loads(letter["Body"])
        event = body.get("event", body)
        what = f"{event.get('detail-type') or 'no event'} of {event.get('source')}"
        return f"{what}: {json.dumps(event.get('detail', event))}"
    except (ValueError, AttributeError):
        return f"no JSON: {letter['Body'][:100]}"


def _send(deployment: Deployment, name: str, letter: dict[str, Any]) -> None:
    sqs, body = deployment.client("sqs"), letter["Body"]
    target = letter.get("MessageAttributes", {}).get("TARGET_ARN", {}).get("StringValue", "")
    if name == "sweeps":
        asked = json.loads(body)
        sweeping.ask_for(deployment, asked.get("requestPayload", asked)["organizationId"])
    elif name == "commands":
        group = letter["Attributes"]["MessageGroupId"]
        url = deployment.outputs["CommandsQueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=str(uuid.uuid4()))
    elif ":event-bus/" in target:  # an outcome to another bus
        event = json.loads(body)
        told = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
        entry: Any = {"EventBusName": target, "Time": event["time"], **told}
        (answer,) = deployment.client("events").put_events(Entries=[entry])["Entries"]
        if "EventId" not in answer:
            raise CommandError(f"{target} did not take an outcome: {answer.get('ErrorMessage')}")
    elif ":sns:" in target:
        message = json.dumps(json.loads(body)["detail"]["message"])
        deployment.client("sns").publish(TopicArn=deployment.outputs["NoticesTopicArn"], Message=message)
    else:
        source = _mapped_source(deployment, letter) if name == "undelivered" else None
        wrapped = json.dumps({"mappedSource": source, "event": json.loads(body)}) if source else body
        sqs.send_message(QueueUrl=deployment.outputs["ReportsQueueUrl"], MessageBody=wrapped)


def _mapped_source(deployment: Deployment, letter: dict[str, Any]) -> str | None:
    """Return the mapped source whose rule could not deliver an event, as the rule's own target says it."""
    bus, _, rule = letter["MessageAttributes"]["RULE_ARN"]["StringValue"].partition(":rule/")[2].rpartition("/")
    where = {"EventBusName": bus} if bus else {}
    (target,) = deployment.client("events").list_targets_by_rule(Rule=rule, **where)["Targets"]
    template = target.get("InputTransformer", {}).get("InputTemplate", "{}").replace("<aws.events.event.json>", "{}")
    source: str | None = json.loads(template).get("mappedSource")
    return source
