"""No service of AWS may keep a function waiting until it is killed."""

import pytest

from device_lockout.aws import command_queue, event_bus, ledger_table, secret_store
from local.in_memory import SETTINGS


@pytest.mark.parametrize(
    "gateway", [command_queue, event_bus, ledger_table, secret_store], ids=lambda gateway: gateway.__name__
)
def test_a_call_that_hangs_once_is_made_again_within_the_writers_time(gateway, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    config = gateway.client().meta.config
    longest = SETTINGS.limits.writer_timeout.total_seconds() / 2
    assert config.connect_timeout + config.read_timeout <= longest
    assert config.retries["total_max_attempts"] > 1
