import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.connection import Connection
from local.deploy import DeploymentError, deploy, read
from tests.local.observing import invoke

pytestmark = pytest.mark.local_aws

BUCKET = "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"


@pytest.fixture
def assembly(tmp_path: Path, name: str) -> Callable[..., Path]:
    """A cloud assembly as CDK writes it, of one stack with the given resources and the version of its one asset."""

    def write(resources: dict[str, Any], answer: int = 1) -> Path:
        package = tmp_path / "asset.package"
        package.mkdir(exist_ok=True)
        (package / "function.py").write_text(f"def handler(*_):\n    return {answer}\n")
        template = {
            "Parameters": {
                "BootstrapVersion": {
                    "Type": "AWS::SSM::Parameter::Value<String>",
                    "Default": "/cdk-bootstrap/hnb659fds/version",
                }
            },
            "Resources": resources,
            "Outputs": {"Answer": {"Value": str(answer)}},
        }
        text = json.dumps(template)
        (tmp_path / "stack.template.json").write_text(text)
        key = f"{name}-{abs(hash(text))}.json"
        files = {
            "template": asset("stack.template.json", "file", key),
            "package": asset("asset.package", "zip", f"{name}-{answer}.zip"),
        }
        (tmp_path / "stack.assets.json").write_text(json.dumps({"files": files}))
        artifacts = {
            "Stack.assets": {"type": "cdk:asset-manifest", "properties": {"file": "stack.assets.json"}},
            "Stack": {
                "type": "aws:cloudformation:stack",
                "properties": {
                    "stackName": name,
                    "templateFile": "stack.template.json",
                    "stackTemplateAssetObjectUrl": f"s3://{BUCKET}/{key}",
                },
            },
        }
        (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
        return tmp_path

    return write


def asset(path: str, packaging: str, key: str) -> dict[str, Any]:
    destination = {"bucketName": BUCKET, "objectKey": key}
    return {"source": {"path": path, "packaging": packaging}, "destinations": {"here": destination}}


def queue(**properties: Any) -> dict[str, Any]:
    return {"Queue": {"Type": "AWS::SQS::Queue", "Properties": properties}}


def function(name: str, answer: int) -> dict[str, Any]:
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "*"}]}
    code = {"S3Bucket": {"Fn::Sub": BUCKET}, "S3Key": f"{name}-{answer}.zip"}
    return {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}},
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "FunctionName": name,
                "Runtime": "python3.13",
                "Handler": "function.handler",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Code": code,
            },
        },
    }


def test_a_stack_is_created_left_alone_and_updated(aws: Connection, name: str, assembly: Callable[..., Path]) -> None:
    created = deploy(read(assembly(function(name, 1), 1)), aws)
    assert (created.name, created.changed, created.outputs) == (name, True, {"Answer": "1"})
    assert invoke(aws, name) == 1
    again = deploy(read(assembly(function(name, 1), 1)), aws)
    assert (again.changed, again.outputs) == (False, {"Answer": "1"})
    updated = deploy(read(assembly(function(name, 2), 2)), aws)
    assert (updated.changed, updated.outputs) == (True, {"Answer": "2"})
    assert invoke(aws, name) == 2


def test_a_failure_names_the_resource_and_its_reason_and_can_be_put_right(
    aws: Connection, assembly: Callable[..., Path]
) -> None:
    wrong = queue(RedrivePolicy={"deadLetterTargetArn": "nowhere", "maxReceiveCount": 0})
    with pytest.raises(DeploymentError, match=r"(?s)ROLLBACK_COMPLETE:.*Queue \(AWS::SQS::Queue\): .*maxReceiveCount"):
        deploy(read(assembly(wrong)), aws)
    assert deploy(read(assembly(queue())), aws).changed


def test_a_template_that_is_refused_says_why(aws: Connection, assembly: Callable[..., Path]) -> None:
    with pytest.raises(DeploymentError, match="AWS::Nothing::Known"):
        deploy(read(assembly({"Thing": {"Type": "AWS::Nothing::Known"}})), aws)


def test_an_assembly_of_several_stacks_is_refused(tmp_path: Path) -> None:
    stack = {"type": "aws:cloudformation:stack", "properties": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": {"One": stack, "Two": stack}}))
    with pytest.raises(DeploymentError, match=r"has 2 stacks \(One, Two\), expected one"):
        read(tmp_path)
