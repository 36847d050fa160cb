"""docs/tag.md, held against the codec: its examples and its limits."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from device_lockout.values import tag
from device_lockout.values.tag import Broken, Foreign, HandWritten, Reading, Tag

PAGE = (Path(__file__).parents[3] / "docs" / "tag.md").read_text(encoding="utf-8")
DESCRIPTIONS = "".join(re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)).splitlines()
ROWS = re.findall(r"^\| (\d+) \| ([^|]+) \|", PAGE, re.MULTILINE)


def in_words(reading: Reading) -> str:
    match reading:
        case Tag(until=until):
            return f"ours, until `{tag.write_time(until)}`"
        case HandWritten(until=until):
            return f"hand-written, until `{tag.write_time(until)}`"
        case Broken():
            return "broken"
        case Foreign():
            return "foreign"


def test_every_example_has_a_row_and_every_reading_an_example():
    assert [int(number) for number, _ in ROWS] == list(range(1, len(DESCRIPTIONS) + 1))
    assert {said.split(",")[0] for _, said in ROWS} == {"ours", "hand-written", "broken", "foreign"}


@pytest.mark.parametrize(("number", "said"), ROWS)
def test_an_example_reads_as_the_page_says(number, said):
    assert in_words(tag.read(DESCRIPTIONS[int(number) - 1], owner="prod")) == said


def test_the_first_example_is_what_the_codec_writes():
    whole = tag.read(DESCRIPTIONS[0], owner="prod")
    assert isinstance(whole, Tag)
    assert tag.write(whole, "INC-1234\nleft in a  taxi") == DESCRIPTIONS[0]


def test_the_longest_tag_and_description_are_as_long_as_the_page_says():
    at = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
    longest = Tag(owner="o" * 20, why="r" * 16, until=at, at=at, id="9f3c2a1b", was="allow")
    assert f"The longest tag has {len(tag.write(longest))} of them." in PAGE
    assert f"at most {len(tag.write(longest, 'x' * 500))} characters" in PAGE


def test_the_grammar_is_the_codecs():
    assert f"owner  = {tag.OWNER_PATTERN}\n" in PAGE
    assert f"reason = {tag.REASON_PATTERN}\n" in PAGE
