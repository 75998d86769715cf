"""The pages run: code, study files and commands, page by page, in a folder of their own.

A fenced block is taken by its language and what follows it:

- ``python``: executed; the blocks of a page share one namespace,
- ``toml`` with ``format = 1``: loaded as a study file,
- ``console``: each line ``$ archwright …`` must exit with 0; ``> file`` writes its output,
- ``title="name"``: the block is written to that file first, and Python is then not executed,
- ``no-run``: left alone.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAX_SIMULATOR_LINES = 40


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    info: str
    text: str

    @property
    def title(self) -> str | None:
        found = re.search(r'title="([^"]+)"', self.info)
        return found[1] if found else None

    @property
    def runs(self) -> bool:
        return "no-run" not in self.info.split()

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}, line {self.line}"


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        fence = re.match(r"( *)```(\w+)(.*)$", line)
        if fence is None:
            continue
        indent, language, info = fence.groups()
        inside = []
        for _, text in lines:
            if text.strip() == "```":
                break
            inside.append(text.removeprefix(indent))
        found.append(Block(page, number, language, info, "\n".join(inside) + "\n"))
    return found


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder to run a page in; what the page imports from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def run_command(line: str) -> tuple[int, str]:
    """Run ``archwright …``, with ``> file`` if it stands there."""
    from archwright.cli import main

    words = shlex.split(line, comments=True)
    target = None
    if ">" in words:
        at = words.index(">")
        words, target = words[:at], words[at + 1]
    out = io.TextIOWrapper(io.BytesIO(), write_through=True)
    errors = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main(words[1:])
    assert isinstance(out.buffer, io.BytesIO)
    data = out.buffer.getvalue()
    if target is not None:
        Path(target).write_bytes(data)
    return code, data.decode() + errors.getvalue()


def run_console(block: Block) -> None:
    for line in block.text.splitlines():
        if line.startswith("$ archwright "):
            code, output = run_command(line.removeprefix("$ "))
            assert code == 0, f"{block}: {line}: exit {code}\n{output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs(page: Path, workplace: Path) -> None:
    from archwright.search.study_file import load_study_file

    namespace: dict[str, object] = {"__name__": "page"}
    for block in blocks(page):
        if not block.runs:
            continue
        if block.title is not None:
            (workplace / block.title).write_text(block.text)
        if block.language == "toml" and re.search(r"^format = 1$", block.text, re.MULTILINE):
            path = workplace / (block.title or f"study-{block.line}.toml")
            path.write_text(block.text)
            load_study_file(path)
        elif block.language == "python" and block.title is None:
            source = "\n" * block.line + block.text  # tracebacks then name the page's lines
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(source, str(page), "exec"), namespace)
        elif block.language == "console":
            run_console(block)


def test_the_environment_page_needs_at_most_40_lines() -> None:
    page = ROOT / "docs" / "add-environment.md"
    sources = [b for b in blocks(page) if b.language == "python" and b.title == "batching.py"]
    assert len(sources) == 1
    assert len(sources[0].text.splitlines()) <= MAX_SIMULATOR_LINES


def test_the_papers_page_lists_the_catalogue() -> None:
    from archwright.papers import catalogue

    rows = [f"| `{p.slug}` | {p.state} | {p.year} | {p.room} | {p.title} |" for p in catalogue()]
    page = (ROOT / "docs" / "papers.md").read_text()
    found = [line for line in page.splitlines() if re.match(r"\| `[\w-]+` \| ", line)]
    assert found == rows, "docs/papers.md should list:\n" + "\n".join(rows)


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES[1:]:
        assert f": {page.relative_to(ROOT / 'docs')}\n" in text
