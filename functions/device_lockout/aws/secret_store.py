"""The gateway to Secrets Manager, which holds the credentials of webhook senders.

A secret can be rotated at any time. The new value counts at once. The previous one counts until the new one is known,
which takes at most :data:`CACHE_LIFETIME`. A sender's configuration may accept it for longer.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from device_lockout.aws.client_config import BRIEF
from device_lockout.values.errors import TransientError
from device_lockout.values.lean_dataclass import dataclass

if TYPE_CHECKING:
    from datetime import datetime

OPERATIONS = ("secretsmanager:GetSecretValue",)

CACHE_LIFETIME = timedelta(minutes=5)  # How long a value is used before it is read again.
MIN_REFRESH_INTERVAL = timedelta(seconds=15)
"""How old a value is before a request that does not match it causes another read. Strangers can't cause more."""


def client() -> Any:
    return boto3.client("secretsmanager", config=BRIEF)


@dataclass(frozen=True, slots=True)
class _Cached:
    read_at: datetime
    current: str
    current_since: datetime
    previous: str | None


class SecretStore:
    """Secrets of this account and region by name, with a cache."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._cache: dict[str, _Cached] = {}

    def values(self, secret: str, now: datetime, *, previous_for: timedelta, refresh: bool = False) -> tuple[str, ...]:
        """Return the values that count at ``now``, newest first.

        The previous one counts for ``previous_for`` after a rotation. With ``refresh`` they are read before the cache
        expires, where :data:`MIN_REFRESH_INTERVAL` allows it.

        Raises:
            TransientError: The secret can't be read.
        """
        cached = self._cache.get(secret)
        if cached is None or now - cached.read_at >= (MIN_REFRESH_INTERVAL if refresh else CACHE_LIFETIME):
            cached = self._cache[secret] = self._read(secret, now)
        if cached.previous is None or now - cached.current_since >= previous_for:
            return (cached.current,)
        return cached.current, cached.previous

    def _read(self, secret: str, now: datetime) -> _Cached:
        # https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html#term_version
        try:
            current = self._client.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")
            try:
                previous = self._client.get_secret_value(SecretId=secret, VersionStage="AWSPREVIOUS")["SecretString"]
            except self._client.exceptions.ResourceNotFoundException:
                previous = None
            return _Cached(now, current["SecretString"], current["CreatedDate"], previous)
        except (ClientError, BotoCoreError) as error:
            raise TransientError(f"secret {secret}: {error}") from error
        except KeyError:
            raise TransientError(f"secret {secret}: expected a text, not bytes") from None
