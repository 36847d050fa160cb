"""`make up`: a local AWS with the stack deployed, ready to be used; once more, and only what changed is done again."""

import fcntl
import hashlib
import json
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local import lifecycle, readiness
from local.connection import Connection
from local.deploy import COMPLETE, DeploymentError, deploy, read, status_of
from local.lifecycle import ROOT, STATE, Server, ServerError
from local.readiness import NotReadyError

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_ssm import SSMClient

STACK_INPUTS = ("app.py", "cdk.json", "config", "configuration", "functions", "infra", "requirements/dev.txt")
"""Everything that the synthesized stack depends on."""

SERVER_INPUTS = (
    *("local/account.py", "local/environments.py", "local/front.py", "local/repairs.py", "local/server.py"),
    "local/workmail",
    "requirements/local.txt",
)
"""Everything that the server is made of."""

DEPLOYED_INPUTS = "/local/deployed-inputs"
"""SSM parameter, on the server itself: the digest of the inputs of what is deployed there."""

WEBHOOK_SECRETS = {
    "lockout-jamf": '{"username": "jamf", "password": "local"}',
    "lockout-workspace-one": "the local signing key",
}
"""What the senders of webhooks in `config/local.toml` show: no secrets at all, since this is a file in a repository."""


class SynthesisError(Exception):
    """The CDK application failed; the message is its output."""


def main() -> None:
    """Bring everything up, and say in one line what was wrong if that fails."""
    try:
        with alone(STATE):
            up(STATE)
    except (ServerError, SynthesisError, DeploymentError, NotReadyError) as error:
        sys.exit(f"make up: {error}")


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """One `up` or `down` at a time for a state directory."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(state: Path) -> None:
    """Bring a server up and its stack to what the working tree says, and write `env` when all of it is ready."""
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    server = lifecycle.find(state)
    ingredients = digest(SERVER_INPUTS)
    if server is not None and not same(state / "server.inputs", ingredients):
        say("the local AWS itself has changed: starting it anew, empty")
        server = None
    if server is None:
        lifecycle.stop(state)
        server = lifecycle.start(state)
        (state / "server.inputs").write_text(ingredients)
        say(f"local AWS at {server.endpoint}, its log is {state / 'server.log'}")
    aws = operator(server)
    inputs = digest(STACK_INPUTS)
    if deployed_inputs(aws) == inputs and (state / "env").exists() and is_complete(aws, stack_name(state)):
        say("the stack is deployed as the working tree says")
        readiness.check(aws, stack_name(state))
    else:
        assembly = read(synthesize(state / "cdk.out"))
        say(f"stack {assembly.stack} synthesized")
        keep_webhook_secrets(aws)
        stack = deploy(assembly, aws)
        say("deployed" if stack.changed else "deployed already")
        readiness.check(aws, stack.name)
        readiness.warm(aws, stack.name)
        aws.client("ssm").put_parameter(Name=DEPLOYED_INPUTS, Value=inputs, Type="String", Overwrite=True)
        write_environment(state / "env", aws, stack.name)
    say(f"ready; its environment is {state / 'env'}")


def operator(server: Server) -> Connection:
    """The operator's connection: an IAM user with all permissions, made once for each server by its root user."""
    file = server.state / "operator.json"
    if not file.exists():
        root = Connection.to(server, json.loads((server.state / "root.json").read_text()))
        iam: IAMClient = root.client("iam")
        iam.create_user(UserName="operator")
        iam.attach_user_policy(UserName="operator", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
        key = iam.create_access_key(UserName="operator")["AccessKey"]
        credentials = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
        lifecycle.write_secret(file, json.dumps(credentials))
    return Connection.to(server, json.loads(file.read_text()))


def keep_webhook_secrets(aws: Connection) -> None:
    """Have the senders' secrets in Secrets Manager, as an operator does before the first deployment."""
    secrets = aws.client("secretsmanager")
    for name, value in WEBHOOK_SECRETS.items():
        with suppress(secrets.exceptions.ResourceExistsException):
            secrets.create_secret(Name=name, SecretString=value)


def digest(names: Iterable[str]) -> str:
    """One digest of these files and directories of the working tree."""
    whole = hashlib.sha256()
    for name in names:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                whole.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
                whole.update(file.read_bytes())
    return whole.hexdigest()


def same(file: Path, text: str) -> bool:
    """True if there is such a file, and it says just this."""
    return file.exists() and file.read_text() == text


def deployed_inputs(aws: Connection) -> str | None:
    """The digest of what is deployed, `None` if that never came to its end."""
    ssm: SSMClient = aws.client("ssm")
    try:
        return ssm.get_parameter(Name=DEPLOYED_INPUTS)["Parameter"]["Value"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            return None
        raise


def is_complete(aws: Connection, stack: str) -> bool:
    """Whether the stack is there and whole: somebody may have deleted it, or updated it in vain, by hand."""
    return status_of(aws.client("cloudformation"), stack) in COMPLETE


def synthesize(output: Path) -> Path:
    """Run the CDK application with the local configuration; returns the cloud assembly, which is `output`."""
    run = subprocess.run(
        [sys.executable, "app.py", "--config", "local", "--output", output],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if run.returncode:
        raise SynthesisError(f"the stack could not be synthesized:\n{run.stdout}")
    return output


def write_environment(file: Path, aws: Connection, stack: str) -> None:
    """What a shell, a test or another language's client needs to know, one `KEY=VALUE` a line."""
    configuration = tomllib.loads((ROOT / "config" / "local.toml").read_text())
    values = {
        **aws.environment(),
        "LOCKOUT_EVENT_BUS": configuration["bus"],
        "LOCKOUT_ORGANIZATION_ID": configuration["organizations"][0]["id"],
        "LOCKOUT_STACK": stack,
    }
    lifecycle.write_secret(file, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))


def stack_name(state: Path) -> str:
    """The stack that the environment file names."""
    lines = (state / "env").read_text().splitlines()
    return next(line.removeprefix("LOCKOUT_STACK=") for line in lines if line.startswith("LOCKOUT_STACK="))


if __name__ == "__main__":
    main()
