"""The catalogue of ready-made sources, and how a configuration includes some of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from config_reader import event_pattern, loader
from config_reader.catalogue import read_catalogue
from config_reader.loader import CATALOGUE, DIRECTORY, Configuration, ConfigurationError

EXAMPLE = (DIRECTORY / "example.toml").read_text(encoding="utf-8")
SAMPLES = DIRECTORY.parent / "samples"
KNOWN = read_catalogue(CATALOGUE)

OKTA = """
[[include]]
sources = ["okta/user-deactivated", "okta/user-unsuspended"]
bus = "aws.partner/okta.com/acme/stream1"
"""
JAMF = """
[[include]]
sources = ["jamf/lost-mode-on"]
webhook = "mdm"
group = "Lost"
"""
WEBHOOK = '[[webhooks]]\nname = "mdm"\nauthenticate = "basic"\nsecret = "lockout-mdm"\n'


def read(extra: str) -> Configuration:
    return loader.read(EXAMPLE + extra, "config/x.toml")


def mistakes(extra: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(extra)
    return caught.value.problems


def test_a_configuration_includes_sources_by_name_with_what_only_it_knows() -> None:
    known = read(OKTA + JAMF + WEBHOOK)
    assert [source.name for source in known.settings.sources[3:]] == [
        "okta-user-deactivated",
        "okta-user-unsuspended",
        "jamf-lost-mode-on",
    ]
    assert known.routes["okta-user-unsuspended"].bus == "aws.partner/okta.com/acme/stream1"
    pattern = known.routes["jamf-lost-mode-on"].pattern
    assert pattern["source"] == ["webhook.mdm"]
    assert pattern["detail"]["event"]["name"] == ["Lost"]


def test_a_source_is_included_twice_under_a_prefix_and_for_an_organization() -> None:
    second = OKTA.replace("acme", "other") + 'prefix = "other-"\norganization = "main"\n'
    known = read(OKTA + second)
    source = known.settings.source("other-okta-user-deactivated")
    assert source is not None
    assert source.mapping is not None
    assert source.mapping.expressions["organization"] == "'main'"
    assert known.routes[source.name].bus == "aws.partner/okta.com/other/stream1"


def test_an_event_of_an_included_source_may_have_more_elements() -> None:
    source = read(OKTA + "at_most = 500\n").settings.source("okta-user-deactivated")
    assert source is not None
    assert source.mapping is not None
    assert source.mapping.at_most == 500


def test_an_included_source_may_ask_for_more_locks() -> None:
    source = read(OKTA.replace(', "okta/user-unsuspended"', "") + "locks_per_hour = 900\n").settings.sources[-1]
    assert (source.name, source.locks_per_hour) == ("okta-user-deactivated", 900)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (
            OKTA.replace("okta/user-unsuspended", "okta/user-unsuspendd"),
            'include[0].sources: "okta/user-unsuspendd": there is no such ready-made source (did you mean',
        ),
        (
            OKTA.replace('"aws.partner/okta.com/acme/stream1"', '"okta"'),
            'include[0].bus: "okta": expected the log st',
        ),
        (
            OKTA.replace('"aws.partner/okta.com/acme/stream1"', "7"),
            "include[0].bus: 7: expected the log stream's",
        ),
        (JAMF.replace('group = "Lost"\n', "") + WEBHOOK, "include[0].group: missing: expected the name of the smart g"),
        (
            OKTA + 'group = "x"\n',
            "include[0].group: unknown key: expected one of sources, bus, prefix, organization, at_most, locks",
        ),
        (OKTA + "at_most = 501\n", "include[0].at_most: 501: expected a whole number from 1 to 500"),
        (
            '[[include]]\nsources = ["guardduty/user"]\naccount = "111122223333"\nat_most = 9\n',
            "include[0].guardduty-user.at_most: expected only with `each`",
        ),
        (OKTA + "locks_per_hour = 0\n", "include[0].locks_per_hour: 0: expected a whole number from 1 to 10000"),
        (
            OKTA + "locks_per_hour = 9\n",
            "include[0].okta-user-unsuspended.locks_per_hour: expected only of a source that may lock",
        ),
        (OKTA + 'prefix = "ü"\n', 'include[0].prefix: "ü": expected 1 to 32 letters, digits'),
        (OKTA + 'organization = "man"\n', 'include[0].organization: "man": expected one of main'),
        ("[[include]]\nsources = []\n", "include[0].sources: []: expected one ready-made source or more"),
        ("[[include]]\n", "include[0].sources: missing: expected a list, each the name of a ready-made source"),
        (OKTA.replace("unsuspended", "deactivated"), 'include[0].sources: "okta/user-deactivated": expected no value '),
        (OKTA + OKTA.replace(', "okta/user-unsuspended"', ""), 'sources[].name: "okta-user-deactivated": expected no'),
        (JAMF, 'include[0].jamf-lost-mode-on.pattern: "webhook.mdm": expected the name of a [[webhooks]]'),
    ],
)
def test_a_mistake_is_one_message_that_names_the_value_and_what_is_known(extra: str, expected: str) -> None:
    (said,) = mistakes(extra)
    assert said.startswith(f"config/x.toml: {expected}")


def test_a_configuration_may_have_no_sources_but_included_ones() -> None:
    own = re.sub(r"(?s)\n\[\[sources\]\]\n.*?(?=\n\n|\Z)", "", EXAMPLE)
    assert "[[sources]]" not in re.sub(r"(?m)^#.*$", "", own)
    assert len(loader.read(own + OKTA, "config/x.toml").settings.sources) == 2


# What is in the catalogue


def test_the_local_configuration_includes_all_of_it() -> None:
    """So the tests of samples and of the stack see every source."""
    local = loader.load("local")
    assert {name.replace("/", "-") for name in KNOWN} <= local.routes.keys()


@pytest.mark.parametrize("name", KNOWN)
def test_a_ready_made_source_says_what_is_documented_and_has_a_row_on_the_page(name: str) -> None:
    file = (CATALOGUE / f"{name.partition('/')[0]}.toml").read_text(encoding="utf-8")
    assert re.search(r"(?m)^# (Documented|Our choice)", file)
    page = (DIRECTORY.parent / "docs" / "sources.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"(?m)^\|.*`{re.escape(name)}`.*\|$", page)
    assert row.count("|") == 7


@pytest.mark.parametrize("name", [name for name, (table, _) in KNOWN.items() if "realm" in table])
def test_names_of_another_realm_are_not_ours(name: str) -> None:
    """Another directory's eve, another account's ana: the same event from elsewhere matches no pattern."""
    event: Any = json.loads((SAMPLES / f"{name.replace('/', '-')}.json").read_text(encoding="utf-8"))
    pattern = loader.load("local").routes[name.replace("/", "-")].pattern
    assert event_pattern.matching([pattern], event) == [True]
    *path, last = KNOWN[name][0]["realm"].split(".")
    holder = event
    for key in path:
        holder = holder[key][0] if isinstance(holder[key], list) else holder[key]
    holder[last] = "999999999999" if holder[last].isdigit() else "d-0000000000"
    assert event_pattern.matching([pattern], event) == [False]


def test_every_ready_made_source_with_bare_names_on_the_default_bus_has_a_realm() -> None:
    with_names = {name for name, (table, _) in KNOWN.items() if table.get("bus") == "default" and "user" in table}
    assert with_names == {name for name, (table, _) in KNOWN.items() if "realm" in table}
    assert "directory/user-disabled" in with_names


def test_no_parameter_is_there_for_nothing() -> None:
    for file in CATALOGUE.glob("*.toml"):
        described = set(re.findall(r"(?m)^\[parameters\.([a-z_]+)\]", file.read_text(encoding="utf-8")))
        taken = {word for name, (_, words) in KNOWN.items() if name.startswith(f"{file.stem}/") for word in words}
        assert described == taken, file


def test_the_catalogue_is_where_the_operators_command_finds_it_without_a_checkout() -> None:
    assert CATALOGUE.parent == DIRECTORY
    assert Path("config/catalogue").name == CATALOGUE.name
