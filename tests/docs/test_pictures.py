"""The pictures of the documentation belong to their sources."""

import ast
import hashlib
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"


def shown(picture: Path) -> list[str]:
    """The lines of text in a recording, from top to bottom."""
    lines = defaultdict(str)
    for text in ET.parse(picture).iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in text.attrib:
            lines[float(text.attrib["y"])] += (text.text or "").replace("\xa0", " ")
    return [lines[y].strip() for y in sorted(lines) if lines[y].strip()]


def said(source: Path) -> list[str]:
    """Patterns of the longer texts in a program, one for each string and f-string."""
    patterns = []
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        pieces = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [piece.value if isinstance(piece, ast.Constant) else None for piece in pieces]
        if sum(len(text.strip()) for text in texts if isinstance(text, str)) > 8:
            patterns.append("".join(re.escape(text.strip("\n")) if isinstance(text, str) else ".*" for text in texts))
    return patterns


def test_the_overview_is_drawn_from_its_source() -> None:
    drawn = ET.parse(PICTURES / "overview.svg").getroot().attrib["data-source-sha256"]
    source = (PICTURES / "overview.d2").read_bytes()
    assert drawn == hashlib.sha256(source).hexdigest(), "overview.d2 has changed: run `make picture`"


@pytest.mark.parametrize("picture", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_asks_for_nothing_from_elsewhere(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    assert re.findall(r"(?:href=|src=|url\(|@import)\s*+[\"']?+(?!#|data:)\S+", text) == []


def test_the_recording_shows_what_the_demonstration_says_today() -> None:
    patterns = [r"\w+'s \w+", *said(ROOT / "local" / "demo.py")]
    lines = shown(PICTURES / "demo.svg")
    checks = [line.removeprefix("ok").strip() for line in lines if line.startswith("ok ")]
    titles = [after for before, after in pairwise(lines) if before == "..."]
    assert len(checks) > 10
    assert len(titles) > 3
    for line in [*checks, *titles]:
        spoken = any(re.fullmatch(rf"{pattern}(: .*)?(  \(.* s\))?", line) for pattern in patterns)
        assert spoken, f"local/demo.py does not say {line!r}: run `make recording`"
