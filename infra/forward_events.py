"""The stack for an account or a region where events arise: it forwards them to the deployment's bus."""

from dataclasses import replace

from aws_cdk import App, Aws, CfnOutput, Environment, Stack
from aws_cdk import aws_events as events

from config_reader import bus_limits
from config_reader.loader import Configuration
from config_reader.sources import Forwarder
from infra.alarms import explain_alarms
from infra.notices import Notices
from infra.queues import DeadLetters
from infra.roles import add_role, grant
from infra.security_bus import delivery, let_rules_send, rule_arn, rule_name
from infra.tags_and_key import finish


class ForwardEvents(Stack):
    """Rules on the default bus, one for each source that names the forwarder, and a role that may put events.

    The deployment's bus policy names the role. So the role's name is fixed, and either stack may come first: what the
    bus refuses is tried for a day, and then waits in the dead-letter queue. An event of two sources arrives twice under
    one ID, and counts once.
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html
    """

    def __init__(self, app: App, configuration: Configuration, forwarder: Forwarder) -> None:
        super().__init__(
            app,
            forwarder.stack,
            env=Environment(account=forwarder.account, region=forwarder.region),
            description=f"WorkMail device lockout: forwards security events to {configuration.region}"
            f" ({configuration.settings.owner})",
        )
        bus = f"arn:{Aws.PARTITION}:events:{configuration.region}:{configuration.account}:event-bus/{configuration.bus}"
        notices = Notices(self, "Notices", notify=replace(configuration.notices, topic="", channels=()))
        unforwarded = DeadLetters(
            self, "Unforwarded", notices=notices, contents="Events that could not be forwarded for a day"
        )
        put, said = grant(["events:PutEvents"], [bus]), f"Puts events on {configuration.bus}"
        role = add_role(self, "Role", "events", said, put, own_account=True, name=forwarder.stack)
        arns = []
        for name, route in configuration.routes.items():
            if forwarder.name not in route.forwarders:
                continue
            rule = events.CfnRule(
                self,
                f"Forward-{name}",
                name=rule_name(self, f"Forward-{name}"),
                description=f"Events of {name}, to the deployment",
                event_pattern=bus_limits.pattern_of(route.pattern),
                targets=[
                    events.CfnRule.TargetProperty(
                        id="Bus", arn=bus, role_arn=role.role_arn, **delivery(unforwarded.queue)
                    )
                ],
            )
            rule.node.add_dependency(role, unforwarded.queue.node.find_child("Policy"))
            arns.append(rule_arn(rule.name or ""))
        let_rules_send(unforwarded.queue, arns)
        unforwarded.reserve([], configuration.operators)
        explain_alarms(self)
        boundary, key = forwarder.permissions_boundary, forwarder.encryption_key
        finish(self, configuration.settings.owner, configuration.tags, boundary, key)
        CfnOutput(self, "UnforwardedEventsQueueUrl", value=unforwarded.queue.queue_url)
