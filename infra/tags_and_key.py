"""What every resource of a stack has: tags, a boundary if it is a role, and a customer's key if it stores something."""

from collections.abc import Mapping

from aws_cdk import Stack, Tags
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

USE = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo")
"""What DynamoDB and SQS do with the key in a role's name.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html"""


def finish(stack: Stack, owner: str, tags: Mapping[str, str], boundary: str, key: str) -> None:
    """Give it to all resources that the stack has by now. ``boundary`` and ``key`` are ARNs; empty for none.

    Without a key AWS's own encrypt the queues, the table and the logs.
    """
    for name, value in {**tags, "device-lockout": owner}.items():
        Tags.of(stack).add(name, value)
    if boundary:
        policy = iam.ManagedPolicy.from_managed_policy_arn(stack, "Boundary", boundary)
        iam.PermissionsBoundary.of(stack).apply(policy)
    if key:
        _encrypt(stack, key)


def _encrypt(stack: Stack, key: str) -> None:
    """Encrypt every resource of the stack that stores something with the key of this ARN, and let every role use it.

    The key's own policy must let CloudWatch, CloudWatch Logs and EventBridge use it: docs/configure-and-deploy.md.
    """
    use = iam.PolicyStatement(actions=[*USE], resources=[key])
    for each in stack.node.find_all():
        match each:
            case sqs.CfnQueue():
                each.kms_master_key_id = key
                each.sqs_managed_sse_enabled = None
            case sns.CfnTopic():
                each.kms_master_key_id = key
            case logs.CfnLogGroup():
                each.kms_key_id = key
            case dynamodb.CfnTable():
                each.sse_specification = dynamodb.CfnTable.SSESpecificationProperty(
                    sse_enabled=True, sse_type="KMS", kms_master_key_id=key
                )
            case iam.Role():
                each.add_to_policy(use)
            case iam.ManagedPolicy():
                each.add_statements(use)
