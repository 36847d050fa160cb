"""The emulator: AWS's JSON 1.1 protocol in front of the operations, with faults, a record of calls, and controls."""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from local.workmail import controls
from local.workmail.calls import Call, Calls, clipped
from local.workmail.cloudtrail import event_of
from local.workmail.errors import ControlError, WorkMailError
from local.workmail.faults import Fault
from local.workmail.operations import WorkMail, seconds
from local.workmail.seeding import plant, plant_gently, seeded_organization
from local.workmail.settings import Settings, merged
from local.workmail.shapes import operation_names

type Json = dict[str, Any]
type Answer = tuple[int, dict[str, str], bytes]
type Headers = Mapping[str, str]
type Query = Mapping[str, Sequence[str]]

_TARGET = "WorkMailService."
_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d{8}(?:/[^/,\s]+)?/(?P<service>[^/,\s]+)/aws4_request")
_LARGEST_REQUEST = 1024 * 1024
_LONGEST_HOLD_SECONDS = 900
_LOG = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Emulator:
    """WorkMail in this process, behind one coroutine that answers HTTP requests, `handle`.

    `publish` is for the launcher to set: it gets CloudTrail-shaped events of writes, and what is posted to
    `/_emulator/events`, which may name another bus in the extra member `bus`; it must not block. None is no bus.
    `workmail` may be called directly, past protocol, faults and record.
    """

    def __init__(
        self,
        *,
        account: str = "000000000000",
        region: str = "eu-west-1",
        clock: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.publish: Callable[[Json], None] | None = None
        self.account = account
        self.region = region
        self.clock = clock
        self._sleep = sleep
        self._planting = asyncio.Lock()
        self._late: set[asyncio.Task[None]] = set()
        self._released = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        """Back to the seeded organization and default settings; lets go of held calls, forgets late effects."""
        for task in self._late:
            task.cancel()
        self._late.clear()
        self._released.set()
        self._released = asyncio.Event()
        self.settings = Settings()
        self.calls = Calls(self.settings.keep_calls)
        self.workmail = WorkMail(self.account, self.region)
        plant(self.workmail, seeded_organization(), self.clock())

    async def plant(self, seed: object) -> Json:
        """Adds what a seed has (see `seeding`); ControlError, and nothing changed, if anything in it is wrong."""
        async with self._planting:
            return await plant_gently(self.workmail, seed, self.clock())

    def change_settings(self, patch: object) -> Settings:
        """Merges settings in; ControlError, and nothing changed, if one is wrong. A `seed` starts all dice anew."""
        before = self.settings
        self.settings = merged(before, patch)
        for name, fault in self.settings.faults.items():
            if (isinstance(patch, dict) and "seed" in patch) or before.faults.get(name) is not fault:
                fault.throw_from(self.settings.seed)
        self.calls.keep(self.settings.keep_calls)
        self.workmail.quirks = self.settings.quirks
        return self.settings

    async def handle(
        self,
        method: str,
        path: str,
        headers: Headers,
        body: bytes,
        query_params: Query,
        *,
        principal: str | None = None,
        gone: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        """Answers one HTTP request: (status, headers, body).

        Header names are lower-case, query parameters as `urllib.parse.parse_qs` gives them.
        `principal` is the caller's ARN, if somebody checked it; otherwise the access key of the signature is recorded.
        `gone` returns once the client has given up; without it, a call that is never answered ends after 15 minutes.
        """
        if path == "/_emulator" or path.startswith("/_emulator/"):
            status, document = await self._control(method, path, body, query_params)
            return self._answer(status, document, "application/json")
        status, document = await self._call(headers, body, principal, gone)
        return self._answer(status, document, "application/x-amz-json-1.1")

    def user_forms(self, organization_id: object, identity: object) -> set[str]:
        """Everything, folded, that means the user of a request: as given, and ID, name, addresses if there is one."""
        if not isinstance(identity, str):
            return set()
        user = self.workmail.find_user(organization_id, identity)
        if user is None:
            return {identity.lower()}
        return {identity.lower(), user.user_id.lower(), *user.handles, *(alias.lower() for alias in user.aliases)}

    def _answer(self, status: int, document: Json, content_type: str) -> Answer:
        date = self.clock() + timedelta(seconds=self.settings.date_header_skew_seconds)
        headers = {
            "content-type": content_type,
            "date": format_datetime(date.astimezone(UTC), usegmt=True),
            "x-amzn-requestid": str(uuid.uuid4()),
        }
        return status, headers, json.dumps(document, separators=(",", ":")).encode()

    async def _control(self, method: str, path: str, body: bytes, query: Query) -> tuple[int, Json]:
        try:
            return 200, await controls.answer(self, method, path, body, query)
        except ControlError as error:
            return error.status, {"error": error.message, "problems": list(error.problems)}

    # --- one call of the API --------------------------------------------------------------------------------------

    async def _call(
        self, headers: Headers, body: bytes, principal: str | None, gone: Callable[[], Awaitable[None]] | None
    ) -> tuple[int, Json]:
        target = headers.get("x-amz-target", "")
        operation = target.removeprefix(_TARGET)
        call = self.calls.add(self.clock(), operation, principal, {})
        try:
            access_key = _access_key(headers.get("authorization", ""))
            call.principal = principal or access_key
            self._check_target(target)
            request = _parsed(body)
            call.request = request if len(body) < 4096 else clipped(request)
            return await self._with_faults(call, request, gone)
        except WorkMailError as error:
            return _refused(call, error)
        except Exception:  # noqa: BLE001 - a bug of ours must reach the client as an answer
            _LOG.exception("The emulator itself failed at %s", operation)
            return _refused(call, WorkMailError("InternalFailure", "The emulator itself failed; see its log", 500))

    def _check_target(self, target: str) -> None:
        operation = target.removeprefix(_TARGET) if target.startswith(_TARGET) else ""
        if operation in self.workmail.served:
            return
        if operation in operation_names():
            served = ", ".join(self.workmail.served)
            raise WorkMailError(
                "NotInThisEmulator", f"WorkMail has {operation}, this emulator does not; it has {served}", 501
            )
        raise WorkMailError(
            "UnknownOperationException",
            f"X-Amz-Target is {target!r:.200}; expected is {_TARGET} followed by the name of a WorkMail operation",
        )

    async def _with_faults(
        self, call: Call, request: Json, gone: Callable[[], Awaitable[None]] | None
    ) -> tuple[int, Json]:
        fault = None
        if self.settings.faults:
            fault, wait = self._hit(call, request)
            if wait:
                await self._sleep(wait)
        if fault is None:
            return self._execute(call, request, answered=True)
        if fault.kind == "throttle":
            quirks = self.settings.quirks
            raise WorkMailError(quirks.throttle_code, "Rate exceeded", quirks.throttle_status)
        call.effect = fault.effect
        if fault.effect == "applied":
            self._execute(call, request, answered=False)
        elif fault.effect == "late":
            late = asyncio.create_task(self._execute_late(call, request, fault.after_seconds))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
        if fault.kind == "no_answer":
            await self._hold(gone)
            raise WorkMailError("ServiceUnavailable", "Nobody was meant to read this answer", 503)
        code = "ServiceUnavailable" if fault.status == 503 else "InternalFailure"
        raise WorkMailError(code, f"Fault {fault.name}", fault.status)

    def _hit(self, call: Call, request: Json) -> tuple[Fault | None, float]:
        """The first fault that keeps this call from its answer, and the seconds that others make it wait."""
        now = seconds(self.clock())
        forms = self.user_forms(request.get("OrganizationId"), request.get("UserId"))
        device = request.get("DeviceId")
        device = device if isinstance(device, str) else None
        decisive: Fault | None = None
        wait = 0.0
        for fault in self.settings.faults.values():
            if fault.kind != "latency" and decisive is not None:
                continue
            if not fault.hits(call.operation, forms, device, now):
                continue
            call.faults += (fault.name,)
            if fault.kind == "latency":
                wait += fault.ms / 1000
            else:
                decisive = fault
        return decisive, wait

    def _execute(self, call: Call, request: Json, *, answered: bool) -> tuple[int, Json]:
        """Lets the operation happen, now; its answer is recorded if the caller gets it."""
        now = self.clock()
        error: WorkMailError | None = None
        answer: Json = {}
        try:
            answer = self.workmail.call(call.operation, request, now)
        except WorkMailError as refusal:
            error = refusal
        if self.publish is not None and call.operation.startswith(("Put", "Delete")):
            who = call.principal or ""
            self._publish(event_of(call.operation, request, who, now, self.account, self.region, error))
        if not answered:
            return 0, {}
        if error is not None:
            return _refused(call, error)
        call.status = 200
        return 200, answer

    async def _execute_late(self, call: Call, request: Json, delay: float) -> None:
        await self._sleep(delay)
        self._execute(call, request, answered=False)
        call.effect = "applied_late"

    async def _hold(self, gone: Callable[[], Awaitable[None]] | None) -> None:
        """Until the client gives up, or a reset."""
        waits = [asyncio.create_task(_ended(self._released.wait()))]
        if gone is not None:
            waits.append(asyncio.create_task(_ended(gone())))
        try:
            await asyncio.wait(waits, timeout=_LONGEST_HOLD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _publish(self, event: Json) -> None:
        assert self.publish is not None
        try:
            self.publish(event)
        except Exception:  # noqa: BLE001 - CloudTrail is best effort; the call has already happened
            _LOG.exception("An event of %s was not published", event.get("source"))


async def _ended(something: Awaitable[object]) -> None:
    await something


def _refused(call: Call, error: WorkMailError) -> tuple[int, Json]:
    """The error's answer; `Message` is the model's member, `message` what most other services call it."""
    call.status, call.error, call.message = error.status, error.code, error.message
    return error.status, {"__type": error.code, "Message": error.message, "message": error.message}


def _access_key(authorization: str) -> str:
    """Whose signature a request bears; the signature itself is not checked here."""
    if not authorization.startswith("AWS4-"):
        raise WorkMailError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
    credential = _CREDENTIAL.search(authorization)
    missing = [part for part in ("SignedHeaders=", "Signature=") if part not in authorization]
    if credential is None or missing:
        wanted = "Credential=KEY/DATE/REGION/workmail/aws4_request" if credential is None else " and ".join(missing)
        raise WorkMailError(
            "IncompleteSignatureException", f"The Authorization header lacks {wanted}: {authorization:.200}", 403
        )
    if credential["service"] != "workmail":
        raise WorkMailError(
            "InvalidSignatureException",
            f"Credential should be scoped to correct service: 'workmail', not '{credential['service']}'",
            403,
        )
    return credential["key"]


def _parsed(body: bytes) -> Json:
    if len(body) > _LARGEST_REQUEST:
        raise WorkMailError("RequestEntityTooLargeException", f"Requests have at most {_LARGEST_REQUEST} bytes", 413)
    try:
        request = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise WorkMailError("SerializationException", f"The request is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise WorkMailError("SerializationException", f"The request is {request!r:.100}; expected is a JSON object")
    return request
