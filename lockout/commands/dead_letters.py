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
from lockout import output, sending
from lockout.commands import mapping, sweep
from lockout.deployment import DEAD_LETTERS, Deployment
from lockout.errors import DONE, NO, CommandError

queue_option = click.option("--queue", type=click.Choice([*DEAD_LETTERS]), help="only this queue")

dead = click.Group("dead", help="What ended up in a dead-letter queue, and its way back.")


@output.command("lockout dead show", "lockout dead show --queue commands --json", within=dead, prints="rows")
@queue_option
def show(deployment: Deployment, queue: str | None, form: str | None) -> int:
    """Print each dead letter in words. The exit status is 1 if there is any.

    It is hidden from others for ten seconds meanwhile.
    """
    found = (
        {
            "queue": name,
            "since": instant.from_epoch_milliseconds(letter["Attributes"]["SentTimestamp"]),
            "id": letter["MessageId"],
            "why": _attribute(letter, "ERROR_MESSAGE"),
            "message": _words(letter),
        }
        for name in ([queue] if queue else DEAD_LETTERS)
        for letter in letters(deployment, name, 10)
    )
    count = output.rows(found, {"queue": 12, "since": 27, "message": 0}, form)
    if not count:
        output.say("there are no dead letters")
    return NO if count else DONE


@output.command("lockout dead send-back --queue commands --yes", name="send-back", within=dead)
@queue_option
@output.yes
def send_back(deployment: Deployment, queue: str | None, *, yes: bool) -> int:
    """Send dead letters back to where they were going, once their cause is mended. It takes one of the `operators`.

    A missed sweep is asked for again. The exit status is 1 if one can't be read or is refused: it stays.
    """
    if not yes:
        sending.confirm("Is the cause mended, and shall they go back?", "--yes")
    count = stays = 0
    for name in [queue] if queue else DEAD_LETTERS:
        for letter in letters(deployment, name, 60):
            try:
                _send(deployment, name, letter)
            except (CommandError, ValueError, AttributeError, KeyError) as error:
                why = error if isinstance(error, CommandError) else "it is nothing that could go back"
                output.say(f"{name}: {letter['MessageId']} stays: {why}")
                stays += 1
                continue
            delete(deployment, name, letter)
            count += 1
            output.line(f"{name}: {_words(letter)}")
    output.say(f"sent back: {count}")
    return NO if stays else DONE


def letters(deployment: Deployment, name: str, hidden: int) -> Iterator[dict[str, Any]]:
    """Yield a queue's messages, each once. They are hidden for so many seconds."""
    seen: set[str] = set()
    while True:
        answer = deployment.client("sqs").receive_message(
            QueueUrl=deployment.outputs[DEAD_LETTERS[name]],
            MaxNumberOfMessages=10,
            VisibilityTimeout=hidden,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        fresh = [each for each in answer.get("Messages", []) if each["MessageId"] not in seen]
        if not fresh:
            return
        seen |= {each["MessageId"] for each in fresh}
        yield from fresh


def delete(deployment: Deployment, name: str, letter: dict[str, Any]) -> None:
    url = deployment.outputs[DEAD_LETTERS[name]]
    deployment.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"])


def _attribute(letter: dict[str, Any], name: str) -> Any:
    """Return what EventBridge wrote beside a message; None for nothing."""
    return letter.get("MessageAttributes", {}).get(name, {}).get("StringValue")


def _words(letter: dict[str, Any]) -> str:
    """Say what a message asks for."""
    with suppress(UnreadableError):
        return mapping.describe(wire.load(letter["Body"]))
    try:
        body = json.loads(letter["Body"])
        event = body.get("event", body)
        what = f"{event.get('detail-type') or 'no event'} of {event.get('source')}"
        return f"{what}: {json.dumps(event.get('detail', event))}"
    except (ValueError, AttributeError):
        return f"no event: {letter['Body'][:100]}"


def _send(deployment: Deployment, name: str, letter: dict[str, Any]) -> None:
    sqs, body, outputs = deployment.client("sqs"), letter["Body"], deployment.outputs
    target = _attribute(letter, "TARGET_ARN") or ""
    if name == "sweeps":
        asked = json.loads(body)
        sweep.ask_for(deployment, asked.get("requestPayload", asked))
    elif name == "commands":
        group, copy = letter["Attributes"]["MessageGroupId"], str(uuid.uuid4())
        url = outputs["CommandsQueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=copy)
    elif ":event-bus/" in target:  # an outcome to another bus
        event = json.loads(body)
        told = event["source"], event["detail-type"], event["detail"]
        (answer,) = deployment.put(*told, bus=target, Time=event["time"])
        if "EventId" not in answer:
            raise CommandError(f"{target} did not take an outcome: {answer.get('ErrorMessage')}")
    elif ":states:" in target or ":sns:" in target:
        told = json.loads(body)["detail"]
        subject = f"{told['severity']}: {told['advice']['title']}"
        deployment.client("sns").publish(TopicArn=outputs["NoticesTopicArn"], Subject=subject, Message=told["message"])
    else:
        source = _mapped_source(deployment, letter) if name == "undelivered" else None
        wrapped = json.dumps({"mappedSource": source, "event": json.loads(body)}) if source else body
        sqs.send_message(QueueUrl=outputs["ReportsQueueUrl"], MessageBody=wrapped)


def _mapped_source(deployment: Deployment, letter: dict[str, Any]) -> str | None:
    """Return the mapped source whose rule could not deliver an event, as the rule's own target says it."""
    bus, _, rule = _attribute(letter, "RULE_ARN").partition(":rule/")[2].rpartition("/")
    where = {"EventBusName": bus} if bus else {}
    (target,) = deployment.client("events").list_targets_by_rule(Rule=rule, **where)["Targets"]
    template = target.get("InputTransformer", {}).get("InputTemplate", "{}").replace("<aws.events.event.json>", "{}")
    source: str | None = json.loads(template).get("mappedSource")
    return source
