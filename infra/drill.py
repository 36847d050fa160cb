"""The drill that runs by itself: a device that nobody uses is locked and let back in, through the whole chain."""

import json
import math
from datetime import timedelta

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from config_reader.loader import Drill as Canary
from device_lockout.values.outcome import DRILL
from infra.function import Function
from infra.notices import Notices
from infra.roles import add_role, grant

LATE = 30
"""Seconds from a report to its deny. Two cold starts and slow calls take less; a command that came twice takes more."""

_HOUR = timedelta(hours=1)


class Drill(Construct):
    """Two schedules, which put a `Device Lost` and five minutes later a `Device Recovered` on the bus.

    The alarms tell of a drill that was late, and of two periods, an hour at least, in which none locked the device.
    A drill that could not be delivered in five minutes is dropped, since the next one comes.
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-templated.html
    """

    def __init__(
        self, scope: Construct, id: str, *, canary: Canary, bus: events.EventBus, writer: Function, notices: Notices
    ) -> None:
        super().__init__(scope, id)
        put = grant(["events:PutEvents"], [bus.event_bus_arn])
        said = "Permission of the schedules of the drill"
        self.role = add_role(self, "Role", "scheduler", said, put, own_account=True)
        for kind, minute in (("Device Lost", 7), ("Device Recovered", 12)):
            report = {
                "organizationId": canary.organization,
                "userId": canary.user,
                "deviceId": canary.device,
                # https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
                "reportedAt": "<aws.scheduler.scheduled-time>",
                "reference": "DRILL",
            }
            schedule = scheduler.CfnSchedule(
                self,
                kind.replace(" ", ""),
                description=f"Drill: {kind} of {canary.device}",
                schedule_expression=_cron(minute, canary.every),
                flexible_time_window={"mode": "OFF"},
                target=scheduler.CfnSchedule.TargetProperty(
                    arn=bus.event_bus_arn,
                    role_arn=self.role.role_arn,
                    event_bridge_parameters={"detailType": kind, "source": DRILL},
                    input=json.dumps(report),
                    retry_policy={"maximumEventAgeInSeconds": 300},
                ),
            )
            schedule.node.add_dependency(self.role)
        period = max(canary.every, _HOUR)
        writer.alarm(
            "DrillToDeny",
            f"A drill was late. It took {LATE} seconds or more from the report to the deny.",
            notices,
            statistic=cloudwatch.Stats.MAXIMUM,
            threshold=LATE * 1000,
        )
        writer.alarm(
            "DrillToDeny",
            "No drill locked its device. Real reports may fare no better. See lockout doctor.",
            notices,
            statistic=cloudwatch.Stats.SAMPLE_COUNT,
            minutes=period // timedelta(minutes=1),
            missing_for=math.ceil(2 * canary.every / period),
        )


def _cron(minute: int, every: timedelta) -> str:
    """Return the schedule that begins at this minute of the day.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
    """
    if every < _HOUR:
        return f"cron({minute}/{every // timedelta(minutes=1)} * * * ? *)"
    hours = every // _HOUR
    return f"cron({minute} {'0' if hours == 24 else f'0/{hours}'} * * ? *)"
