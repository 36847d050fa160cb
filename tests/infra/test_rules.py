"""What cfn-lint and the AWS Solutions rules of cdk-nag say, with a reason for each rule that is not kept.

`make check` asks about the configurations in config/ and the largest ones that are let through, if anything changed.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from os.path import commonprefix
from pathlib import Path

import pytest

import app
from config_reader import loader
from config_reader.loader import Configuration, Drill, Notify
from tests.infra.conftest import forwarded_from
from tests.infra.limits import ORGANIZATION, many_sources, most, of_size

NOT_KEPT = {
    "AwsSolutions-SQS3": (
        "It doesn't recognise the dead-letter queues of rules and schedules."
        " test_stack.py checks that every hop has one."
    ),
    "AwsSolutions-IAM5[Resource::*]": (
        "A reader lists stacks, alarms, schedules, mappings and CloudTrail's events, which IAM allows for all or none."
        " test_stack.py checks that no role has a wildcard."
    ),
    "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:events:<AWS::Region>:<AWS::AccountId>:rule/*]": (
        "An operator asks whose events a rule could not deliver. Hundreds of rules would not fit into a policy."
    ),
    "AwsSolutions-SF1": "The state machine's log would have names of people. What it was asked is in the ledger.",
    "AwsSolutions-SF2": "It makes one call, which there is nothing to trace of.",
    "AwsSolutions-L1": "The project uses one Python, 3.13, which Lambda supports.",
}

SECRETS = (
    "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:secretsmanager:{region}:<AWS::AccountId>:secret:{beginning}*]"
)
OF_SECRETS = "A reader asks whether secrets are there, and reads none. Forty names would not fit into a policy."

NOT_KEPT_OF_CFN_LINT = {
    "W3005": "CDK and we say what waits for a role, although a reference says so, too: its policy comes with it.",
}

UUID = "0a1b2c3d-0000-4000-8000-000000000000"

CONFIGURATIONS = {path.stem: loader.load(path.stem) for path in sorted(loader.DIRECTORY.glob("*.toml"))}


def generated() -> Iterator[tuple[str, Callable[[], Configuration]]]:
    """Configurations at each limit, and one with every option."""
    example = CONFIGURATIONS["example"]
    yield "most-rules", lambda: most(lambda number: many_sources(example, number), "sources: the ARNs of")[0]
    yield (
        "most-publishers",
        lambda: most(
            lambda number: many_sources(example, number, publishers="arn:aws:iam::111122223333:role/{}"),
            "sources[].publishers",
        )[0],
    )
    yield "longest-names", lambda: most(lambda n: many_sources(example, n, "a/long_name." * 5), "sources[].name")[0]
    yield "most-organizations", lambda: of_size(example, 20, 40)
    yield (
        "every-option",
        lambda: replace(
            many_sources(CONFIGURATIONS["local"], 3, organization=ORGANIZATION),
            retain_data=True,
            notices=Notify(
                ("a@example.com",),
                ("https://pager.example.com/in",),
                channels=(
                    ("slack", {"workspace": "T0123456789", "channel": "C0123456789"}),
                    ("teams", {"tenant": UUID, "team": UUID, "channel": "19%3Aab%40thread.tacv2"}),
                ),
            ),
            drill=Drill(timedelta(hours=1), "m-" + "0" * 32, "canary", "DRILL0001"),
            router_concurrency=20,
            reserve_concurrency=True,
            permissions_boundary="arn:aws:iam::111122223333:policy/boundary",
            encryption_key="arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0000-4000-8000-000000000000",
            tags={"CostCenter": "4711"},
        ),
    )
    yield "forwarded", forwarded_from
    yield "theirs", lambda: replace(example, notices=Notify(topic="arn:aws:sns:eu-west-1:111122223333:on-call"))


ALL = [
    *(pytest.param(lambda known=known: known, id=f"config-{name}") for name, known in CONFIGURATIONS.items()),
    *(pytest.param(make, id=name, marks=pytest.mark.slow) for name, make in generated()),
]


@pytest.mark.parametrize("make", ALL)
def test_every_rule_is_kept_or_has_a_reason(
    make: Callable[[], Configuration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package.zip"  # the rules are about the template, which has only its hash
    package.write_bytes(b"PK\x05\x06" + bytes(18))
    app.prepare_jsii()
    from aws_cdk import Acknowledgment, App, Validations
    from cdk_nag import AwsSolutionsChecks
    from cfnlint.api import lint_file

    from infra.forward_events import ForwardEvents
    from infra.stack import DeviceLockout

    monkeypatch.setenv("CDK_VALIDATION", "false")
    cdk = App(outdir=os.fspath(tmp_path / "out"), analytics_reporting=False)
    deployment = make()
    stack = DeviceLockout(cdk, deployment, package)
    Validations.of(cdk).add_plugins(AwsSolutionsChecks(cdk))
    beginning = commonprefix([f"{webhook.secret}-??????" for webhook in deployment.settings.webhooks])  # noqa: RUF071
    not_kept = {**NOT_KEPT, SECRETS.format(region=deployment.region, beginning=beginning): OF_SECRETS}
    stacks = [stack, *(ForwardEvents(cdk, deployment, each) for each in deployment.forwarders)]
    for stack in stacks:
        Validations.of(stack).acknowledge(
            *(Acknowledgment(id=f"AwsSolutions::{rule}", reason=reason) for rule, reason in not_kept.items())
        )
    cdk.synth()
    (report,) = json.loads((tmp_path / "out" / "validation-report.json").read_text())["pluginReports"]
    assert report["conclusion"] == "success"
    templates = (tmp_path / "out").glob("*.template.json")
    said = [match for template in templates for match in lint_file(template)]
    found = [match for match in said if match.rule.id not in NOT_KEPT_OF_CFN_LINT]
    assert [f"{match.rule.id} {match.message}" for match in found] == []
