"""What tests look at on the local AWS, and how long they look."""

import json
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from local.connection import Connection

ACCOUNT = "000000000000"

IN_A_SHELL = {
    "AWS_SESSION_TOKEN": "of-a-log-in-by-single-sign-on",
    "AWS_SECURITY_TOKEN": "of-an-older-tool",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "no_proxy": "example.com",
}
"""Variables that a shell may have before it reads `.local/env`: tokens of other credentials, a proxy (not there)."""


class Queue:
    def __init__(self, aws: Connection, name: str, attributes: dict[str, str]) -> None:
        self.client = aws.client("sqs")
        self.url = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.arn = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{name}"

    def let_rules_send(self) -> None:
        self.let_send("events")

    def let_send(self, service: str) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": f"{service}.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})

    def receive(self) -> Any:
        """The next message, deleted; None if none comes in the longest time that a call may wait."""
        found = self.client.receive_message(
            QueueUrl=self.url,
            WaitTimeSeconds=20,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        ).get("Messages")
        if not found:
            return None
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=found[0]["ReceiptHandle"])
        return found[0]


def make_function(aws: Connection, name: str, source: str, **more: Any) -> str:
    """A Python function, its role allowed to do nothing; returns its ARN."""
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "*"}]}
    role = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    package = BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("function.py", source)
    configuration = {"Runtime": "python3.13", "Handler": "function.handler", "Timeout": 10, **more}
    made = aws.client("lambda").create_function(
        FunctionName=name, Role=role, Code={"ZipFile": package.getvalue()}, **configuration
    )
    arn: str = made["FunctionArn"]
    return arn


def invoke(aws: Connection, name: str, payload: Any = None) -> Any:
    """A function's answer, or its error."""
    answer = aws.client("lambda").invoke(FunctionName=name, Payload=json.dumps(payload).encode())
    return json.loads(answer["Payload"].read())


def eventually[T](look: Callable[[], T | None], seconds: float = 60) -> T:
    """What `look` returns once it is true."""
    deadline = monotonic() + seconds
    while not (found := look()):
        assert monotonic() < deadline, f"not within {seconds} s"
        sleep(0.05)
    return found


def processes_of(state: Path) -> list[str]:
    """The command lines of all processes that have to do with a state directory."""
    return [line for _, line in processes() if str(state) in line]


def processes() -> Iterator[tuple[int, str]]:
    """Every process that we may see: its number and its command line."""
    if Path("/proc/self/cmdline").exists():
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                yield int(process.name), (process / "cmdline").read_text().replace("\0", " ")
    else:
        listed = subprocess.run(["ps", "-axo", "pid=,command="], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            number, _, command = line.strip().partition(" ")
            yield int(number), command
