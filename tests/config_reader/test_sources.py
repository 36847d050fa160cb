import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config_reader import event_pattern, loader
from config_reader.loader import DIRECTORY, Configuration, ConfigurationError
from config_reader.sources import Route
from device_lockout.inbound import report
from device_lockout.values.command import Lock
from device_lockout.values.settings import EventMapping, Source, Webhook, dump, load
from device_lockout.values.webhook_schemes import SCHEMES

EXAMPLE = (DIRECTORY / "example.toml").read_text(encoding="utf-8")
SAMPLES = DIRECTORY.parent / "samples"

GOOD = """
[[sources]]
name = "okta"
bus = "aws.partner/okta.com/acme/stream1"
pattern = { "detail-type" = ["SystemLog"], detail = { eventType = [{ prefix = "user." }] } }
action = "lock-user"
reason = "compromised"
user = "detail.target[0].alternateId"
"""

OURS = """
[[sources]]
name = "ours"
pattern = { source = ["x"] }
action = "lock-user"
reason = "compromised"
user = "detail.user"
"""

EXPRESSION = 'sources[3].user: "{}": expected a JMESPath expression, such as detail.user ({})'

WEBHOOK = """
[[webhooks]]
name = "x"
authenticate = "basic"
secret = "lockout-x"
"""


FORWARDED = """
[[sources]]
name = "hub"
forwarders = ["security"]
pattern = { source = ["aws.securityhub"], account = ["444455556666"] }
realm = "account"
action = "release-user"
user = "detail.user"
"""

FORWARDER = """
[[forwarders]]
name = "security"
account = "444455556666"
region = "us-east-1"
"""
ACCOUNT = 'account = "111122223333"\n'


HELPDESK = '[[sources]]\nname = "desk"\nmay = ["release"]\npublishers = "anyone"\n'


def read(extra: str, top: str = "") -> Configuration:
    return loader.read(top + EXAMPLE + extra, "config/x.toml")


def mistakes(extra: str, top: str = "") -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(extra, top)
    return str(caught.value).splitlines()


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_mapped_source_is_read() -> None:
    configuration = read(GOOD)
    mapping = EventMapping("lock-user", "compromised", {"user": "detail.target[0].alternateId"})
    assert configuration.settings.sources[-1] == Source("okta", frozenset({"lock"}), mapping)
    pattern = {"detail-type": ["SystemLog"], "detail": {"eventType": [{"prefix": "user."}]}}
    assert configuration.routes["okta"] == Route(pattern, "aws.partner/okta.com/acme/stream1")


def test_a_source_says_which_locks_its_releases_end() -> None:
    source = read(HELPDESK + 'releases = ["lost", "stolen"]\nreleases_own_only = true\n').settings.sources[-1]
    assert source == Source("desk", frozenset({"release"}), None, frozenset({"lost", "stolen"}), releases_own_only=True)
    mapped = GOOD.replace('"lock-user"\nreason = "compromised"', '"release-user"\nreleases = ["lost"]')
    assert read(mapped).settings.sources[-1].releases == {"lost"}


def test_a_source_may_make_several_reports_of_an_event_and_leave_what_is_not_meant() -> None:
    several = GOOD + "when = 'detail.outcome'\neach = 'detail.target'\nat_most = 9\nexpires_at = 'detail.until'\n"
    mapping = read(several).settings.sources[-1].mapping
    assert mapping is not None
    assert (mapping.when, mapping.each, mapping.at_most) == ("detail.outcome", "detail.target", 9)
    assert mapping.expressions["expires_at"] == "detail.until"


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (changed("user.", "us") + "usr = 'x'\n", "sources[3].usr: unknown key (did you mean 'user'?): expected one of"),
        (
            changed("prefix", "prefx"),
            "sources[3].pattern: expected what EventBridge accepts as a pattern: Unrecognized",
        ),
        (changed('["SystemLog"]', "[]"), "sources[3].pattern: expected what EventBridge accepts as a pattern: detail-"),
        (
            changed('bus = "aws.partner/okta.com', 'bus = "okta.com'),
            'sources[3].bus: "okta.com/acme/stream1": expected',
        ),
        (
            changed('"lock-user"', '"lok-user"'),
            'sources[3].action: "lok-user": expected one of lock, release, change, ',
        ),
        (
            changed('"lock-user"', '"lock"'),
            'sources[3].action: "lock" needs to know of whom: expected expressions for ',
        ),
        (GOOD + "each = 'detail.target['\n", 'sources[3].each: "detail.target[": expected a JMESPath expression'),
        (GOOD + f"when = '{'[' * 900}'\n", 'sources[3].when: "[[[['),
        (GOOD + "when = 'no(detail)'\n", 'sources[3].when: "no(detail)": expected a JMESPath expression, such as'),
        (
            GOOD + "each = 'detail.target'\nat_most = 0\n",
            "sources[3].at_most: 0: expected a whole number from 1 to 500",
        ),
        (GOOD + "at_most = 9\n", "sources[3].at_most: expected only with `each`: one event then makes several reports"),
        (
            changed('"lock-user"\nreason = "compromised"', '"release-user"') + "expires_at = 'detail.until'\n",
            "sources[3].expires_at: expected only of a lock",
        ),
        (
            changed('"lock-user"', '"enroll"').replace('reason = "compromised"', ""),
            'sources[3].action: "enroll" needs ',
        ),
        (
            changed("aws.partner/okta.com/acme/stream1", "default"),
            "sources[3].realm: missing: expected a key of the pattern that lists whose names these are, such as",
        ),
        (
            changed("aws.partner/okta.com/acme/stream1", "default") + 'realm = "account"\n',
            'sources[3].realm: "account": expected a key of the pattern that lists whose names these are',
        ),
        (
            changed("aws.partner/okta.com/acme/stream1", "default") + 'realm = "detail.eventType"\n',
            'sources[3].realm: "detail.eventType": expected a key of the pattern that lists whose names these are',
        ),
        (
            changed("aws.partner/okta.com/acme/stream1", "default") + 'realm = "detail-type"\n',
            'sources[3].realm: "detail-type": expected a key of the pattern that lists whose names these are',
        ),
        (
            changed("detail.target[0].alternateId", "capture(detail.arn, detail.how)"),
            EXPRESSION.format(
                "capture(detail.arn, detail.how)", "capture() takes a regular expression in quotes, such as"
            )[:-1],
        ),
        (changed('"compromised"', '"hacked"'), 'sources[3].reason: "hacked": expected one of the tables [reasons.…] ('),
        (changed('reason = "compromised"', ""), "sources[3].reason: missing: expected the name of a table [reasons.…]"),
        (
            changed("target[0]", "target[0"),
            'sources[3].user: "detail.target[0.alternateId": expected a JMESPath expres',
        ),
        (
            changed("detail.target[0].alternateId", "foo[?lenght(a) > `1`] | [0]"),
            EXPRESSION.format("foo[?lenght(a) > `1`] | [0]", "there is no function lenght() (did you mean 'length'?)"),
        ),
        (
            changed("detail.target[0].alternateId", "join(detail.a)"),
            EXPRESSION.format("join(detail.a)", "join() takes 2 argument(s), not 1"),
        ),
        (
            changed("detail.target[0].alternateId", "[length(b, c)][0]"),
            EXPRESSION.format("[length(b, c)][0]", "length() takes 1 argument(s), not 2"),
        ),
        (
            changed("detail.target[0].alternateId", "not_null()"),
            EXPRESSION.format("not_null()", "not_null() takes 1 argument(s) or more, not 0"),
        ),
        (
            changed('"detail-type"', '"detail_type"'),
            "sources[3].pattern.detail_type: no event has this (did you mean 'detail-type'?): expected some of source",
        ),
        (
            changed('bus = "aws.partner/okta.com/acme/stream1"', "").replace('"detail-type"', "sorce"),
            "sources[3].pattern.sorce: no event has this (did you mean 'source'?): expected some of source, ",
        ),
        (
            changed('"detail-type" = ["SystemLog"], ', '"$or" = [{ sorce = ["a"] }, { source = ["b"] }], '),
            "sources[3].pattern.sorce: no event has this (did you mean 'source'?): expected some of source, ",
        ),
        (
            GOOD.replace('"okta"', '"a/b"') + GOOD.replace('"okta"', '"a--b"'),
            'sources[].name: "a--b": expected to diff',
        ),
        *(
            (
                OURS.replace('["x"]', f'["{name}"]') + 'publishers = ["arn:aws:iam::111122223333:role/x"]\n',
                f'sources[3].pattern.source: ["{name}"]: expected names without',
            )
            for name in ("*", "device-*", "x?y", "${aws:username}")
        ),
        (
            GOOD + 'publishers = ["arn:aws:iam::111122223333:role/x"]\n',
            "sources[3].publishers: expected none with a bus",
        ),
        (
            '[[sources]]\nname = "x"\nmay = ["lock"]\npublishers = []\n',
            "sources[3].publishers: []: expected one ARN of an IAM role or user or more, or the word",
        ),
        (
            OURS + 'publishers = ["arn:aws:iam::111122223333:role/x"]\n' + OURS.replace('"ours"', '"also"'),
            'sources[4].publishers: expected the same as of source "ours", which reads "x" as well',
        ),
        (
            OURS.replace('["x"]', '["webhook.x"]') + 'publishers = ["arn:aws:iam::111122223333:role/x"]\n' + WEBHOOK,
            'sources[3].publishers: expected none: only the webhook function sends "webhook.x"',
        ),
        (
            OURS.replace('["x"]', '["webhook.x"]') + WEBHOOK.replace('"x"', '"xx"'),
            'sources[3].pattern: "webhook.x": expected the name of a [[webhooks]] behind webhook. (did you mean',
        ),
        (
            OURS.replace('["x"]', '["webhook.x"]'),
            'sources[3].pattern: "webhook.x": expected the name of a [[webhooks]]',
        ),
        (WEBHOOK, 'webhooks[0].name: "x": expected a source with a pattern that reads "webhook.x": nobody would'),
        (
            OURS + WEBHOOK,
            'webhooks[0].name: "x": expected a source with a pattern that reads "webhook.x": nobody would',
        ),
        (
            WEBHOOK.replace('"lockout-x"', '"arn:aws:x"'),
            'webhooks[0].secret: "arn:aws:x": expected the name, not the ARN',
        ),
        (WEBHOOK + "at_most = 101\n", "webhooks[0].at_most: 101: expected a whole number from 1 to 100"),
        (WEBHOOK + 'accept_previous_for = "31d"\n', 'webhooks[0].accept_previous_for: "31d": expected a duration from'),
        (
            changed('bus = "aws.partner/okta.com/acme/stream1"', ""),
            'sources[3].pattern: expected source = ["…"] with n',
        ),
        ('[[sources]]\nname = "webhook.x"\nmay = ["lock"]\n', 'sources[3].name: "webhook.x": expected a name of your '),
        (
            '[[sources]]\nname = "x"\nmay = ["lock"]\npublishers = ["bob"]\n',
            'sources[3].publishers[0]: "bob": expected ',
        ),
        (
            HELPDESK + 'releases = ["gone"]\n',
            'sources[3].releases: "gone": expected one of the tables [reasons.…] (lost, ',
        ),
        (HELPDESK + "releases = []\n", "sources[3].releases: []: expected one reason or more; left out, its releases"),
        (HELPDESK + 'releases_own_only = "yes"\n', 'sources[3].releases_own_only: "yes": expected true or false'),
        (
            GOOD + 'releases = ["lost"]\n',
            "sources[3].releases: expected only of a source that may release",
        ),
        (
            HELPDESK.replace('publishers = "anyone"\n', ""),
            'sources[3].publishers: missing: expected ARNs of IAM roles or users, or "anyone": whoever may put events',
        ),
        (
            HELPDESK.replace('publishers = "anyone"', 'publishers_organization = "acme"'),
            'sources[3].publishers_organization: "acme": expected an AWS organization\'s ID, o-…',
        ),
        (
            HELPDESK + 'publishers_organization = "o-a1b2c3d4e5"\n',
            'sources[3].publishers: "anyone": expected a list, each the ARN of an IAM role or user',
        ),
        (HELPDESK.replace("anyone", "everyone"), 'sources[3].publishers: "everyone": expected a list, each the ARN of'),
        (
            OURS.replace('"lock-user"\nreason = "compromised"', '"release-user"'),
            "sources[3].publishers: missing: expected ARNs of IAM roles or users",
        ),
        (
            '[[webhooks]]\nname = "x"\nauthenticate = "none"\nsecret = "s"\n',
            'webhooks[0].authenticate: "none": expected one of hmac, basic, bearer, header, okta, github, jira, ',
        ),
        (
            WEBHOOK.replace('"basic"', '"header"'),
            "webhooks[0].header: missing: expected the name of an HTTP header, such as X-Api-Key",
        ),
        (
            WEBHOOK.replace('"basic"', '"header"\nheader = "X Api Key:"'),
            'webhooks[0].header: "X Api Key:": expected the name of an HTTP header, such as X-Api-Key',
        ),
        (
            WEBHOOK.replace('"basic"', '"github"\nheader = "X-Api-Key"'),
            'webhooks[0].header: "X-Api-Key": expected none, since "github" has x-hub-signature-256',
        ),
    ],
)
def test_a_mistake_in_a_source_names_file_key_and_fix(extra: str, expected: str) -> None:
    said = mistakes(extra)
    assert any(line.startswith(f"config/x.toml: {expected}") for line in said), said
    assert len([line for line in said if ".pattern" in line.split(": ")[1]]) <= 1, "one mistake is one line"


def test_what_a_pattern_or_an_expression_may_say_is_no_mistake() -> None:
    read(changed('"detail-type" = ["SystemLog"], ', '"$or" = [{ source = ["a"] }, { replay-name = ["b"] }], '))
    read(changed("detail.target[0].alternateId", "not_null(a, b) || merge(c) || sort_by(d, &e)[0:2] | join('', @)"))
    read(OURS.replace('["x"]', '["webhook.x"]') + WEBHOOK + 'accept_previous_for = "1h"\n')


def test_names_on_the_default_bus_have_a_realm_and_serial_numbers_need_none() -> None:
    shared = """
    [[sources]]
    name = "shared"
    bus = "default"
    pattern = { account = ["111122223333"], detail = { directory = ["d-1", "d-2"], kind = [{ prefix = "x" }] } }
    action = "lock"
    reason = "lost"
    """
    read(shared + "serial_number = 'detail.serial'\n")
    read(shared + "asset_tag = 'detail.tag'\nrealm = 'account'\n")
    read(shared + "asset_tag = 'detail.tag'\nrealm = 'detail.directory'\n")
    assert ".realm: missing" in mistakes(shared + "asset_tag = 'detail.tag'\n")[0]
    for realm in ("detail.kind", "detail.other", "detail.directory.id", "source"):
        assert f'.realm: "{realm}": expected' in mistakes(shared + f"asset_tag = 'detail.tag'\nrealm = '{realm}'\n")[0]


def test_a_webhook_is_read() -> None:
    known = read(OURS.replace('["x"]', '["webhook.x"]') + WEBHOOK + 'accept_previous_for = "1h"\n')
    assert known.settings.webhooks == (Webhook("x", "basic", "lockout-x", timedelta(hours=1)),)
    longer = read(OURS.replace('["x"]', '["webhook.x"]') + WEBHOOK + "at_most = 100\n")
    assert longer.settings.webhooks == (Webhook("x", "basic", "lockout-x", at_most=100),)
    by_default = read(OURS.replace('["x"]', '["webhook.x"]') + WEBHOOK)
    assert by_default.settings.webhooks == (Webhook("x", "basic", "lockout-x", timedelta()),)
    named = read(OURS.replace('["x"]', '["webhook.x"]') + WEBHOOK.replace('"basic"', '"header"\nheader = "X-Api-Key"'))
    assert named.settings.webhooks == (Webhook("x", "header", "lockout-x", header="X-Api-Key"),)
    assert load(dump(named.settings)) == named.settings


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_way_to_authenticate_is_documented(scheme: str) -> None:
    page = (DIRECTORY.parent / "docs" / "sources.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{scheme}` | "))
    for said in (SCHEMES[scheme].header, SCHEMES[scheme].timestamp):
        assert said in row.lower()
    minutes = SCHEMES[scheme].window // timedelta(minutes=1)
    assert row.endswith({0: "| |", 5: "| 5 minutes |", 60: "| an hour |"}[minutes])
    assert f'"{scheme}"' in EXAMPLE


def test_five_different_mistakes_in_sources_are_five_messages_of_one_run() -> None:
    extra = """
    [[sources]]
    name = "one"
    bus = "somewhere"
    pattern = { source = ["x"] }
    action = "lock-user"
    reason = "compromised"
    user = "a"
    [[sources]]
    name = "two"
    bus = "default"
    realm = "account"
    pattern = { account = ["111122223333"], source = [{ begins = "x" }] }
    action = "lock-user"
    reason = "compromised"
    user = "a"
    [[sources]]
    name = "three"
    bus = "default"
    realm = "account"
    pattern = { source = ["x"], account = ["111122223333"] }
    action = "lock"
    reason = "compromised"
    user = "a"
    [[sources]]
    name = "four"
    bus = "default"
    realm = "account"
    pattern = { source = ["x"], account = ["111122223333"] }
    action = "release-user"
    user = "a ||"
    [[sources]]
    name = "five"
    bus = "default"
    realm = "account"
    pattern = { source = ["x"], account = ["111122223333"] }
    action = "lock-user"
    reason = "rumour"
    user = "a"
    """
    said = mistakes(extra)
    assert [line.split(": ")[:2] for line in said] == [
        ["config/x.toml", "sources[3].bus"],
        ["config/x.toml", "sources[5].action"],
        ["config/x.toml", "sources[6].user"],
        ["config/x.toml", "sources[4].pattern"],
        ["config/x.toml", "sources[7].reason"],
    ]
    assert all("expected" in line for line in said)


@pytest.mark.parametrize("taken", ["helpdesk", "device-lockout"])
def test_a_pattern_on_our_own_bus_reads_nothing_that_others_answer_for(taken: str) -> None:
    extra = changed('bus = "aws.partner/okta.com/acme/stream1"', "").replace(
        '{ "detail-type"', f'{{ source = ["{taken}"], "detail-type"'
    )
    assert "must not read what others answer for" in mistakes(extra)[0]


def test_with_ministack_half_installed_a_pattern_is_still_checked_for_its_shape(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/bin/false")
    monkeypatch.setattr(event_pattern, "MINISTACK", tmp_path)
    assert event_pattern.faults([{"a": "b"}, {}, {"a": {"b": []}}, {"a": ["b"]}]) == [
        "a must be an object or an array",
        "the pattern is an empty object",
        "a.b is an empty list",
        "",
    ]


# Samples


def test_there_is_a_sample_event_for_each_ready_made_source_and_its_pattern_matches_no_other() -> None:
    local = loader.load("local")
    ready = [source.name for source in local.settings.sources if source.mapping is not None]
    assert set(ready) <= {path.stem for path in SAMPLES.glob("*.json")}
    patterns = [local.routes[name].pattern for name in ready]
    events = [json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8")) for name in ready]
    # Ask about all of them at once: a process for each event would take twenty times as long.
    event_pattern._ask((pattern, {**event_pattern._ENVELOPE, **event}) for event in events for pattern in patterns)
    for name, event in zip(ready, events, strict=True):
        matching = event_pattern.matching(patterns, event)
        assert [other for other, found in zip(ready, matching, strict=True) if found] == [name]


def test_a_finding_that_is_imported_again_happened_when_it_was_created() -> None:
    """Else a product's update of a finding would lock anew a device that was recovered meanwhile."""
    known = loader.load("local").settings
    event = json.loads((SAMPLES / "security-hub-own-finding.json").read_text(encoding="utf-8"))
    event["detail"]["findings"][0]["UpdatedAt"] = "2026-11-23T10:00:00.000Z"
    received = datetime(2026, 11, 23, 10, tzinfo=UTC)
    body = json.dumps({"mappedSource": "security-hub-own-finding", "event": event})
    (command,) = report.read(body, "again", received, known)
    assert isinstance(command, Lock)
    assert command.claim.at == datetime(2026, 11, 22, 8, 59, 58, 412000, tzinfo=UTC)


# Forwarders


def test_the_role_of_a_forwarder_is_the_only_publisher_of_what_it_forwards() -> None:
    configuration = read(FORWARDED + FORWARDER, ACCOUNT)
    assert configuration.account == "111122223333"
    assert configuration.forwarder("security").stack == "device-lockout-prod-security"
    route = configuration.routes["hub"]
    assert route.publishers == ("arn:aws:iam::444455556666:role/device-lockout-prod-security",)
    assert (route.bus, route.on_own_bus, route.forwarders) == (None, ("aws.securityhub",), ("security",))
    assert read("").forwarders == ()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (FORWARDED, 'sources[3].forwarders: "security": expected the name of a [[forwarders]]; there are: none'),
        (
            FORWARDED.replace('security"]', 'securty"]') + FORWARDER,
            "sources[3].forwarders: \"securty\": expected the name of a [[forwarders]] (did you mean 'security'?);",
        ),
        (FORWARDER, 'forwarders[0].name: "security": expected a source that names it: it would forward nothing'),
        (FORWARDED.replace('["security"]', "[]"), "sources[3].forwarders: []: expected one name or more, and no bus"),
        (
            FORWARDED.replace("pattern", 'bus = "default"\npattern') + FORWARDER,
            'sources[3].forwarders: ["security"]: expected one name or more, and no bus',
        ),
        (
            FORWARDED.replace("pattern", 'publishers = ["arn:aws:iam::111122223333:role/x"]\npattern') + FORWARDER,
            "sources[3].publishers: expected none with forwarders: their roles are the publishers",
        ),
        (
            FORWARDED + OURS.replace('["x"]', '["aws.securityhub"]') + FORWARDER,
            'sources[4].publishers: expected the same as of source "hub", which reads "aws.securityhub" as well',
        ),
        (
            FORWARDED.replace("aws.securityhub", "webhook.x") + FORWARDER + WEBHOOK,
            'sources[3].forwarders: expected none: only the webhook function sends "webhook.x"',
        ),
        (
            FORWARDED.replace("source =", '"detail-type" =') + FORWARDER,
            'sources[3].pattern: expected source = ["…"] with names',
        ),
        (FORWARDED + FORWARDER + FORWARDER, 'forwarders[].name: "security": expected no value twice'),
        (FORWARDED + FORWARDER.replace("4444", "44"), "forwarders[0].account: "),
        *(
            (FORWARDED + FORWARDER.replace("us-east-1", region), "forwarders[0].region: ")
            for region in ("USA", "cn-north-1", "us-gov-west-1")
        ),
        (
            FORWARDED + FORWARDER + 'permissions_boundary = "arn:aws:iam::111122223333:policy/b"\n',
            'forwarders[0].permissions_boundary: "arn:aws:iam::111122223333:policy/b": expected the ARN of',
        ),
        (FORWARDED + FORWARDER.replace('"security"', '"S"'), "forwarders[0].name: "),
    ],
)
def test_mistakes_about_forwarders_are_reported(extra: str, said: str) -> None:
    assert any(line.startswith(f"config/x.toml: {said}") for line in mistakes(extra, ACCOUNT)), mistakes(extra, ACCOUNT)


def test_forwarders_need_to_know_the_deployments_account() -> None:
    assert mistakes(FORWARDED + FORWARDER) == [
        "config/x.toml: account: missing: expected the deployment's account number, to which the forwarders send"
    ]
    assert mistakes("", 'account = "1"\n') == ['config/x.toml: account: "1": expected the 12 digits of an account']


@pytest.mark.parametrize(
    ("name", "more", "most"),
    [
        ("operator", 'publishers = ["arn:aws:iam::111122223333:role/oncall"]', None),
        ("operator", 'publishers = ["arn:aws:iam::111122223333:role/oncall"]\nlocks_per_hour = 7', 7),
        ("operator", 'publishers = "anyone"', 100),
        ("operator", 'publishers_organization = "o-0123456789"', 100),
        ("operators", 'publishers = ["arn:aws:iam::111122223333:role/oncall"]', 100),
    ],
)
def test_a_person_may_lock_any_number_if_it_is_known_who_that_is(name: str, more: str, most: int | None) -> None:
    text = f'{EXAMPLE}\n[[sources]]\nname = "{name}"\nmay = ["lock", "release"]\n{more}\n'
    known = loader.read(text, "x").settings
    (source,) = (each for each in known.sources if each.name == name)
    assert source.locks_per_hour == known.rules.locks_per_hour.get(name) == most
    assert name in known.rules.sources
    assert load(dump(known)) == known
