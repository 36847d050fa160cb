import csv
import io
import json
import re

import pytest
from hypothesis import given, strategies

from lockout.output import cell, of_cell, text


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"])
def test_no_cell_computes(evil: str) -> None:
    shown = cell(evil)
    assert shown is not None
    assert shown.startswith("'")
    assert next(csv.reader(io.StringIO(shown)))[0][0] == "'"


@pytest.mark.parametrize("evil", ['x;"=1', "x; '=1", 'x;"";=1', ';\u3000"+1', 'a;b;"@SUM(1);c'])
def test_no_cell_computes_where_semicolons_separate(evil: str) -> None:
    """A spreadsheet of such a country splits the line that begins with another cell at each of them."""
    written = io.StringIO()
    csv.writer(written).writerow(["m-1", cell(evil)])
    for split in next(csv.reader([written.getvalue()], delimiter=";")):
        assert not split.strip().startswith(("=", "+", "-", "@"))


@given(strategies.text(alphabet="=+-@'\"; \u00a0\uff1dab,\\", max_size=12))
def test_what_a_cell_shows_is_read_as_it_was(value: str) -> None:
    shown = cell(value)
    assert shown is not None
    assert of_cell(shown) == value
    assert not re.search(r"(^|;)\s*[=+\-@\uff1d]", shown)


def test_what_steers_a_terminal_or_turns_text_round_is_shown() -> None:
    assert text("\x1b[2J\u202e\u2066\x07\x9b\U000e0041") == "\\u001b[2J\\u202e\\u2066\\u0007\\u009b\\udb40\\udc41"
    assert text("Zoë Müller, 受付 🚕\n") == "Zoë Müller, 受付 🚕\n"


def test_json_stays_the_same_json() -> None:
    value = {"description": "a\u202eb \U000e0041"}
    assert json.loads(text(json.dumps(value, ensure_ascii=False))) == value
