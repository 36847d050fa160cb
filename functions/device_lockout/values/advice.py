"""What people are told to do: one table, so that mail, chat, runbook and command line use the same words."""

import hashlib
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

Severity = Literal["act now", "today", "for the record"]

_SAFE = r"(?a)(?!-)[\w.%+@-]+"
"""What may stand in a command that a person pastes into a shell. Other people chose these words: none is an option."""
_SHOWN = r"""(?ax)
    [\w.%+@#-]{0,64}(\ \d\d:\d\d:\d\d)?  # a name, or the ID of a sweep's run
    | [\w.%+#-]{1,64} @ [\w.-]{1,190}  # an e-mail address
    | [\dTZ\ .:/+-]{1,40}  # a time
    | [\w\ \[\]\\",-]{1,15}  # two short words
    """
"""What may stand in a page, but no sentence and no address of one."""


def shown(words: str) -> str:
    """Return what a page shows of words that a stranger chose: themselves, or their length and the start of their hash.

    >>> shown("INC-1234"), shown("sign in at https://evil.example")
    ('INC-1234', '31 characters (SHA-256 0f1802d6)')
    """
    if re.fullmatch(_SHOWN, words):
        return words
    return f"{len(words)} characters (SHA-256 {hashlib.sha256(words.encode(errors='replace')).hexdigest()[:8]})"


class Advice(NamedTuple):
    """A row of :data:`ADVICE`."""

    severity: Severity  # How soon a person should look.
    title: str  # What is the matter.
    do: str  # What to do about it.
    # The command to type. USER, DEVICE and TICKET stand for those of the event.
    command: str = "lockout show USER DEVICE"

    def about(self, user: str, device: str, ticket: str) -> dict[str, str]:
        """Return the fields of an event. A name that a shell could take for more stays a word to fill in."""
        command = self.command
        for word, value in (("USER", user), ("DEVICE", device), ("TICKET", ticket)):
            if re.fullmatch(_SAFE, value):
                command = command.replace(word, value)
        return {"title": self.title, "do": self.do, "command": command}


_DESCRIPTION_LOST = Advice(
    "today", "An ALLOW is back without its description", "Write the description again in WorkMail's console."
)
_READ_ON = Advice("today", "Somebody should read this", "Read the message.")

ADVICE: Mapping[str, Advice] = {
    "Lockout Held": Advice(
        "act now",
        "A source asks for too many locks",
        "Look at the held locks. If they are right, send them back. If not, stop the sender and undo its locks.",
        "lockout dead show --queue commands",
    ),
    "Lockout Rejected": Advice(
        "act now",
        "A report was rejected",
        "Correct the report and send it again: the device may be out there unlocked.",
        "lockout lock USER DEVICE --ref TICKET",
    ),
    "Lockout Failed": Advice(
        "act now",
        "WorkMail refused to change a lock",
        "Enable the user or the organization: the next sweep tries again.",
    ),
    "Tampering Detected": Advice(
        "act now",
        "Somebody undid a lock",
        "Ask CloudTrail who did it. If they meant it, release the device.",
        "lockout release USER DEVICE --ref TICKET",
    ),
    "Lockout Adopted": Advice(
        "act now",
        "Somebody changed a lock by its tag",
        "Ask CloudTrail who did it. If it was wrong, report the loss again.",
        "lockout lock USER DEVICE --ref TICKET",
    ),
    "Device Locked": Advice(
        "today",
        "A lock may leave a device out",
        "Read the message, and enrol or report the devices that it leaves out.",
        "lockout show USER",
    ),
    "Lockout Shortened": Advice(
        "today",
        "A report makes a lock end sooner",
        "If that is wrong, extend the lock again.",
        "lockout extend USER DEVICE --until 30d",
    ),
    "Override Left Alone": Advice(
        "today",
        "An override is not ours to change",
        "Mend its tag in WorkMail's console, or delete it: a sweep puts back a lock that is still wanted.",
    ),
    "Expiry Due Soon": Advice(
        "today",
        "A lock ends soon, or has been held for long",
        "If the device is still missing, extend the lock. If it is found, release it.",
        "lockout extend USER DEVICE --until 30d",
    ),
    "Lock Outlasts WorkMail": Advice(
        "today",
        "A lock outlasts WorkMail",
        "Hand it over before the end: afterwards nothing here keeps the device out.",
        "lockout handover after-workmail",
    ),
    "Lockout Superseded": Advice(
        "today",
        "A late report changed nothing",
        "If the device is still missing, report it again with the new time.",
        "lockout lock USER DEVICE --ref TICKET",
    ),
    "Sweep Refused": Advice(
        "today", "A sweep let nothing back in", "Read the plan, then what the guard means.", "lockout sweep plan"
    ),
    "Daily Digest": Advice(
        "today", "What can wait until today", "Look at each. The report has all of them.", "lockout report --since 1d"
    ),
    "Device Released": _DESCRIPTION_LOST,
    "Lockout Expired": _DESCRIPTION_LOST,
    "Already Denied": _DESCRIPTION_LOST,
}
"""What to do about an event that pages, by its detail-type."""

_CORRECT = Advice("today", "A report was rejected", "Correct the report and send it again.")
_RELEASE = Advice(
    "today",
    "A release was rejected",
    "Correct the report and send it again: the device may still be locked.",
    "lockout release USER DEVICE --ref TICKET",
)
_REJECTED = {
    "release": _RELEASE,
    "release-user": _RELEASE,
    **dict.fromkeys(("change", "change-user", "enroll", "retire"), _CORRECT),
}
"""What to do about a rejection, by the action that was asked for. All others may have been locks."""


def elsewhere(command: str) -> dict[str, str]:
    """Return the advice of an outcome whose organization moved. ``command`` is what to do there."""
    return {"title": "The new system must hear of it, too", "do": "Do this there by hand.", "command": command}


def advise(
    detail_type: str, *, page: bool, user: str = "", device: str = "", ticket: str = "", action: str = ""
) -> dict[str, Severity | dict[str, str] | None]:
    """Return the fields ``severity`` and ``advice`` of an event. Nothing is to be done about one that does not page."""
    if not page:
        return {"severity": "for the record", "advice": None}
    advice = ADVICE.get(detail_type, _READ_ON)
    if detail_type == "Lockout Rejected":
        advice = _REJECTED.get(action, advice)
    return {"severity": advice.severity, "advice": advice.about(user, device, ticket)}
