"""The gateway to Amazon WorkMail: overrides and users. Its errors say whether a call took effect."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
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
from device_lockout.values.override import ListedOverride, Observation, Override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_workmail import WorkMailClient

    from device_lockout.aws.pace import Pace

OPERATIONS = (
    "workmail:DeleteMobileDeviceAccessOverride",
    "workmail:DescribeUser",
    "workmail:GetMobileDeviceAccessOverride",
    "workmail:ListMobileDeviceAccessOverrides",
    "workmail:ListUsers",
    "workmail:PutMobileDeviceAccessOverride",
)

PAGE_SIZE = 100
"""The most that one List answers (https://docs.aws.amazon.com/workmail/latest/APIReference/API_ListMobileDeviceAccessOverrides.html)."""

_IDENTITY_CENTER_ID = re.compile(r"([0-9a-f]{10}-)?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
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
"""What the SDKs take for throttling (https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html).

WorkMail's model has none of them, and AWS publishes neither code nor limit."""

_REFUSED = {"EntityStateException", "OrganizationStateException", "OrganizationNotFoundException"}
_IMPOSSIBLE = {"InvalidParameterException", "UnsupportedOperationException"}


def client(timeout: timedelta, attempts: int) -> WorkMailClient:
    """A WorkMail client that gives up on an answer after ``timeout``, and tries a call ``attempts`` times in all.

    The first call may take a second more, for the connection.

    The writer takes one attempt: a repeated write could land after a later one (botocore repeats after time-outs).
    """
    seconds = timeout.total_seconds()
    config = Config(
        connect_timeout=min(1.0, seconds),
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        user_agent=USER_AGENT,
    )
    return boto3.client("workmail", config=config)


class WorkMail:
    """WorkMail as the protocol needs it; users are WorkMail user IDs, but for :meth:`user`.

    A throttled call did not happen: it is made again when ``pace`` gives it its turn, as long as another ``fits`` in
    the time that is left; else NotTriedError. Who is the user and what stands is asked once more where the answer is a
    5xx, or the connection was closed, as one often is that was kept open through a pause of the function. Nothing else
    is repeated here: a page of the list has the client's own attempts.
    """

    def __init__(
        self, client: WorkMailClient, pace: Pace | None = None, fits: Callable[[float], bool] = lambda _: True
    ) -> None:
        self._client = client
        self._pace = pace
        self._fits = fits

    def user(self, organization: str, name: str) -> User:
        """The user that ``name`` means: e-mail address, user name, ID or Identity Center's ID; UnknownUserError."""
        doing = f"look up user {name} in {organization}"
        try:
            answer = self._asked(lambda: self._client.describe_user(OrganizationId=organization, UserId=name), doing)
        except UnknownUserError:
            if not _IDENTITY_CENTER_ID.fullmatch(name):
                raise
            return self._user_of_identity_center(organization, name, doing)
        return _user(answer["UserId"], name, answer.get("Name"), answer.get("Email"))

    def _user_of_identity_center(self, organization: str, identity: str, doing: str) -> User:
        """The user whom WorkMail knows under an ID of IAM Identity Center; it has that at the latest after a log-in."""
        answer = self._asked(
            lambda: self._client.list_users(
                OrganizationId=organization, Filters={"IdentityProviderUserIdPrefix": identity}
            ),
            doing,
        )
        for row in answer.get("Users", []):
            if row.get("IdentityProviderUserId") == identity:
                return _user(row["Id"], identity, row.get("Name"), row.get("Email"))
        raise UnknownUserError(f"{doing}: WorkMail knows neither a user of that name nor one with that identity")

    def get(self, key: DeviceKey) -> Observation:
        """What stands for one device."""
        try:
            answer = self._asked(
                lambda: self._client.get_mobile_device_access_override(**_named(key)),
                f"read the override of {key.device}",
            )
        except _NothingStandsError as nothing:
            return Observation(None, nothing.date)
        return Observation(Override(answer["Effect"], answer.get("Description")), _date(answer))

    def put(self, key: DeviceKey, override: Override) -> None:
        """Write ``override`` over whatever stands; UnansweredError where nobody can say whether it was written."""
        described = {} if override.description is None else {"Description": override.description}
        self._written(
            lambda: self._client.put_mobile_device_access_override(**_named(key), Effect=override.effect, **described),
            f"put {override.effect} on {key.device}",
        )

    def delete(self, key: DeviceKey) -> None:
        """Remove the override, if there is one; UnansweredError as for :meth:`put`."""
        self._written(
            lambda: self._client.delete_mobile_device_access_override(**_named(key)),
            f"delete the override of {key.device}",
        )

    def pages(self, organization: str) -> Iterator[tuple[list[ListedOverride], datetime]]:
        """All overrides of an organization, page by page, each with the service's time.

        TransientError for a page that can't be had and for a page token that comes again: a list is whole or it fails.
        """
        more: dict[str, Any] = {}
        seen: set[str] = set()
        while True:
            answer = self._asked(
                partial(
                    self._client.list_mobile_device_access_overrides,
                    OrganizationId=organization,
                    MaxResults=PAGE_SIZE,
                    **more,
                ),
                f"list the overrides of {organization}",
                again=False,
            )
            yield [_listed(organization, row) for row in answer.get("Overrides", [])], _date(answer)
            token = answer.get("NextToken")
            if not token:
                return
            if token in seen:
                raise TransientError(f"list the overrides of {organization}: WorkMail repeated a page token")
            seen.add(token)
            more = {"NextToken": token}

    def _asked(self, call: Callable[[], Any], doing: str, *, again: bool = True) -> Any:
        """The answer to a call that changes nothing."""
        try:
            return self._unthrottled(call)
        except ClientError as error:
            if not again or _status(error) < 500:
                raise _lockout_error(error, doing) from error
        except ParamValidationError as error:
            raise RejectedError(f"{doing}: {error}") from error
        except BotoCoreError as error:
            if not again or not isinstance(error, ConnectionClosedError):
                raise TransientError(f"{doing}: {error}") from error
        return self._asked(call, doing, again=False)

    def _written(self, call: Callable[[], Any], doing: str) -> None:
        """Make a call that changes something, and say whether it did where that is known."""
        try:
            self._unthrottled(call)
        except ClientError as error:
            if _status(error) >= 500:
                raise UnansweredError(f"{doing}: {error}") from error
            raise _lockout_error(error, doing) from error
        except ParamValidationError as error:  # before anything was sent
            raise RejectedError(f"{doing}: {error}") from error
        except BotoCoreError as error:
            raise UnansweredError(f"{doing}: {error}") from error

    def _unthrottled(self, call: Callable[[], Any]) -> Any:
        """What ``call`` comes to in its turn, once WorkMail no longer throttles it or when no time is left to wait."""
        if self._pace is None:
            return call()
        while True:
            self._pace.turn(self._fits)
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
    """Whether WorkMail refused the call for its rate; a 5xx leaves open whether it did."""
    code, status = error.response["Error"]["Code"], _status(error)
    return status < 500 and (status == 429 or code in _THROTTLED)


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def _listed(organization: str, row: Any) -> ListedOverride:
    """One row of a listing; TransientError for one that no version of WorkMail that we know could have written."""
    if not {"UserId", "DeviceId", "Effect"} <= row.keys() or row["Effect"] not in ("ALLOW", "DENY"):
        raise TransientError(f"WorkMail listed {row!r}: expected UserId, DeviceId, and Effect ALLOW or DENY")
    key = DeviceKey(organization, row["UserId"], row["DeviceId"])
    return ListedOverride(key, Override(row["Effect"], row.get("Description")))


class _NothingStandsError(LockoutError):
    def __init__(self, date: datetime) -> None:
        super().__init__("no override")
        self.date = date


def _lockout_error(error: ClientError, doing: str) -> LockoutError:
    """What an error answer means for the caller. Throttling and denied access are not in WorkMail's model."""
    code = error.response["Error"]["Code"]
    said = f"{doing}: WorkMail says {code}: {error.response['Error'].get('Message', '')}"
    if code == "ResourceNotFoundException":
        return _NothingStandsError(_date(error.response))
    if code == "EntityNotFoundException":
        return UnknownUserError(said)
    if code in _REFUSED:
        return RefusedError(said)
    if code in _IMPOSSIBLE:
        return RejectedError(said)
    return TransientError(said)


def _named(key: DeviceKey) -> dict[str, str]:
    return {"OrganizationId": key.organization, "UserId": key.user_id, "DeviceId": key.device}


def _user(user_id: str, *names: str | None) -> User:
    return User(user_id, frozenset(known.casefold() for known in (user_id, *names) if known))


def _date(answer: Any) -> datetime:
    """The answer's HTTP ``Date``; the oldest time there is, where it can't be read: clocks can't seem to agree then."""
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
