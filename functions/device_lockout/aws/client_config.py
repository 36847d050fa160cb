"""How the functions call AWS, and how long they wait for services other than WorkMail, which has its own rules.

botocore waits a minute for an answer, longer than most of the functions may run: one call that hangs would take the
whole batch with it, whose messages come back minutes later. Everything that they call may be called again.
https://docs.aws.amazon.com/botocore/latest/reference/config.html
"""

from botocore.config import Config

USER_AGENT = "device-lockout"
"""In CloudTrail's records of our calls; botocore's own is put together anew for each, a tenth of the work of a call."""

BRIEF = Config(
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 2},
    user_agent=USER_AGENT,
)
"""In seconds: a call that hangs once is made again within a function's time, be it the shortest, ten seconds."""
