"""JMESPath expressions, with three functions more, for values that senders put inside other values.

Two are named as in Powertools, whose own `powertools_json` lets halves of surrogate pairs through, and which also
unpacks gzip without a limit. The third is ``capture(text, 'regular expression')``. Python's ``re`` has no time-out, so
expressions have a form that can't take long: :func:`faults` refuses any other.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature

MAX_TEXT = 256  # The most characters of a text that ``capture`` reads. A longer one is an error.
MAX_PATTERN = 80  # The most characters of its regular expression.

_CHARACTER = r"(?:\\[^0-9]|\[\^?\]?+(?:\\.|[^\[\]\\])*\]|[^\\\[\](){}*+?|])"
"""A character of a regular expression, or a class of them."""
_FIXED, _VARYING = r"\{\d{1,3}\}", r"(?:[*+?]|\{\d{0,3},\d{0,3}\})\??"
"""How often it comes: always the same number of times, or not."""
_ITEM = rf"{_CHARACTER}(?:{_FIXED}|{_VARYING})?"
_FORM = rf"(?:{_ITEM})*\((?:{_ITEM})+\)(?:{_ITEM})*"
_REPETITION = rf"{_CHARACTER}(?:{_FIXED}|({_VARYING}))?"


def capture(text: str | None, pattern: str) -> str | None:
    """Return what the group of a regular expression finds in a text; None if it is not there.

    Raises:
        ValueError: The text is longer than :data:`MAX_TEXT`, or has several: which one is meant can't be told.

    >>> capture("arn:aws:iam::111122223333:user/ana", "user/(.+)$")
    'ana'
    """
    if text is None:
        return None
    if len(text) > MAX_TEXT:
        raise ValueError(f"capture() reads texts of at most {MAX_TEXT} characters, and this one has {len(text)}")
    found = {each[1] for each in re.finditer(pattern, text)}
    if len(found - {""}) > 1:
        raise ValueError(f"capture() finds {len(found)} texts with {pattern!r}: expected one")
    return max(found, default=None)


def read_json(text: str) -> Any:
    """Return the value in a JSON text. Halves of surrogate pairs, which no store takes, become question marks.

    Raises:
        ValueError: The text is not JSON.
        RecursionError: It is nested too deeply.
    """
    return json.loads(json.dumps(json.loads(text), ensure_ascii=False).encode(errors="replace"))


class _Functions(Functions):
    @signature({"types": ["string"]})
    def _func_powertools_json(self, text: str) -> Any:
        return read_json(text)

    @signature({"types": ["string"]})
    def _func_powertools_base64(self, text: str) -> str:
        return base64.b64decode(text, validate=True).decode()

    @signature({"types": ["string", "null"]}, {"types": ["string"]})
    def _func_capture(self, text: str | None, pattern: str) -> str | None:
        return capture(text, pattern)


_OPTIONS = jmespath.Options(custom_functions=_Functions())


def search(expression: str, value: object) -> Any:
    """Return what an expression finds in a value.

    Raises:
        JMESPathError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError: It can't be evaluated.
    """
    return jmespath.search(expression, value, options=_OPTIONS)


def faults(expression: str) -> Iterator[str]:
    """Yield what is wrong in an expression, wrong calls among them. jmespath itself finds these only with a value."""
    try:
        yield from _wrong_calls(jmespath.compile(expression).parsed)
    except (JMESPathError, RecursionError, ValueError) as error:
        yield " ".join(str(error).split())


def _wrong_calls(node: Any) -> Iterator[str]:
    if not isinstance(node, dict):
        return
    if node["type"] == "function_expression":
        yield from _wrong_call(node["value"], node["children"])
    for child in node["children"]:
        yield from _wrong_calls(child)


def _wrong_call(name: str, given: list[Any]) -> Iterable[str]:
    known = _Functions.FUNCTION_TABLE
    if name not in known:
        close = get_close_matches(name, known, n=1)
        return [f"there is no function {name}()" + (f" (did you mean {close[0]!r}?)" if close else "")]
    takes = known[name]["signature"]
    more = bool(takes[-1].get("variadic"))
    if len(given) < len(takes) or (len(given) > len(takes) and not more):
        return [f"{name}() takes {len(takes)} argument(s){' or more' if more else ''}, not {len(given)}"]
    return _wrong_pattern(given[1]) if name == "capture" else []


def _wrong_pattern(node: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the second argument of ``capture``.

    The search for a place to begin is a repetition, too. An expression that begins with ``^`` does without.
    """
    pattern = node.get("value") if node["type"] == "literal" else None
    if not isinstance(pattern, str):
        yield "capture() takes a regular expression in quotes, such as 'user/(.+)$'"
        return
    try:
        groups = re.compile(pattern).groups
    except re.PatternError as error:
        yield f"capture() can't read {pattern!r} as a regular expression: {error}"
        return
    varying = sum(map(bool, re.findall(_REPETITION, pattern)))
    most = 2 if pattern.startswith("^") else 1
    if groups != 1 or len(pattern) > MAX_PATTERN or not re.fullmatch(_FORM, pattern) or varying > most:
        yield (
            f"capture() can't take {pattern!r}: expected one group in at most {MAX_PATTERN} characters, no '|' or '(?',"
            " and one repetition (*, +, ?, {m,n}) of a character or class, or two after a first ^"
        )
