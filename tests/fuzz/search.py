"""One search of a target: an input for each number, and a broken input made smaller."""

import time
import warnings
from collections.abc import Iterable
from random import Random

from tests.fuzz.targets import TARGETS, Target

ATTEMPTS = 2000
"""How often a broken input is tried without a part of it."""


def tried(name: str, numbers: Iterable[int]) -> tuple[str, int, float, dict[str, str]]:
    """Try the inputs of these numbers.

    Returns:
        The target, how many inputs, the most seconds of processor time that one took, and for each way to break the
        smallest input that was found.
    """
    warnings.simplefilter("ignore")  # Python's and JMESPath's of an operator's odd expressions
    target, longest, count = TARGETS[name], 0.0, 0
    broken: dict[str, str] = {}
    for number in numbers:
        text = target.make(Random(number))
        began = time.thread_time()
        said = breaks(target, text)
        took = time.thread_time() - began
        if took > longest:  # tried again, since a pause of the collector is not the input's
            began = time.thread_time()
            breaks(target, text)
            longest = max(longest, min(took, time.thread_time() - began))
        count += 1
        if said and said not in broken:
            broken[said] = smaller(target, text, said)
    return name, count, longest, broken


def breaks(target: Target, text: str) -> str:
    """Return what an input breaks, in a few words that other inputs may share; empty for nothing."""
    try:
        target.check(text)
    except Exception as error:  # noqa: BLE001 (whatever breaks is what is looked for)
        at, deepest = "", error.__traceback__
        while deepest is not None:
            at = f"{deepest.tb_frame.f_code.co_qualname}:{deepest.tb_lineno}"
            deepest = deepest.tb_next
        words = str(error) if isinstance(error, AssertionError) and "took" not in str(error) else ""
        return f"{type(error).__name__} in {at} {words[:80]}".strip()
    return ""


def smaller(target: Target, text: str, said: str) -> str:
    """Return the input without parts that it can do without and still break in the same way."""
    attempts, size = 0, len(text) // 2
    while size:
        begin = 0
        while begin < len(text) and attempts < ATTEMPTS:
            shorter = text[:begin] + text[begin + size :]
            attempts += 1
            if breaks(target, shorter) == said:
                text = shorter
            else:
                begin += size
        size //= 2
    return text
