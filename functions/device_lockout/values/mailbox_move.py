"""What a person does by hand where an organization's mailboxes moved to: nothing of ours reaches that product."""

import re
from datetime import datetime
from typing import Literal, NamedTuple

EXCHANGE = "exchange-online"
"""The one product whose block of a single device is documented, by mailbox and ActiveSync ID.

https://learn.microsoft.com/powershell/module/exchange/set-casmailbox
"""

ADDRESS = r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}"
DEVICE = r"[A-Za-z0-9]{1,32}"
"""WorkMail's addresses and device IDs. A command has nothing else between its quotes.
https://docs.aws.amazon.com/workmail/latest/APIReference/API_PutMobileDeviceAccessOverride.html"""


class Moved(NamedTuple):
    """An organization's move."""

    at: datetime  # From then on, what is done here must be done there, too.
    to: str  # The product, such as :data:`EXCHANGE`, or any other in words.

    def line(self, mailbox: str, device: str, change: Literal["Add", "Remove"]) -> str:
        """Return the line to run there, which blocks the device or ends that; empty if there is none."""
        return exchange(mailbox, device, "Blocked", change) if self.to == EXCHANGE else ""


def exchange(mailbox: str, device: str, kind: Literal["Blocked", "Allowed"], change: Literal["Add", "Remove"]) -> str:
    """Return the line of Exchange's PowerShell that changes a mailbox's list of devices.

    It is empty if a name is none that WorkMail writes.
    """
    if not (re.fullmatch(ADDRESS, mailbox) and re.fullmatch(DEVICE, device)):
        return ""
    return f"Set-CASMailbox -Identity '{mailbox}' -ActiveSync{kind}DeviceIDs @{{{change}='{device}'}}"
