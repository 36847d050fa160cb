"""Other people's events on the local buses: each ready-made mapping, from its sample event to the override."""

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import urllib3
from boto3.dynamodb.types import TypeDeserializer
from urllib3.util import make_headers

from config_reader import loader
from device_lockout.inbound.webhook import proof
from device_lockout.values.tag import Tag
from device_lockout.values.webhook_schemes import SCHEMES
from local.deployment import Deployment, rfc3339
from local.lifecycle import ROOT
from local.up import WEBHOOK_SECRETS
from tests.local.end_to_end.watching import denied, new_device, result, seen, tag_on

ROUTES = loader.load("local").routes
TIME = re.compile(r"2026-11-22([T ])([0-9:.]+)(Z?)")
EPOCH = re.compile(r"\b17\d{11}\b")
ENCODED = re.compile(r"\beyJ[0-9A-Za-z+/]+=*")


def sample(name: str) -> dict[str, Any]:
    """A sample event as if it happened just now, with an ID of its own."""
    text = (ROOT / "samples" / f"{name}.json").read_text(encoding="utf-8")
    later = datetime.now(UTC) - min(map(_time, TIME.finditer(text)))
    milliseconds = int(later / timedelta(milliseconds=1))

    def moved(text: str) -> str:
        return TIME.sub(lambda it: rfc3339(_time(it) + later).replace("T", it[1]).replace("Z", it[3]), text)

    text = ENCODED.sub(lambda it: b64encode(moved(b64decode(it[0]).decode()).encode()).decode(), moved(text))
    text = EPOCH.sub(lambda it: str(int(it[0]) + milliseconds), text)
    event: dict[str, Any] = json.loads(text)
    del event["id"]
    return event


def _time(found: re.Match[str]) -> datetime:
    return datetime.fromisoformat(f"2026-11-22T{found[2]}Z")


def put(there: Deployment, name: str) -> None:
    """Put a source's sample on the bus where it comes to."""
    event = sample(name) | {"bus": ROUTES[name].bus or there.outputs["EventBusName"]}
    there.control("POST", "events", event)


@contextmanager
def a_device_of(there: Deployment, user: str, **names: str) -> Iterator[str]:
    """An enrolled device of a user whom no test before left locked: some samples name several users."""
    restored = there.publish("User Restored", userId=user)
    seen(there, f"{user} is restored", lambda: there.outcomes(restored.event_id))
    device = new_device()
    enrolment = there.publish("Device Enrolled", "mdm", userId=user, deviceId=device, **names)
    assert result(there, enrolment) == "enrolled", there.outcomes(enrolment.event_id)
    yield device
    there.publish("User Restored", userId=user)
    retired = there.publish("Device Retired", "mdm", userId=user, deviceId=device)
    seen(there, "its retirement", lambda: there.outcomes(retired.event_id))


def recovered(there: Deployment, **names: str) -> None:
    """The device is back: no later test finds a lock under its number."""
    assert result(there, there.publish("Device Recovered", **names)) == "released"


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
        ("identity-center-native-user-deleted", "ana", "offboarded"),
        ("directory-user-disabled", "eve", "offboarded"),
        ("guardduty-user", "ana", "compromised"),
        ("okta-hook-user-deactivated", "carla", "offboarded"),
        ("auth0-user-blocked", "dave", "offboarded"),
        ("auth0-user-deleted", "dave", "offboarded"),
        ("okta-breached-credential", "bob", "compromised"),
        ("security-hub-v2-user", "ana", "compromised"),
        ("defender-alert", "dave", "compromised"),
        ("crowdstrike-user", "bob", "compromised"),
    ],
)
def test_an_event_that_names_a_user_locks_the_users_devices(
    deployment: Deployment, name: str, user: str, why: str
) -> None:
    if name.startswith("identity-center"):
        identity = sample("identity-center-user-deleted")["detail"]["requestParameters"]["userId"]
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
        ("google-workspace-device-compromised", "bob", {"serialNumber": "DNQXK3P9N740"}, "compromised"),
        ("servicenow-lost-device", "ana", {"serialNumber": "DNQXK3P9N743"}, "lost"),
    ],
)
def test_an_event_that_names_a_serial_number_locks_the_device_that_the_inventory_knows_by_it(
    deployment: Deployment, name: str, user: str, names: dict[str, str], why: str
) -> None:
    with a_device_of(deployment, user, **names) as device:
        put(deployment, name)
        assert denied(deployment, user, device).why == why
        recovered(deployment, **names)


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


def ask(there: Deployment, method: str, sender: str, body: bytes, **headers: str) -> int:
    """Call the webhook function's URL, and return the status. No DNS has its name here: the server goes by `Host`."""
    host = urlsplit(there.outputs["WebhooksUrl"]).netloc
    asked = {"host": host, "content-type": "application/json", **headers}
    pool = urllib3.PoolManager(ca_certs=str(there.aws.ca))
    url = f"{there.aws.endpoint}/{sender}"
    return int(pool.request(method, url, body=body, headers=asked, retries=False, timeout=60).status)


def post(there: Deployment, sender: str, body: bytes, **headers: str) -> int:
    return ask(there, "POST", sender, body, **headers)


def login(secret: str, password: str = "") -> dict[str, str]:
    known = json.loads(WEBHOOK_SECRETS[secret])
    return make_headers(basic_auth=f"{known['username']}:{password or known['password']}")


def proven(sender: str, scheme: str, body: bytes, time: str = "") -> dict[str, str]:
    """The headers with a sender's proof, for now."""
    row, time = SCHEMES[scheme], time or str(int(datetime.now(UTC).timestamp()))
    signed = row.signed % {b"time": time.encode(), b"body": body}
    made = proof(row, WEBHOOK_SECRETS[f"lockout-{sender}"], signed)
    return {row.header or "x-api-key": made, **({row.timestamp: time} if row.timestamp else {})}


def of_a_drill(device: str) -> dict[str, str]:
    return {"user": "bob", "device": device, "began": rfc3339(), "exercise": "DRILL-2026-11"}


def told(there: Deployment, word: str) -> list[dict[str, Any]]:
    """Every outcome in the ledger whose message has this word."""
    pages = there.dynamodb.get_paginator("scan").paginate(
        TableName=there.outputs["LedgerTableName"],
        FilterExpression="begins_with(pk, :event)",
        ExpressionAttributeValues={":event": {"S": "event#"}},
    )
    read = TypeDeserializer().deserialize
    outcomes = [read(item["told"])["detail"] for page in pages for item in page["Items"]]
    return [outcome for outcome in outcomes if word in outcome.get("message", "")]  # a mark of what paged has none


def test_a_signed_webhook_goes_once_through_the_deployed_functions_url_and_locks(deployment: Deployment) -> None:
    with a_device_of(deployment, "bob") as device:
        body = json.dumps(of_a_drill(device)).encode()
        good = proven("drill", "hmac", body)
        assert post(deployment, "drill", body) == 401
        assert post(deployment, "drill", body, **proven("jira", "hmac", body)) == 401, "another key of ours"
        assert post(deployment, "drill", body + b" ", **good) == 401
        assert deployment.override("bob", device) is None
        assert post(deployment, "drill", body, **good) == 202
        assert denied(deployment, "bob", device).why == "drill"
        assert post(deployment, "drill", body, **good) == 202, "the repetition is taken, and nothing comes of it"
        seen(deployment, "nothing is under way", deployment.is_idle)
        results = [outcome["result"] for outcome in told(deployment, device) if outcome["source"] == "webhook.drill"]
        assert results == ["locked"]


@pytest.mark.parametrize(
    ("sender", "name", "user", "serial", "why"),
    [
        ("pagerduty", "pagerduty-incident", "bob", "DNQXK3P9N744", "compromised"),
        ("zendesk", "zendesk-lost-device", "ana", "DNQXK3P9N742", "lost"),
        ("jira", "jira-lost-device", "ana", "DNQXK3P9N745", "lost"),
        ("okta", "okta-hook-user-deactivated", "carla", "", "offboarded"),
    ],
)
def test_a_products_own_proof_is_taken_and_a_wrong_one_is_not(
    deployment: Deployment, sender: str, name: str, user: str, serial: str, why: str
) -> None:
    names = {"serialNumber": serial} if serial else {}
    scheme, body = SCHEMES[sender], json.dumps(sample(name)["detail"]).encode()
    good = proven(sender, sender, body, rfc3339())
    if scheme.challenge:
        asked = {**good, scheme.challenge: "are you there?"}
        assert ask(deployment, "GET", sender, b"", **asked) == 200
    with a_device_of(deployment, user, **names) as device:
        assert post(deployment, sender, body, **{**good, scheme.header: good[scheme.header][:-1] + "!"}) == 401
        assert deployment.override(user, device) is None
        assert post(deployment, sender, body, **good) == 202
        assert denied(deployment, user, device).why == why
        if names:
            recovered(deployment, **names)


def test_a_list_with_githubs_signature_locks_two_devices_and_once(deployment: Deployment) -> None:
    with a_device_of(deployment, "bob") as one, a_device_of(deployment, "bob") as other:
        body = json.dumps([of_a_drill(one), of_a_drill(other)]).encode()
        good = proven("drill-github", "github", body)
        assert post(deployment, "drill-github", body, **{name: made[:-1] for name, made in good.items()}) == 401
        assert post(deployment, "drill-github", body, **good) == 202
        assert denied(deployment, "bob", one).why == denied(deployment, "bob", other).why == "drill"


def test_workspace_one_tests_its_credentials_and_locks_by_serial_number_at_the_events_time(
    deployment: Deployment,
) -> None:
    good, serial = login("lockout-workspace-one"), new_device()
    with a_device_of(deployment, "ana", serialNumber=serial) as device:
        happened = datetime.now(UTC)
        changed = {"SerialNumber": serial, "EventTime": rfc3339(happened)}
        body = json.dumps(sample("workspace-one-compromised")["detail"] | changed).encode()
        for method in ("GET", "HEAD"):
            assert ask(deployment, method, "workspace-one", b"", **good) == 200
            assert ask(deployment, method, "workspace-one", b"", **login("lockout-workspace-one", "wrong")) == 401
            assert ask(deployment, method, "workspace-one", b"") == 401
        assert post(deployment, "workspace-one", body, **login("lockout-jamf")) == 401
        assert deployment.override("ana", device) is None
        assert post(deployment, "workspace-one", body, **good) == 202
        tag = denied(deployment, "ana", device)
        assert (tag.why, tag.at) == ("compromised", happened.replace(microsecond=0))
        recovered(deployment, serialNumber=serial)


def test_a_body_that_can_t_be_read_pages_once_and_names_its_sender(deployment: Deployment) -> None:
    body = f"<event><id>{uuid4()}</id></event>".encode()
    digest = hashlib.sha256(body).hexdigest()
    assert post(deployment, "jamf", body, **login("lockout-jamf", "wrong")) == 401
    for _ in range(3):
        assert post(deployment, "jamf", body, **login("lockout-jamf")) == 202
    (outcome,) = seen(deployment, "a rejection", lambda: told(deployment, digest))
    seen(deployment, "nothing is under way", deployment.is_idle)
    assert told(deployment, digest) == [outcome]
    assert (outcome["result"], outcome["page"], outcome["source"]) == ("rejected", True, "webhook.jamf.unreadable")
    assert outcome["message"].startswith(
        "A device was not changed: the report was rejected: the webhook sender jamf sent"
        f" {len(body)} bytes (SHA-256 {digest}) that were not taken: expected JSON."
    )
    assert "<" not in outcome["message"]


def test_a_webhook_with_credentials_goes_through_the_deployed_functions_url_and_locks(deployment: Deployment) -> None:
    with a_device_of(deployment, "ana", assetTag="jamf-456") as device:
        body = json.dumps(sample("jamf-lost-mode-on")["detail"]).encode()
        assert post(deployment, "jamf", body) == 401
        assert post(deployment, "jamf", body, **login("lockout-jamf", "wrong")) == 401
        assert deployment.override("ana", device) is None
        assert post(deployment, "jamf", body, **login("lockout-jamf")) == 202
        assert denied(deployment, "ana", device).why == "lost"
        deployment.publish("Device Recovered", userId="ana", deviceId=device)


def test_a_finding_that_is_imported_again_after_a_recovery_does_not_lock_again(deployment: Deployment) -> None:
    serial = new_device()
    with a_device_of(deployment, "bob", serialNumber=serial) as device:
        first = sample("security-hub-own-finding") | {"bus": "default"}
        first["detail"]["findings"][0]["Resources"][0]["Details"]["Other"]["serialNumber"] = serial
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


@pytest.mark.parametrize("ended", ["okta-user-unsuspended", "okta-user-reactivated"])
def test_okta_locks_and_ends_it(deployment: Deployment, ended: str) -> None:
    with a_device_of(deployment, "carla") as device:
        put(deployment, "okta-user-deactivated")
        assert denied(deployment, "carla", device).why == "offboarded"
        put(deployment, ended)
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
    with a_device_of(deployment, "carla") as one, a_device_of(deployment, "dave") as other:
        event = sample("okta-user-deactivated") | {"id": str(uuid4())}
        (target,) = event["detail"]["target"]
        event["detail"]["target"] = [target | {"alternateId": f"{user}@example.com"} for user in ("carla", "dave")]
        deployment.control("POST", "events", event | {"bus": ROUTES["okta-user-deactivated"].bus})
        assert denied(deployment, "carla", one).why == denied(deployment, "dave", other).why == "offboarded"


def test_a_lock_by_serial_number_denies_all_that_ever_had_it(deployment: Deployment) -> None:
    """Both mail clients of a phone, and what the phone was to the user who had it before."""
    serial = new_device()
    with (
        a_device_of(deployment, "bob", serialNumber=serial) as retired,
        a_device_of(deployment, "ana", serialNumber=serial) as mail,
        a_device_of(deployment, "ana", serialNumber=serial) as outlook,
    ):
        retirement = deployment.publish("Device Retired", "mdm", userId="bob", deviceId=retired)
        assert result(deployment, retirement) == "retired"
        report = deployment.publish("Device Compromised", "siem", serialNumber=serial)
        devices = {mail: "ana", outlook: "ana", retired: "bob"}
        assert {denied(deployment, user, device).why for device, user in devices.items()} == {"compromised"}
        outcomes = seen(
            deployment, "three outcomes", lambda: (they := deployment.outcomes(report.event_id))[2:] and they
        )
        assert {each["detail"]["deviceId"].casefold() for each in outcomes} == {device.casefold() for device in devices}
        deployment.publish("Device Recovered", serialNumber=serial)
        seen(deployment, "a release", lambda: not any(deployment.override(u, d) for d, u in devices.items()))


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
