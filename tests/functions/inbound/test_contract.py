"""Our reading of the schemas, compared with that of a library which reads all of JSON Schema."""

import json
from typing import Any

import fastjsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_lockout.inbound.contract import SCHEMAS, faults, parse_time

NAMES = sorted(path.name for path in SCHEMAS.glob("*.json"))
DEFINITIONS: dict[str, Any] = {name: json.loads((SCHEMAS / name).read_text(encoding="utf-8")) for name in NAMES}
LIBRARY = {
    name: fastjsonschema.compile(
        definition, formats={"date-time": lambda value: parse_time(value) is not None}, fast_fail=False
    )
    for name, definition in DEFINITIONS.items()
}
FIELDS = sorted({field for definition in DEFINITIONS.values() for field in definition["properties"]})
READ = {"$schema", "title", "description", "type", "anyOf", "required", "additionalProperties", "properties"}
READ_OF_A_FIELD = {"type", "const", "minLength", "maxLength", "pattern", "format", "description"}

values = st.one_of(
    st.text(max_size=70),
    st.sampled_from(["", "1", "bob", "ABC123", "ABC123\n", "prod", "x" * 33, "n" * 257, "n" * 501]),
    st.sampled_from(["2026-11-22T07:30:00Z", "2026-11-22T07:30:00", "2026-11-22"]),
    st.none() | st.booleans() | st.integers() | st.lists(st.text(max_size=3), max_size=2),
)
details = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), values, max_size=8) | values


@pytest.mark.parametrize("name", NAMES)
@given(detail=details)
def test_we_refuse_what_the_library_refuses(name: str, detail: Any) -> None:
    try:
        LIBRARY[name](detail)
        refused: set[str] = set()
    except fastjsonschema.JsonSchemaValuesException as error:
        refused = {f"detail.{fault.path[1]} " for fault in error.errors if len(fault.path) > 1} or {"detail"}
    told = [*faults(name, detail, None)]
    assert bool(told) == bool(refused)
    assert all(any(field in sentence for sentence in told) for field in refused - {"detail"})


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_has_only_what_we_read(name: str) -> None:
    definition = DEFINITIONS[name]
    assert definition.keys() <= READ
    assert definition["additionalProperties"] is False
    assert all(way.keys() == {"required"} for way in definition.get("anyOf", []))
    for rules in definition["properties"].values():
        assert rules.keys() <= READ_OF_A_FIELD
        assert rules.get("type") == "string" or isinstance(rules["const"], str)
        assert rules.get("format", "date-time") == "date-time"
