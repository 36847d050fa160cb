from pathlib import Path

from infra import cost

PAGE = Path(__file__).parents[2] / "docs" / "performance-and-cost.md"


def test_the_documentation_has_the_computed_table() -> None:
    assert cost.table().partition("\n\n")[0] in PAGE.read_text(encoding="utf-8")
