"""Foreign text, made safe to print: what steers a terminal or computes in a sheet is shown as text."""

import re
import unicodedata

_FORMULA = re.compile(r"[=+\-@\t\r]")
"""How a cell begins that a spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection)."""


def text(value: str) -> str:
    r"""Return ``value`` with each control and format character but the line feed as ``\uXXXX``, as JSON writes it.

    >>> text("a\u202eb\x1b[2J")
    'a\\u202eb\\u001b[2J'
    """
    return "".join(_shown(each) if _is_control(each) else each for each in value)


def line(value: str) -> str:
    """Return ``value`` for one line: as :func:`text`, without a line feed."""
    return text(value).replace("\n", "\\n")


def cell(value: str | None) -> str | None:
    """Return ``value`` for a cell of CSV. An apostrophe comes before what a spreadsheet would compute.

    >>> cell("=HYPERLINK(1)")
    "'=HYPERLINK(1)"
    """
    if value is None:
        return None
    shown = line(value)
    return f"'{shown}" if _FORMULA.match(value) else shown


def _is_control(character: str) -> bool:
    return character != "\n" and unicodedata.category(character) in ("Cc", "Cf")


def _shown(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
