"""The account and the region of the local AWS."""

from typing import Final

ACCOUNT: Final = "000000000000"
REGION: Final = "eu-west-1"
