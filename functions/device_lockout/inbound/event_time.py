"""When an event happened, as its order counts it: a property of the event, the same for every copy of it.

A copy (a retry of EventBridge, an archive's replay, a message sent back) has the times that its event has, but a later
time of receipt. So the time of receipt only bounds the others: nobody speaks from the future.
"""

from datetime import datetime, timedelta

from device_lockout.values import instant
from device_lockout.values.lean_dataclass import dataclass

AHEAD = timedelta(minutes=1)  # How far a producer's clock may be ahead. Clocks that are kept are right to the second.


@dataclass(frozen=True, slots=True)
class Moment:
    """When an event happened."""

    happened: datetime  # The earliest of the producer's word, the end of the envelope's second and the time of receipt.
    began: datetime  # The same, but the start of the envelope's second. A lock's duration counts from it.
    future: str = ""  # Which time is ahead of which by more than :data:`AHEAD`, in words; empty if none is.


def moment(said: datetime | None, stamped: datetime | None, received: datetime) -> Moment:
    """Return when an event happened.

    Args:
        said: ``reportedAt``; None if the event has none that can be read.
        stamped: The envelope's ``time``, in whole seconds. EventBridge sets it unless the producer does.
        received: When SQS took this copy in.
    """
    future = ""
    if stamped is None:
        stamped = received
    elif stamped > received + AHEAD:
        future = f"the event's time {instant.write(stamped)} lies in the future of {instant.write(received)}"
    sent = min(stamped, received)
    end = end_of_second(sent, received)
    if said is None:
        return Moment(end, sent, future)
    if said > sent + AHEAD:
        future = f"reportedAt {instant.write(said)} lies in the future of {instant.write(sent)}"
    happened = min(said, end)
    return Moment(happened, happened, future)


def end_of_second(time: datetime, received: datetime) -> datetime:
    """Return the end of ``time``'s second if it names a whole second, but no time after ``received``.

    A lock counts so. Of a loss told to the second and a recovery told to the millisecond of that second, the loss wins.
    """
    return time if time.microsecond else max(time, min(time + timedelta(milliseconds=999), received))
