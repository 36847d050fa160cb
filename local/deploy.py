"""Deploys a cloud assembly as `cdk deploy` does: assets to S3, then the unchanged template to CloudFormation.

It needs neither Node.js nor the roles of `cdk bootstrap`.
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

from local.connection import Connection

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_s3 import S3Client

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = "30"

COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
"""The statuses of a stack that is as its template says."""


class DeploymentError(Exception):
    """CloudFormation refused or rolled back. The message names each failed resource and its reason."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """One stack as CDK synthesized it, and the files that it refers to.

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


def deploy(assembly: Assembly, aws: Connection, timeout: float = 120) -> Stack:
    """Create or update the assembly's stack, and wait until it is complete.

    Raises DeploymentError if that fails or takes longer than `timeout` seconds.
    """
    account = aws.client("sts").get_caller_identity()["Account"]
    # CDK's templates rely on the parameter and the bucket of `cdk bootstrap`.
    aws.client("ssm").put_parameter(Name=BOOTSTRAP_PARAMETER, Value=BOOTSTRAP_VERSION, Type="String", Overwrite=True)
    s3: S3Client = aws.client("s3")
    for asset in assembly.assets:
        for destination in asset["destinations"].values():
            bucket = resolve(destination["bucketName"], account, aws.region)
            upload(s3, bucket, destination["objectKey"], assembly.directory, asset["source"])

    cloudformation: CloudFormationClient = aws.client("cloudformation")
    template = f"{aws.endpoint}/{resolve(assembly.template, account, aws.region).removeprefix('s3://')}"
    changed = submit(cloudformation, assembly.stack, template)
    stack = wait_until_settled(cloudformation, assembly.stack, timeout)
    if stack["StackStatus"] not in COMPLETE:
        failures = "\n".join(f"  {line}" for line in reasons(cloudformation, stack["StackId"]))
        raise DeploymentError(f"stack {assembly.stack} ended as {stack['StackStatus']}:\n{failures}")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return Stack(assembly.stack, outputs, changed)


def read(directory: Path) -> Assembly:
    """Read the assembly in a directory such as `cdk.out`. Raises DeploymentError unless it has exactly one stack."""
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


def resolve(name: str, account: str, region: str) -> str:
    """Fill in the placeholders of a name in the assembly."""
    return name.replace("${AWS::AccountId}", account).replace("${AWS::Region}", region)


def upload(s3: "S3Client", bucket: str, key: str, directory: Path, source: Mapping[str, str]) -> None:
    """Put an asset, a directory as a zip, unless it is there already. Its key is the hash of its content."""
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
        elsewhere: Any = {"LocationConstraint": s3.meta.region_name}
        is_default = s3.meta.region_name == "us-east-1"  # which S3 refuses as a constraint
        s3.create_bucket(Bucket=bucket, **({} if is_default else {"CreateBucketConfiguration": elsewhere}))
        s3.put_object(Bucket=bucket, Key=key, Body=content)


def zipped(directory: Path) -> bytes:
    """Return a directory as a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(directory.rglob("*")):
            archive.write(path, path.relative_to(directory))
    return buffer.getvalue()


def submit(cloudformation: "CloudFormationClient", stack: str, template: str) -> bool:
    """Create or update a stack. Returns False if it is already as the template says."""
    status = status_of(cloudformation, stack)
    if status in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"}:  # such a stack can't be updated
        cloudformation.delete_stack(StackName=stack)
        wait_until_settled(cloudformation, stack, timeout=60)
        status = None
    request = cloudformation.update_stack if status else cloudformation.create_stack
    try:
        request(StackName=stack, TemplateURL=template, Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"])
    except ClientError as error:
        message = error.response["Error"]["Message"]
        if "No updates are to be performed" in message:
            return False
        raise DeploymentError(f"CloudFormation refused the template of stack {stack}: {message}") from error
    return True


def status_of(cloudformation: "CloudFormationClient", stack: str) -> str | None:
    """Return the stack's status, None if there is no such stack."""
    try:
        return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise


def wait_until_settled(cloudformation: "CloudFormationClient", stack: str, timeout: float) -> Mapping[str, Any]:
    """Wait until nothing is in progress and return the stack's description, which is empty if the stack is gone."""
    deadline = time.monotonic() + timeout
    while True:
        status = status_of(cloudformation, stack)
        if status is None:
            return {}
        if not status.endswith("_IN_PROGRESS"):
            return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        if time.monotonic() > deadline:
            raise DeploymentError(f"stack {stack} is still {status} after {timeout:.0f} s")
        time.sleep(0.05)


def reasons(cloudformation: "CloudFormationClient", stack: str) -> Iterator[str]:
    """Yield each resource that failed in the stack's last operation, with its reason, in order of time."""
    latest = []
    for event in cloudformation.describe_stack_events(StackName=stack)["StackEvents"]:
        latest.append(event)
        if event.get("ResourceStatusReason") == "User Initiated":
            break
    for event in reversed(latest):
        reason = event.get("ResourceStatusReason", "")
        if event["ResourceStatus"].endswith("FAILED") and "cancelled" not in reason.lower():
            yield f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}"
