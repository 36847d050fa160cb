"""A few inputs of each target of `make fuzz`, and every input that ever broke one."""

import hmac
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config_reader import loader
from device_lockout.inbound import event_mapping, lenient_reading, report
from device_lockout.values import dataclass_json, mapping_expression, tag, wire
from lockout.commands import inventory
from tests.fuzz import __main__ as fuzz
from tests.fuzz import search, targets
from tests.fuzz.targets import FOUND, TARGETS

pytestmark = pytest.mark.filterwarnings(  # JMESPath's of `text`, and Python's of a regular expression
    "ignore:deprecated string literal syntax", "ignore:Possible :FutureWarning"
)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=50, deadline=None, database=None, suppress_health_check=[*HealthCheck])
@given(chance=st.randoms(use_true_random=False))
def test_no_mutated_input_is_dropped_or_breaks_anything(name: str, chance: Random) -> None:
    TARGETS[name].check(TARGETS[name].make(chance))


@pytest.mark.parametrize("name", TARGETS)
def test_nor_does_one_of_a_few_hundred_by_number(name: str) -> None:
    _, count, longest, broken = search.tried(name, range(300))
    assert (count, broken) == (300, {})
    assert longest < targets.ANY


@pytest.mark.parametrize("file", sorted(FOUND.glob("*/*.txt")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_an_input_that_once_broke_something_breaks_nothing_now(file: Path) -> None:
    TARGETS[file.parent.name].check(file.read_bytes().decode(errors="surrogatepass"))


def test_every_target_has_a_share() -> None:
    assert sum(target.share for target in TARGETS.values()) == 100
    assert TARGETS["events"].share * 10_000 >= 100_000


def refuse(*_: object, **__: object) -> None:
    raise LookupError("broken on purpose")


def only_the_first(find: Callable[..., Any]) -> Callable[..., Any]:
    """Return `find`, which keeps only the first of several elements: of a list, or of one beside faults."""

    def found(*given: Any) -> Any:
        all_of_it = find(*given)
        if isinstance(all_of_it, tuple):
            return all_of_it[0][:1], all_of_it[1]
        return all_of_it[:1] if isinstance(all_of_it, list) else all_of_it

    return found


@pytest.mark.parametrize(
    ("name", "module", "function", "instead", "expected"),
    [
        ("events", lenient_reading, "read_time", refuse, "LookupError in refuse"),
        ("events", report, "read", lambda *_: (), "AssertionError in check_event"),
        ("events", event_mapping, "elements", only_the_first(event_mapping.elements), "AssertionError in check_elem"),
        (
            "events",
            mapping_expression,
            "search",
            only_the_first(mapping_expression.search),
            "AssertionError in check_elements",
        ),
        ("events", wire, "read_time", refuse, "LookupError in refuse"),
        ("mappings", event_mapping, "detail", refuse, "LookupError in refuse"),
        ("tags", tag, "_read_hand_written", refuse, "LookupError in refuse"),
        ("tags", tag, "_read", lambda *_: tag.Foreign(), "AssertionError in check_tag"),
        ("requests", hmac, "compare_digest", lambda *_: True, "AssertionError in check_request"),
        ("messages", dataclass_json, "_fit", lambda *given: given[-1], "AttributeError in"),
        ("files", inventory, "_check", refuse, "LookupError in refuse"),
        ("configurations", loader, "_sweep", refuse, "LookupError in refuse"),
    ],
)
def test_a_parser_that_is_broken_on_purpose_is_found(
    name: str, module: object, function: str, instead: object, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "ATTEMPTS", 20)
    monkeypatch.setattr(module, function, instead)
    *_, broken = search.tried(name, range(1500))
    assert any(said.startswith(expected) for said in broken), broken


def test_a_broken_input_is_made_smaller() -> None:
    def check(text: str) -> None:
        if "]]" in text:
            raise LookupError

    target = targets.Target(lambda _: "", check, 0)
    said = search.breaks(target, "a]]")
    assert search.smaller(target, "x" * 50 + "]]" + "y" * 70, said) == "]]"


def test_a_slow_input_breaks_its_target() -> None:
    target = targets.Target(lambda _: "", lambda _: targets.within(0.0, lambda: sum(range(1000))), 0)
    assert search.breaks(target, "").startswith("AssertionError in within")


def test_a_found_input_is_kept_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "FOUND", tmp_path / "a" / "b" / "c")
    kept = fuzz._keep("tags", "\ud800\r\n")
    assert (tmp_path / kept).read_bytes().decode(errors="surrogatepass") == "\ud800\r\n"
