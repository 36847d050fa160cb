"""What an administrator undoes in WorkMail, put back by CloudTrail's word before any sweep."""

from collections import Counter
from contextlib import closing
from time import monotonic

from local.deployment import Announcements, Deployment
from tests.local.end_to_end.watching import Json, denied, new_device, seen, tag_on
from tests.measured import MEASURED


def test_ten_deletions_are_undone_and_each_pages_with_the_name_of_who_did_it(deployment: Deployment) -> None:
    devices = [new_device() for _ in range(10)]
    for device in devices:
        deployment.publish("Device Lost", userId="bob", deviceId=device)
    tags = [denied(deployment, "bob", device) for device in devices]
    times = []
    with closing(Announcements(deployment, "tampering")) as listener:
        for device, tag in zip(devices, tags, strict=True):
            began = monotonic()
            deployment.workmail.delete_mobile_device_access_override(
                OrganizationId=deployment.organization, UserId="bob", DeviceId=device
            )
            seen(
                deployment,
                f"{device} is denied again",
                lambda device=device, tag=tag: tag_on(deployment, "bob", device) == tag,
                every=0.05,
            )
            times.append(monotonic() - began)

        def told() -> dict[str, Json]:
            heard = (event["detail"] for event in listener.heard() if event["detail-type"] == "Tampering Detected")
            return {each["id"]: each for each in heard if each["page"]}

        pages = seen(deployment, "a page of each", lambda: len(found := told()) >= 10 and found)
        runs = {event["detail"]["eventId"] for event in listener.heard() if event["detail-type"] == "Sweep Completed"}
    told_of = Counter(each["deviceId"].casefold() for each in pages.values())
    assert {device: told_of[device.casefold()] for device in devices} == dict.fromkeys(devices, 1), "one page each"
    nameless = [each for each in pages.values() if "changed by arn:aws:iam::" not in each["message"]]
    assert {each["eventId"] for each in nameless} <= runs, "only a sweep that came first does not know who did it"
    assert len(nameless) <= 2
    MEASURED.append(f"ten deletions undone by the tamper watch: {min(times):.2f} to {max(times):.2f} s")
    for device in devices:
        deployment.publish("Device Recovered", userId="bob", deviceId=device)
    for device in devices:
        seen(deployment, f"{device} is let in", lambda device=device: deployment.override("bob", device) is None)
