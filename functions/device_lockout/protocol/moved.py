"""Outcomes of an organization whose mailboxes moved: a person must do there what was done here."""

from dataclasses import replace
from datetime import datetime

from device_lockout.protocol.ports import Ports
from device_lockout.values.command import Command
from device_lockout.values.errors import RejectedError
from device_lockout.values.outcome import Outcome
from device_lockout.values.policy import Rules

LOCKED = {"locked", "took-over", "extended"}
LET_IN = {"released", "expired"}


def with_move(outcome: Outcome, command: Command, ports: Ports, rules: Rules, now: datetime) -> Outcome:
    """Return the outcome with what to do where the mailboxes moved to. It pages, since nothing else does it.

    Raises:
        TransientError: WorkMail did not say which mailbox it is.
    """
    moved, device = rules.moved.get(command.target.organization), command.target.device
    was_denied = outcome.before is not None and outcome.before.effect == "DENY"
    locked, let_in = outcome.result in LOCKED, outcome.result in LET_IN and was_denied
    if moved is None or now < moved.at or outcome.user is None or not device or not (locked or let_in):
        return outcome
    mailbox = outcome.user.email
    if not mailbox:
        try:
            mailbox = ports.workmail.user(command.target.organization, outcome.user.id).email
        except RejectedError:
            mailbox = ""
    do = "lock it" if locked else "let it in"
    there = f"{do} in {moved.to}, too (mailbox {mailbox or 'unknown'}, device {device})"
    line = moved.line(mailbox, device, "Add" if locked else "Remove")
    because = "; ".join(filter(None, (outcome.because, there)))
    return replace(outcome, because=because, page=True, elsewhere=line or there)
