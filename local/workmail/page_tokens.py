"""Opaque page tokens. A token is sealed with its listing, so another listing refuses it."""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass

from local.workmail.errors import WorkMailError


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended.

    Attributes:
        last: the key of its last row.
        offset: the number of rows before the next page.
        removals: the number of deletes so far in the organization.
    """

    last: tuple[str, ...]
    offset: int = 0
    removals: int = 0


def seal(position: Position, listing: tuple[object, ...]) -> str:
    """Return the token of a position; `listing` is the operation, the organization and the filters."""
    text = json.dumps([position.last, position.offset, position.removals], separators=(",", ":")).encode()
    return base64.b64encode(_digest(text, listing) + text).decode()


def unseal(token: str, listing: tuple[object, ...]) -> Position:
    """Return the position in a token.

    Raises InvalidParameterException unless it is a token of this listing.
    """
    try:
        raw = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) < 8 or raw[:8] != _digest(raw[8:], listing):
        raise WorkMailError(
            "InvalidParameterException",
            f"Value '{token:.300}' at 'NextToken' is not a token of this listing; "
            "expected the NextToken of its last page, with the same organization and filters",
        )
    last, offset, removals = json.loads(raw[8:])
    return Position(tuple(last), offset, removals)


def _digest(text: bytes, listing: tuple[object, ...]) -> bytes:
    return hashlib.blake2b(text + repr(listing).encode(), digest_size=8, person=b"page token").digest()
