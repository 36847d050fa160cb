"""The gateway to Amazon WorkMail: overrides and users. Its errors say whether a call took effect."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, ParamValidationError

from device_lockout.aws.client_config import USER_AGENT
from device_lockout.values.device import DeviceKey, User
from device_lockout.values.errors import (
    LockoutError,
    RefusedError,
    RejectedError,
    TransientError,
    UnansweredError,
    UnknownUserError,
)
from device_lockout.values.override import UNREADABLE_DATE, ListedOverride, Observation, Override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_workmail import WorkMailClient

    from device_lockout.aws.call_rate import EnoughTime, Pace

OPERATIONS = (
    "workmail:DeleteMobileDeviceAccessOverride",
    "workmail:DescribeUser",
    "workmail:GetMobileDeviceAccessOverride",
    "workmail:ListMobileDeviceAccessOverrides",
    "workmail:ListUsers",
    "workmail:PutMobileDeviceAccessOverride",
)

PAGE_SIZE = 100
"""The most rows of one page (https://docs.aws.amazon.com/workmail/latest/APIReference/API_ListMobileDeviceAccessOverrides.html)."""

RECENT = 10.0  # Seconds for which WorkMail's answer about a user counts.

_IDENTITY_CENTER_ID = r"([0-9a-f]{10}-)?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
"""https://docs.aws.amazon.com/singlesignon/latest/IdentityStoreAPIReference/API_User.html"""

_THROTTLED = {
    "BandwidthLimitExceeded",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
"""The error codes that SDKs treat as throttling. WorkMail's model has none of them, and AWS doesn't publish its own.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
"""

_REFUSED = {"EntityStateException", "OrganizationStateException", "OrganizationNotFoundException"}
_IMPOSSIBLE = {"InvalidParameterException", "UnsupportedOperationException"}


def client(timeout: timedelta, attempts: int) -> WorkMailClient:
    """Return a WorkMail client.

    Args:
        timeout: How long to wait for an answer. The first call may take a second more, for the connection.
        attempts: How many times to try a call in all. The writer needs 1, because botocore repeats calls that timed
            out, and a repeated write could land after a later one.
    """
    seconds = timeout.total_seconds()
    config = Config(
        connect_timeout=min(1.0, seconds),
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        user_agent=USER_AGENT,
    )
    return boto3.client("workmail", config=config)


class RecentUsers:
    """WorkMail's answers about users, for reports that come together. Environments of a function have their own.

    A user who is renamed meanwhile is found as if the report had come up to ten seconds earlier. A user who is gone is
    still found, and then WorkMail refuses to read the override. Who is unknown is asked for again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, User]] = {}

    def user(self, organization: str, name: str, ask: Callable[[str, str], User]) -> User:
        """Return the user, whom ``ask`` finds unless somebody asked just now."""
        now = self._clock()
        if (found := self._known.get((organization, name))) is not None and now - found[0] < RECENT:
            return found[1]
        user = ask(organization, name)
        if len(self._known) >= 1000:
            self._known.clear()
        self._known[organization, name] = now, user
        return user


class WorkMail:
    """WorkMail as the protocol needs it.

    A throttled call did not happen, so it is repeated in its turn. If too little time is left, NotTriedError is raised.
    The reads of a user and of an override are repeated once after a 5xx or a closed connection. A pause of the function
    often closes connections. Nothing else is repeated here. For the pages of a list, the client has its own attempts.

    Each error says what the call did: see :mod:`device_lockout.values.errors`.

    Args:
        client: The client, which must not repeat writes.
        pace: The rate of calls. None calls without pause, and leaves throttling to the caller.
        enough_time: Whether there is enough time for a call that begins in that many seconds.
        recent: Answers about users that count for a while. None asks each time.
    """

    def __init__(
        self,
        client: WorkMailClient,
        pace: Pace | None = None,
        enough_time: EnoughTime = lambda _: True,
        recent: RecentUsers | None = None,
    ) -> None:
        self._client = client
        self._pace = pace
        self._enough_time = enough_time
        self._recent = recent

    def user(self, organization: str, name: str) -> User:
        """Return the user of an e-mail address, a user name, a WorkMail ID or an ID of IAM Identity Center.

        Raises:
            UnknownUserError: WorkMail has no such user.
        """
        if self._recent is not None:
            return self._recent.user(organization, name, self._find)
        return self._find(organization, name)

    def _find(self, organization: str, name: str) -> User:
        action, unknown = f"look up user {name} in {organization}", f"WorkMail knows no user {name}"
        try:
            answer = self._read(lambda: self._client.describe_user(OrganizationId=organization, UserId=name), action)
        except UnknownUserError as error:
            if not re.fullmatch(_IDENTITY_CENTER_ID, name):
                raise UnknownUserError(unknown) from error
        else:
            return _user(answer["UserId"], name, answer.get("Name"), answer.get("Email"))
        # WorkMail knows who has an ID of IAM Identity Center from the first log-in, if not before.
        alike: Any = {"IdentityProviderUserIdPrefix": name}
        answer = self._read(lambda: self._client.list_users(OrganizationId=organization, Filters=alike), action)
        for row in answer.get("Users", []):
            if row.get("IdentityProviderUserId") == name:
                return _user(row["Id"], name, row.get("Name"), row.get("Email"))
        raise UnknownUserError(unknown)

    def get(self, key: DeviceKey) -> Observation:
        """Read a device's override."""
        try:
            answer = self._read(
                lambda: self._client.get_mobile_device_access_override(**_fields(key)),
                f"read the override of {key.device}",
            )
        except _NoOverrideError as missing:
            return Observation(None, missing.date)
        return Observation(Override(answer["Effect"], answer.get("Description")), _date(answer))

    def put(self, key: DeviceKey, override: Override) -> datetime:
        """Write a device's override, in place of any other. Return when WorkMail had taken it, by our clock.

        Raises:
            UnansweredError: The override may or may not have been written.
        """
        described = {} if override.description is None else {"Description": override.description}
        return self._write(
            lambda: self._client.put_mobile_device_access_override(**_fields(key), Effect=override.effect, **described),
            f"put {override.effect} on {key.device}",
        )

    def delete(self, key: DeviceKey) -> datetime:
        """Remove a device's override, if there is one. Return when WorkMail had done so, by our clock.

        Raises:
            UnansweredError: The override may or may not have been removed.
        """
        return self._write(
            lambda: self._client.delete_mobile_device_access_override(**_fields(key)),
            f"delete the override of {key.device}",
        )

    def pages(self, organization: str) -> Iterator[tuple[list[ListedOverride], datetime]]:
        """Yield all overrides of an organization, page by page, each page with WorkMail's time.

        Raises:
            TransientError: A page can't be read, or a page token is repeated. A list is whole or it fails.
        """
        action, seen = f"list the overrides of {organization}", set[str]()
        asked: Any = {"OrganizationId": organization, "MaxResults": PAGE_SIZE}
        while True:
            answer = self._read(lambda: self._client.list_mobile_device_access_overrides(**asked), action, retry=False)
            yield [_listed(organization, row) for row in answer.get("Overrides", [])], _date(answer)
            token = answer.get("NextToken")
            if not token:
                return
            if token in seen:
                raise TransientError(f"{action}: WorkMail repeated a page token")
            seen.add(token)
            asked["NextToken"] = token

    def _read(self, call: Callable[[], Any], action: str, *, retry: bool = True) -> Any:
        """Make a call that changes nothing. Return its answer."""
        try:
            return self._in_turn(call)
        except ClientError as error:
            if not retry or _status(error) < 500:
                raise _lockout_error(error, action) from error
        except ParamValidationError as error:
            raise RejectedError(f"{action}: {error}") from error
        except BotoCoreError as error:
            if not retry or not isinstance(error, ConnectionClosedError):
                raise TransientError(f"{action}: {error}") from error
        return self._read(call, action, retry=False)

    def _write(self, call: Callable[[], Any], action: str) -> datetime:
        """Make a call that changes something. Return when it was answered. The error says whether it did, if known."""
        try:
            self._in_turn(call)
        except ClientError as error:
            if _status(error) >= 500:
                raise UnansweredError(f"{action}: {error}") from error
            raise _lockout_error(error, action) from error
        except ParamValidationError as error:  # before anything was sent
            raise RejectedError(f"{action}: {error}") from error
        except BotoCoreError as error:
            raise UnansweredError(f"{action}: {error}") from error
        return datetime.now(UTC)

    def _in_turn(self, call: Callable[[], Any]) -> Any:
        """Make a call in its turn. Repeat it until WorkMail does not throttle it, or until no time is left."""
        if self._pace is None:
            return call()
        while True:
            self._pace.wait_for_turn(self._enough_time)
            try:
                answer = call()
            except ClientError as error:
                if not _throttled(error):
                    raise
                self._pace.throttled()
            else:
                self._pace.accepted()
                return answer


def _throttled(error: ClientError) -> bool:
    """Return whether WorkMail refused the call for its rate. A 5xx does not say that it did."""
    code, status = error.response["Error"]["Code"], _status(error)
    return status < 500 and (status == 429 or code in _THROTTLED)


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def _listed(organization: str, row: Any) -> ListedOverride:
    """Read one row of a list.

    Raises:
        TransientError: WorkMail writes no such row.
    """
    if not {"UserId", "DeviceId", "Effect"} <= row.keys() or row["Effect"] not in ("ALLOW", "DENY"):
        raise TransientError(f"WorkMail listed {row!r}: expected UserId, DeviceId, and Effect ALLOW or DENY")
    key = DeviceKey(organization, row["UserId"], row["DeviceId"])
    return ListedOverride(key, Override(row["Effect"], row.get("Description")))


class _NoOverrideError(LockoutError):
    """The device has no override. ``date`` is the answer's time."""

    def __init__(self, date: datetime) -> None:
        super().__init__("no override")
        self.date = date


def _lockout_error(error: ClientError, action: str) -> LockoutError:
    """Return the error for an error answer. Throttling and denied access are not in WorkMail's model."""
    code = error.response["Error"]["Code"]
    message = f"{action}: WorkMail says {code}: {error.response['Error'].get('Message', '')}"
    if code == "ResourceNotFoundException":
        return _NoOverrideError(_date(error.response))
    if code == "EntityNotFoundException":
        return UnknownUserError(message)
    if code in _REFUSED:
        return RefusedError(message)
    if code in _IMPOSSIBLE:
        return RejectedError(message)
    return TransientError(message)


def _fields(key: DeviceKey) -> dict[str, str]:
    return {"OrganizationId": key.organization, "UserId": key.user_id, "DeviceId": key.device}


def _user(user_id: str, asked: str, name: str | None, email: str | None) -> User:
    known = frozenset(each.casefold() for each in (user_id, asked, name, email) if each)
    return User(user_id, known, name or "", email or "")


def _date(answer: Any) -> datetime:
    """Return the answer's HTTP ``Date``, or the oldest time if it can't be read. No clock agrees with that one."""
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return UNREADABLE_DATE
