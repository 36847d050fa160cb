"""The catalogue of ready-made sources. A configuration includes them by name, with what only its operator knows.

``config/catalogue/FILE.toml`` has a table ``[NAME]`` for each source, which is then called ``FILE/NAME``. Its keys are
those of ``[[sources]]``. In their texts ``{word}`` stands for a parameter, which the file describes in
``[parameters.word]``: a regular expression and, in words, what is expected.
"""

import re
import tomllib
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from config_reader.checked_toml import CheckedTable, meant
from config_reader.sources import MOST_ALLOWED, MOST_LOCKS, Routed, read_source

PARAMETERS = "parameters"

type Catalogue = dict[str, tuple[dict[str, Any], dict[str, dict[str, str]]]]
"""Each source's table, and the parameters that it takes, by its name in the catalogue."""


@cache
def read_catalogue(directory: Path) -> Catalogue:
    """Return the sources of all files in a directory."""
    known: Catalogue = {}
    for file in sorted(directory.glob("*.toml")):
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        parameters = tables.pop(PARAMETERS, {})
        for name, table in tables.items():
            taken = {word: parameters[word] for word in parameters if f"{{{word}}}" in repr(table)}
            known[f"{file.stem}/{name}"] = (table, taken)
    return known


def read_included(table: CheckedTable, directory: Path, organizations: Sequence[str]) -> tuple[tuple[Routed, ...], ...]:
    """Return the sources of each table ``[[include]]``. One with a mistake has none."""
    if "include" not in table:
        return ()
    return table.tables("include", partial(_include, read_catalogue(directory), organizations))


def _include(catalogue: Catalogue, organizations: Sequence[str], table: CheckedTable) -> tuple[Routed, ...]:
    """Return the sources of one table, filled in with its parameters.

    It may also have ``prefix``, which goes before the sources' names, so that a source can be included twice,
    ``organization``, the alias of the one that the events are about, ``at_most``, as a source with ``each`` has it, and
    ``locks_per_hour``, as one that locks has it.
    """
    names = table.texts("sources", r"(?s).*", "the name of a ready-made source")
    table.unique("", "sources", names)
    unknown = [name for name in names if name not in catalogue]
    for name in unknown:
        there_are = f"there are: {', '.join(catalogue)}"
        table.wrong("sources", f'"{name}": there is no such ready-made source{meant(name, catalogue)}; {there_are}')
    if not names:
        table.refuse("sources", "one ready-made source or more")
    parameters = {word: of for name in names if not unknown for word, of in catalogue[name][1].items()}
    for word in {word for _, taken in catalogue.values() for word in taken if not table.sound and word in table}:
        table.text(word, r"(?s).*", "a text")  # it may belong to a source whose name is wrong
    values = {word: table.text(word, of["pattern"], of["expected"]) for word, of in parameters.items()}
    prefix = ""
    if "prefix" in table:
        prefix = table.text("prefix", r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", "1 to 32 letters, digits, '.', '_', '-'")
    more: dict[str, Any] = {}
    if "organization" in table:
        more["organization"] = f"'{table.choice('organization', organizations or [''])}'"
    for key, most in {"at_most": MOST_ALLOWED, "locks_per_hour": MOST_LOCKS}.items():
        if key in table:
            more[key] = table.number(key, 1, most)
    called = {prefix + name.replace("/", "-"): catalogue[name][0] for name in names if table.sound}
    return tuple(
        table.below(name, {"name": name, **_filled(source, values), **more}).whole(read_source)
        for name, source in called.items()
    )


def _filled(value: Any, parameters: dict[str, str]) -> Any:
    """Return a TOML value with the parameters in the places of their names."""
    match value:
        case str():
            return re.sub(r"\{([a-z_]+)\}", lambda word: parameters.get(word[1], word[0]), value)
        case list():
            return [_filled(each, parameters) for each in value]
        case dict():
            return {key: _filled(each, parameters) for key, each in value.items()}
    return value
