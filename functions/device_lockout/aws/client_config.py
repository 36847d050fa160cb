"""How the functions' clients call AWS. WorkMail's client has a configuration of its own.

botocore waits a minute for an answer, which is longer than most functions may run. One hanging call would end the whole
function, and its batch would come back minutes later. All of these calls may be repeated.
https://docs.aws.amazon.com/botocore/latest/reference/config.html
"""

from botocore.config import Config

USER_AGENT = "device-lockout"  # What CloudTrail records of our calls. A fixed text saves a tenth of each call's work.

BRIEF = Config(
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 2},
    user_agent=USER_AGENT,
)
"""In seconds. After one hanging call there is time for a second, even in the shortest function, of ten seconds."""
