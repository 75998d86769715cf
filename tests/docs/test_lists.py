"""Lists of the documentation against what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from archwright.registry import entries

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "section"), [("search-methods.md", "## All of them"), ("search.md", "## Searchers")]
)
def test_every_searcher_is_listed(page: str, section: str) -> None:
    """All that are registered by us, none else, each once."""
    text = (DOCS / page).read_text().split(section)[1].split("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cell = 1 if page == "search-methods.md" else 2
    found = [name for row in rows for name in re.findall(r"`([a-z0-9_]+)`", row.split("|")[cell])]
    ours = [entry.name for entry in entries("searchers").values() if entry.package == "archwright"]
    assert sorted(found) == sorted(ours)


def test_the_home_links_every_page_of_a_layer() -> None:
    """And every other page of the navigation."""
    navigation = (DOCS.parent / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    layers = re.findall(r"^      - .*: (\S+\.md)$", navigation, re.MULTILINE)
    pages = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    assert len(layers) > 8 and set(layers) < set(pages)
    linked = set(re.findall(r"\]\(([\w-]+\.md)", (DOCS / "index.md").read_text()))
    assert set(pages) - {"index.md"} == linked
