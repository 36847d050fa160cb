"""Batches, odd bodies, other proofs and other products' exports, on the whole chain."""

import gzip
import hashlib
import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from device_lockout.inbound.webhook import MAX_BYTES
from local.deployment import Deployment, rfc3339
from local.lifecycle import ROOT
from lockout.commands.inventory import PRESETS
from tests.local.end_to_end.test_command import running
from tests.local.end_to_end.test_mapped_sources import ROUTES, ask, login, post, proven, sample, told
from tests.local.end_to_end.watching import Json, denied, environment, new_device, new_users, recorded, seen

type Mail = Callable[[], list[str]]

JAMF = "jamf-lost-mode-on"


def enrolled(there: Deployment, user: str, count: int) -> dict[int, str]:
    """New devices of a user, each under a number: `jamf-NUMBER` is its asset tag, and the serial number ends in it."""
    devices = {secrets.randbelow(10**9) + 1: new_device() for _ in range(count)}
    recorded(
        there,
        [
            there.publish(
                "Device Enrolled", "mdm", userId=user, deviceId=device, assetTag=f"jamf-{n}", serialNumber=f"SN{n}"
            )
            for n, device in devices.items()
        ],
    )
    return devices


def about(name: str, user: str, devices: dict[int, str]) -> Json:
    """A source's sample, about several devices."""
    event = sample(name) | {"id": str(uuid4())}
    if name == JAMF:
        event["detail"]["event"]["groupAddedDevicesIds"] = [*devices]
        return event
    (finding,) = event["detail"]["findings"]
    (resource,) = finding["Resources"]
    finding["Resources"] = [
        resource
        | {
            "Details": {
                "Other": {"serialNumber": f"SN{n}"}
                if "serialNumber" in resource["Details"]["Other"]
                else {"workmailUser": user, "easDeviceId": device}
            }
        }
        for n, device in devices.items()
    ]
    return event


def put(there: Deployment, name: str, event: Json) -> None:
    there.control("POST", "events", event | {"bus": ROUTES[name].bus or there.outputs["EventBusName"]})


@pytest.mark.parametrize("name", ["security-hub-own-finding", "security-hub-lock-button", JAMF])
def test_each_device_in_one_event_is_locked_once_however_often_the_event_comes(
    deployment: Deployment, name: str
) -> None:
    there, (user,), began = deployment, new_users(deployment, 1), datetime.now(UTC)
    devices = enrolled(there, user, 2)
    event = about(name, user, devices)
    for times in (1, 2):
        put(there, name, event)
        seen(there, "it came", lambda times=times: there.routed(began)[event["id"]] == times * len(devices))
    seen(there, "all is worked off", there.is_idle)
    outcomes = [outcome["detail"] for outcome in there.outcomes(event["id"])]
    assert {each["deviceId"].casefold() for each in outcomes} == {each.casefold() for each in devices.values()}
    assert len(outcomes) == len(devices)
    for outcome in outcomes:
        assert (outcome["result"], outcome["page"]) == ("locked", False), outcome
        assert "is locked" in outcome["message"], outcome
    for device in devices.values():
        assert denied(there, user, device).why == ("lost" if name == JAMF else "compromised")
        assert len(there.writes(device)) == 1


def test_jamfs_five_added_and_five_removed_in_one_call(deployment: Deployment) -> None:
    there, (user,) = deployment, new_users(deployment, 1)
    added, removed = enrolled(there, user, 5), enrolled(there, user, 5)
    put(there, JAMF, about(JAMF, user, removed))
    for device in removed.values():
        denied(there, user, device)
    call = about(JAMF, user, added)["detail"]
    call["event"]["groupRemovedDevicesIds"] = [*removed]
    assert post(there, "jamf", json.dumps(call).encode(), **login("lockout-jamf")) == 202
    for device in added.values():
        assert denied(there, user, device).why == "lost"
    for device in removed.values():
        seen(there, f"{device} is released", lambda device=device: there.override(user, device) is None)


def test_an_event_with_too_many_elements_pages_and_locks_none(deployment: Deployment, mail: Mail) -> None:
    there, (user,) = deployment, new_users(deployment, 1)
    devices = enrolled(there, user, 2)
    event = about(JAMF, user, devices)
    event["detail"]["event"]["groupAddedDevicesIds"] += range(10**9 + 1, 10**9 + 50)
    put(there, JAMF, event)
    (outcome,) = (each["detail"] for each in seen(there, "an outcome", lambda: there.outcomes(event["id"])))
    said = "found 51 elements: expected 1 to 50"
    assert (outcome["result"], outcome["page"]) == ("rejected", True)
    assert said in outcome["message"]
    seen(there, "a notice", lambda: any(event["id"] in each and said in each for each in mail()))
    seen(there, "all is worked off", there.is_idle)
    assert [there.writes(device) for device in devices.values()] == [[], []]


def test_who_had_an_asset_tag_once_is_named_and_stays(deployment: Deployment) -> None:
    there, (user,), (tag, old, new) = deployment, new_users(deployment, 1), (new_device() for _ in range(3))
    for device, label in ((old, tag), (old, f"{tag}-2"), (new, tag)):
        recorded(there, [there.publish("Device Enrolled", "mdm", userId=user, deviceId=device, assetTag=label)])
    report = there.publish("Device Lost", assetTag=tag)
    assert denied(there, user, new).why == "lost"
    (outcome,) = (each["detail"] for each in seen(there, "an outcome", lambda: there.outcomes(report.event_id)))
    said = f"{old.casefold()} of "
    assert (outcome["result"], outcome["page"]) == ("locked", True)
    assert said in outcome["message"]
    assert "had it once and stays as it is" in outcome["message"]
    assert there.override(user, old) is None


def lines(parts: list[Json]) -> bytes:
    return "\n".join(map(json.dumps, parts)).encode()


BYTES = {"content-type": "application/gzip"}
GZIP = BYTES | {"content-encoding": "gzip"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("scheme", "written", "headers", "fault"),
    [
        ("bearer", lines, {"content-type": "application/x-ndjson"}, ""),
        ("header", lambda parts: gzip.compress(json.dumps(parts).encode()), BYTES, ""),
        ("slack", lambda parts: gzip.compress(lines(parts)), GZIP, ""),
        ("bearer", lambda parts: urlencode(parts[0]).encode(), FORM, "expected JSON"),
        ("header", lambda parts: lines([*parts, {"x": "y" * MAX_BYTES}]), {}, "expected at most 131072 bytes of JSON"),
        ("slack", lambda parts: gzip.compress(lines(parts))[:-9], GZIP, "expected one whole gzip"),
    ],
    ids=["bearer-lines", "header-gzip", "slack-gzip-lines", "bearer-form", "header-too-large", "slack-half-a-gzip"],
)
def test_a_known_senders_body_is_taken_apart_or_pages(
    deployment: Deployment,
    mail: Mail,
    scheme: str,
    written: Callable[[list[Json]], bytes],
    headers: dict[str, str],
    fault: str,
) -> None:
    there, (user,), sender = deployment, new_users(deployment, 1), f"drill-{scheme}"
    devices, ends = [new_device(), new_device()], datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=8)
    body = written([{"user": user, "device": each, "ends": rfc3339(ends)} for each in devices])
    digest = hashlib.sha256(body).hexdigest()
    assert post(there, sender, body, **headers, **proven("drill", scheme, body)) == 401
    assert ask(there, "GET", sender, b"", **proven(sender, scheme, b"")) == 200
    assert post(there, sender, body, **headers, **proven(sender, scheme, body)) == 202
    if not fault:
        for device in devices:
            tag = denied(there, user, device)
            assert (tag.why, tag.until) == ("drill", ends), "the mapping's expires_at"
        return
    (outcome,) = seen(there, "a rejection", lambda: told(there, digest))
    assert (outcome["result"], outcome["page"]) == ("rejected", True)
    said = f"the webhook sender {sender} sent {len(body)} bytes (SHA-256 {digest}) that were not taken: {fault}"
    assert said in outcome["message"]
    seen(there, "a notice", lambda: any(digest in each and sender in each for each in mail()))
    assert [there.writes(device) for device in devices] == [[], []]


def test_each_preset_enrols_and_a_serial_number_reaches_what_has_it(
    deployment: Deployment, state: Path, tmp_path: Path
) -> None:
    """Intune and Jamf know one phone by two device IDs. The exports of Exchange and Workspace ONE have no number."""
    there, (user,), serial = deployment, new_users(deployment, 1), new_device()
    devices, other = {name: new_device() for name in PRESETS}, new_device()
    lockout = running(tmp_path, environment(state))

    def imported(name: str) -> tuple[int, str, str]:
        text = (ROOT / "tests" / "lockout" / "exports" / f"{name}.csv").read_text(encoding="utf-8")
        known = {"TUCLLFJHPL779ACL9DCJQFN39F": devices[name], "A1B2C3D4E5F60718": other, "F2LXK0AAAA01": serial}
        known |= {"ana@": f"{user}@", "bob@": f"{user}@", "PHONE-0007": f"PHONE-{serial}"}
        for old, new in known.items():
            text = text.replace(old, new)
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        return lockout("inventory", "import", f"{name}.csv", "--preset", name)

    with ThreadPoolExecutor() as pool:
        for name, (status, out, err) in zip(PRESETS, pool.map(imported, PRESETS), strict=True):
            assert status == 0, err
            assert ("2 of 2 lines" if name == "exchange" else "1 of 1 lines") in out

    seen(there, "the imports are worked off", there.is_idle)
    there.publish("Device Stolen", serialNumber=serial)
    for name in ("intune", "jamf"):
        assert denied(there, user, devices[name]).why == "stolen"
    without = [devices["exchange"], other, devices["workspace-one"]]
    assert [there.override(user, each) for each in without] == [None] * 3
    there.publish("User Compromised", userId=user)
    for device in without:
        assert denied(there, user, device).why == "compromised"
