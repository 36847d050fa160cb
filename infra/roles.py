"""Roles of services, and what they are allowed. No role has a managed policy, and CDK's `grant_…` would grant more."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from constructs import Construct


def grant(
    actions: Sequence[str], resources: Sequence[str], conditions: Mapping[str, Any] | None = None
) -> iam.PolicyStatement:
    """Return the statement that allows these actions on the resources of these ARNs."""
    return iam.PolicyStatement(actions=[*actions], resources=[*resources], conditions=conditions)


def only(key: str, *values: str) -> dict[str, Any]:
    """Return the condition that all of a request's values of this key are like one of these, and that it has some.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
    """
    return {"ForAllValues:StringLike": {key: [*values]}, "Null": {key: "false"}}


def add_role(
    scope: Construct,
    id: str,
    service: str,
    description: str,
    *grants: iam.PolicyStatement,
    own_account: bool = False,
    name: str | None = None,
) -> iam.Role:
    """Add a role that a service of AWS takes. With `own_account` the service takes it for this account alone.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
    https://docs.aws.amazon.com/eventbridge/latest/userguide/cross-service-confused-deputy-prevention.html
    """
    ours = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}} if own_account else None
    principal = iam.ServicePrincipal(f"{service}.amazonaws.com", conditions=ours)
    role = iam.Role(scope, id, assumed_by=principal, description=description, role_name=name)
    for each in grants:
        role.add_to_policy(each)
    return role
