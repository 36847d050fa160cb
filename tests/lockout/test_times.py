import time
from datetime import UTC, datetime

import pytest

from lockout.times import read

NOW = datetime(2026, 11, 25, 13, 0, tzinfo=UTC)
"""A Wednesday, 14:00 in Berlin."""


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "ahead", "back"),
    [
        ("2d", "2026-11-27T13:00", "2026-11-23T13:00"),
        ("+90m", "2026-11-25T14:30", "2026-11-25T11:30"),
        ("friday", "2026-11-27T23:00", "2026-11-19T23:00"),
        ("Fri", "2026-11-27T23:00", "2026-11-19T23:00"),
        ("wednesday", "2026-11-25T23:00", "2026-11-24T23:00"),
        ("today", "2026-11-25T23:00", "2026-11-24T23:00"),
        ("18:00", "2026-11-25T17:00", "2026-11-24T17:00"),
        ("09:00", "2026-11-26T08:00", "2026-11-25T08:00"),
        ("friday 18:00", "2026-11-27T17:00", "2026-11-20T17:00"),
        ("wed 09:00", "2026-12-02T08:00", "2026-11-25T08:00"),
        ("wednesday 18:00", "2026-11-25T17:00", "2026-11-18T17:00"),
        ("today 18:00", "2026-11-25T17:00", "2026-11-25T17:00"),
        ("2026-12-01", "2026-12-01T23:00", "2026-11-30T23:00"),
        ("2026-12-01T12:00:00Z", "2026-12-01T12:00", "2026-12-01T12:00"),
        ("2026-07-01", "2026-07-01T22:00", "2026-06-30T22:00"),
    ],
)
def test_a_time_is_read_as_a_person_means_it(text, ahead, back):
    assert read(text, NOW) == datetime.fromisoformat(ahead + "+00:00")
    assert read(text, NOW, past=True) == datetime.fromisoformat(back + "+00:00")


@pytest.mark.parametrize("text", ["", "soon", "2", "2y", "25:00", "2026-13-01", "fr", "2026-12-01T12:00", "99999999d"])
def test_what_means_no_time_is_refused_with_what_would(text):
    with pytest.raises(ValueError, match="expected a time such as 2d, friday"):
        read(text, NOW)
