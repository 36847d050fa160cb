"""Opaque page tokens: where a listing goes on, sealed with what it lists, so that another listing refuses them."""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass

from local.workmail.errors import WorkMailError


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: its last row's key, how many rows came before the next page, deletes seen until then."""

    last: tuple[str, ...]
    offset: int = 0
    removals: int = 0


def seal(position: Position, listing: tuple[object, ...]) -> str:
    """The token for a position in a listing, named by its operation, organization and filters."""
    text = json.dumps([position.last, position.offset, position.removals], separators=(",", ":")).encode()
    return base64.b64encode(_digest(text, listing) + text).decode()


def unseal(token: str, listing: tuple[object, ...]) -> Position:
    """The position in a token; InvalidParameterException if it is no token of this very listing."""
    try:
        raw = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) < 8 or raw[:8] != _digest(raw[8:], listing):
        raise WorkMailError(
            "InvalidParameterException",
            f"Value '{token:.300}' at 'NextToken' is not a token of this listing; "
            "expected is the NextToken of its last page, with the same organization and filters",
        )
    last, offset, removals = json.loads(raw[8:])
    return Position(tuple(last), offset, removals)


def _digest(text: bytes, listing: tuple[object, ...]) -> bytes:
    return hashlib.blake2b(text + repr(listing).encode(), digest_size=8, person=b"page token").digest()
