"""The published systems: a catalogue of all 48, and one reproduction a system that works."""

from __future__ import annotations

import importlib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from archwright.errors import SpecificationError, unknown
from archwright.papers.contract import Finding, Size, as_declared

__all__ = ["Finding", "Paper", "as_declared", "catalogue", "paper", "reproduce"]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One published system.

    Attributes:
        slug: short name.
        title: title of the paper.
        year: year of its first public version.
        room: where the system lives.
        what: what it is, in a few words.
    """

    slug: str
    title: str
    year: int
    room: str
    what: str

    @property
    def module(self) -> str:
        """Name of the module that reproduces it."""
        return self.slug.replace("-", "_")

    @property
    def state(self) -> Literal["works", "planned"]:
        """``works`` where its reproduction exists."""
        return "works" if (_FOLDER / f"{self.module}.py").exists() else "planned"


@cache
def catalogue() -> tuple[Paper, ...]:
    """Return all 48 systems, in the order in which they were planned.

    >>> len(catalogue())
    48
    """
    table = tomllib.loads((_FOLDER / "catalogue.toml").read_text("utf-8"))
    return tuple(Paper(slug=slug, **row) for slug, row in table.items())


def paper(slug: str) -> Paper:
    """Return one system.

    Raises:
        SpecificationError: no such slug; the message names the nearest.
    """
    known = {one.slug: one for one in catalogue()}
    if slug not in known:
        raise SpecificationError(unknown("paper", slug, known))
    return known[slug]


def reproduce(slug: str, *, size: Size = "quick", seed: int = 0) -> list[Finding]:
    """Compute the findings of a paper anew.

    Args:
        slug: the paper.
        size: ``quick`` takes under about a minute on two cores, ``full`` what it needs.
        seed: seed of everything drawn.

    Raises:
        SpecificationError: no such slug, size or seed, or a system that is only planned.
    """
    one = paper(slug)
    if size not in get_args(Size):
        raise SpecificationError(f"size: {unknown('size', size, get_args(Size))}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SpecificationError(f"seed: {seed!r}, expected a whole number from 0")
    if one.state != "works":
        works = ", ".join(p.slug for p in catalogue() if p.state == "works")
        raise SpecificationError(f"{slug}: planned, not built yet; these work: {works}")
    module = importlib.import_module(f"archwright.papers.{one.module}")
    findings: list[Finding] = module.reproduce(size, seed)
    return findings
