"""The template's promises: permissions, queues, schedules and notices."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

import pytest

from config_reader import bus_limits
from config_reader.loader import Configuration, ConfigurationError, Notify
from config_reader.sources import Route
from device_lockout.aws.ledger_table import TIMELINE
from device_lockout.protocol.redelivery import LONGEST_DELAY
from device_lockout.values.outcome import RESULTS
from device_lockout.values.settings import SETTINGS_IN_TEMPLATE, load
from infra import cost, policy_limits
from infra.bundling import OPERATIONS
from infra.policies import LISTS
from tests.infra.conftest import ROOT, Template, as_list, name_of
from tests.infra.limits import ORGANIZATION, many_sources, most, of_size

pytestmark = pytest.mark.slow

DAY = 86400
HANDLERS = {"route_events": "RouteEvents", "apply_commands": "ApplyCommands", "sweep_overrides": "SweepOverrides"}

DEAD_LETTERS = {
    "BusUndeliveredQueue",
    "CommandsDeadLettersQueue",
    "ReportsDeadLettersQueue",
    "ScheduleMissedQueue",
}
WORK = {"ReportsQueue": "ReportsDeadLettersQueue", "CommandsQueue": "CommandsDeadLettersQueue"}


# The tree


def test_every_python_file_in_functions_is_a_function_and_they_share_one_package(
    template: Template,
) -> None:
    functions = ROOT / "functions"
    handlers = {function["Handler"] for function in template.of_type("Lambda::Function").values()}
    optional = {"receive_webhooks.handler"}  # only with a sender; see test_sources.py
    assert handlers == {f"{path.stem}.handler" for path in functions.glob("*.py")} - optional
    assert [path.parent.name for path in functions.glob("*/__init__.py")] == ["device_lockout"]


def test_functions_run_the_projects_python(template: Template) -> None:
    version = (ROOT / ".python-version").read_text().strip()
    assert {function["Runtime"] for function in template.of_type("Lambda::Function").values()} == {f"python{version}"}


# From an event to the queue


def matches(pattern: Any, event: Any) -> bool:
    """Match an event as EventBridge does, for the operators that our rules use."""
    if isinstance(pattern, dict):
        absent = [key for key, part in pattern.items() if part == [{"exists": False}]]
        rest = {key: part for key, part in pattern.items() if key not in absent}
        either = rest.pop("$or", None)
        return (
            event.keys().isdisjoint(absent)
            and (either is None or any(matches(each, event) for each in either))
            and all(key in event and matches(part, event[key]) for key, part in rest.items())
        )
    return any(
        event == test if not isinstance(test, dict) else "exists" in test or event not in test["anything-but"]
        for test in pattern
    )


def targets_of(template: Template, event: dict[str, Any]) -> list[str]:
    return [
        target["Arn"]
        for rule in template.of_type("Events::Rule").values()
        if matches(rule["EventPattern"], event)
        for target in rule["Targets"]
    ]


@pytest.mark.parametrize("source", ["helpdesk", "siem", "Helpdesk", "help-desk", "webhook"])
def test_an_event_of_a_known_or_unknown_source_reaches_the_router_once(template: Template, source: str) -> None:
    event = {"source": source, "detail-type": "Device Lost", "detail": {"userId": "bob", "deviceId": "ABC"}}
    assert targets_of(template, event) == ["ReportsQueue.Arn"]


def test_a_sources_reports_are_a_group_of_a_fair_queue(template: Template, local_template: Template) -> None:
    for each in (template, local_template):
        targets = [rule["Targets"][0] for rule in each.of_type("Events::Rule").values()]
        groups = [
            target["SqsParameters"]["MessageGroupId"] for target in targets if target["Arn"] == "ReportsQueue.Arn"
        ]
        assert len(groups) == len({*groups}) > 1
        assert all(len(group) <= 100 for group in groups)


def test_a_misspelt_detail_type_reaches_the_router(template: Template) -> None:
    assert targets_of(template, {"source": "siem", "detail-type": "Devise lost", "detail": {}}) == ["ReportsQueue.Arn"]


def test_outcomes_never_reach_the_router_and_page_people_only_if_they_say_so(template: Template) -> None:
    quiet = {"source": "device-lockout", "detail-type": "Device Locked", "detail": {"page": False}}
    loud = {"source": "device-lockout", "detail-type": "Lockout Rejected", "detail": {"page": True}}
    assert targets_of(template, quiet) == []
    assert targets_of(template, loud) == ["NoticesMail.Arn"]


def test_every_rule_but_the_tamper_watchs_is_on_our_bus_and_tries_for_a_day_before_it_dead_letters_an_event(
    template: Template,
) -> None:
    assert template.one("Events::EventBus")["Name"] == "device-security"  # of which an account has one: no second stack
    for name, rule in template.of_type("Events::Rule").items():
        assert rule.get("EventBusName") == (None if "TamperWatch" in name else "Bus")
        for target in rule["Targets"]:
            assert target["DeadLetterConfig"] == {"Arn": "BusUndeliveredQueue.Arn"}
            assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": DAY, "MaximumRetryAttempts": 185}


def rule_arn(rule: dict[str, Any]) -> str:
    """https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html"""
    bus = {"Bus": "device-security/", None: ""}.get(rule.get("EventBusName"), f"{rule.get('EventBusName')}/")
    return f"arn:AWS::Partition:events:AWS::Region:AWS::AccountId:rule/{bus}{rule['Name']}"


def senders(template: Template, queue: str) -> list[str]:
    """The rules that may send to a queue. No other rule may."""
    (allowed,) = (statement for statement in queue_policy(template, queue) if statement["Effect"] == "Allow")
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    assert allowed["Action"] == "sqs:SendMessage"
    assert allowed["Condition"].keys() == {"ArnEquals"}
    return as_list(allowed["Condition"]["ArnEquals"]["aws:SourceArn"])


def depends_on(template: Template, name: str) -> set[str]:
    return {name_of(logical) for logical in template.resources[name].get("DependsOn", [])}


@pytest.mark.parametrize("which", ["template", "local_template"])
def test_a_rule_may_deliver_from_its_first_event_on(request: pytest.FixtureRequest, which: str) -> None:
    """EventBridge doesn't retry without permission. So the policies come first."""
    template: Template = request.getfixturevalue(which)
    for name, rule in template.of_type("Events::Rule").items():
        (target,) = rule["Targets"]
        if target["Arn"] == "NoticesMail.Arn":
            assert target["RoleArn"] == "NoticesSender.Arn"
            assert {"NoticesSender", "NoticesSenderDefaultPolicy"} <= depends_on(template, name)
            queues = ["BusUndeliveredQueue"]
        else:
            queues = ["ReportsQueue", "BusUndeliveredQueue"]
        for queue in queues:
            assert f"{queue}Policy" in depends_on(template, name)
            assert rule_arn(rule) in senders(template, queue), rule["Name"]


@pytest.mark.parametrize("which", ["template", "local_template"])
def test_a_rule_waits_for_the_router_that_knows_its_source(request: pytest.FixtureRequest, which: str) -> None:
    """Code that does not know the source could only send the event back."""
    template: Template = request.getfixturevalue(which)
    ours = [name for name in template.of_type("Events::Rule") if name.startswith(("BusReports", "BusMapped"))]
    assert ours
    assert all("RouteEventsFunction" in depends_on(template, name) for name in ours)
    assert {*ours} <= depends_on(template, "BusUnknownSources"), "else a new source's events match no rule for a while"


def test_only_the_stacks_own_rules_may_send_to_the_queues_of_events(
    template: Template, local_template: Template
) -> None:
    """A rule of another name, if only the prefix is right, would walk round the bus."""
    for each in (template, local_template):
        rules = each.of_type("Events::Rule").values()
        to_people = {rule_arn(rule) for rule in rules if rule["Targets"][0]["Arn"] == "NoticesMail.Arn"}
        arns = {rule_arn(rule) for rule in rules}
        assert {*senders(each, "ReportsQueue")} == arns - to_people
        assert {*senders(each, "BusUndeliveredQueue")} == arns


QUEUES = ("Queue", "DeadLettersQueue")


def test_nobody_but_the_stack_and_operators_sends_to_a_queue(template: Template, local_template: Template) -> None:
    functions = [f"{name}Role.Arn" for name in ("RouteEvents", "ApplyCommands", "SweepOverrides")]
    operator = "arn:aws:iam::000000000000:user/operator*"
    for each, operators in ((template, []), (local_template, [operator])):
        calls_sweeps = ["ScheduleRole.Arn", functions[-1]]
        work = {f"{name}{queue}": of for name, of in (("Reports", []), ("Commands", functions)) for queue in QUEUES}
        for queue, senders_of in (work | {"BusUndeliveredQueue": [], "ScheduleMissedQueue": calls_sweeps}).items():
            (deny,) = (one for one in queue_policy(each, queue) if one.get("Sid") == "OnlyTheStackAndOperatorsSend")
            assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", {"AWS": "*"}, "sqs:SendMessage")
            assert deny["Condition"]["Bool"] == {"aws:PrincipalIsAWSService": "false"}
            others = as_list(deny["Condition"]["ArnNotLike"]["aws:PrincipalArn"])
            assert others == ([*senders_of, *operators] or ["arn:aws:iam::*:role/nobody"])


def test_no_rule_takes_what_an_archive_replays(local_template: Template) -> None:
    for rule in local_template.of_type("Events::Rule").values():
        assert rule["EventPattern"]["replay-name"] == [{"exists": False}]


ACCOUNT = "1" * 12


def on_aws(template: Template, value: Any) -> str:
    """A policy as AWS gets it, with names as long as CloudFormation's."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for role in template.of_type("IAM::Role"):
        text = text.replace(f"{role}.Arn", f"arn:aws:iam::{ACCOUNT}:role/{'r' * 64}")
    for queue in template.of_type("SQS::Queue"):
        text = text.replace(f"{queue}.Arn", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{'q' * 80}")
    pseudo = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": ACCOUNT}
    return re.sub("|".join(pseudo), lambda name: pseudo[name.group()], text)


def test_the_most_rules_that_the_loader_allows_fit_into_the_policies_of_queues(
    synthesize: Callable[[Configuration], Template], deployment: Configuration
) -> None:
    largest, said = most(lambda number: many_sources(deployment, number), "sources: the ARNs of")
    template = synthesize(largest)
    names = [rule["Name"] for rule in template.of_type("Events::Rule").values()]
    assert 50 < len(set(names)) == len(names) < 300
    assert all(re.fullmatch(r"[.\-_A-Za-z0-9]{1,64}", name) for name in names)
    assert all(name.startswith(f"device-lockout-{'o' * 20}-") for name in names)
    sizes = [len(on_aws(template, each["PolicyDocument"])) for each in template.of_type("SQS::QueuePolicy").values()]
    assert 7_000 < max(sizes) <= 8_192
    assert "characters of a queue's policy: expected at most 6,500" in said


@pytest.mark.parametrize(
    ("route", "least"),
    [({"publishers": "arn:aws:iam::111122223333:role/{}"}, 10), ({"organization": ORGANIZATION}, 40)],
)
def test_the_most_publishers_that_the_loader_allows_fit_into_the_policy_of_the_bus(
    synthesize: Callable[[Configuration], Template], deployment: Configuration, route: dict[str, str], least: int
) -> None:
    kind = "sources[].publishers" if "publishers" in route else "sources: the ARNs of"
    largest, said = most(lambda number: many_sources(deployment, number, **route), kind)
    assert len(largest.settings.sources) >= least
    template = synthesize(largest)
    size = len(on_aws(template, template.one("Events::EventBus")["Policy"]))
    assert (9_000 if "publishers" in route else 2_000) < size <= 10_240
    assert bus_limits._policy(largest) == size, "the loader counts what AWS will"
    assert re.search(r"takes? (1\d,\d{3}|[67],\d{3}) characters.*: expected at most (10,240|6,500)", said)


def as_iam_counts(template: Template, policy: Any) -> int:
    """The characters of a policy with names as CloudFormation makes them: stack, logical ID and 13 characters."""
    text = json.dumps(policy, separators=(",", ":"))
    start = f"device-lockout-prod-{'h' * 8}{'r' * 13}-"
    kinds = {
        "DynamoDB::Table": ("dynamodb:eu-west-1:{}:table/{}", 255),
        "Lambda::Function": ("lambda:eu-west-1:{}:function:{}", 64),
        "Logs::LogGroup": ("logs:eu-west-1:{}:log-group:{}:*", 512),
        "SQS::Queue": ("sqs:eu-west-1:{}:{}", 80),
    }
    for kind, (arn, longest) in kinds.items():
        for name in template.of_type(kind):
            text = text.replace(f"{name}.Arn", "arn:aws:" + arn.format(ACCOUNT, f"{start}{name}"[:longest]))
    text = text.replace("Bus.Arn", f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/device-security")
    text = text.replace('"NoticesTopic"', f'"arn:aws:sns:eu-west-1:{ACCOUNT}:{start}NoticesTopic"')
    text = text.replace(":ApplyCommandsWork", f":{'u' * 36}")
    stack = f"arn:aws:cloudformation:eu-west-1:{ACCOUNT}:stack/device-lockout-prod/{'u' * 36}"
    return len(on_aws(template, json.loads(text.replace("AWS::StackId", stack))))


def test_twenty_organizations_and_forty_webhooks_fit_into_the_policies_and_too_many_are_a_mistake(
    synthesize: Callable[[Configuration], Template], deployment: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesize(of_size(deployment, 20, 40))
    with pytest.raises(ConfigurationError) as refused:
        synthesize(of_size(deployment, 120, 40))
    monkeypatch.setattr(policy_limits, "MANAGED", 10**6)
    monkeypatch.setattr(policy_limits, "INLINE", 10**6)
    policies = synthesize(of_size(deployment, 120, 40))
    measured = {
        name: f"{as_iam_counts(policies, policy['PolicyDocument']):,}"
        for name, policy in policies.of_type("IAM::ManagedPolicy").items()
    }
    said = dict(re.findall(r"policy (\w+) takes ([\d,]+) characters: expected at most 6,144", str(refused.value)))
    assert said == {name: measured[name] for name in ("ReaderPolicy", "OperatorPolicy", "EraserPolicy")}
    assert re.search(r"policy ApplyCommands/\S+ takes [\d,]+ characters: expected at most 10,240", str(refused.value))


def test_the_longest_names_that_the_loader_allows_fit_into_the_pattern_of_unknown_sources(
    synthesize: Callable[[Configuration], Template], deployment: Configuration
) -> None:
    """Forty long names are a pattern that EventBridge refuses."""
    long = "a/long_name." * 5
    largest, said = most(lambda number: many_sources(deployment, number, long), "sources[].name")
    template = synthesize(largest)
    sizes = [len(on_aws(template, rule["EventPattern"])) for rule in template.of_type("Events::Rule").values()]
    assert 1_950 < max(sizes) <= 2_048
    assert len(largest.settings.sources) < 40
    assert "lists all names, takes 2,0" in said or "lists all names, takes 2,1" in said
    assert "expected at most 2,048" in said


def test_a_pattern_that_eventbridge_would_refuse_is_a_mistake(deployment: Configuration) -> None:
    """The name of the source, the figure and the limit are in it."""
    siem = {**deployment.routes, "siem": Route({"source": ["x"], "detail": {"user": ["u" * 2000]}})}
    (said,) = bus_limits.problems(replace(deployment, routes=siem))
    assert said.startswith("sources[].pattern of 'siem': it takes 2,072 characters: expected at most 2,048")


# Queues


def queue_policy(template: Template, queue: str) -> list[dict[str, Any]]:
    policies = template.of_type("SQS::QueuePolicy").values()
    (policy,) = (policy for policy in policies if policy["Queues"] == [queue])
    statements: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return statements


def test_every_hop_has_a_dead_letter_queue(template: Template) -> None:
    assert template.of_type("SQS::Queue").keys() == DEAD_LETTERS | WORK.keys()
    for queue, dead_letters in WORK.items():
        redrive = template.resources[queue]["Properties"]["RedrivePolicy"]
        assert redrive["deadLetterTargetArn"] == f"{dead_letters}.Arn"


def test_queues_keep_messages_for_14_days_encrypted_and_demand_tls(template: Template) -> None:
    for name, queue in template.of_type("SQS::Queue").items():
        assert queue["MessageRetentionPeriod"] == 14 * DAY
        assert queue["SqsManagedSseEnabled"] is True
        (deny,) = (one for one in queue_policy(template, name) if one["Effect"] == "Deny" and "Sid" not in one)
        assert (deny["Action"], deny["Principal"]) == ("sqs:*", {"AWS": "*"})
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_commands_are_in_order_and_deduplicated_per_device(template: Template) -> None:
    for name in ("CommandsQueue", "CommandsDeadLettersQueue"):
        queue = template.resources[name]["Properties"]
        assert queue["FifoQueue"] is True
        assert queue["DeduplicationScope"] == "messageGroup"
        assert queue["FifoThroughputLimit"] == "perMessageGroupId"
    assert "FifoQueue" not in template.resources["ReportsQueue"]["Properties"]


def test_a_message_stays_hidden_longer_than_any_consumer_runs(template: Template, deployment: Configuration) -> None:
    limits = deployment.settings.limits
    assert template.resources["ReportsQueue"]["Properties"]["VisibilityTimeout"] == 6 * 30
    assert (
        template.resources["CommandsQueue"]["Properties"]["VisibilityTimeout"]
        == (6 * limits.writer_timeout + limits.settle).total_seconds()
    )


def test_a_message_is_dead_lettered_before_it_is_too_old_to_be_kept(
    synthesize: Callable[[Configuration], Template], deployment: Configuration
) -> None:
    limits = replace(deployment.settings.limits, writer_timeout=timedelta(seconds=60), settle=timedelta(seconds=900))
    longest = synthesize(replace(deployment, settings=replace(deployment.settings, limits=limits)))
    for name in WORK:
        queue = longest.resources[name]["Properties"]
        receives = queue["RedrivePolicy"]["maxReceiveCount"]
        assert receives * queue["VisibilityTimeout"] < queue["MessageRetentionPeriod"]
        assert receives >= 20


# Functions


def test_each_function_consumes_its_queue_and_reports_failed_messages(
    template: Template, deployment: Configuration
) -> None:
    mappings = {mapping["FunctionName"]: mapping for mapping in template.of_type("Lambda::EventSourceMapping").values()}
    assert {name: mapping["EventSourceArn"] for name, mapping in mappings.items()} == {
        "RouteEventsFunction": "ReportsQueue.Arn",
        "ApplyCommandsFunction": "CommandsQueue.Arn",
    }
    for mapping in mappings.values():
        assert mapping["BatchSize"] == 10
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert "MaximumBatchingWindowInSeconds" not in mapping
    writer = mappings["ApplyCommandsFunction"]
    assert writer["ScalingConfig"] == {"MaximumConcurrency": deployment.writer_concurrency}


def test_functions_have_their_environment_and_limits_and_share_one_package(
    template: Template, deployment: Configuration
) -> None:
    functions = template.of_type("Lambda::Function")
    environment = {name: function["Environment"]["Variables"] for name, function in functions.items()}
    for file, name in HANDLERS.items():
        common = {
            "POWERTOOLS_SERVICE_NAME": file,
            "POWERTOOLS_METRICS_NAMESPACE": "DeviceLockout/prod",
            "LOCKOUT_EVENT_BUS": "device-security",
            "COMMANDS_QUEUE_URL": "CommandsQueue",
            "LOCKOUT_LOG_KEY": "AWS::StackId",
        }
        ledger = {"LEDGER_TABLE": "LedgerTable"} if file != "route_events" else {}
        dead = {"DEAD_COMMANDS_QUEUE_URL": "CommandsDeadLettersQueue"} if file == "apply_commands" else {}
        assert environment[f"{name}Function"] == common | ledger | dead
    assert len({json.dumps(function["Code"]) for function in functions.values()}) == 1
    assert {name: function["Timeout"] for name, function in functions.items()} == {
        "RouteEventsFunction": 30,
        "ApplyCommandsFunction": deployment.settings.limits.writer_timeout.total_seconds(),
        "SweepOverridesFunction": 900,
    }
    assert {function["MemorySize"] for function in functions.values()} == {deployment.memory}


def test_logs_show_names_only_if_the_configuration_says_so(
    synthesize: Callable[[Configuration], Template], deployment: Configuration
) -> None:
    functions = synthesize(replace(deployment, log_names=True)).of_type("Lambda::Function").values()
    assert not any("LOCKOUT_LOG_KEY" in function["Environment"]["Variables"] for function in functions)


def test_logs_are_kept_as_long_as_configured(template: Template, deployment: Configuration) -> None:
    functions = template.of_type("Lambda::Function").values()
    groups = template.of_type("Logs::LogGroup")
    assert {function["LoggingConfig"]["LogGroup"] for function in functions} == groups.keys()
    for group in groups.values():
        assert group["RetentionInDays"] == deployment.log_retention_days


# Permissions


def workmail_arns(organizations: Iterable[str]) -> frozenset[str]:
    arn = "arn:AWS::Partition:workmail:eu-west-1:AWS::AccountId:organization/"
    return frozenset(arn + organization for organization in organizations)


def test_each_role_may_do_exactly_this(template: Template, deployment: Configuration) -> None:
    organizations = workmail_arns(organization.id for organization in deployment.settings.organizations)
    consume = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    log = {"logs:CreateLogStream", "logs:PutLogEvents"}
    ledger = {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:Query"}
    expected: dict[str, list[tuple[set[str], set[str] | frozenset[str]]]] = {
        "RouteEventsRole": [
            (log, {"RouteEventsLog.Arn"}),
            (consume, {"ReportsQueue.Arn"}),
            ({"sqs:SendMessage"}, {"CommandsQueue.Arn"}),
        ],
        "ApplyCommandsRole": [
            (log, {"ApplyCommandsLog.Arn"}),
            (consume, {"CommandsQueue.Arn"}),
            ({"sqs:SendMessage"}, {"CommandsQueue.Arn"}),
            ({"sqs:SendMessage"}, {"CommandsDeadLettersQueue.Arn"}),
            ({"sqs:ChangeMessageVisibility"}, {"CommandsQueue.Arn"}),
            (ledger, {"LedgerTable.Arn"}),
            ({"events:PutEvents"}, {"Bus.Arn"}),
            (
                {
                    "workmail:DescribeUser",
                    "workmail:GetMobileDeviceAccessOverride",
                    "workmail:ListUsers",
                    "workmail:PutMobileDeviceAccessOverride",
                    "workmail:DeleteMobileDeviceAccessOverride",
                },
                organizations,
            ),
        ],
        "SweepOverridesRole": [
            (log, {"SweepOverridesLog.Arn"}),
            ({"sqs:SendMessage"}, {"CommandsQueue.Arn"}),
            ({"sqs:SendMessage"}, {"ScheduleMissedQueue.Arn"}),
            (ledger, {"LedgerTable.Arn"}),
            ({"dynamodb:DescribeTable"}, {"LedgerTable.Arn"}),
            ({"events:PutEvents"}, {"Bus.Arn"}),
            ({"sqs:GetQueueAttributes"}, {"CommandsQueue.Arn"}),
            ({"workmail:ListMobileDeviceAccessOverrides"}, organizations),
        ],
        "ScheduleRole": [
            ({"lambda:InvokeFunction"}, {"SweepOverridesFunction.Arn"}),
            ({"sqs:SendMessage"}, {"ScheduleMissedQueue.Arn"}),
        ],
        "NoticesPublisher": [({"sns:Publish"}, {"NoticesTopic"})],
        "NoticesSender": [({"states:StartExecution"}, {"NoticesMail.Arn"})],
    }
    assert template.of_type("IAM::Role").keys() == expected.keys()
    for role, statements in expected.items():
        found = sorted(template.statements(role), key=str)
        assert sorted(((frozenset(a), frozenset(r)) for a, r in statements), key=str) == found, role


def test_roles_have_no_other_policies_and_no_wildcards_but_for_what_only_lists(template: Template) -> None:
    for role in template.of_type("IAM::Role").values():
        assert role.keys() == {"AssumeRolePolicyDocument", "Description", "Tags"}
    lists = {"Action": [*LISTS], "Effect": "Allow", "Resource": "*"}
    for policy in [*template.of_type("IAM::Policy").values(), *template.of_type("IAM::ManagedPolicy").values()]:
        statements = policy["PolicyDocument"]["Statement"]
        others = json.dumps([each for each in statements if each != lists])
        assert "*" not in others.replace("event#*", "").replace(":rule/*", "")
    assert all(
        lists not in policy["PolicyDocument"]["Statement"] for policy in template.of_type("IAM::Policy").values()
    )


def test_each_role_is_for_one_service_and_the_schedules_only_for_this_account(template: Template) -> None:
    for name, role in template.of_type("IAM::Role").items():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        schedule = name in ("ScheduleRole", "NoticesPublisher")
        services = {"ScheduleRole": "scheduler", "NoticesSender": "events", "NoticesPublisher": "states"}
        service = services.get(name, "lambda")
        assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}
        if schedule:
            assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "AWS::AccountId"}}


def test_only_the_writer_may_change_an_override(template: Template) -> None:
    may = {
        role
        for role in template.of_type("IAM::Role")
        for actions, _ in template.statements(role)
        if any(re.match("workmail:(Put|Delete)", action) for action in actions)
    }
    assert may == {"ApplyCommandsRole"}


def test_the_functions_may_call_exactly_the_operations_in_the_packages_models(local_template: Template) -> None:
    roles = local_template.of_type("IAM::Role")
    may = {action for role in roles for actions, _ in local_template.statements(role) for action in actions}
    of_models = {action for action in may if action.split(":")[0] in OPERATIONS}
    called = {f"{service}:{name}" for service, names in OPERATIONS.items() for name in names}
    lambdas_own = {"sqs:ReceiveMessage", "sqs:DeleteMessage"}
    assert of_models == lambdas_own | {name.replace("SendMessageBatch", "SendMessage") for name in called}


# The ledger


def test_the_ledger_is_on_demand_and_recoverable_and_expires_only_items_that_say_when(template: Template) -> None:
    table = template.one("DynamoDB::Table")
    assert table["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    assert table["AttributeDefinitions"] == [
        {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "month", "at")
    ]
    (index,) = table["GlobalSecondaryIndexes"]
    assert index == {
        "IndexName": TIMELINE,
        "KeySchema": [{"AttributeName": "month", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}


@pytest.mark.parametrize(("which", "policy"), [("template", "Retain"), ("local_template", "Delete")])
def test_the_ledger_and_the_logs_outlive_the_stack_if_the_configuration_says_so(
    request: pytest.FixtureRequest, which: str, policy: str
) -> None:
    template: Template = request.getfixturevalue(which)
    for resource in template.resources.values():
        if resource["Type"] in {"AWS::DynamoDB::Table", "AWS::Logs::LogGroup"}:
            assert resource["DeletionPolicy"] == policy
    assert template.one("DynamoDB::Table").get("DeletionProtectionEnabled", False) is (policy == "Retain")


# The sweep


def test_each_organization_has_a_schedule_and_runs_that_fail_for_good_are_dead_lettered(
    template: Template, deployment: Configuration
) -> None:
    schedules = template.of_type("Scheduler::Schedule").values()
    assert [json.loads(schedule["Target"]["Input"]) for schedule in schedules] == [
        {"organizationId": organization.id} for organization in deployment.settings.organizations
    ]
    for schedule in schedules:
        assert schedule["ScheduleExpression"] == "rate(1 hour)"
        assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
        target = schedule["Target"]
        assert target["Arn"] == "SweepOverridesFunction.Arn"
        assert target["RoleArn"] == "ScheduleRole.Arn"
        assert target["DeadLetterConfig"] == {"Arn": "ScheduleMissedQueue.Arn"}
        assert target["RetryPolicy"]["MaximumRetryAttempts"] == 2
    for name in template.of_type("Scheduler::Schedule"):
        assert "ScheduleRoleDefaultPolicy" in depends_on(template, name), "the first call would be refused"
    runs = template.one("Lambda::EventInvokeConfig")
    assert runs["FunctionName"] == "SweepOverridesFunction"
    assert runs["DestinationConfig"] == {"OnFailure": {"Destination": "ScheduleMissedQueue.Arn"}}


# People


def alarms_on(template: Template, key: str, value: str) -> list[dict[str, Any]]:
    return [alarm for alarm in template.of_type("CloudWatch::Alarm").values() if alarm[key] == value]


def test_people_are_notified_of_dead_letters_and_of_messages_that_wait_too_long(template: Template) -> None:
    alarms = alarms_on(template, "Namespace", "AWS/SQS")
    watched = {(alarm["Dimensions"][0]["Value"], alarm["MetricName"], alarm["Threshold"]) for alarm in alarms}
    assert watched == {
        *((f"{queue}.QueueName", "ApproximateNumberOfMessagesVisible", 1) for queue in DEAD_LETTERS),
        ("ReportsQueue.QueueName", "ApproximateAgeOfOldestMessage", 360),
        ("CommandsQueue.QueueName", "ApproximateAgeOfOldestMessage", 900),
    }
    reports = template.resources["ReportsQueue"]["Properties"]
    assert 3 * reports["VisibilityTimeout"] > 360, "SQS leaves out what was received three times"
    for alarm in alarms:
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert (alarm["Statistic"], alarm["Period"], alarm["EvaluationPeriods"]) == ("Maximum", 60, 1)
        dead = alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
        assert alarm["TreatMissingData"] == ("ignore" if dead else "notBreaching"), "a queue that sleeps is not empty"


def test_people_are_told_within_ten_minutes_that_a_function_can_not_run(local_template: Template) -> None:
    """Such a function writes no metric of ours and no line."""
    alarms = alarms_on(local_template, "Namespace", "AWS/Lambda")
    functions = {name.removesuffix("Function") for name in local_template.of_type("Lambda::Function")}
    assert {(alarm["Dimensions"][0]["Value"], alarm["MetricName"]) for alarm in alarms} == {
        *((f"{name}Function", metric) for name in functions for metric in ("Errors", "Throttles")),
        ("ApplyCommandsFunction", "RecursiveInvocationsDropped"),
    }
    assert len(functions) == 4
    for alarm in alarms:
        assert (alarm["Statistic"], alarm["Threshold"], alarm["Dimensions"][0]["Name"]) == ("Sum", 1, "FunctionName")
        assert (alarm["Period"], alarm["EvaluationPeriods"]) == (300, 1)
        assert alarm["AlarmActions"] == ["NoticesTopic"]


def test_only_the_writer_may_call_itself_through_its_queue(local_template: Template) -> None:
    """Lambda would drop the 17th call in a chain: a user with more than 16 portions of devices."""
    functions = local_template.of_type("Lambda::Function")
    assert {name: function.get("RecursiveLoop") for name, function in functions.items()} == {
        **dict.fromkeys(functions),
        "ApplyCommandsFunction": "Allow",
    }


@pytest.mark.parametrize(
    ("every", "schedule", "period", "periods"),
    [
        (60, "rate(1 minute)", 3600, 1),
        (3600, "rate(1 hour)", 3600, 2),
        (5400, "rate(90 minutes)", 5400, 2),
        (DAY, "rate(1 day)", DAY, 2),
        (3 * DAY, "rate(3 days)", DAY, 6),
    ],
)
def test_each_period_gives_a_schedule_and_an_alarm_after_two_periods_and_an_hour_without_a_completed_sweep(
    synthesize: Callable[[Configuration], Template],
    deployment: Configuration,
    every: int,
    schedule: str,
    period: int,
    periods: int,
) -> None:
    sweep = replace(deployment.settings.sweep, every=timedelta(seconds=every))
    template = synthesize(replace(deployment, settings=replace(deployment.settings, sweep=sweep)))
    assert {each["ScheduleExpression"] for each in template.of_type("Scheduler::Schedule").values()} == {schedule}
    alarms = alarms_on(template, "MetricName", "SweepCompleted")
    assert [alarm["Dimensions"] for alarm in alarms] == [
        [{"Name": "organization", "Value": organization.id}, {"Name": "service", "Value": "sweep_overrides"}]
        for organization in deployment.settings.organizations
    ]
    for alarm in alarms:
        assert (alarm["Namespace"], alarm["Statistic"]) == ("DeviceLockout/prod", "Sum")
        assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
        assert (alarm["Period"], alarm["EvaluationPeriods"]) == (period, periods)
        assert alarm["TreatMissingData"] == "breaching"
    assert period * periods >= 2 * every
    assert period * periods <= 7 * DAY, "CloudWatch evaluates no more"


def test_a_message_that_keeps_failing_notifies_people_once_and_not_at_each_try(local_template: Template) -> None:
    """SQS's own figure leaves out messages that were received three times."""
    watched = own_alarms(local_template, "FailingFor")
    assert {service: alarm["Threshold"] for service, alarm in watched.items()} == {
        "route_events": 300,
        "apply_commands": 900,
    }
    for alarm in watched.values():
        assert (alarm["Statistic"], alarm["EvaluationPeriods"]) == ("Maximum", 1)
        assert alarm["Period"] >= LONGEST_DELAY.total_seconds(), "the alarm would end before the next try"
        assert alarm["Period"] > 6 * 60 + 900, "the longest visibility timeout that can be configured"


def test_people_are_notified_of_webhooks_that_could_not_be_passed_on(local_template: Template) -> None:
    ((service, alarm),) = own_alarms(local_template, "WebhookFailed").items()
    assert (service, alarm["Threshold"], alarm["Statistic"]) == ("receive_webhooks", 1, "Sum")


def test_people_are_notified_of_a_known_senders_refused_calls_and_of_throttled_ones(local_template: Template) -> None:
    """A sender's secret may be wrong after a rotation, and then what it reports is lost."""
    ((service, refused),) = own_alarms(local_template, "SenderRefused").items()
    assert (service, refused["Threshold"], refused["Statistic"]) == ("receive_webhooks", 1, "Sum")
    receiver = [{"Name": "FunctionName", "Value": "WebhooksReceiveFunction"}]
    (throttled,) = (
        alarm for alarm in alarms_on(local_template, "MetricName", "Throttles") if alarm["Dimensions"] == receiver
    )
    assert (throttled["Namespace"], throttled["Threshold"], throttled["Statistic"]) == ("AWS/Lambda", 1, "Sum")
    assert throttled["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert throttled["TreatMissingData"] == "notBreaching"
    assert refused["Period"] == throttled["Period"] == 300
    assert "More than 5 came at a time, or 50 in a second" in throttled["AlarmDescription"]


def test_people_are_notified_while_a_sources_locks_are_held(local_template: Template) -> None:
    ((service, held),) = own_alarms(local_template, "held").items()
    assert (service, held["Threshold"], held["Statistic"], held["Period"]) == ("apply_commands", 1, "Sum", 300)
    assert held["MetricName"] in RESULTS, "the writer counts each result by its name"


def own_alarms(template: Template, metric: str) -> dict[str, dict[str, Any]]:
    """The alarms on a metric of ours, by function."""
    found = {}
    for alarm in alarms_on(template, "MetricName", metric):
        (dimension,) = alarm["Dimensions"]
        assert dimension["Name"] == "service"
        assert alarm["Namespace"] == "DeviceLockout/local"
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert alarm["TreatMissingData"] == "notBreaching"
        found[dimension["Value"]] = alarm
    return found


def test_every_alarm_notifies_people_except_the_one_on_outcomes_that_page(local_template: Template) -> None:
    alarms = local_template.of_type("CloudWatch::Alarm").values()
    assert all(alarm["AlarmDescription"] for alarm in alarms)
    silent = [alarm for alarm in alarms if alarm.get("AlarmActions") != ["NoticesTopic"]]
    ((service, paged),) = own_alarms(local_template, "Paged").items()
    assert silent == [paged]
    assert "AlarmActions" not in paged
    assert (service, paged["Threshold"], paged["Statistic"]) == ("apply_commands", 1, "Sum")
    assert "by the outcome itself" in paged["AlarmDescription"]


def test_the_runbook_covers_every_alarm_and_every_dead_letter_queue(
    template: Template, local_template: Template
) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    for alarm in local_template.of_type("CloudWatch::Alarm").values():
        row = re.match(r"No completed sweep|.*? have been waiting|[^.]+", alarm["AlarmDescription"])
        assert row
        assert row.group() in runbook
    queues = [name for name in template.outputs if name.startswith(("Dead", "Missed", "Undelivered"))]
    assert len(queues) == len(DEAD_LETTERS)
    assert [name for name in queues if f"`{name}`" not in runbook] == []


def test_the_configured_address_is_subscribed_to_the_notices(template: Template) -> None:
    subscription = template.one("SNS::Subscription")
    assert (subscription["Endpoint"], subscription["Protocol"]) == ("security@example.com", "email")


def test_only_this_accounts_alarms_and_the_stacks_own_rule_may_publish_notices(template: Template) -> None:
    """A statement for EventBridge would be for the rules of every account."""
    statements = template.one("SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    (deny,) = (statement for statement in statements if statement["Effect"] == "Deny")
    assert (deny["Action"], deny["Principal"]) == ("sns:Publish", "*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    allowed = [statement for statement in statements if statement["Effect"] == "Allow"]
    assert {statement["Action"] for statement in allowed} == {"sns:Publish"}
    assert {statement["Principal"]["Service"]: statement.get("Condition") for statement in allowed} == {
        "cloudwatch.amazonaws.com": {"StringEquals": {"aws:SourceAccount": "AWS::AccountId"}},
    }


# The template as a whole


def test_the_outputs_have_what_operators_and_the_local_aws_need(template: Template, deployment: Configuration) -> None:
    assert template.outputs.keys() == {
        "EventBusName",
        "OrganizationIds",
        "LedgerTableName",
        "ReportsQueueUrl",
        "CommandsQueueUrl",
        "UndeliveredEventsQueueUrl",
        "DeadReportsQueueUrl",
        "DeadCommandsQueueUrl",
        "MissedSweepsQueueUrl",
        "RouteEventsFunctionName",
        "ApplyCommandsFunctionName",
        "SweepOverridesFunctionName",
        "NoticesTopicArn",
        "ReaderPolicyArn",
        "OperatorPolicyArn",
        "EraserPolicyArn",
        "ProducerPolicyArn",
    }
    assert template.outputs["OrganizationIds"]["Value"] == ",".join(
        organization.id for organization in deployment.settings.organizations
    )


def test_the_same_configuration_gives_the_same_template(
    synthesize: Callable[[Configuration], Template], deployment: Configuration, template: Template
) -> None:
    assert synthesize(deployment).text == template.text


def test_no_account_number_is_in_the_template_but_the_publishers(template: Template) -> None:
    others = re.sub(r"arn:aws:iam::111122223333:role/(helpdesk|mdm)", "", template.text)
    assert not re.search(r"\b[0-9]{12}\b", others)


def test_the_cost_counts_every_alarm(template: Template, deployment: Configuration) -> None:
    others = len(deployment.settings.organizations) - 1
    webhooks = bool(deployment.settings.webhooks)
    assert len(template.of_type("CloudWatch::Alarm")) == cost.ALARMS + others + 4 * webhooks


def test_the_template_publishes_the_settings_that_the_functions_have(
    template: Template, deployment: Configuration
) -> None:
    assert load(json.loads(template.text)["Metadata"][SETTINGS_IN_TEMPLATE]) == deployment.settings


# Options


@pytest.fixture(scope="module")
def with_options(synthesize: Callable[[Configuration], Template], deployment: Configuration) -> Template:
    return synthesize(
        replace(
            deployment,
            notices=Notify(("a@example.com",), ("https://pager.example.com/in",)),
            router_concurrency=20,
            reserve_concurrency=True,
            permissions_boundary="arn:aws:iam::111122223333:policy/boundary",
            encryption_key=KEY,
            tags={"CostCenter": "4711"},
        )
    )


KEY = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-0000-4000-8000-000000000000"


def test_every_resource_that_takes_tags_has_them(with_options: Template, template: Template) -> None:
    own = {"device-lockout": "prod"}
    for each, tags in ((template, own), (with_options, {**own, "CostCenter": "4711"})):
        without = {
            resource["Type"]
            for resource in each.resources.values()
            if tags.items() - {(tag["Key"], tag["Value"]) for tag in resource.get("Properties", {}).get("Tags", [])}
        }
        assert (
            without
            == {
                "AWS::CDK::Metadata",
                "AWS::CloudWatch::Dashboard",
                "AWS::IAM::ManagedPolicy",
                "AWS::IAM::Policy",
                "AWS::Lambda::EventInvokeConfig",
                "AWS::Logs::QueryDefinition",
                "AWS::SNS::Subscription",
                "AWS::SNS::TopicPolicy",
                "AWS::SQS::QueuePolicy",
                "AWS::Scheduler::Schedule",
            }
            & without
        ), "CloudFormation takes no tags of these"


def test_a_boundary_bounds_every_role_and_a_key_encrypts_all_that_is_stored(with_options: Template) -> None:
    for role in with_options.of_type("IAM::Role").values():
        assert role["PermissionsBoundary"] == "arn:aws:iam::111122223333:policy/boundary"
    keys = {"SQS::Queue": "KmsMasterKeyId", "SNS::Topic": "KmsMasterKeyId", "Logs::LogGroup": "KmsKeyId"}
    for kind, key in keys.items():
        assert {resource.get(key) for resource in with_options.of_type(kind).values()} == {KEY}
    assert all("SqsManagedSseEnabled" not in queue for queue in with_options.of_type("SQS::Queue").values())
    assert with_options.one("DynamoDB::Table")["SSESpecification"] == {
        "KMSMasterKeyId": KEY,
        "SSEEnabled": True,
        "SSEType": "KMS",
    }
    for role in with_options.of_type("IAM::Role"):
        (actions,) = (actions for actions, resources in with_options.statements(role) if resources == {KEY})
        assert {"kms:Decrypt", "kms:GenerateDataKey"} <= actions


def test_executions_are_reserved_and_capped_if_the_configuration_says_so(
    with_options: Template, template: Template, deployment: Configuration
) -> None:
    def reserved(each: Template) -> dict[str, Any]:
        functions = each.of_type("Lambda::Function").items()
        return {name: function.get("ReservedConcurrentExecutions") for name, function in functions}

    assert set(reserved(template).values()) == {None}
    assert reserved(with_options) == {
        "RouteEventsFunction": 20,
        "ApplyCommandsFunction": deployment.writer_concurrency,
        "SweepOverridesFunction": None,
    }
    mappings = with_options.of_type("Lambda::EventSourceMapping").values()
    caps = {mapping["FunctionName"]: mapping["ScalingConfig"]["MaximumConcurrency"] for mapping in mappings}
    assert caps == {"RouteEventsFunction": 20, "ApplyCommandsFunction": deployment.writer_concurrency}


def test_notices_go_to_an_https_endpoint_too(with_options: Template) -> None:
    subscriptions = with_options.of_type("SNS::Subscription").values()
    assert {(each["Protocol"], each["Endpoint"]) for each in subscriptions} == {
        ("email", "a@example.com"),
        ("https", "https://pager.example.com/in"),
    }


def test_notices_go_to_a_topic_that_exists_in_place_of_one_of_ours(
    synthesize: Callable[[Configuration], Template], deployment: Configuration
) -> None:
    theirs = "arn:aws:sns:eu-west-1:111122223333:on-call"
    template = synthesize(replace(deployment, notices=Notify(topic=theirs)))
    assert not template.of_type("SNS::Topic")
    assert not template.of_type("SNS::TopicPolicy")
    alarms = template.of_type("CloudWatch::Alarm").values()
    assert [alarm["MetricName"] for alarm in alarms if alarm.get("AlarmActions") != [theirs]] == ["Paged"]
    assert list(template.statements("NoticesPublisher")) == [(frozenset({"sns:Publish"}), frozenset({theirs}))]
    assert f'"TopicArn":"{theirs}"' in template.one("StepFunctions::StateMachine")["DefinitionString"]
    assert template.outputs["NoticesTopicArn"]["Value"] == theirs


# Policies for people


def test_readers_change_nothing_producers_only_put_events_and_operators_are_readers_too(template: Template) -> None:
    policies = {
        name: {
            (action, resource)
            for statement in policy["PolicyDocument"]["Statement"]
            for action in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        }
        for name, policy in template.of_type("IAM::ManagedPolicy").items()
    }
    reader, operator, producer = (policies[f"{name}Policy"] for name in ("Reader", "Operator", "Producer"))
    assert producer == {("events:PutEvents", "Bus.Arn")}
    assert reader | producer <= operator
    asked_by_doctor = {"sns:GetSubscriptionAttributes", "workmail:ListMobileDeviceAccessRules"}
    assert asked_by_doctor <= {action for action, _ in reader}
    verbs = {action.split(":")[1] for action, _ in reader}
    assert all(re.match("(Describe|Get|List|Lookup|Query|Filter|ReceiveMessage)", verb) for verb in verbs)
    assert not any(re.match("workmail:(Put|Delete)|dynamodb:(Put|Update|Del)|iam:", action) for action, _ in operator)


def test_a_reader_may_call_the_receiver_of_webhooks_alone_as_anybody_may(local_template: Template) -> None:
    (policy,) = (each for name, each in local_template.of_type("IAM::ManagedPolicy").items() if name == "ReaderPolicy")
    (call,) = (each for each in policy["PolicyDocument"]["Statement"] if each["Action"] == "lambda:InvokeFunction")
    assert as_list(call["Resource"]) == ["WebhooksReceiveFunction.Arn"]


def test_an_eraser_may_change_the_ledgers_items_of_people_and_no_others(
    template: Template, deployment: Configuration
) -> None:
    policy = template.of_type("IAM::ManagedPolicy")["EraserPolicy"]["PolicyDocument"]
    (erase,) = (each for each in policy["Statement"] if "dynamodb:UpdateItem" in as_list(each["Action"]))
    assert (erase["Action"], erase["Resource"]) == (["dynamodb:DeleteItem", "dynamodb:UpdateItem"], "LedgerTable.Arn")
    keys = ["event#*", f"m-{'?' * 32}"]
    assert all(fnmatchcase(organization.id, keys[1]) for organization in deployment.settings.organizations)
    assert erase["Condition"] == {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": keys},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
