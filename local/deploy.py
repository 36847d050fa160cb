"""Deploys a synthesized cloud assembly through CloudFormation: its assets to S3, then its template, unchanged.

It does what `cdk deploy` does, without Node.js and without the roles that `cdk bootstrap` makes.
"""

import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local.account import REGION
from local.connection import Connection

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_s3 import S3Client

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = "30"

COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
"""The statuses of a stack that is as its template says."""


class DeploymentError(Exception):
    """CloudFormation refused or rolled back; the message names each failed resource and its reason."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """What CDK synthesized: one stack, and the files that it refers to.

    https://docs.aws.amazon.com/cdk/api/v2/docs/cloud-assembly-schema-readme.html
    """

    directory: Path
    stack: str
    template: str  # s3://bucket/key
    assets: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployed stack."""

    name: str
    outputs: Mapping[str, str]
    changed: bool


def deploy(assembly: Assembly, aws: Connection, patience: float = 120) -> Stack:
    """Create or update the assembly's stack, and wait until it is complete.

    Raises DeploymentError if it fails, or is not through after `patience` seconds.
    """
    account = aws.client("sts").get_caller_identity()["Account"]
    # The parameter and the bucket are what `cdk bootstrap` leaves behind and a template of CDK relies on.
    aws.client("ssm").put_parameter(Name=BOOTSTRAP_PARAMETER, Value=BOOTSTRAP_VERSION, Type="String", Overwrite=True)
    s3: S3Client = aws.client("s3")
    for asset in assembly.assets:
        for destination in asset["destinations"].values():
            bucket = located(destination["bucketName"], account)
            upload(s3, bucket, destination["objectKey"], assembly.directory, asset["source"])

    cloudformation: CloudFormationClient = aws.client("cloudformation")
    template = f"{aws.endpoint}/{located(assembly.template, account).removeprefix('s3://')}"
    changed = submit(cloudformation, assembly.stack, template)
    stack = settled(cloudformation, assembly.stack, patience)
    if stack["StackStatus"] not in COMPLETE:
        failures = "\n".join(f"  {line}" for line in reasons(cloudformation, stack["StackId"]))
        raise DeploymentError(f"stack {assembly.stack} ended as {stack['StackStatus']}:\n{failures}")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return Stack(assembly.stack, outputs, changed)


def read(directory: Path) -> Assembly:
    """The assembly in a directory like `cdk.out`; it must have exactly one stack."""
    artifacts = json.loads((directory / "manifest.json").read_text())["artifacts"]
    stacks = {name: what for name, what in artifacts.items() if what["type"] == "aws:cloudformation:stack"}
    if len(stacks) != 1:
        raise DeploymentError(f"{directory} has {len(stacks)} stacks ({', '.join(stacks)}), expected one")
    (name, stack), *_ = stacks.items()
    manifests = [what["properties"]["file"] for what in artifacts.values() if what["type"] == "cdk:asset-manifest"]
    files = [json.loads((directory / manifest).read_text())["files"].values() for manifest in manifests]
    return Assembly(
        directory,
        stack["properties"].get("stackName", name),
        stack["properties"]["stackTemplateAssetObjectUrl"],
        tuple(asset for assets in files for asset in assets),
    )


def located(name: str, account: str) -> str:
    """A name of the assembly with its placeholders filled in."""
    return name.replace("${AWS::AccountId}", account).replace("${AWS::Region}", REGION)


def upload(s3: "S3Client", bucket: str, key: str, directory: Path, source: Mapping[str, str]) -> None:
    """Put an asset, a directory as a zip, unless it is there: its key is the hash of its content."""
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchKey", "NoSuchBucket"}:
            raise
    else:
        return
    path = directory / source["path"]
    content = zipped(path) if source["packaging"] == "zip" and path.is_dir() else path.read_bytes()
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    except s3.exceptions.NoSuchBucket:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=bucket, Key=key, Body=content)


def zipped(directory: Path) -> bytes:
    """The directory as a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(directory.rglob("*")):
            archive.write(path, path.relative_to(directory))
    return buffer.getvalue()


def submit(cloudformation: "CloudFormationClient", stack: str, template: str) -> bool:
    """Ask for the stack to be as the template says; False if it is so already."""
    status = status_of(cloudformation, stack)
    if status in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"}:  # never created: can't be updated
        cloudformation.delete_stack(StackName=stack)
        settled(cloudformation, stack, patience=60)
        status = None
    ask = cloudformation.update_stack if status else cloudformation.create_stack
    try:
        ask(StackName=stack, TemplateURL=template, Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"])
    except ClientError as error:
        message = error.response["Error"]["Message"]
        if "No updates are to be performed" in message:
            return False
        raise DeploymentError(f"CloudFormation refused the template of stack {stack}: {message}") from error
    return True


def status_of(cloudformation: "CloudFormationClient", stack: str) -> str | None:
    """The stack's status, `None` if there is no such stack."""
    try:
        return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise


def settled(cloudformation: "CloudFormationClient", stack: str, patience: float) -> Mapping[str, Any]:
    """The stack's description once nothing is in progress any more; empty once it is deleted."""
    deadline = time.monotonic() + patience
    while True:
        status = status_of(cloudformation, stack)
        if status is None:
            return {}
        if not status.endswith("_IN_PROGRESS"):
            return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        if time.monotonic() > deadline:
            raise DeploymentError(f"stack {stack} is still {status} after {patience:.0f} s")
        time.sleep(0.05)


def reasons(cloudformation: "CloudFormationClient", stack: str) -> Iterator[str]:
    """Each resource that failed in the stack's last operation, and why, in the order it happened."""
    latest = []
    for event in cloudformation.describe_stack_events(StackName=stack)["StackEvents"]:
        latest.append(event)
        if event.get("ResourceStatusReason") == "User Initiated":
            break
    for event in reversed(latest):
        reason = event.get("ResourceStatusReason", "")
        if event["ResourceStatus"].endswith("FAILED") and "cancelled" not in reason.lower():
            yield f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}"
