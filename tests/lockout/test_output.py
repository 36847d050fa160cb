import csv
import io
import json

import pytest

from lockout.output import cell, text


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"])
def test_no_cell_computes(evil: str) -> None:
    shown = cell(evil)
    assert shown is not None
    assert shown.startswith("'")
    assert next(csv.reader(io.StringIO(shown)))[0][0] == "'"


def test_what_steers_a_terminal_or_turns_text_round_is_shown() -> None:
    assert text("\x1b[2J\u202e\u2066\x07\x9b\U000e0041") == "\\u001b[2J\\u202e\\u2066\\u0007\\u009b\\udb40\\udc41"
    assert text("Zoë Müller, 受付 🚕\n") == "Zoë Müller, 受付 🚕\n"


def test_json_stays_the_same_json() -> None:
    value = {"description": "a\u202eb \U000e0041"}
    assert json.loads(text(json.dumps(value, ensure_ascii=False))) == value
