"""The ways in which a sender of webhooks shows who it is, one row each.

A sender either signs what it sends or sends the secret itself. A signature is an HMAC-SHA256, and its key is the
secret's text in UTF-8.
"""

from datetime import timedelta
from typing import Literal

from device_lockout.values.lean_dataclass import dataclass

FIVE_MINUTES, HOUR = timedelta(minutes=5), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a request carries."""

    header: str  # The header with the proof, in lower case. Where it is empty the configuration names it.
    prefix: str  # What stands before the proof, in lower case.
    # The proof: the secret as it is (``plain``), a user name and a password as RFC 7617 has them (``login``), or a
    # signature.
    proof: Literal["plain", "login", "hex", "base64"]
    signed: bytes = b""  # What is signed, with ``%(time)b`` and ``%(body)b``.
    timestamp: str = ""  # The header with the time in ``signed``, in lower case.
    # How long a signed request is remembered, so that it is passed on once. That is also how far its timestamp may be
    # from our clock, in either direction. Without it a request can be replayed.
    window: timedelta = timedelta()
    challenge: str = ""  # The header of a GET whose value the sender wants back.


SCHEMES: dict[str, Scheme] = {
    # Ours.
    "hmac": Scheme("x-lockout-signature", "sha256=", "hex", b"%(time)b.%(body)b", "x-lockout-timestamp", FIVE_MINUTES),
    "basic": Scheme("authorization", "basic ", "login"),
    "bearer": Scheme("authorization", "bearer ", "plain"),
    "header": Scheme("", "", "plain"),
    # https://developer.okta.com/docs/concepts/event-hooks/
    "okta": Scheme("authorization", "", "plain", challenge="x-okta-verification-challenge"),
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    "github": Scheme("x-hub-signature-256", "sha256=", "hex", b"%(body)b", window=HOUR),
    # https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks
    "jira": Scheme("x-hub-signature", "sha256=", "hex", b"%(body)b", window=HOUR),
    # https://developer.pagerduty.com/docs/verifying-webhook-signatures
    "pagerduty": Scheme("x-pagerduty-signature", "v1=", "hex", b"%(body)b", window=HOUR),
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    "slack": Scheme(
        "x-slack-signature", "v0=", "hex", b"v0:%(time)b:%(body)b", "x-slack-request-timestamp", FIVE_MINUTES
    ),
    # https://developer.zendesk.com/documentation/webhooks/verifying/
    "zendesk": Scheme(
        "x-zendesk-webhook-signature",
        "",
        "base64",
        b"%(time)b%(body)b",
        "x-zendesk-webhook-signature-timestamp",
        FIVE_MINUTES,
    ),
}
"""The rows, by what the configuration calls them."""
