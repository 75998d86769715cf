"""``archwright reproduce`` and ``papers``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from archwright.cli.completion import names
from archwright.cli.options import command
from archwright.cli.tables import print_table


def add(name: str, commands: Any, line: str) -> None:
    """Add one of the two commands."""
    if name == "papers":
        parser = command(commands, name, line, _papers, "archwright papers")
    else:
        parser = command(commands, name, line, _reproduce, "archwright reproduce melange")
        slug = parser.add_argument(
            "slug", nargs="?", metavar="SLUG", help="the paper; see 'archwright papers'"
        )
        slug.completer = names("papers")  # type: ignore[attr-defined]
        parser.add_argument("--all", action="store_true", help="every paper that works")
        parser.add_argument("--size", choices=["quick", "full"], default="quick")
        parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _papers(options: argparse.Namespace) -> int:
    from archwright.papers import catalogue

    rows = [[p.slug, p.state, p.year, p.room, p.title] for p in catalogue()]
    print_table(["slug", "state", "year", "room", "title"], rows, as_json=options.json)
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from archwright.errors import SpecificationError
    from archwright.papers import as_declared, catalogue, reproduce

    if options.all == (options.slug is not None):
        raise SpecificationError("reproduce: give one SLUG, or --all")
    works = [paper.slug for paper in catalogue() if paper.state == "works"]
    good = True
    records = []
    for slug in works if options.all else [options.slug]:
        findings = reproduce(slug, size=options.size, seed=options.seed)
        good = good and as_declared(findings)
        for finding in findings:
            if options.json:
                records.append(finding.to_json())
                continue
            print(f"{slug}/{finding.id}: {finding.verdict}")
            print(f"  claim   {finding.claim}")
            print(f"  source  {finding.source}")
            print(f"  ours    {finding.ours}")
            print(f"  rule    {finding.rule}")
            if finding.note:
                print(f"  note    {finding.note}")
    if options.json:
        print(json.dumps(records, indent=1))
    return 0 if good else 1
