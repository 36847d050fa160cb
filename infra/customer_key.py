"""A customer's key for all that is stored. Without it AWS's own keys encrypt the queues, the table and the logs."""

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

USE = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo")
"""What DynamoDB and SQS do with the key in a role's name.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html"""


def encrypt(stack: Stack, key: str) -> None:
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
