from datetime import UTC, datetime

import pytest

from device_lockout.values.mailbox_move import Moved, exchange

AT = datetime(2027, 1, 15, tzinfo=UTC)


def test_exchange_blocks_a_device_by_mailbox_and_id_and_ends_that():
    to = Moved(AT, "exchange-online")
    added = "Set-CASMailbox -Identity 'bob@example.com' -ActiveSyncBlockedDeviceIDs @{Add='abc123'}"
    assert to.line("bob@example.com", "abc123", "Add") == added
    assert to.line("bob@example.com", "abc123", "Remove") == added.replace("Add", "Remove")


def test_another_product_has_no_line():
    assert Moved(AT, "a product in words").line("bob@example.com", "abc123", "Add") == ""


@pytest.mark.parametrize("evil", ["", "bob", "a'; Remove-Mailbox b@example.com", "a@b.c\n", "a@b.c'}"])
def test_no_line_has_a_name_that_workmail_does_not_write(evil):
    assert exchange(evil, "abc123", "Blocked", "Add") == ""
    assert exchange("bob@example.com", f"-{evil}", "Allowed", "Add") == ""
