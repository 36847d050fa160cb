"""The gateway to Secrets Manager, which keeps what senders of webhooks show.

A secret may be rotated at any time: the new value holds at once. The one before it is refused as soon as we know of
the new one, within :data:`KEPT`, unless its sender's configuration accepts it for longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from device_lockout.aws.client_config import BRIEF
from device_lockout.values.errors import TransientError

if TYPE_CHECKING:
    from datetime import datetime

OPERATIONS = ("secretsmanager:GetSecretValue",)

KEPT = timedelta(minutes=5)
"""How long a value is used without asking again."""
ASKED_AGAIN_AFTER = timedelta(seconds=15)
"""A value that did not fit is asked for anew if it is older: so soon does a new one hold, and no sooner can a stranger
make us ask."""


def client() -> Any:
    return boto3.client("secretsmanager", config=BRIEF)


@dataclass(frozen=True, slots=True)
class _Kept:
    asked: datetime
    current: str
    current_since: datetime
    previous: str | None


class SecretStore:
    """Secrets of this account and region by name, kept for a while."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._kept: dict[str, _Kept] = {}

    def values(self, secret: str, now: datetime, *, previous_for: timedelta, anew: bool = False) -> tuple[str, ...]:
        """The values that hold at ``now``, newest first; the one before a rotation does ``previous_for`` after it.

        ``anew`` asks for them earlier. TransientError if they can't be had.
        """
        kept = self._kept.get(secret)
        if kept is None or now - kept.asked >= (ASKED_AGAIN_AFTER if anew else KEPT):
            kept = self._kept[secret] = self._ask(secret, now)
        if kept.previous is None or now - kept.current_since >= previous_for:
            return (kept.current,)
        return kept.current, kept.previous

    def _ask(self, secret: str, now: datetime) -> _Kept:
        # https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html#term_version
        try:
            current = self._client.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")
            try:
                previous = self._client.get_secret_value(SecretId=secret, VersionStage="AWSPREVIOUS")["SecretString"]
            except self._client.exceptions.ResourceNotFoundException:
                previous = None
            return _Kept(now, current["SecretString"], current["CreatedDate"], previous)
        except (ClientError, BotoCoreError) as error:
            raise TransientError(f"secret {secret}: {error}") from error
        except KeyError:
            raise TransientError(f"secret {secret}: expected a text, not bytes") from None
