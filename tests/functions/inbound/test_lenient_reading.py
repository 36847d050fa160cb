"""What senders really write: times of each form, and words that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_lockout.inbound.lenient_reading import read_time, tidy
from device_lockout.values import instant

SEVEN_THIRTY = "2026-11-22T07:30:00.000Z"

TIMES = {
    "2026-11-22T07:30:00Z": SEVEN_THIRTY,
    "2026-11-22t07:30:00z": SEVEN_THIRTY,
    "2026-11-22T08:30:00+0100": SEVEN_THIRTY,
    "2026-11-22T08:30:00 +01:00": SEVEN_THIRTY,
    "2026-11-22 08:30:00+01": SEVEN_THIRTY,
    "2026-11-22 07:30:00Z": SEVEN_THIRTY,
    "2026-11-22 07:30:00 UTC": SEVEN_THIRTY,
    " 2026-11-22T07:30:00Z ": SEVEN_THIRTY,
    "2026-11-22T07:30:00.1Z": "2026-11-22T07:30:00.100Z",
    "2026-11-22T07:30:00,5Z": "2026-11-22T07:30:00.500Z",
    "2026-11-22T07:29:59.5720125Z": "2026-11-22T07:29:59.572Z",
    "2026-11-22T07:29:59.465719851123Z": "2026-11-22T07:29:59.465Z",
    "Sun, 22 Nov 2026 07:30:00 GMT": SEVEN_THIRTY,
    "Sun, 22 Nov 2026 08:30:00 +0100": SEVEN_THIRTY,
    "22 Nov 2026 07:30 +0000": SEVEN_THIRTY,
    1795332600: SEVEN_THIRTY,
    1795332600.25: "2026-11-22T07:30:00.250Z",
    1795332600250: "2026-11-22T07:30:00.250Z",
    "1795332600": SEVEN_THIRTY,
    "1795332600250": "2026-11-22T07:30:00.250Z",
}

NO_TIMES = [
    *("2026-11-22T07:30:00", "2026-11-22 07:30:00", "2026-11-22", "07:30:00Z", "2026-02-30T07:30:00Z", "yesterday", ""),
    *("Sun, 22 Nov 2026 07:30:00", "Sun, 22 Nov 2026 07:30:00 -0000", "22/11/2026 07:30:00 +0000", "2026-11-22T07:30Z"),
    *("2026-11-22T25:00:00Z", "2026-11-22T07:30:00+25:00", "2026-11-22T06:00:00-00:90"),
    *(
        "2026-11-22T07:30:00+0090",
        "Sat, 22 Nov 2026 07:30:00 +0000",
        "Sun, 22 Nov 2026 07:30:00 +0190",
        "٢٠٢٦-11-22T07:30:00Z",
        "1",
        "179533260025099",
        "1e9",
    ),
    *("0001-01-01T00:00:00Z", "1970-01-01T00:00:00.000+00:00", "Thu, 01 Jan 1970 00:00:00 GMT", 100_000_000_000),
    *(0, 7, -1, 1e300, float("nan"), float("inf"), True, None, [], {}, ["2026-11-22T07:30:00Z"]),
]


@pytest.mark.parametrize(("written", "time"), TIMES.items())
def test_a_time_is_read_in_each_form_that_senders_use(written, time):
    assert instant.write(read_time(written)) == time


@pytest.mark.parametrize("written", NO_TIMES, ids=repr)
def test_what_names_no_instant_for_certain_is_no_time(written):
    assert read_time(written) is None


@pytest.mark.parametrize(
    ("written", "tidied"),
    [
        ({"reference": 35436}, {"reference": "35436"}),
        ({"reference": 35436.0}, {"reference": "35436"}),
        ({"reference": "x" * 65}, {"reference": "x" * 64}),
        ({"note": "", "reference": None, "userId": "", "colour": None}, {}),
        ({"note": " left in a taxi "}, {"note": "left in a taxi"}),
        ({"schemaVersion": 1}, {"schemaVersion": "1"}),
        ({"schemaVersion": 1.0}, {"schemaVersion": "1"}),
        ({"userId": 7, "deviceId": " x"}, {"userId": 7, "deviceId": " x"}),
        ({"reportedAt": "2026-11-22 08:30:00 +0100"}, {"reportedAt": SEVEN_THIRTY}),
        ({"expiresAt": "2026-11-22"}, {"expiresAt": "2026-11-23T00:00:00.000Z"}),
    ],
)
def test_a_detail_is_put_into_the_contracts_form(written, tidied):
    assert tidy(written, forgive=True) == (tidied, [])


@pytest.mark.parametrize("value", [[], {}, ["a"], True, " "])
def test_words_that_are_none_are_left_out_and_said(value):
    for field in ("reference", "note"):
        assert tidy({field: value}, forgive=False) == ({}, [f"{field} was left out, since it is no text"])


EMPTY_GUID = "00000000-0000-0000-0000-000000000000"
"""What Microsoft's products write for an ID that they don't have. As an asset tag it would be many devices'."""


@pytest.mark.parametrize("nothing", ["Unknown", "N/A", "null", "-", "000000", 0, EMPTY_GUID])
def test_a_name_that_says_there_is_none_is_left_out_and_said(nothing):
    """A lock by it would reach every phone whose number nobody knows."""
    for field in ("deviceId", "serialNumber", "assetTag"):
        said = f"{field} was left out, since {nothing} says that there is none"
        assert tidy({field: nothing}, forgive=False) == ({}, [said])


@pytest.mark.parametrize("zero", ["0001-01-01T00:00:00Z", "0001-01-01", 0])
def test_a_time_that_nobody_set_leaves_no_device_open(zero):
    """It is no time, so it is neither too old nor over already."""
    assert tidy({"reportedAt": zero, "expiresAt": zero}, forgive=True)[0] == {}


def test_a_time_that_can_not_be_read_is_left_out_only_where_that_is_forgiven():
    for field in ("reportedAt", "expiresAt"):
        tidied, (said,) = tidy({field: "Friday"}, forgive=True)
        assert tidied == {}
        assert said.startswith(f"{field} can't be read as a time")
        assert tidy({field: "Friday"}, forgive=False) == ({field: "Friday"}, [])


@given(st.text() | st.floats() | st.integers() | st.from_regex(r"[0-9T:.+Z -]{0,40}"))
def test_anything_is_a_time_or_none(written):
    time = read_time(written)
    assert time is None or read_time(instant.write(time)) == time
