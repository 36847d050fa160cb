"""The AWS Solutions rules of cdk-nag, with a reason for each that is not kept."""

import json
from pathlib import Path

import pytest

import app
from configuration.loader import Configuration

pytestmark = pytest.mark.slow

NOT_KEPT = {
    "AwsSolutions-SQS3": (
        "It doesn't recognise the dead-letter queues of rules and schedules."
        " test_stack.py checks that every hop has one."
    ),
    "AwsSolutions-L1": "The project uses one Python, 3.13, which Lambda supports.",
}


def test_every_rule_is_kept_or_has_a_reason(
    forwarded: Configuration, asset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.prepare_jsii()
    from aws_cdk import Acknowledgment, App, Validations
    from cdk_nag import AwsSolutionsChecks

    from infra.forward_events import ForwardEvents
    from infra.stack import DeviceLockout

    monkeypatch.setenv("CDK_VALIDATION", "false")
    cdk = App(outdir=str(tmp_path), analytics_reporting=False)
    stacks = [DeviceLockout(cdk, forwarded, asset), ForwardEvents(cdk, forwarded, forwarded.forwarder("security"))]
    Validations.of(cdk).add_plugins(AwsSolutionsChecks(cdk))
    for stack in stacks:
        Validations.of(stack).acknowledge(
            *(Acknowledgment(id=f"AwsSolutions::{rule}", reason=reason) for rule, reason in NOT_KEPT.items())
        )
    cdk.synth()
    (report,) = json.loads((tmp_path / "validation-report.json").read_text())["pluginReports"]
    assert report["conclusion"] == "success"
