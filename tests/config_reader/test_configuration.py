import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from config_reader import loader
from config_reader.loader import DIRECTORY as CONFIG
from config_reader.loader import ConfigurationError, Notify
from device_lockout.values import settings

EXAMPLE = (CONFIG / "example.toml").read_text(encoding="utf-8")


def mistakes(*changes: tuple[str, str], text: str = EXAMPLE) -> list[str]:
    """What is wrong with the example after replacing text in it."""
    for old, new in changes:
        assert old in text, f"the example has no {old!r} to replace"
        text = text.replace(old, new)
    with pytest.raises(ConfigurationError) as caught:
        loader.read(text, "config/x.toml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.toml")), ids=lambda path: path.stem)
def test_every_configuration_in_the_repository_is_valid_and_reaches_the_functions_as_it_is(path: Path) -> None:
    known = loader.load(path.stem).settings
    assert settings.load(settings.dump(known)) == known


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('owner = "prod"', "", "owner: missing: expected 1 to 20 of a-z, 0-9 and '-', not beginning with '-'"),
        ('owner = "prod"', 'owner = "Prod"', "owner: \"Prod\": expected 1 to 20 of a-z, 0-9 and '-'"),
        ('owner = "prod"', "owner = 7", "owner: 7: expected 1 to 20"),
        ('owner = "prod"', 'ownr = "prod"', "ownr: unknown key (did you mean 'owner'?): expected one of owner, region"),
        ('region = "eu-west-1"', 'region = "eu-central-1"', 'region: "eu-central-1": expected one of eu-west-1, us-'),
        ('bus = "device-security"', 'bus = "default"', 'bus: "default": expected the name of the bus to create'),
        ('bus = "device-security"', 'bus = "aws.partner/x"', 'bus: "aws.partner/x": expected the name of the bus'),
        ("retain_data = true", 'retain_data = "yes"', 'retain_data: "yes": expected true or false'),
        ('id = "m-0123', 'id = "m-X123', "organizations[0].id: \"m-X123456789abcdef0123456789abcdef\": expected 'm-'"),
        ('alias = "main"', 'alias = "Main"', 'organizations[0].alias: "Main": expected 1 to 32 of a-z'),
        (
            'alias = "main"',
            'alias = "main"\nends_at = "soon"',
            'organizations[0].ends_at: "soon": expected a date and ti',
        ),
        (
            'alias = "main"',
            'alias = "main"\nends_at = 2027-03-31',
            'organizations[0].ends_at: "2027-03-31": expected a da',
        ),
        (
            'alias = "main"',
            'alias = "main"\nmoved_to = "zoho"',
            "organizations[0].moved_at: missing: expected a date and",
        ),
        (
            'alias = "main"',
            'alias = "main"\nmoved_at = 2027-01-01T00:00:00Z\nmoved_to = "a\'b"',
            'organizations[0].moved_to: "a\'b": expected "exchange-online", or another product in words',
        ),
        ('name = "siem"', 'name = "aws.guardduty"', 'sources[1].name: "aws.guardduty": expected a name of your own'),
        ('name = "siem"', 'name = "device-lockout"', 'sources[1].name: "device-lockout": expected a name of your own'),
        ('name = "siem"', 'name = "a b"', 'sources[1].name: "a b": expected 1 to 64 letters, digits'),
        ('name = "siem"', 'name = "helpdesk"', 'sources[].name: "helpdesk": expected no value twice'),
        ('may = ["lock"]', 'may = ["unlock"]', 'sources[1].may: ["unlock"]: expected a list of one or more of lock, '),
        ('may = ["lock"]', "may = []", "sources[1].may: []: expected a list of one or more of lock, release"),
        ('may = ["lock"]', 'may = ["lock", "lock"]', 'sources[1].may: ["lock", "lock"]: expected a list'),
        ("[reasons.stolen]", "[reasons.other]", "reasons.stolen: missing: expected a table with lock_for and at_most"),
        ("[reasons.stolen]", '[reasons."Lost it"]', "reasons.Lost it: expected a name of 1 to 16 of a-z"),
        ('lock_for = "30d"', 'lock_for = "30 days"', 'reasons.lost.lock_for: "30 days": expected "hold" (until rel'),
        ('lock_for = "30d"', 'lock_for = "366d"', 'reasons.lost.lock_for: "366d": expected at most as long as at_mo'),
        ('lock_for = "30d"', 'lock_for = "hold"', 'reasons.lost.lock_for: "hold": expected at most as long as at_mo'),
        ('warn_before = "3d"', 'warn_before = "30d"', 'reasons.lost.warn_before: "30d": expected shorter than lock_f'),
        ('every = "1 hour"', 'every = "30 seconds"', 'sweep.every: "30 seconds": expected "N minutes", "N hours" or'),
        ('every = "1 hour"', 'every = "4 days"', 'sweep.every: "4 days": expected "N minutes", "N hours" or'),
        ('mode = "apply"', 'mode = "dry-run"', 'sweep.mode: "dry-run": expected one of apply, report'),
        ("max_removals = 50 ", "max_removals = -1 ", "sweep.max_removals: -1: expected a whole number from 0 to"),
        ("max_removals = 50 ", "max_removals = true ", "sweep.max_removals: true: expected a whole number from 0 to"),
        ("_percent = 25", "_percent = 101", "sweep.max_removals_percent: 101: expected a whole number from 1 to 100"),
        ("_percent = 25", "_percent = 0", "sweep.max_removals_percent: 0: expected a whole number from 1 to 100"),
        ("concurrency = 5", "concurrency = 1", "limits.writer_concurrency: 1: expected a whole number from 2 to 1000"),
        (
            "workmail_timeout_seconds = 4",
            "workmail_timeout_seconds = 5",
            "limits.workmail_timeout_seconds: 5: expected at most 4: a command makes up to 3 calls to WorkMail, and",
        ),
        (
            "writer_timeout_seconds = 15",
            "writer_timeout_seconds = 4",
            "limits.writer_timeout_seconds: 4: expected a whole number from 5 to 60",
        ),
        ("retention_days = 90", "retention_days = 91", "limits.log_retention_days: 91: expected one of 1, 3, 5, 7, 14"),
        ("retention_days = 90", "retention_days = 90.0", "limits.log_retention_days: 90.0: expected one of 1, 3, 5, 7"),
        ('max_event_age = "30d"', 'max_event_age = "1h"', 'limits.max_event_age: "1h": expected a duration from "1d"'),
        ("security@example.com", "security", 'notify.emails[0]: "security": expected an e-mail address'),
        ("[notify]", '[notify]\ndigest = "8:00"', 'notify.digest: "8:00": expected a time in UTC such as 08:00'),
        ("[notify]", "[notify]\nchannel = 1", "notify.channel: unknown key: expected one of emails"),
        (
            "[notify]",
            '[notify]\nurls = ["http://x.example"]',
            'notify.urls[0]: "http://x.example": expected a URL that begins with https://',
        ),
        (
            "[notify]",
            '[notify]\nurls = ["https://x.example/a/b", "https://x.example/a--b"]',
            'notify.urls: "https://x.example/a--b": expected to differ from "https://x.example/a/b" in more than',
        ),
        (
            "[notify]",
            '[notify]\ntopic = "arn:aws:sns:eu-west-1:111122223333:t"',
            'notify.topic: "arn:aws:sns:eu-west-1:111122223333:t": expected no emails and no urls beside it',
        ),
        (
            'owner = "prod"',
            'owner = "prod"\npermissions_boundary = "boundary"',
            'permissions_boundary: "boundary": expected the ARN of an IAM policy',
        ),
        (
            'owner = "prod"',
            'owner = "prod"\naccount = "111122223333"\npermissions_boundary = "arn:aws:iam::444455556666:policy/b"',
            'permissions_boundary: "arn:aws:iam::444455556666:policy/b": expected the ARN of an IAM policy in',
        ),
        (
            'owner = "prod"',
            'owner = "prod"\nforward_outcomes = "arn:aws:events:us-east-1:111122223333:event-bus/device-security"',
            'forward_outcomes: "arn:aws:events:us-east-1:111122223333:event-bus/device-security": expected',
        ),
        (
            'owner = "prod"',
            'owner = "prod"\nencryption_key = "arn:aws:kms:us-east-1:111122223333:key/x"',
            'encryption_key: "arn:aws:kms:us-east-1:111122223333:key/x": expected the ARN of a KMS key in eu-west-1',
        ),
        *(
            ('owner = "prod"', f'owner = "prod"\n{key} = {value}', f"{key}{said}: ")
            for key, value, said in (
                ("permissions_boundary", '"arn:aws-cn:iam::111122223333:policy/b"', ""),
                ("permissions_boundary", '"arn:aws:iam::١١١١٢٢٢٢٣٣٣٣:policy/b"', ""),
                ("operators", '["arn:aws-us-gov:iam::111122223333:role/x"]', "[0]"),
                ("operators", '["arn:aws:iam::111122223333:role/bü"]', "[0]"),
                ("forward_outcomes", '"arn:aws:events:us-east-1:111122223333:event-bus/bü"', ""),
                ("partner_buses", '["aws.partner/bü"]', "[0]"),
                ("ledger_table", '"tür"', ""),
            )
        ),
        *(
            (
                'emails = ["security@example.com"]',
                f'emails = []\ntopic = "{topic}"',
                f'notify.topic: "{topic}": expected',
            )
            for topic in (
                "arn:aws:sns:us-east-1:111122223333:t",
                "arn:aws-cn:sns:eu-west-1:111122223333:t",
                f"arn:aws:sns:eu-west-1:111122223333:{'t' * 257}",
            )
        ),
        ("[notify]", '[tags]\n"aws:x" = "y"\n[notify]', "tags.aws:x: expected a name of 1 to 128 letters"),
        ("[notify]", '[tags]\n"AWS:x" = "y"\n[notify]', "tags.AWS:x: expected a name of 1 to 128 letters"),
        ("[notify]", '[tags]\ndevice-lockout = "y"\n[notify]', "tags.device-lockout: expected a name of 1 to"),
        ("[notify]", '[tags]\nEnv = "y"\nenv = "z"\n[notify]', 'tags.in any case: "env": expected no value twice'),
        (
            "[notify]",
            "[tags]\n" + "".join(f't{number} = "y"\n' for number in range(50)) + "[notify]",
            "tags: 50 tags: expected at most 49",
        ),
        ("[notify]", "[tags]\nx = 1\n[notify]", "tags.x: 1: expected up to 256 letters, digits"),
        (
            "[limits]",
            "[limits]\nrouter_concurrency = 1",
            "limits.router_concurrency: 1: expected a whole number from 2 to 1000",
        ),
        (
            "[[organizations]]",
            'partner_buses = ["aws.partner/x/y", "aws.partner/x--y"]\n[[organizations]]',
            'partner_buses: "aws.partner/x--y": expected to differ from "aws.partner/x/y" in more than \'/\' against',
        ),
        ("[notify]", "[notify", "no valid TOML: Expected ']' at the end of a table declaration (at line "),
    ],
)
def test_a_mistake_names_file_key_value_and_what_is_expected(old: str, new: str, expected: str) -> None:
    said = mistakes((old, new))
    assert any(line.startswith(f"config/x.toml: {expected}") for line in said), said
    assert len(said) == 1 or new in {"", 'ownr = "prod"'} or old == "[reasons.stolen]", said


def test_what_aws_would_refuse_is_a_mistake_with_the_figure_and_the_limit() -> None:
    """Each of the twenty sources is fine by itself."""
    source = '[[sources]]\nname = "source-{0}"\nmay = ["lock"]\npublishers = ["arn:aws:iam::111122223333:role/r{0}"]\n'
    many = EXAMPLE + "".join(source.format(number) for number in range(20))
    (said,) = mistakes(text=many)
    assert "sources[].publishers: the policy of the bus takes 14,611 characters: expected at most 10,240" in said
    assert said.endswith("publishers_organization")
    organization = 'publishers_organization = "o-a1b2c3d4e5"'
    theirs = re.sub(r'publishers = \["arn:aws:iam::111122223333:role/r\d+"\]', organization, many)
    assert len(loader.read(theirs, "config/x.toml").settings.sources) == 23


def test_options_are_read() -> None:
    text = EXAMPLE.replace(
        'emails = ["security@example.com"]', 'emails = []\ntopic = "arn:aws:sns:eu-west-1:111122223333:on-call"'
    )
    text = text.replace(
        "writer_concurrency = 5 ", "router_concurrency = 20\nreserve_concurrency = true\nwriter_concurrency = 5 "
    )
    known = loader.read(text + '[tags]\nCostCenter = "4711"\n', "config/x.toml")
    assert known.notices == Notify(topic="arn:aws:sns:eu-west-1:111122223333:on-call")
    assert (known.router_concurrency, known.reserve_concurrency, known.tags) == (20, True, {"CostCenter": "4711"})


def test_all_mistakes_are_reported_at_once() -> None:
    said = mistakes(
        ('owner = "prod"', 'owner = ""'),
        ('may = ["lock"]', 'may = "lock"'),
        ('lock_for = "7d"', 'lock_for = "soon"'),
        ('every = "1 hour"', 'evry = "1 hour"'),
        ("[notify]", "[notfy]"),
    )
    assert [line.split(": ")[1] for line in said] == [
        "owner",
        "sources[1].may",
        "reasons.compromised.lock_for",
        "sweep.every",
        "sweep.evry",
        "notify",
        "notfy",
    ]


def test_every_mistake_of_a_reason_is_reported_beside_the_others() -> None:
    said = mistakes(
        (
            "[reasons.lost]",
            '[reasons."Lost it"]\nlock_for = "2d"\nat_most = "1d"\nwarn_before = "soon"\n[reasons.lost]',
        ),
        ('lock_for = "30d"     # unless', 'lock_for = "366d"     # unless'),
        ('warn_before = "3d"', 'warn_before = "soon"'),
    )
    assert [line.split(": ")[1] for line in said] == [
        "reasons.Lost it.lock_for",
        "reasons.Lost it.warn_before",
        "reasons.Lost it",
        "reasons.lost.lock_for",
        "reasons.lost.warn_before",
    ]


def test_a_missing_table_is_one_mistake_and_not_one_for_each_key_in_it() -> None:
    assert mistakes(text="") == [
        f"config/x.toml: {key}: missing: expected {expected}"
        for key, expected in {
            "owner": "1 to 20 of a-z, 0-9 and '-', not beginning with '-'",
            "region": "one of eu-west-1, us-east-1, us-west-2",
            "bus": "the name of the bus to create: 1 to 64 letters, digits, '.', '_', '-'; not 'default', not 'aws.…'",
            "retain_data": "true or false",
            "organizations": "one or more tables [[organizations]]",
            "sources": "one or more tables [[sources]]",
            "reasons": "a table [reasons]",
            "sweep": "a table [sweep]",
            "limits": "a table [limits]",
            "notify": "a table [notify]",
        }.items()
    ]


@pytest.mark.parametrize("value", ["1", '"text"', "[1]", "[]", "{}", "true", "1979-05-27", "[{}]"])
@pytest.mark.parametrize("key", ["organizations", "sources", "reasons", "sweep", "limits", "notify", "owner"])
def test_a_value_of_any_wrong_type_is_a_mistake_and_never_a_crash(key: str, value: str) -> None:
    assert all(line.startswith("config/x.toml: ") for line in mistakes(text=f"{key} = {value}"))


def test_two_organizations_share_neither_id_nor_alias() -> None:
    again = '[[organizations]]\nid = "m-0123456789abcdef0123456789abcdef"\nalias = "main"\n\n[reasons.lost]'
    assert mistakes(("[reasons.lost]", again)) == [
        'config/x.toml: organizations[].id: "m-0123456789abcdef0123456789abcdef": expected no value twice',
        'config/x.toml: organizations[].alias: "main": expected no value twice',
    ]


def test_an_unknown_name_lists_the_configurations_that_there_are(tmp_path: Path) -> None:
    for name in ("local", "prod"):
        (tmp_path / f"{name}.toml").write_text("")
    with pytest.raises(
        ConfigurationError, match=r"/prd\.toml: there is no such .*mean 'prod'\?\); there are: local, prod"
    ):
        loader.load("prd", tmp_path)
    with pytest.raises(ConfigurationError, match="expected -c config=NAME or --config NAME; there are: local, prod"):
        loader.load("", tmp_path)


def test_two_files_for_one_account_and_region_share_neither_owner_nor_bus(tmp_path: Path) -> None:
    for name, account in {"one": "1" * 12, "two": "1" * 12, "far": "2" * 12}.items():
        text = EXAMPLE.replace('owner = "prod"', f'owner = "prod"\naccount = "{account}"')
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    (tmp_path / "unknown.toml").write_text(EXAMPLE, encoding="utf-8")
    (tmp_path / "broken.toml").write_text("[", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        loader.load("one", tmp_path)
    owner, bus = str(caught.value).splitlines()
    where = f"{tmp_path.name}/two.toml, which is for the same account and region"
    assert owner == f"{tmp_path.name}/one.toml: owner: 'prod': expected another one than in {where}"
    assert bus == f"{tmp_path.name}/one.toml: bus: 'device-security': expected another one than in {where}"
    for name in ("far", "unknown"):
        assert loader.load(name, tmp_path).bus == "device-security"


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("1 minute", timedelta(minutes=1)),
        ("90 minutes", timedelta(minutes=90)),
        ("2 hour", timedelta(hours=2)),
        ("1 days", timedelta(days=1)),
    ],
)
def test_a_period_is_read(every: str, expected: timedelta) -> None:
    text = EXAMPLE.replace('every = "1 hour"', f'every = "{every}"')
    assert loader.read(text, "x").settings.sweep.every == expected


ALL = {"locks_per_hour": 100, "releases": [], "releases_own_only": False}


def test_settings_for_the_functions_are_json_with_durations_in_seconds_and_null_for_a_hold() -> None:
    assert json.loads(settings.dump(loader.load("example").settings)) == {
        "owner": "prod",
        "organizations": [
            {
                "id": "m-0123456789abcdef0123456789abcdef",
                "alias": "main",
                "ends_at": "2027-04-01T00:00:00.000Z",
                "moved_at": None,
                "moved_to": "",
            }
        ],
        "sources": [
            {"name": "helpdesk", "may": ["lock", "release"], "mapping": None, **ALL},
            {"name": "siem", "may": ["lock"], "mapping": None, **ALL},
            {"name": "inventory", "may": ["inventory"], "mapping": None, **ALL},
        ],
        "reasons": {
            "lost": {"name": "lost", "lock_for": 2592000, "at_most": 31536000, "warn_before": 259200},
            "stolen": {"name": "stolen", "lock_for": None, "at_most": None, "warn_before": 2592000},
            "compromised": {"name": "compromised", "lock_for": 604800, "at_most": 31536000, "warn_before": 86400},
            "offboarded": {"name": "offboarded", "lock_for": 7776000, "at_most": 31536000, "warn_before": 604800},
        },
        "sweep": {
            "every": 3600,
            "mode": "apply",
            "max_removals": 50,
            "max_removals_percent": 25,
            "max_reasserts": 500,
            "portion": 100,
            "report_only_after_missed": 5,
        },
        "limits": {
            "writer_timeout": 15,
            "settle": 60,
            "workmail_timeout": 4,
            "clock_skew": 60,
            "max_event_age": 2592000,
            "pages": 20,
        },
        "honour_edits": "all",
        "exempt_users": [],
        "webhooks": [],
    }
