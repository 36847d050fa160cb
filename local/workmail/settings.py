"""What a tester switches while the emulator runs: faults, quirks and clock skew.

A change is a JSON merge patch: members replace, objects merge, null restores the default.
It is checked as a whole before anything changes.
https://www.rfc-editor.org/rfc/rfc7396
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from local.workmail.errors import ControlError
from local.workmail.faults import Fault, fault_problems

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Quirks:
    """The questions that AWS's documentation leaves open. Each default is our best guess."""

    aliases_resolve: bool = False
    """Does an e-mail alias identify its user, as the primary address does?"""
    device_id_case: str = "first_put"
    """Which case do Get and List answer: that of the first or the last Put, upper or lower?"""
    put_without_description: str = "clears"
    """Does a Put without Description clear the old one, or keep it?"""
    description_limit: str = "characters"
    """What does the limit of 256 count: characters, UTF-16 code units or bytes of UTF-8?"""
    identical_put_moves_date: bool = True
    """Does a Put that changes nothing move DateModified?"""
    get_date_modified: str = "override"
    """Which change does Get's DateModified date: that of the override, as in List, or of its description?"""
    list_delay_seconds: float = 0
    """How long does List lag behind a Put or Delete? Get never lags."""
    page_tokens: str = "survive"
    """What does a token do after a delete between pages?

    It continues after its last row (survive) or at its offset, which skips rows (skip).
    Or it starts over (restart) or is refused (fail).
    """
    overrides_outlive_user: bool = True
    """Are a deleted user's overrides still listed?"""
    deleted_user_by_id: bool = False
    """Do Get, Delete and List accept the ID of a deleted user? Put then answers EntityStateException."""
    throttle_code: str = "ThrottlingException"
    """Which error code does a throttled call get?"""
    throttle_status: int = 400
    """Which HTTP status does a throttled call get?"""
    default_page_size: int = 100
    """How many rows does a List operation answer without MaxResults?"""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `faults` has each fault under the name that the tester gave it."""

    seed: int = 0
    """The seed of the faults' dice: the same seed and calls give the same faults."""
    date_header_skew_seconds: float = 0
    """Added to the `Date` header of every answer, and to nothing else."""
    keep_calls: int = 50_000
    """How many calls the record keeps."""
    faults: Mapping[str, Fault] = field(default_factory=dict)
    quirks: Quirks = field(default_factory=Quirks)

    def as_json(self) -> Json:
        """Return the settings as the controls show and accept them."""
        shown = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        shown["faults"] = {name: fault.as_json() for name, fault in self.faults.items()}
        shown["quirks"] = {entry.name: getattr(self.quirks, entry.name) for entry in fields(self.quirks)}
        return shown


@dataclass(frozen=True, slots=True)
class _Expected:
    words: str
    satisfied: Callable[[Any], bool]


def _choice(*values: str) -> _Expected:
    return _Expected(f"one of {', '.join(values)}", lambda value: value in values)


def _number(least: float, most: float) -> _Expected:
    def satisfied(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most

    return _Expected(f"a number from {least:,g} to {most:,g}", satisfied)


def _integer(least: int, most: int) -> _Expected:
    def satisfied(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return _Expected(f"an integer from {least:,} to {most:,}", satisfied)


_BOOLEAN = _Expected("true or false", lambda value: isinstance(value, bool))
_DAY = 86_400

_SETTINGS = {
    "seed": _integer(0, 2**63 - 1),
    "date_header_skew_seconds": _number(-3650 * _DAY, 3650 * _DAY),
    "keep_calls": _integer(0, 10_000_000),
}
_QUIRKS = {
    "aliases_resolve": _BOOLEAN,
    "device_id_case": _choice("first_put", "last_put", "upper", "lower"),
    "put_without_description": _choice("clears", "keeps"),
    "description_limit": _choice("characters", "utf16", "bytes"),
    "identical_put_moves_date": _BOOLEAN,
    "get_date_modified": _choice("override", "description"),
    "list_delay_seconds": _number(0, _DAY),
    "page_tokens": _choice("survive", "restart", "skip", "fail"),
    "overrides_outlive_user": _BOOLEAN,
    "deleted_user_by_id": _BOOLEAN,
    "throttle_code": _Expected(
        "an error code: letters and digits, at most 64",
        lambda value: isinstance(value, str) and value.isascii() and value.isalnum() and len(value) <= 64,
    ),
    "throttle_status": _integer(400, 599),
    "default_page_size": _integer(1, 100),
}


def merged(settings: Settings, patch: object) -> Settings:
    """Return the settings with a merge patch applied. Unchanged faults keep their count, dice and bucket.

    Raises ControlError, which names every unknown key and every wrong value.
    """
    if not isinstance(patch, dict):
        raise ControlError(f"the settings are {patch!r:.100}; expected a JSON object")
    problems: list[str] = []
    values: Json = {}
    for key, value in patch.items():
        if key in ("faults", "quirks"):
            continue
        _accept(values, key, value, _SETTINGS, "", problems)
    quirks = _merged_quirks(settings.quirks, patch.get("quirks", {}), problems)
    faults = _merged_faults(settings.faults, patch.get("faults", {}), problems)
    if problems:
        raise ControlError(f"no setting was changed: {'; '.join(problems)}", problems)
    defaults = {entry.name: entry.default for entry in fields(Settings)}
    kept = {key: getattr(settings, key) for key in _SETTINGS}
    chosen = {key: defaults[key] if value is None else value for key, value in values.items()}
    return Settings(**(kept | chosen), faults=faults, quirks=quirks)


def _accept(
    values: Json, key: str, value: object, expected: Mapping[str, _Expected], prefix: str, problems: list[str]
) -> None:
    if key not in expected:
        known = ", ".join(sorted({*expected, *(() if prefix else ("faults", "quirks"))}))
        problems.append(f"unknown setting {prefix}{key}; expected one of {known}")
    elif value is not None and not expected[key].satisfied(value):
        problems.append(f"{prefix}{key} is {value!r:.100}; expected {expected[key].words}")
    else:
        values[key] = value


def _merged_quirks(quirks: Quirks, patch: object, problems: list[str]) -> Quirks:
    if patch is None:
        return Quirks()
    if not isinstance(patch, dict):
        problems.append(f"quirks is {patch!r:.100}; expected an object")
        return quirks
    values: Json = {}
    for key, value in patch.items():
        _accept(values, key, value, _QUIRKS, "quirks.", problems)
    defaults = {entry.name: entry.default for entry in fields(Quirks)}
    kept = {key: getattr(quirks, key) for key in _QUIRKS}
    return Quirks(**(kept | {key: defaults[key] if value is None else value for key, value in values.items()}))


def _merged_faults(faults: Mapping[str, Fault], patch: object, problems: list[str]) -> Mapping[str, Fault]:
    if patch is None:
        return {}
    if not isinstance(patch, dict):
        problems.append(f"faults is {patch!r:.100}; expected an object with a fault under each name")
        return faults
    result = dict(faults)
    for name, change in patch.items():
        if change is None:
            result.pop(name, None)
            continue
        if not isinstance(change, dict):
            problems.append(f"faults.{name} is {change!r:.100}; expected an object")
            continue
        before = faults[name].as_json() if name in faults else {"kind": name}
        document = {key: value for key, value in (before | change).items() if value is not None}
        found = fault_problems(document, f"faults.{name}")
        problems.extend(found)
        if not found and (name not in faults or document != before):
            result[name] = Fault(name, **document)
    return result
