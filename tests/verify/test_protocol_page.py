from pathlib import Path

from verify.breaks import BREAKS

PAGE = Path(__file__).parent.parent.parent / "docs" / "protocol.md"


def breaks_on(page):
    """Return the last cells of the tables whose last column is headed ``BREAK=``, without empty ones."""
    names, in_table = [], False
    for line in page.splitlines():
        last = line.removesuffix("|").rpartition("|")[2].strip(" -`")
        in_table = line.startswith("|") and (in_table or last == "BREAK=")
        if in_table and last not in ("", "BREAK="):
            names.append(last)
    return names


def test_the_protocol_names_each_break_once_and_no_others():
    names = breaks_on(PAGE.read_text())
    assert sorted(names) == sorted(BREAKS)


def test_only_the_last_column_of_a_table_of_breaks_counts():
    page = (
        "| rule | `BREAK=` |\n|---|---|\n| one | `tie` |\n| two | |\n\n| rule | other |\n|---|---|\n| one | `not` |\n"
    )
    assert breaks_on(page) == ["tie"]
