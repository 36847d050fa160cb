"""The ledger's table: the state of devices and users, and what became of each event."""

from aws_cdk import CfnDeletionPolicy, CfnResource, RemovalPolicy, Resource
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

TIMELINE = "timeline"
"""The index of what was announced, by month and time. `aws/ledger_table.py` reads it under this name."""


class Ledger(Construct):
    """An on-demand table with 35 days of point-in-time recovery. DynamoDB deletes items once `expires` has passed.

    Its index holds whole outcomes, for the command line. An index that comes later would need a deployment of its own.

    With `retain` the table outlives the stack and is protected from deletion. It outlives its replacement always.
    With `adopt` the ledger is an existing table of that name, which the stack neither makes nor deletes.
    """

    def __init__(self, scope: Construct, id: str, *, retain: bool, adopt: str = "") -> None:
        super().__init__(scope, id)
        self.table: dynamodb.ITable
        if adopt:
            self.table = dynamodb.Table.from_table_name(self, "Adopted", adopt)
            return
        table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute="expires",
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=RemovalPolicy.RETAIN if retain else RemovalPolicy.DESTROY,
            deletion_protection=retain,
        )
        table.add_global_secondary_index(
            index_name=TIMELINE,
            partition_key=dynamodb.Attribute(name="month", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="at", type=dynamodb.AttributeType.STRING),
        )
        keep_if_replaced(table)
        self.table = table


def keep_if_replaced(resource: Resource) -> None:
    """Keep the old resource with its data where CloudFormation replaces it by a new one.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatereplacepolicy.html
    """
    made = resource.node.default_child
    assert isinstance(made, CfnResource)
    made.cfn_options.update_replace_policy = CfnDeletionPolicy.RETAIN
