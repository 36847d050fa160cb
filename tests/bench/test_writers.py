"""The bench's writers against the emulator. A batch that overruns its time is killed and comes back."""

import time
from datetime import timedelta

import pytest

from bench import writers
from bench.burst import locks
from bench.emulator import emulator
from tests.local.observing import eventually

pytestmark = pytest.mark.slow


def test_an_invocation_that_overruns_its_time_is_killed_and_its_messages_come_back(monkeypatch):
    monkeypatch.setattr(writers, "WRITER_TIMEOUT", 0.5)
    monkeypatch.setattr(writers, "VISIBILITY", 2.0)
    monkeypatch.setattr(writers, "CALL_TIMEOUT", timedelta(seconds=0.1))
    with emulator() as workmail, writers.writers(workmail, environments=1) as (queue, ledger, calls):
        workmail.set_faults(latency={"ms": 1_000, "operations": ["GetMobileDeviceAccessOverride"]})
        began = time.monotonic()
        queue.send(locks(3))
        eventually(lambda: calls.killed)
        workmail.set_faults()
        eventually(lambda: not queue.left())
        assert time.monotonic() - began >= 2
        assert set(workmail.effects().values()) == {"DENY"}
        assert queue.receives == {2: 3}
    assert calls.killed == 1
    assert len(ledger.outcomes) == 3


def test_nothing_of_a_killed_invocation_goes_on(monkeypatch):
    monkeypatch.setattr(writers, "WRITER_TIMEOUT", 0.5)
    monkeypatch.setattr(writers, "CALL_TIMEOUT", timedelta(seconds=0.1))
    with emulator() as workmail, writers.writers(workmail, environments=1) as (queue, ledger, calls):
        slow = {"kind": "latency", "ms": 1_000, "operations": ["GetMobileDeviceAccessOverride"]}
        workmail.set_faults(slow=slow)
        queue.send(locks(1))
        eventually(lambda: calls.killed)
        eventually(lambda: len(calls.accepted) == 2)  # the answer that the dead one would have gone on with
        asked = [call["operation"] for call in workmail.control("GET", "calls")["calls"]]
        assert asked == ["DescribeUser", "GetMobileDeviceAccessOverride"]
    assert ledger.outcomes == {}
    assert not any(record.claims for record in ledger.devices.values())
