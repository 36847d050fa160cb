"""What IAM takes of a policy. Too many organizations are a mistake of the configuration, and no failed deployment."""

import json
from collections import Counter
from typing import Any

from aws_cdk import CfnResource, Stack
from aws_cdk import aws_iam as iam

from config_reader.loader import ConfigurationError

MANAGED, INLINE = 6_144, 10_240
"""Characters of a managed policy, and of all inline policies of one role.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

LONGEST_NAMES = {"IAM::Role": 64, "Lambda::Function": 64, "SQS::Queue": 80}
"""Characters of names that CloudFormation makes. Other names have room for it all."""

REFERENCES = {
    "DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "Events::EventBus": "arn:aws:events:{region}:{account}:event-bus/{own}",
    "IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "Lambda::EventSourceMapping": "{uuid}",
    "Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
    "SNS::Topic": "arn:aws:sns:{region}:{account}:{name}",
    "SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
    "StepFunctions::StateMachine": "arn:aws:states:{region}:{account}:stateMachine:{name}",
}
"""What a policy's reference to a resource becomes."""


def check(stack: Stack, bus: str) -> None:
    """Measure every policy of a stack as AWS will, with names as CloudFormation makes them.

    Raises:
        ConfigurationError: IAM would refuse one.
    """
    region = stack.region if "$" not in stack.region else "ap-southeast-1"
    known = {"region": region, "account": "1" * 12, "own": bus, "uuid": "u" * 36}
    pseudo = {"AWS::Partition": "aws", "AWS::Region": region, "AWS::AccountId": known["account"]}
    pseudo["AWS::StackId"] = f"arn:aws:cloudformation:{region}:{known['account']}:stack/{stack.stack_name}/{'u' * 36}"
    kinds = {
        stack.resolve(each.logical_id): each.cfn_resource_type.removeprefix("AWS::")
        for each in stack.node.find_all()
        if isinstance(each, CfnResource)
    }

    def text(value: Any) -> Any:
        match value:
            case {"Ref": name} | {"Fn::GetAtt": [name, _]} if name in kinds:
                made = f"{stack.stack_name}-{name}-{'r' * 13}"[: LONGEST_NAMES.get(kinds[name])]
                return REFERENCES[kinds[name]].format(name=made, **known)
            case {"Ref": name}:
                return pseudo[name]
            case {"Fn::Join": [separator, parts]}:
                return separator.join(map(text, parts))
            case dict():
                return {key: text(member) for key, member in value.items()}
            case list():
                return [text(element) for element in value]
        return value

    inline: Counter[str] = Counter()
    managed: Counter[str] = Counter()
    for each in stack.node.find_all():
        if isinstance(each, iam.CfnPolicy | iam.CfnManagedPolicy):
            size = len(json.dumps(text(stack.resolve(each.policy_document)), separators=(",", ":")))
            path = each.node.path.split("/", 1)[1].removesuffix("/Resource")
            (managed if isinstance(each, iam.CfnManagedPolicy) else inline)[path] += size
    problems = [
        f"organizations: policy {path} takes {size:,} characters: expected at most {most:,}, so fewer organizations, or"
        " fewer secrets of webhooks, in this deployment"
        for sizes, most in ((managed, MANAGED), (inline, INLINE))
        for path, size in sizes.items()
        if size > most
    ]
    if problems:
        raise ConfigurationError(problems)
