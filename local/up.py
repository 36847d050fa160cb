"""`make up`: start a local AWS and deploy the stack to it. A second `make up` does only what has changed."""

import fcntl
import hashlib
import json
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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

STACK_INPUTS = ("app.py", "cdk.json", "config", "config_reader", "functions", "infra", "requirements/run.txt")
"""Everything that the synthesized stack depends on."""

SERVER_INPUTS = (
    *("local/account.py", "local/lambda_environments.py", "local/front.py", "local/repairs.py", "local/server.py"),
    "local/workmail",
    "requirements/local.txt",
)
"""Everything that the server depends on."""

DEPLOYED_INPUTS = "/local/deployed-inputs"
"""The SSM parameter, on the server itself, with the digest of the deployed stack's inputs."""

WEBHOOK_SECRETS = {
    "lockout-jamf": '{"username": "jamf", "password": "the local password"}',
    "lockout-workspace-one": '{"username": "workspace-one", "password": "another local password"}',
    "lockout-drill": "the local signing key",
    **{
        f"lockout-{name}": f'{{"username": "{name}", "password": "the local password of {name}"}}'
        for name in ("auth0", "crowdstrike", "defender", "google-workspace", "servicenow")
    },
    **{
        f"lockout-{name}": f"the local secret of {name}"
        for name in (
            *("jira", "okta", "pagerduty", "zendesk"),
            *("drill-bearer", "drill-github", "drill-header", "drill-slack"),
        )
    },
}
"""The secrets of the senders of webhooks in `config/local.toml`. They are public, as is this file."""


class SynthesisError(Exception):
    """The CDK application failed. The message has its output."""


def main() -> None:
    """Bring everything up, or exit with a message about what failed."""
    try:
        with one_at_a_time(STATE):
            up(STATE)
    except (ServerError, SynthesisError, DeploymentError, NotReadyError, OSError) as error:
        sys.exit(f"make up: {error}")
    except KeyboardInterrupt:
        sys.exit("\nmake up: interrupted; make up goes on, and make down stops what runs")


@contextmanager
def one_at_a_time(state: Path) -> Iterator[None]:
    """Hold the lock of a state directory: one `up` or `down` runs at a time."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another make up, make demo or make down to end", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(state: Path) -> None:
    """Bring server and stack to the state of the working tree, and write `env` once everything works.

    Each step is printed before it begins, because the first run takes a minute.
    """
    began = time.monotonic()

    def log(message: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {message}", flush=True)

    server = lifecycle.find(state)
    server_inputs = digest(SERVER_INPUTS)
    if server is not None and not has_text(state / "server.inputs", server_inputs):
        log("the server's own files have changed, so a new and empty one replaces it")
        server = None
    assembly: Path | None = None
    if server is None:
        log("starting the local AWS, and synthesizing the stack with CDK meanwhile")
        lifecycle.stop(state)
        with ThreadPoolExecutor(1) as meanwhile:
            synthesis = meanwhile.submit(synthesize, state / "cdk.out")
            server = lifecycle.start(state)
            (state / "server.inputs").write_text(server_inputs)
            log(f"the local AWS is at {server.endpoint}, its log is {state / 'server.log'}")
            assembly = synthesis.result()
    aws = operator(server)
    inputs = digest(STACK_INPUTS)
    if deployed_inputs(aws) == inputs and (state / "env").exists() and is_complete(aws, stack_name(state)):
        log("the stack is up to date")
        readiness.check(aws, stack_name(state))
    else:
        if assembly is None:
            log("synthesizing the stack with CDK")
            assembly = synthesize(state / "cdk.out")
        log("deploying the stack")
        create_webhook_secrets(aws)
        stack = deploy(read(assembly), aws)
        log(f"{stack.name} is {'deployed' if stack.changed else 'as it was'}; starting the functions")
        readiness.check(aws, stack.name)
        readiness.warm(aws, stack.name)
        aws.client("ssm").put_parameter(Name=DEPLOYED_INPUTS, Value=inputs, Type="String", Overwrite=True)
        write_environment(state / "env", aws, stack.name)
    log(f"ready; its environment is {state / 'env'}")


def operator(server: Server) -> Connection:
    """Return the connection of the operator, an IAM user who may do everything. The root user creates it once."""
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


def create_webhook_secrets(aws: Connection) -> None:
    """Put the senders' secrets into Secrets Manager, as an operator does before the first deployment."""
    secrets = aws.client("secretsmanager")
    for name, value in WEBHOOK_SECRETS.items():
        with suppress(secrets.exceptions.ResourceExistsException):
            secrets.create_secret(Name=name, SecretString=value)


def digest(names: Iterable[str]) -> str:
    """Return one digest of files and directories of the working tree."""
    total = hashlib.sha256()
    for name in names:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
                total.update(file.read_bytes())
    return total.hexdigest()


def has_text(file: Path, text: str) -> bool:
    """Return whether the file exists and has exactly this text."""
    return file.exists() and file.read_text() == text


def deployed_inputs(aws: Connection) -> str | None:
    """Return the digest of the deployed stack's inputs, None if no deployment was completed."""
    ssm: SSMClient = aws.client("ssm")
    try:
        return ssm.get_parameter(Name=DEPLOYED_INPUTS)["Parameter"]["Value"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            return None
        raise


def is_complete(aws: Connection, stack: str) -> bool:
    """Return whether the stack is complete. Somebody may have deleted it or failed to update it by hand."""
    return status_of(aws.client("cloudformation"), stack) in COMPLETE


def synthesize(output: Path) -> Path:
    """Run the CDK application with the local configuration, and return `output`, the cloud assembly.

    CDK's own check of the template is skipped for speed. The tests and every other synthesis run it.
    """
    run = subprocess.run(
        [sys.executable, "app.py", "--unchecked", "--config", "local", "--output", output],
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
    """Write what a shell, a test or any other client needs, one `KEY=VALUE` a line."""
    configuration = tomllib.loads((ROOT / "config" / "local.toml").read_text())
    values = {
        **aws.environment(),
        "LOCKOUT_EVENT_BUS": configuration["bus"],
        "LOCKOUT_ORGANIZATION_ID": configuration["organizations"][0]["id"],
        "LOCKOUT_STACK": stack,
    }
    lifecycle.write_secret(file, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))


def stack_name(state: Path) -> str:
    """Return the name of the stack in the environment file."""
    lines = (state / "env").read_text().splitlines()
    return next(line.removeprefix("LOCKOUT_STACK=") for line in lines if line.startswith("LOCKOUT_STACK="))


if __name__ == "__main__":
    main()
