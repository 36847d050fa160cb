"""The emulator: WorkMail's operations behind AWS's protocol, with faults and a record of calls."""

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from local.account import ACCOUNT, REGION
from local.workmail import protocol
from local.workmail.calls import Call, Calls, clipped
from local.workmail.cloudtrail import event_of
from local.workmail.errors import ControlError, WorkMailError
from local.workmail.faults import Fault
from local.workmail.operations import WorkMail, seconds
from local.workmail.protocol import Headers, Response
from local.workmail.seeding import apply, apply_in_portions, initial_seed
from local.workmail.settings import Settings, merged
from local.workmail.shapes import operation_names

type Json = dict[str, Any]
type Gone = Callable[[], Awaitable[None]]

_WRITES = ("Put", "Delete")
_LARGE_BODY = 4096
_UNAVAILABLE = 503
_RELEASED = _UNAVAILABLE, {"__type": "ServiceUnavailable", "message": "Released by a reset of the emulator"}
_LONGEST_HOLD_SECONDS = 900
_LOG = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Emulator:
    """WorkMail in this process. `handle` answers HTTP requests.

    Attributes:
        publish: puts an event on the default bus, or on the bus in its extra member `bus`. It gets an event of each
            write, and the events of `/_emulator/events`. It must not block. It raises ControlError for an unknown
            bus. None if there are no buses.
        workmail: the state, replaced by a reset. Calling it directly bypasses protocol, faults and record.
        settings: what testers have switched.
        calls: the record of calls.
    """

    def __init__(
        self,
        *,
        account: str = ACCOUNT,
        region: str = REGION,
        clock: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.publish: Callable[[Json], None] | None = None
        self.account = account
        self.region = region
        self.clock = clock
        self._sleep = sleep
        self._seeding = asyncio.Lock()
        self._late: set[asyncio.Task[None]] = set()
        self._released = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        """Restore the initial seed and the default settings, release held calls and drop late effects."""
        for task in self._late:
            task.cancel()
        self._late.clear()
        self._released.set()
        self._released = asyncio.Event()
        self.settings = Settings()
        self.calls = Calls(self.settings.keep_calls)
        self.workmail = WorkMail(self.account, self.region)
        apply(self.workmail, initial_seed(), self.clock())

    async def seed(self, document: object) -> Json:
        """Apply a seed (see `seeding`) and return its counts. Other requests are answered meanwhile.

        Raises ControlError, and changes nothing, if anything in the seed is wrong.
        """
        async with self._seeding:
            return await apply_in_portions(self.workmail, document, self.clock())

    def change_settings(self, patch: object) -> Settings:
        """Merge a patch into the settings. A patch with `seed` seeds all dice anew.

        Raises ControlError, and changes nothing, if anything in the patch is wrong.
        """
        before = self.settings
        after = merged(before, patch)
        if self.publish is None and any(fault.kind == "hold" for fault in after.faults.values()):
            raise ControlError("there is nothing to hold: the emulator runs alone, without MiniStack", status=501)
        self.settings = after
        for name, fault in self.settings.faults.items():
            if (isinstance(patch, dict) and "seed" in patch) or before.faults.get(name) is not fault:
                fault.seed_dice(self.settings.seed)
        self.calls.keep(self.settings.keep_calls)
        self.workmail.quirks = self.settings.quirks
        return self.settings

    async def handle(
        self, headers: Headers, body: bytes, *, principal: str | None = None, gone: Gone | None = None
    ) -> Response:
        """Answer one request to WorkMail's API.

        Args:
            headers: by lower-case name.
            body: the whole body.
            principal: the caller's ARN, if IAM has checked it. Without it, the record has the signature's access key.
            gone: returns once the client has given up. Without it, a held call ends after 15 minutes.
        """
        status, document = await self._call(headers, body, principal, gone)
        return self.response(status, document, protocol.CONTENT_TYPE)

    def response(self, status: int, document: Json, content_type: str) -> Response:
        """Return an HTTP response whose `Date` header has the skew of the settings."""
        date = self.clock() + timedelta(seconds=self.settings.date_header_skew_seconds)
        headers = {
            "content-type": content_type,
            "date": format_datetime(date.astimezone(UTC), usegmt=True),
            "x-amzn-requestid": str(uuid.uuid4()),
        }
        return status, headers, json.dumps(document, separators=(",", ":")).encode()

    def user_forms(self, organization_id: object, identity: object) -> set[str]:
        """Return every form of a request's user in lower case: as given, ID, names and addresses."""
        if not isinstance(identity, str):
            return set()
        user = self.workmail.find_user(organization_id, identity)
        if user is None:
            return {identity.lower()}
        return {identity.lower(), user.user_id.lower(), *user.names}

    # --- one call of the API --------------------------------------------------------------------------------------

    async def _call(self, headers: Headers, body: bytes, principal: str | None, gone: Gone | None) -> tuple[int, Json]:
        operation = protocol.target(headers)
        call = self.calls.add(self.clock(), operation, principal, {})
        try:
            signer = protocol.access_key(headers)
            call.principal = principal or signer
            if operation not in self.workmail.served:
                raise self._not_served(operation) or protocol.unknown_operation(headers)
            request = protocol.request_document(body)
            call.request = request if len(body) < _LARGE_BODY else clipped(request)
            return await self._with_faults(call, request, gone)
        except WorkMailError as error:
            return _refused(call, error)
        except Exception:  # noqa: BLE001 - the client needs an answer to a bug of the emulator, too
            _LOG.exception("The emulator failed in %s", operation)
            return _refused(call, WorkMailError("InternalFailure", "The emulator failed; see its log", 500))

    def _not_served(self, operation: str) -> WorkMailError | None:
        if operation not in operation_names():
            return None
        served = ", ".join(self.workmail.served)
        return WorkMailError(
            "NotInThisEmulator", f"WorkMail has {operation}, but this emulator does not; it has {served}", 501
        )

    async def _with_faults(self, call: Call, request: Json, gone: Gone | None) -> tuple[int, Json]:
        if not self.settings.faults:
            return self._answered(call, request)
        fault, wait = self._hit(call, request)
        if wait:
            released = self._released
            await self._sleep(wait)
            if released.is_set():
                return _RELEASED
        if fault is None:
            return self._answered(call, request)
        if fault.kind == "throttle":
            quirks = self.settings.quirks
            raise WorkMailError(quirks.throttle_code, "Rate exceeded", quirks.throttle_status)
        self._unanswered(call, request, fault)
        if fault.kind == "no_answer":
            await self.hold(gone)
            return _RELEASED
        code = "ServiceUnavailable" if fault.status == _UNAVAILABLE else "InternalFailure"
        raise WorkMailError(code, f"Fault {fault.name}", fault.status)

    def _hit(self, call: Call, request: Json) -> tuple[Fault | None, float]:
        """Return the first fault that keeps this call from its answer, and the latency in seconds."""
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

    def _answered(self, call: Call, request: Json) -> tuple[int, Json]:
        answer, error = self._execute(call, request)
        if error is not None:
            return _refused(call, error)
        call.status = 200
        return 200, answer

    def _unanswered(self, call: Call, request: Json, fault: Fault) -> None:
        """Apply the operation now, later or not at all, as the fault says. The caller gets no result."""
        call.effect = fault.effect
        if fault.effect == "applied":
            self._apply(call, request, "applied")
        elif fault.effect == "late":
            late = asyncio.create_task(self._apply_late(call, request, fault.after_seconds))
            self._late.add(late)
            late.add_done_callback(self._late.discard)

    async def _apply_late(self, call: Call, request: Json, delay: float) -> None:
        await self._sleep(delay)
        self._apply(call, request, "applied_late")

    def _apply(self, call: Call, request: Json, effect: str) -> None:
        _, error = self._execute(call, request)
        call.effect = effect if error is None else f"refused: {error.code}"

    def _execute(self, call: Call, request: Json) -> tuple[Json, WorkMailError | None]:
        """Apply the operation now, and publish an event if it is a write."""
        now = self.clock()
        error: WorkMailError | None = None
        answer: Json = {}
        try:
            answer = self.workmail.call(call.operation, request, now)
        except WorkMailError as refusal:
            error = refusal
        if self.publish is not None and call.operation.startswith(_WRITES):
            who = call.principal or ""
            self._publish(event_of(call.operation, request, who, now, self.account, self.region, error))
        return answer, error

    async def hold(self, gone: Gone | None) -> bool:
        """Wait until the client gives up, a reset releases the call, or 15 minutes are over.

        Returns whether the client gave up. Without `gone` that can't be known.
        """
        waits = [asyncio.create_task(_ended(self._released.wait()))]
        if gone is not None:
            waits.append(asyncio.create_task(_ended(gone())))
        try:
            ended, _ = await asyncio.wait(waits, timeout=_LONGEST_HOLD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            return waits[-1] in ended and gone is not None
        finally:
            for wait in waits:
                wait.cancel()

    def _publish(self, event: Json) -> None:
        assert self.publish is not None
        try:
            self.publish(event)
        except Exception:  # noqa: BLE001 - CloudTrail delivers at best effort, and the call is done
            _LOG.exception("An event of %s was not published", event.get("source"))


async def _ended(something: Awaitable[object]) -> None:
    await something


def _refused(call: Call, error: WorkMailError) -> tuple[int, Json]:
    call.status, call.error, call.message = error.status, error.code, error.message
    return error.status, protocol.error_document(error)
