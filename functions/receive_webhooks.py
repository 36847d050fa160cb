"""Turn webhooks into events: authenticate a sender who can only call a URL, and put what it sends on the bus.

The function is deployed only if the configuration names senders. The caller never learns why a request was refused.
"""

from datetime import UTC, datetime
from typing import Any

from device_lockout import wiring
from device_lockout.inbound import webhook
from device_lockout.inbound.webhook import RefusedRequestError
from device_lockout.values.errors import TransientError

logger, metrics = wiring.logger_and_metrics()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 (Lambda's signature)
    """Handle one request to the function's URL."""
    try:
        request = webhook.read(event)
        answer = wiring.webhook_receiver().accept(request, datetime.now(UTC))
    except RefusedRequestError as refused:
        logger.warning("refused", because=str(refused), status=refused.status, request=webhook.log_fields(event))
        metrics.add_metric(name="WebhookRefused", unit="Count", value=1)
        if refused.known:
            metrics.add_metric(name="SenderRefused", unit="Count", value=1)
        return {"statusCode": refused.status}
    except TransientError:
        logger.exception("not passed on", request=webhook.log_fields(event))
        metrics.add_metric(name="WebhookFailed", unit="Count", value=1)
        return {"statusCode": 503, "headers": {"retry-after": "30"}}
    logger.info("accepted", method=request.method, sender=request.sender, event_ids=answer.event_ids)
    metrics.add_metric(name="WebhookAccepted", unit="Count", value=1)
    body = {"headers": {"content-type": "application/json"}, "body": answer.body} if answer.body else {}
    return {"statusCode": answer.status, **body}
