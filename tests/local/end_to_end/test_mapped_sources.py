"""Other people's events on the local buses: each ready-made mapping, from its sample event to the override."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import urllib3
from urllib3.util import make_headers

from configuration import loader
from device_lockout.inbound.webhook import sign
from device_lockout.values.tag import Tag
from local.deployment import Deployment, rfc3339
from local.lifecycle import ROOT
from local.up import WEBHOOK_SECRETS
from tests.local.end_to_end.watching import denied, new_device, result, seen, tag_on

ROUTES = loader.load("local").routes
TIME = re.compile(r"2026-11-22T[0-9:.]+Z")
EPOCH = re.compile(r"\b17\d{11}\b")


def sample(name: str) -> dict[str, Any]:
    """A sample event as if it happened just now, with an ID of its own."""
    text = (ROOT / "samples" / f"{name}.json").read_text(encoding="utf-8")
    later = datetime.now(UTC) - min(map(datetime.fromisoformat, TIME.findall(text)))
    milliseconds = int(later / timedelta(milliseconds=1))
    text = TIME.sub(lambda it: rfc3339(datetime.fromisoformat(it[0]) + later), text)
    text = EPOCH.sub(lambda it: str(int(it[0]) + milliseconds), text)
    event: dict[str, Any] = json.loads(text)
    del event["id"]
    return event


def put(there: Deployment, name: str) -> None:
    """Put a source's sample on the bus where it comes to."""
    event = sample(name) | {"bus": ROUTES[name].bus or there.outputs["EventBusName"]}
    there.control("POST", "events", event)


@contextmanager
def a_device_of(there: Deployment, user: str, **names: str) -> Iterator[str]:
    """An enrolled device; afterwards the user is restored, for the tests that come."""
    device = new_device()
    enrolment = there.publish("Device Enrolled", "mdm", userId=user, deviceId=device, **names)
    assert result(there, enrolment) == "enrolled", there.outcomes(enrolment.event_id)
    yield device
    there.publish("User Restored", userId=user)
    retired = there.publish("Device Retired", "mdm", userId=user, deviceId=device)
    seen(there, "its retirement", lambda: there.outcomes(retired.event_id))


@pytest.fixture(scope="module", autouse=True)
def drill(deployment: Deployment) -> Tag:
    """A lock for seconds, which go by while the other tests run."""
    put(deployment, "drill")
    return denied(deployment, "bob", "DRILL0001")


@pytest.mark.parametrize(
    ("name", "user", "why"),
    [
        ("okta-suspicious-activity", "bob", "compromised"),
        ("auth0-leaked-password", "dave", "compromised"),
        ("identity-center-user-deleted", "ana", "offboarded"),
        ("directory-user-disabled", "eve", "offboarded"),
    ],
)
def test_an_event_that_names_a_user_locks_the_users_devices(
    deployment: Deployment, name: str, user: str, why: str
) -> None:
    if name.startswith("identity-center"):
        identity = sample(name)["detail"]["requestParameters"]["userId"]
        known = {"OrganizationId": deployment.organization, "Name": user, "IdentityProviderUserId": identity}
        deployment.control("POST", "seed", {"users": [known]})
    with a_device_of(deployment, user) as device:
        put(deployment, name)
        assert denied(deployment, user, device).why == why


@pytest.mark.parametrize(
    ("name", "user", "names", "why"),
    [
        ("security-hub-own-finding", "bob", {"serialNumber": "DNQXK3P9N736"}, "compromised"),
        ("workspace-one-compromised", "ana", {"serialNumber": "DNQXK3P9N737"}, "compromised"),
    ],
)
def test_an_event_that_names_a_serial_number_locks_the_device_that_the_inventory_knows_by_it(
    deployment: Deployment, name: str, user: str, names: dict[str, str], why: str
) -> None:
    with a_device_of(deployment, user, **names) as device:
        put(deployment, name)
        assert denied(deployment, user, device).why == why
        deployment.publish("Device Recovered", userId=user, deviceId=device)


def test_the_button_in_security_hub_locks_the_device_that_the_finding_names(deployment: Deployment) -> None:
    put(deployment, "security-hub-lock-button")
    assert denied(deployment, "ana", "ApplDNQXK3P9N735").why == "compromised"
    deployment.publish("Device Recovered", userId="ana", deviceId="ApplDNQXK3P9N735")


def test_jamfs_smart_group_locks_and_releases(deployment: Deployment) -> None:
    with a_device_of(deployment, "bob", assetTag="jamf-456") as device:
        put(deployment, "jamf-lost-mode-on")
        assert denied(deployment, "bob", device).why == "lost"
        put(deployment, "jamf-lost-mode-off")
        seen(deployment, "a release", lambda: deployment.override("bob", device) is None)


def post(there: Deployment, sender: str, body: bytes, **headers: str) -> int:
    """POST to the webhook function's URL, and the status; no DNS has its name here: the server goes by `Host`."""
    host = urlsplit(there.outputs["WebhooksUrl"]).netloc
    asked = {"host": host, "content-type": "application/json", **headers}
    pool = urllib3.PoolManager(ca_certs=str(there.aws.ca))
    url = f"{there.aws.endpoint}/{sender}"
    return int(pool.request("POST", url, body=body, headers=asked, retries=False, timeout=60).status)


def signed(body: bytes, key: str) -> dict[str, str]:
    seconds = int(datetime.now(UTC).timestamp())
    return {"x-lockout-timestamp": str(seconds), "x-lockout-signature": sign(key, seconds, body)}


def test_a_signed_webhook_goes_once_through_the_deployed_functions_url_and_locks(deployment: Deployment) -> None:
    body = json.dumps(sample("workspace-one-compromised")["detail"]).encode()
    good = signed(body, WEBHOOK_SECRETS["lockout-workspace-one"])
    with a_device_of(deployment, "ana", serialNumber="DNQXK3P9N737") as device:
        assert post(deployment, "workspace-one", body) == 401
        assert post(deployment, "workspace-one", body, **signed(body, "another key")) == 401
        assert post(deployment, "workspace-one", body + b" ", **good) == 401
        assert deployment.override("ana", device) is None
        assert post(deployment, "workspace-one", body, **good) == 202
        assert denied(deployment, "ana", device).why == "compromised"
        assert post(deployment, "workspace-one", body, **good) == 401
        deployment.publish("Device Recovered", userId="ana", deviceId=device)


def test_a_webhook_with_credentials_goes_through_the_deployed_functions_url_and_locks(deployment: Deployment) -> None:
    body = json.dumps(sample("jamf-lost-mode-on")["detail"]).encode()
    secret = json.loads(WEBHOOK_SECRETS["lockout-jamf"])
    with a_device_of(deployment, "ana", assetTag="jamf-456") as device:
        assert post(deployment, "jamf", body) == 401
        assert post(deployment, "jamf", body, **make_headers(basic_auth=f"{secret['username']}:wrong")) == 401
        assert deployment.override("ana", device) is None
        good = make_headers(basic_auth=f"{secret['username']}:{secret['password']}")
        assert post(deployment, "jamf", body, **good) == 202
        assert denied(deployment, "ana", device).why == "lost"
        deployment.publish("Device Recovered", userId="ana", deviceId=device)


def test_a_finding_that_is_imported_again_after_a_recovery_does_not_lock_again(deployment: Deployment) -> None:
    first = sample("security-hub-own-finding") | {"bus": "default"}
    serial = new_device()
    first["detail"]["findings"][0]["Resources"][0]["Details"]["Other"]["serialNumber"] = serial
    with a_device_of(deployment, "bob", serialNumber=serial) as device:
        deployment.control("POST", "events", first)
        denied(deployment, "bob", device)
        recovery = deployment.publish("Device Recovered", userId="bob", deviceId=device)
        assert result(deployment, recovery) == "released"
        again = first | {"id": str(uuid4()), "time": rfc3339()}
        again["detail"]["findings"][0]["UpdatedAt"] = rfc3339()
        deployment.control("POST", "events", again)
        (outcome,) = seen(deployment, "an outcome", lambda: deployment.outcomes(again["id"]))
        assert outcome["detail"]["result"] == "superseded", (device, recovery, again, outcome)
        assert deployment.override("bob", device) is None


def test_okta_suspends_and_unsuspends(deployment: Deployment) -> None:
    with a_device_of(deployment, "carla") as device:
        put(deployment, "okta-user-deactivated")
        assert denied(deployment, "carla", device).why == "offboarded"
        put(deployment, "okta-user-unsuspended")
        seen(deployment, "a release", lambda: deployment.override("carla", device) is None)


def test_the_end_of_a_suspension_does_not_end_what_another_source_locked(deployment: Deployment) -> None:
    with a_device_of(deployment, "carla") as device:
        deployment.publish("User Offboarded", userId="carla")
        denied(deployment, "carla", device)
        put(deployment, "okta-user-deactivated")
        event = sample("okta-user-unsuspended") | {"id": str(uuid4())}
        deployment.control("POST", "events", event | {"bus": ROUTES["okta-user-unsuspended"].bus})
        outcomes = seen(deployment, "the outcomes", lambda: [*deployment.outcomes(event["id"])][1:])
        assert {outcome["detail"]["result"] for outcome in outcomes} == {"still-locked"}
        assert denied(deployment, "carla", device).why == "offboarded"


def test_two_users_in_one_okta_event_are_both_locked(deployment: Deployment) -> None:
    event = sample("okta-user-deactivated") | {"id": str(uuid4())}
    (target,) = event["detail"]["target"]
    event["detail"]["target"] = [target | {"alternateId": f"{user}@example.com"} for user in ("carla", "dave")]
    with a_device_of(deployment, "carla") as one, a_device_of(deployment, "dave") as other:
        deployment.control("POST", "events", event | {"bus": ROUTES["okta-user-deactivated"].bus})
        assert denied(deployment, "carla", one).why == denied(deployment, "dave", other).why == "offboarded"


def test_a_lock_by_serial_number_denies_both_mail_clients_of_a_phone(deployment: Deployment) -> None:
    serial = new_device()
    with (
        a_device_of(deployment, "ana", serialNumber=serial) as mail,
        a_device_of(deployment, "ana", serialNumber=serial) as outlook,
    ):
        deployment.publish("Device Compromised", "siem", serialNumber=serial)
        assert denied(deployment, "ana", mail).why == denied(deployment, "ana", outlook).why == "compromised"
        deployment.publish("Device Recovered", serialNumber=serial)
        seen(deployment, "a release", lambda: not any(deployment.override("ana", each) for each in (mail, outlook)))


def test_a_report_by_asset_tag_locks_once_the_inventory_knows_it(deployment: Deployment) -> None:
    tag = new_device()
    first = deployment.publish("Device Lost", assetTag=tag)
    (outcome,) = seen(deployment, "a rejection", lambda: deployment.outcomes(first.event_id))
    assert outcome["detail"]["result"] == "rejected"
    assert outcome["detail"]["page"]
    with a_device_of(deployment, "bob", assetTag=tag) as device:
        again = deployment.publish("Device Lost", assetTag=tag)
        assert denied(deployment, "bob", device).why == "lost"
        assert result(deployment, again) == "locked"
        deployment.publish("Device Recovered", userId="bob", deviceId=device)


def test_a_device_enrolled_while_its_user_is_locked_is_locked(deployment: Deployment) -> None:
    with a_device_of(deployment, "dave") as known:
        deployment.publish("User Compromised", userId="dave")
        denied(deployment, "dave", known)
        late = new_device()
        deployment.publish("Device Enrolled", "mdm", userId="dave", deviceId=late)
        denied(deployment, "dave", late)
    seen(deployment, "a release", lambda: not any(tag_on(deployment, "dave", each) for each in (known, late)))


def test_a_drill_locks_for_seconds_and_the_next_sweep_lets_go(deployment: Deployment, drill: Tag) -> None:
    assert drill.why == "drill"
    assert drill.until - drill.at <= timedelta(seconds=21)
    seen(deployment, "its time is over", lambda: datetime.now(UTC) > drill.until)
    deployment.sweep()
    seen(deployment, "its end", lambda: deployment.override("bob", "DRILL0001") is None)
