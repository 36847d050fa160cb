from datetime import UTC, datetime, timedelta

import pytest

from tests.local.workmail.asking import (
    ANA,
    BOB,
    DELETE,
    GET,
    LIST,
    ORGANIZATION,
    PUT,
    Clock,
    ask,
    control,
    emulator,
    listed,
    refusal,
)

NOBODY = "m-00000000000000000000000000000000"
ALL_FOUR = [
    (PUT, {"UserId": "ana", "DeviceId": "A1", "Effect": "DENY"}),
    (GET, {"UserId": "ana", "DeviceId": "A1"}),
    (DELETE, {"UserId": "ana", "DeviceId": "A1"}),
    (LIST, {}),
]


def test_put_creates_then_replaces():
    clock = Clock()
    to = emulator(clock)
    assert ask(to, PUT, UserId="ana", DeviceId="A1", Effect="DENY", Description="lost") == {}
    created = clock.now
    clock.pass_seconds(61.25)
    ask(to, PUT, UserId="ana", DeviceId="A1", Effect="ALLOW", Description="found")
    assert ask(to, GET, UserId="ana", DeviceId="A1") == {
        "UserId": ANA,
        "DeviceId": "A1",
        "Effect": "ALLOW",
        "Description": "found",
        "DateCreated": created,
        "DateModified": created + timedelta(seconds=61.25),
    }
    assert listed(to) == [ask(to, GET, UserId="ana", DeviceId="A1")]


def test_dates_keep_milliseconds():
    to = emulator(Clock(datetime(2026, 11, 22, 9, 0, 0, 123_456, UTC)))
    ask(to, PUT, UserId="ana", DeviceId="A1", Effect="DENY")
    assert ask(to, GET, UserId="ana", DeviceId="A1")["DateCreated"] == datetime(2026, 11, 22, 9, 0, 0, 123_000, UTC)


@pytest.mark.parametrize("user", ["ana", "ANA", "ana@example.com", "Ana@Example.COM", ANA, ANA.upper()])
@pytest.mark.parametrize("device", ["ApplF1", "APPLF1", "applf1"])
def test_every_form_of_a_user_and_either_case_of_a_device_are_one_override(user, device):
    to = emulator()
    ask(to, PUT, UserId="ana", DeviceId="ApplF1", Effect="ALLOW")
    ask(to, PUT, UserId=user, DeviceId=device, Effect="DENY", Description="the same")
    assert [(row["UserId"], row["Effect"]) for row in listed(to)] == [(ANA, "DENY")]
    assert ask(to, GET, UserId=user, DeviceId=device)["Description"] == "the same"
    assert listed(to, UserId=user) == listed(to, DeviceId=device) == listed(to, UserId=user, DeviceId=device)
    assert len(listed(to, UserId=user)) == 1
    ask(to, DELETE, UserId=user, DeviceId=device)
    assert listed(to) == []


def test_another_user_or_device_is_another_override():
    to = emulator()
    for user, device in (("ana", "A1"), ("ana", "A11"), ("bob", "A1")):
        ask(to, PUT, UserId=user, DeviceId=device, Effect="DENY")
    ask(to, DELETE, UserId="ana", DeviceId="A1")
    assert {(row["UserId"], row["DeviceId"]) for row in listed(to)} == {(ANA, "A11"), (BOB, "A1")}


def test_deleting_what_is_not_there_succeeds_and_reading_it_does_not():
    to = emulator()
    assert ask(to, DELETE, UserId="ana", DeviceId="A1") == {}
    refused = refusal(to, GET, UserId="ana", DeviceId="A1")
    assert (refused.status, refused.code) == (400, "ResourceNotFoundException")


@pytest.mark.parametrize(("operation", "request_"), ALL_FOUR)
def test_organizations_that_are_unknown_or_not_active(operation, request_):
    to = emulator()
    assert refusal(to, operation, OrganizationId=NOBODY, **request_).code == "OrganizationNotFoundException"
    control(to, "POST", "seed", {"organizations": [{"OrganizationId": NOBODY, "State": "Deleting"}]})
    assert refusal(to, operation, OrganizationId=NOBODY, **request_).code == "OrganizationStateException"


@pytest.mark.parametrize(("operation", "request_"), ALL_FOUR)
@pytest.mark.parametrize("user", ["nobody", "nobody@example.com", "11111111-2222-3333-4444-555555555555", "an", "ana@"])
def test_an_unknown_user(operation, request_, user):
    refused = refusal(emulator(), operation, **(request_ | {"UserId": user}))
    assert refused.code == "EntityNotFoundException"
    assert user in refused.message


def test_a_disabled_user_can_be_read_and_cleared_but_not_written():
    to = emulator()
    assert refusal(to, PUT, UserId="frank", DeviceId="A1", Effect="DENY").code == "EntityStateException"
    control(to, "POST", "seed", {"overrides": [{"UserId": "frank", "DeviceId": "A1", "Effect": "DENY"}]})
    assert ask(to, GET, UserId="frank", DeviceId="A1")["Effect"] == "DENY"
    assert len(listed(to, UserId="frank")) == 1
    ask(to, DELETE, UserId="frank", DeviceId="A1")
    assert listed(to) == []


def test_organizations_do_not_see_each_other():
    to = emulator()
    other = "m-" + "0" * 31 + "1"
    control(
        to,
        "POST",
        "seed",
        {
            "organizations": [{"OrganizationId": other, "Alias": "other"}],
            "users": [{"OrganizationId": other, "Name": "ana", "Email": "ana@other.example"}],
        },
    )
    ask(to, PUT, OrganizationId=other, UserId="ana", DeviceId="A1", Effect="DENY")
    assert listed(to) == []
    assert len(listed(to, OrganizationId=other)) == 1
    assert refusal(to, GET, UserId="ana@other.example", DeviceId="A1").code == "EntityNotFoundException"


def test_users_are_described_and_listed():
    to = emulator()
    ana = ask(to, "DescribeUser", UserId="ANA@example.com")
    assert (ana["UserId"], ana["Name"], ana["Email"], ana["State"]) == (ANA, "ana", "ana@example.com", "ENABLED")
    frank = ask(to, "DescribeUser", UserId="frank")
    assert frank["State"] == "DISABLED"
    assert "DisabledDate" in frank
    assert refusal(to, "DescribeUser", UserId="nobody").code == "EntityNotFoundException"
    names = {user["Name"]: user["State"] for user in ask(to, "ListUsers")["Users"]}
    assert names == dict.fromkeys(("ana", "bob", "carla", "dave", "eve"), "ENABLED") | {"frank": "DISABLED"}


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"State": "DISABLED"}, {"frank"}),
        ({"UsernamePrefix": "CA"}, {"carla"}),
        ({"PrimaryEmailPrefix": "bob@"}, {"bob"}),
        ({"DisplayNamePrefix": "d", "State": "ENABLED"}, {"dave"}),
        ({"DisplayNamePrefix": "d", "State": "DISABLED"}, set()),
        ({"IdentityProviderUserIdPrefix": "9"}, set()),
        ({}, {"ana", "bob", "carla", "dave", "eve", "frank"}),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_users_are_filtered_and_paged(filters, names, size):
    to = emulator()
    found, token = [], {}
    while True:
        page = ask(to, "ListUsers", Filters=filters, MaxResults=size, **token)
        found += [user["Name"] for user in page["Users"]]
        if "NextToken" not in page:
            break
        assert len(page["Users"]) == size
        token = {"NextToken": page["NextToken"]}
    assert len(found) == len(set(found))
    assert set(found) == names


def test_organizations_are_described_and_listed():
    to = emulator()
    one = ask(to, "DescribeOrganization")
    assert (one["OrganizationId"], one["Alias"], one["State"]) == (ORGANIZATION, "main", "Active")
    assert one["ARN"] == f"arn:aws:workmail:eu-west-1:000000000000:organization/{ORGANIZATION}"
    more = [{"OrganizationId": f"m-{number:032x}", "State": "Failed"} for number in range(4)]
    control(to, "POST", "seed", {"organizations": more})
    assert ask(to, "DescribeOrganization", OrganizationId=more[0]["OrganizationId"])["State"] == "Failed"
    found, token = [], {}
    while True:
        page = ask(to, "ListOrganizations", MaxResults=2, **token)
        found += [row["OrganizationId"] for row in page["OrganizationSummaries"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert found == [*(row["OrganizationId"] for row in more), ORGANIZATION]
    assert refusal(to, "DescribeOrganization", OrganizationId=f"m-{9:032x}").code == "OrganizationNotFoundException"


IPHONE_ONLY = {"Name": "iphones", "Effect": "ALLOW", "DeviceTypes": ["iPhone"]}
NO_OLD_IOS = {"Name": "old", "Effect": "DENY", "DeviceOperatingSystems": ["iOS 9"]}
NOT_ANDROID = {"Name": "not-android", "Effect": "ALLOW", "NotDeviceTypes": ["Android"]}


@pytest.mark.parametrize(
    ("rules", "device", "effect", "matched"),
    [
        ([], {"DeviceType": "iPhone"}, "DENY", []),
        ([IPHONE_ONLY], {"DeviceType": "iPhone"}, "ALLOW", ["iphones"]),
        ([IPHONE_ONLY], {"DeviceType": "Android"}, "DENY", []),
        ([IPHONE_ONLY], {}, "DENY", []),
        ([IPHONE_ONLY, NO_OLD_IOS], {"DeviceType": "iPhone", "DeviceOperatingSystem": "iOS 9"}, "DENY", ["old"]),
        ([IPHONE_ONLY, NO_OLD_IOS], {"DeviceType": "iPhone", "DeviceOperatingSystem": "iOS 20"}, "ALLOW", ["iphones"]),
        ([NOT_ANDROID], {"DeviceType": "Android"}, "DENY", []),
        ([NOT_ANDROID], {"DeviceType": "iPhone"}, "ALLOW", ["not-android"]),
        ([NOT_ANDROID], {}, "ALLOW", ["not-android"]),
    ],
)
def test_the_effect_of_rules(rules, device, effect, matched):
    to = emulator()
    rules = [{"MobileDeviceAccessRuleId": rule["Name"], **rule} for rule in rules]
    status, _ = control(to, "POST", "seed", {"organizations": [{"OrganizationId": ORGANIZATION, "Rules": rules}]})
    assert status == 200
    found = ask(to, "GetMobileDeviceAccessEffect", **device)
    assert (found["Effect"], [rule["Name"] for rule in found["MatchedRules"]]) == (effect, matched)
    assert [rule["Name"] for rule in ask(to, "ListMobileDeviceAccessRules")["Rules"]] == [r["Name"] for r in rules]


def test_the_seeded_organization_allows_every_device():
    assert ask(emulator(), "GetMobileDeviceAccessEffect")["Effect"] == "ALLOW"
