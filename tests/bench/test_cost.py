from pathlib import Path

from infra import cost


def test_the_readme_has_the_table_that_the_prices_give():
    table = cost.table().partition("\n\n")[0]
    assert table in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
