"""Repairs of MiniStack 1.5.33. Each links the AWS page whose promise it restores.

There are only those that the tests need. `tests/local/test_repairs.py` has a test for each that fails without it.
A repair wraps or replaces functions inside MiniStack, so `local.server` refuses any other version.
"""

# ruff: noqa: SLF001 - MiniStack has no public names for this

import hashlib
import json
import os
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

from ministack import app as ministack_app
from ministack.core import iam_actions, iam_evaluator, lambda_runtime, responses
from ministack.core.arn import parse_arn
from ministack.services import cloudformation, cloudtrail, cloudwatch, dynamodb, eventbridge, lambda_svc, sqs, sts
from ministack.services.cloudformation import provisioners

type Json = dict[str, Any]


def apply(lambda_python: Path) -> None:
    """Apply every repair, once, before the first request. Lambda workers run under `lambda_python`."""
    only_its_own_key_is_the_root_user()
    sqs_batch_calls_need_the_single_call_permission()
    put_events_keeps_the_time_it_is_given()
    conditions_know_the_sources_and_the_items_of_a_request()
    conditions_know_the_caller()
    resources_of_requests_end_as_in_policies()
    cloudformation_gives_a_bus_its_policy()
    rules_put_events_on_buses_of_other_regions()
    rules_need_permission_and_have_dead_letter_queues()
    rules_on_partner_buses_have_tags()
    schedules_put_events()
    cloudtrail_looks_up_what_it_tells()
    targets_invoke_functions_asynchronously()
    function_urls_of_type_none_need_no_signature()
    cloudformation_enables_time_to_live_and_recovery()
    fifo_groups_are_processed_in_parallel()
    standard_queues_are_fair()
    chains_through_queues_are_counted()
    batches_of_a_queue_are_measured()
    alarms_watch_what_lambda_measures()
    exceptions_leave_the_environment_running()
    functions_see_only_their_own_package(lambda_python)
    environments_share_one_unpacked_package()
    lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0.0  # after a look at empty queues none is looked at for 50 ms


def only_its_own_key_is_the_root_user() -> None:
    """The access keys `test` and the account number are not the root user's.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_root-user.html
    """
    key = os.environ["AWS_ACCESS_KEY_ID"]

    def is_root_access_key(access_key_id: str) -> bool:
        return access_key_id == key

    iam_evaluator.is_root_access_key = sts.is_root_access_key = is_root_access_key


def sqs_batch_calls_need_the_single_call_permission() -> None:
    """`sqs:SendMessage` allows `SendMessageBatch`. IAM has no action for batches.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
    """
    original = iam_actions.extract_iam_action

    @wraps(original)
    def action(service: str, *rest: Any) -> str | None:
        name: str | None = original(service, *rest)
        return name.removesuffix("Batch") if service == "sqs" and name else name

    iam_actions.extract_iam_action = action


def conditions_know_the_sources_and_the_items_of_a_request() -> None:
    """Conditions on `events:source` and on `dynamodb:LeadingKeys` hold for the request's entries and its item.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html
    """
    original = iam_actions.request_tag_context

    @wraps(original)
    def context(service: str, action: str, body: bytes, params: Json) -> Json:
        keys: Json = original(service, action, body, params)
        if action == "events:PutEvents":
            keys["events:source"] = [str(entry.get("Source", "")) for entry in json.loads(body).get("Entries", [])]
        if action in ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"):
            asked = json.loads(body)
            keys["dynamodb:LeadingKeys"] = [str(asked.get("Item", asked.get("Key"))["pk"]["S"])]
        return keys

    iam_actions.request_tag_context = context


def conditions_know_the_caller() -> None:
    """`aws:PrincipalIsAWSService` is there for every caller, and `aws:PrincipalArn` of a session is its role's.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    original = iam_evaluator._resolve_condition_key

    @wraps(original)
    def resolve(key: str, context: Any) -> Any:
        if key.lower() == "aws:principalisawsservice":
            return str(context.principal_type == "Service").lower()
        value = original(key, context)
        if key.lower() == "aws:principalarn" and ":assumed-role/" in str(value):
            start, _, session = str(value).partition(":assumed-role/")
            return f"{start.replace(':sts:', ':iam:')}:role/{session.partition('/')[0]}"
        return value

    iam_evaluator._resolve_condition_key = resolve


def resources_of_requests_end_as_in_policies() -> None:
    """IAM compares a policy with the ARN of a request's resource: a stack's ends with its ID, a log group's with `:*`.

    Who asks for a bus asks for no rule of its name, and who asks for a rule's targets asks for that rule.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudformation.html
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
    """
    original = iam_actions.extract_resource_arn

    @wraps(original)
    def resource_arn(service: str, *rest: Any) -> str:
        arn = str(original(service, *rest))
        if service == "logs" and ":log-group:" in arn:
            return f"{arn.removesuffix(':*')}:*"
        if service == "events" and "AWSEvents.DescribeEventBus" in rest[2].values():
            return arn.replace(":rule/default/", ":event-bus/")
        if service == "events" and "AWSEvents.ListTargetsByRule" in rest[2].values():
            asked = json.loads(rest[3])
            bus = f"{asked['EventBusName']}/" if "EventBusName" in asked else ""
            return f"arn:aws:events:{rest[5]}:{rest[6]}:rule/{bus}{asked['Rule']}"
        stack = cloudformation._stacks.get(arn.split("/")[1]) if service == "cloudformation" and "/" in arn else None
        return str(stack["StackId"]) if stack else arn

    iam_actions.extract_resource_arn = resource_arn


def put_events_keeps_the_time_it_is_given() -> None:
    """An entry's `Time` becomes the event's `time`. The default is the time of the call.

    https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html
    """
    original, clock = eventbridge._put_events, eventbridge._now_ts
    given: ContextVar[float | None] = ContextVar("given", default=None)

    def now() -> float:
        time = given.get()
        return float(clock()) if time is None else time

    @wraps(original)
    def put_events(data: Json, allow_aws_source: bool = False) -> Any:
        entries = data.get("Entries", [])
        if len(entries) > 10 or not any("Time" in entry for entry in entries):
            return original(data, allow_aws_source)
        answers = []
        for entry in entries:
            token = given.set(entry.get("Time"))
            try:
                answers.append(json.loads(original({"Entries": [entry]}, allow_aws_source)[2]))
            finally:
                given.reset(token)
        return responses.json_response(
            {
                "FailedEntryCount": sum(answer["FailedEntryCount"] for answer in answers),
                "Entries": [result for answer in answers for result in answer["Entries"]],
            }
        )

    eventbridge._now_ts = now
    eventbridge._put_events = put_events


def cloudformation_gives_a_bus_its_policy() -> None:
    """`Policy` of an event bus takes effect.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-events-eventbus.html
    """

    def keeping(original: Callable[..., Any], position: int) -> Callable[..., Any]:
        @wraps(original)
        def provision(*arguments: Any) -> Any:
            result = original(*arguments)
            eventbridge._event_bus_policies[result[0]] = arguments[position].get("Policy", {})
            return result

        return provision

    handlers = provisioners._RESOURCE_HANDLERS["AWS::Events::EventBus"]
    handlers["create"] = keeping(handlers["create"], 1)
    handlers["update"] = keeping(handlers["update"], 2)


def rules_put_events_on_buses_of_other_regions() -> None:
    """A rule's target may be a bus of another region.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-region.html
    """
    original = eventbridge._dispatch_to_event_bus

    @wraps(original)
    def dispatch_to_event_bus(spec: Any, *rest: Any) -> None:
        with responses.request_scope(spec.account_id, spec.region):
            original(spec, *rest)

    eventbridge._dispatch_to_event_bus = dispatch_to_event_bus


def rules_need_permission_and_have_dead_letter_queues() -> None:
    """A rule delivers to a queue that exists and allows it. Otherwise the event goes to the target's DLQ.

    To a bus it delivers under the target's role, if the role and the bus's policy let it.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html
    """
    original = eventbridge._invoke_target

    @wraps(original)
    def invoke_target(target: Json, event: Json, rule: Json, view: Any = None) -> None:
        refusal = queue_refusal(target.get("Arn", ""), rule.get("Arn", "")) or bus_refusal(target, event)
        if refusal is None:
            original(target, event, rule, view)
            return
        dead_letter = target.get("DeadLetterConfig", {}).get("Arn", "")
        eventbridge.logger.warning("EventBridge → %s: %s (%s)", target["Arn"], *refusal)
        if not dead_letter or queue_refusal(dead_letter, rule["Arn"]):
            return
        code, message = refusal
        view = view or eventbridge._pattern_event_view(event)
        attributes = {
            "RULE_ARN": rule["Arn"],
            "TARGET_ARN": target["Arn"],
            "ERROR_CODE": code,
            "ERROR_MESSAGE": message,
        }
        letter = {
            "QueueUrl": sqs._queue_url(parse_arn(dead_letter).resource),
            "MessageBody": json.dumps(view.event_with_detail()),
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        }
        sqs._act_send_message(letter, letter["QueueUrl"])

    def queue_refusal(arn: str, rule_arn: str) -> tuple[str, str] | None:
        if not arn.startswith("arn:aws:sqs:") or ":rule/" not in rule_arn:
            return None
        if sqs._queue_by_arn(arn) is None:
            return "RESOURCE_NOT_FOUND", f"The queue {arn} does not exist."
        if not sqs.queue_policy_allows(arn, "events.amazonaws.com", rule_arn, responses.get_account_id()):
            return "NO_PERMISSIONS", f"The policy of {arn} does not allow events.amazonaws.com to send for {rule_arn}."
        return None

    def bus_refusal(target: Json, event: Json) -> tuple[str, str] | None:
        arn, role_arn = target.get("Arn", ""), target.get("RoleArn", "")
        if not arn.startswith("arn:aws:events:") or ":event-bus/" not in arn or not role_arn:
            return None
        bus, role = parse_arn(arn), parse_arn(role_arn)
        name = role.resource.rpartition("/")[2]
        caller = iam_evaluator.EvalContext(
            principal_arn=f"arn:aws:sts::{role.account_id}:assumed-role/{name}/events",
            principal_type="AssumedRole",
            principal_account=role.account_id,
            action="events:PutEvents",
            resource_arn=arn,
            region=bus.region,
            service_context={"events:source": [event.get("Source", "")]},
        )
        with responses.request_scope(bus.account_id, bus.region):
            if bus.resource.removeprefix("event-bus/") not in eventbridge._event_buses:
                return "RESOURCE_NOT_FOUND", f"The bus {arn} does not exist."
            policy = eventbridge._event_bus_policies.get(bus.resource.removeprefix("event-bus/"))
        by_role = iam_evaluator.evaluate(caller, iam_evaluator._gather_role_policies(name, role.account_id))
        if iam_evaluator.combine_resource_policy(by_role, caller, policy, bus.account_id).decision != "Allow":
            return "NO_PERMISSIONS", f"{role_arn} may not put an event of {event.get('Source')} on {arn}."
        return None

    eventbridge._invoke_target = invoke_target


def schedules_put_events() -> None:
    """A schedule puts an event of its own source and type on a bus, over TLS. Any input knows the time of the call.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-templated.html
    """
    original = eventbridge._invoke_target

    @wraps(original)
    def invoke_target(target: Json, event: Json, rule: Json, view: Any = None) -> None:
        if "<aws.scheduler" in target.get("Input", ""):
            time = datetime.fromtimestamp(event["Time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            target = {**target, "Input": target["Input"].replace("<aws.scheduler.scheduled-time>", time)}
        if named := target.get("EventBridgeParameters"):
            event = {**event, "Source": named["Source"], "DetailType": named["DetailType"], "Detail": target["Input"]}
            view = None
            iam_evaluator.pin_request_origin("127.0.0.1", True)
        original(target, event, rule, view)

    eventbridge._invoke_target = invoke_target


def cloudtrail_looks_up_what_it_tells() -> None:
    """`LookupEvents` finds each call that CloudTrail told the default bus of: newest first, in pages of fifty.

    https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
    """
    dispatch, lookup = eventbridge._dispatch_event, cloudtrail._lookup_events

    @wraps(dispatch)
    def dispatch_event(event: Json, *rest: Any, **named: Any) -> Any:
        if (event["DetailType"], event["EventBusName"]) == ("AWS API Call via CloudTrail", "default"):
            told = json.loads(event["Detail"])
            call = {name: told.get(name[0].lower() + name[1:], "") for name in ("EventName", "EventSource")}
            call |= {"EventId": told.get("eventID", ""), "EventTime": event["Time"], "CloudTrailEvent": event["Detail"]}
            cloudtrail._get_event_queue().append(call)
        return dispatch(event, *rest, **named)

    @wraps(lookup)
    def lookup_events(asked: Json) -> Any:
        without_cap = {**lookup.__globals__, "min": lambda *_: cloudtrail._MAX_EVENTS}
        found = json.loads(FunctionType(lookup.__code__, without_cap)(asked)[2])["Events"]
        left = int(asked.get("NextToken", len(found)))  # calls that came since the first page are before these
        page = {"Events": found[len(found) - left :][:50]}
        return cloudtrail._ok(page | ({"NextToken": str(left - 50)} if left > 50 else {}))

    eventbridge._dispatch_event = dispatch_event
    cloudtrail._lookup_events = cloudtrail._DISPATCH["LookupEvents"] = lookup_events


def rules_on_partner_buses_have_tags() -> None:
    """A rule is found by its ARN although the name of its bus has slashes.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
    """
    original = eventbridge._resolve_taggable_events_arn

    @wraps(original)
    def resolve(arn: str) -> Any:
        found = any(rule.get("Arn") == arn for rule in eventbridge._rules.values())
        return (arn, None) if found else original(arn)

    eventbridge._resolve_taggable_events_arn = resolve


def targets_invoke_functions_asynchronously() -> None:
    """Rules and schedules invoke a function asynchronously, with retries and then its failure destination.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
    """

    def dispatch_to_lambda(arn: str, payload: str) -> None:
        function, config, name = lambda_svc._get_func_record_for_ref(arn)
        if not function or not config:
            eventbridge.logger.warning("EventBridge → Lambda: function %s not found", name)
            return
        lambda_svc.invoke_async_with_retry(
            lambda_svc._execution_record_for_config(function, config), json.loads(payload)
        )

    eventbridge._dispatch_to_lambda = dispatch_to_lambda


def function_urls_of_type_none_need_no_signature() -> None:
    """A function URL of type NONE takes unsigned requests if the function's own policy allows them.

    https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    """
    original = ministack_app._enforce_data_plane

    @wraps(original)
    def enforce(service: str, action: str, headers: Json, *rest: Any, **named: Any) -> Any:
        context = {name.lower(): value for name, value in (named.get("service_context") or {}).items()}
        if action == "lambda:InvokeFunctionUrl" and context.get("lambda:functionurlauthtype") == "NONE":
            arn = named["resource_arn"]
            anybody = iam_evaluator.EvalContext(
                principal_arn="*",
                principal_type="Anonymous",
                principal_account="",
                action=action,
                resource_arn=arn,
                region=responses.get_region(),
                service_context=context,
            )
            policy, _ = lambda_svc.function_policy_for_arn(arn) or (None, None)
            if iam_evaluator.evaluate_resource_policy(policy, anybody).decision == "Allow":
                return None
        return original(service, action, headers, *rest, **named)

    ministack_app._enforce_data_plane = enforce


def cloudformation_enables_time_to_live_and_recovery() -> None:
    """`TimeToLiveSpecification` and `PointInTimeRecoverySpecification` of a table take effect.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-table.html
    """

    def settle(table: str, properties: Json) -> None:
        replica: Json = next(iter(properties.get("Replicas", [])), {})
        if expiry := properties.get("TimeToLiveSpecification"):
            dynamodb._update_ttl(
                {
                    "TableName": table,
                    "TimeToLiveSpecification": {**expiry, "Enabled": str(expiry.get("Enabled")).lower() == "true"},
                }
            )
        recovery = {**properties, **replica}.get("PointInTimeRecoverySpecification")
        if recovery:
            enabled = str(recovery.get("PointInTimeRecoveryEnabled")).lower() == "true"
            dynamodb._update_continuous_backups(
                {"TableName": table, "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": enabled}}
            )

    def settling(original: Callable[..., Any], position: int) -> Callable[..., Any]:
        @wraps(original)
        def provision(*arguments: Any) -> Any:
            result = original(*arguments)
            settle(result[0], arguments[position])
            return result

        return provision

    for kind in ("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable"):
        handlers = provisioners._RESOURCE_HANDLERS[kind]
        handlers["create"] = settling(handlers["create"], 1)
        handlers["update"] = settling(handlers["update"], 2)


def fifo_groups_are_processed_in_parallel() -> None:
    """A FIFO mapping runs as many batches at once as a standard one. A group has one batch in flight.

    A mapping goes on trying a function that has no execution left.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/fifo-queue-lambda-behavior.html
    """
    original = lambda_svc._sqs_esm_concurrency

    @wraps(original)
    def concurrency(mapping: Json, function: Json, config: Json, _queue: Mapping[str, Any] | None = None) -> int:
        return max(1, int(original(mapping, function, config, None)))

    lambda_svc._sqs_esm_concurrency = concurrency


def standard_queues_are_fair() -> None:
    """A rule gives its events a group on a standard queue, too. Messages of groups with fewer in flight go first.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
    """
    deliver, collect = eventbridge._dispatch_to_sqs, sqs._collect_msgs

    @wraps(deliver)
    def dispatch_to_sqs(spec: Any, payload: str, given: Json | None = None) -> None:
        deliver(spec, payload, given)
        queue, group = sqs._queue_by_arn(str(spec)), (given or {}).get("MessageGroupId")
        if queue and group:
            sent: Json = next((each for each in reversed(queue["messages"]) if each["body"] == payload), {})
            sent["group_id"] = sent.get("group_id") or group

    @wraps(collect)
    def collect_msgs(queue: Json, *rest: Any) -> list[Json]:
        if not queue["is_fifo"]:
            now, messages = time.time(), [*queue["messages"]]  # rules go on to append to the list meanwhile
            in_flight = Counter(each.get("group_id") for each in messages if each["visible_at"] > now)
            messages.sort(key=lambda each: in_flight[each.get("group_id")])
            queue = {**queue, "messages": messages}
        collected: list[Json] = collect(queue, *rest)
        return collected

    eventbridge._dispatch_to_sqs, sqs._collect_msgs = dispatch_to_sqs, collect_msgs


def chains_through_queues_are_counted() -> None:
    """A message knows how many calls its chain has made. Lambda stops after sixteen, unless the function allows more.

    The longest chain in a batch counts. CloudFormation's `RecursiveLoop` takes effect.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    """
    calls: ContextVar[int] = ContextVar("calls", default=0)
    handle, of_message = ministack_app.SERVICE_HANDLERS["sqs"], sqs._build_send_sys_attrs
    run_batch = lambda_svc._run_sqs_batch

    async def handle_request(method: str, path: str, headers: Json, *rest: Any) -> Any:
        token = calls.set(lambda_svc._inbound_invoke_depth(headers))
        try:
            return await handle(method, path, headers, *rest)
        finally:
            calls.reset(token)

    @wraps(of_message)
    def attributes(now: float, given: Json) -> Json:
        return {**of_message(now, given), "calls": calls.get()}

    @wraps(run_batch)
    def run_sqs_batch(mapping: Json, function: Json, event: Json, batch: list[Json], *rest: Any) -> None:
        depth = 1 + max(message["sys"].get("calls", 0) for message in batch)
        if lambda_svc._recursive_loop_drop(mapping["FunctionName"], function, depth) is None:
            token = lambda_svc._invoke_depth.set(depth)
            try:
                run_batch(mapping, function, event, batch, *rest)
            finally:
                lambda_svc._invoke_depth.reset(token)

    def configured(original: Callable[..., Any], position: int) -> Callable[..., Any]:
        @wraps(original)
        def provision(*arguments: Any) -> Any:
            result = original(*arguments)
            allowed = arguments[position].get("RecursiveLoop", "Terminate")
            lambda_svc._put_function_recursion_config(result[0], {"RecursiveLoop": allowed})
            return result

        return provision

    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    handlers["create"] = configured(handlers["create"], 1)
    handlers["update"] = configured(handlers["update"], 2)
    ministack_app.SERVICE_HANDLERS["sqs"] = handle_request
    sqs._build_send_sys_attrs = attributes
    lambda_svc._run_sqs_batch = run_sqs_batch


def batches_of_a_queue_are_measured() -> None:
    """A function's `Errors` count the batches of its queue, too.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    """
    run_batch, execute = lambda_svc._run_sqs_batch, lambda_svc._execute_function
    in_batch: ContextVar[bool] = ContextVar("in_batch", default=False)

    @wraps(run_batch)
    def run_sqs_batch(*arguments: Any) -> None:
        token = in_batch.set(True)
        try:
            run_batch(*arguments)
        finally:
            in_batch.reset(token)

    @wraps(execute)
    def execute_function(function: Json, event: Json) -> Json:
        measured = in_batch.get()
        in_batch.set(False)  # it calls itself under the function's own account and region
        result: Json = execute(function, event)
        if measured and not result.get("throttle"):
            name = (function.get("config") or function)["FunctionName"]
            lambda_svc._emit_lambda_metrics(name, 0.0, error=bool(result.get("error")), throttle=False)
        return result

    lambda_svc._run_sqs_batch, lambda_svc._execute_function = run_sqs_batch, execute_function


def alarms_watch_what_lambda_measures() -> None:
    """An alarm on a metric of Lambda's goes off. Only the metric with the alarm's own dimensions counts.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html
    """
    evaluate, record = cloudwatch._evaluate_alarm, cloudwatch.record_metric

    @wraps(evaluate)
    def evaluate_alarm(alarm: Json) -> None:
        dimensions = cloudwatch._dims_from_list(alarm.get("Dimensions") or [])
        key = (alarm.get("Namespace"), alarm.get("MetricName"), cloudwatch._dims_key(dimensions))
        seen = {key: cloudwatch._metrics.get(key) or []}
        FunctionType(evaluate.__code__, {**evaluate.__globals__, "_metrics": seen})(alarm)

    @wraps(record)
    def record_metric(namespace: str, metric: str, *rest: Any, **named: Any) -> None:
        record(namespace, metric, *rest, **named)
        for alarm in list(cloudwatch._alarms.values()):
            if (alarm.get("Namespace"), alarm.get("MetricName")) == (namespace, metric):
                evaluate_alarm(alarm)

    cloudwatch._evaluate_alarm, cloudwatch.record_metric = evaluate_alarm, record_metric


def exceptions_leave_the_environment_running() -> None:
    """A handler that raises fails one invocation. Its execution environment serves the next one warm.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
    """
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    fatal = '{"status": "error", "error": str(e), "trace": traceback.format_exc()}'
    harmless = '{"status": "ok", "raised": {"status": "error", "error": str(e), "trace": traceback.format_exc()}}'
    if script.count(fatal) != 1:
        raise RuntimeError("MiniStack's worker script is not as expected")
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(fatal, harmless)
    original = lambda_runtime.Worker.invoke

    @wraps(original)
    def invoke(worker: Any, *arguments: Any, **named: Any) -> Json:
        answer: Json = original(worker, *arguments, **named)
        raised: Json = answer.pop("raised", {})
        return answer | raised

    lambda_runtime.Worker.invoke = invoke


def functions_see_only_their_own_package(lambda_python: Path) -> None:
    """A function imports only from its own package and the standard library.

    https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
    """
    original = lambda_runtime._detect_runtime_binary

    @wraps(original)
    def runtime_binary(runtime: str) -> tuple[str, str]:
        binary, script = original(runtime)
        return (str(lambda_python) if runtime.startswith("python") else binary), script

    lambda_runtime._detect_runtime_binary = runtime_binary


def environments_share_one_unpacked_package() -> None:
    """A package is unpacked once, and not for each environment. A burst neither waits for it nor fills the disk.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
    """
    lock = threading.Lock()

    class SharedZipFile(zipfile.ZipFile):
        def extractall(self, path: Any = None, members: Any = None, pwd: Any = None) -> None:
            content = Path(str(self.filename)).read_bytes()
            shared = Path(tempfile.gettempdir()) / f"package-{hashlib.sha256(content).hexdigest()[:16]}"
            with lock:
                if not shared.exists():
                    partial = shared.with_suffix(".partial")
                    super().extractall(partial, members, pwd)
                    partial.rename(shared)
            Path(path).rmdir()
            Path(path).symlink_to(shared, target_is_directory=True)

    lambda_runtime.zipfile = SimpleNamespace(ZipFile=SharedZipFile, BadZipFile=zipfile.BadZipFile)
