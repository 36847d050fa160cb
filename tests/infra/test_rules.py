"""The AWS Solutions rules of cdk-nag: each is kept, or there is a reason here why it is not."""

import json
from pathlib import Path

import pytest

import app
from configuration.loader import Configuration
from infra import bundling

pytestmark = pytest.mark.slow

NOT_KEPT = {
    "AwsSolutions-SQS3": (
        "The queues without a dead-letter queue are the dead-letter queues of rules and schedules, which the rule"
        " doesn't recognise; test_stack.py checks that every hop has one."
    ),
    "AwsSolutions-L1": "Developed, tested and deployed on one Python, 3.13, which Lambda supports.",
}


def test_every_rule_is_kept_but_for_those_with_a_reason(
    deployment: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.prepare_jsii()
    from aws_cdk import Acknowledgment, App, Validations
    from cdk_nag import AwsSolutionsChecks

    from infra.stack import DeviceLockout

    monkeypatch.setenv("CDK_VALIDATION", "false")
    cdk = App(outdir=str(tmp_path), analytics_reporting=False)
    stack = DeviceLockout(cdk, deployment, bundling.package(deployment.settings()))
    Validations.of(cdk).add_plugins(AwsSolutionsChecks(cdk))
    Validations.of(stack).acknowledge(
        *(Acknowledgment(id=f"AwsSolutions::{rule}", reason=reason) for rule, reason in NOT_KEPT.items())
    )
    cdk.synth()
    (report,) = json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"]
    assert report["conclusion"] == "success"
