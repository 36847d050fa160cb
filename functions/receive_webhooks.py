"""Webhooks to events: who can only call a URL shows a secret, and what they send goes to the bus as it is.

Optional: there only where the configuration names senders. The caller learns nothing of why it was refused.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics

from device_lockout import bus, ledger, secret_store, settings, webhook
from device_lockout.errors import TransientError
from device_lockout.webhook import RefusedRequestError

logger = Logger()
metrics = Metrics()


@cache
def door() -> webhook.Door:
    return webhook.Door(
        webhooks={each.name: each for each in settings.load().webhooks},
        secrets=secret_store.SecretStore(secret_store.client()),
        ledger=ledger.Ledger(ledger.client(), settings.environment("LEDGER_TABLE")),
        bus=bus.Bus(bus.client(), settings.environment("LOCKOUT_EVENT_BUS")),
    )


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001 (Lambda's signature)
    """Entry point: one request to the function's URL."""
    try:
        request = webhook.read(event)
        event_id = door().let_in(request, datetime.now(UTC))
    except RefusedRequestError as refused:
        logger.warning("refused", because=str(refused), status=refused.status, request=webhook.about(event))
        metrics.add_metric(name="WebhookRefused", unit="Count", value=1)
        return {"statusCode": refused.status}
    except TransientError:
        logger.exception("not passed on", request=webhook.about(event))
        metrics.add_metric(name="WebhookFailed", unit="Count", value=1)
        return {"statusCode": 503, "headers": {"retry-after": "30"}}
    logger.info("passed on", sender=request.sender, event_id=event_id)
    metrics.add_metric(name="WebhookAccepted", unit="Count", value=1)
    return {"statusCode": 202}
