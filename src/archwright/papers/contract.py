"""What a reproduction says: a claim, the source's number, ours, a rule fixed beforehand.

A module ``papers/<slug>.py`` defines ``reproduce(size, seed) -> list[Finding]``. Findings are
computed each time and never stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from archwright.errors import SpecificationError

__all__ = ["Finding", "Size", "Verdict", "as_declared", "judge", "not_run"]

Size = Literal["quick", "full"]
Verdict = Literal["holds", "does not hold", "not run"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim, tried.

    Attributes:
        id: short name, unique within the paper.
        claim: what the source says, in a sentence.
        source: its number and setting.
        ours: what was computed now.
        rule: when the claim counts as holding; fixed in code before the result is known.
        verdict: ``holds``, ``does not hold`` or ``not run``.
        expected: the verdict that is declared; one other than ``holds`` needs ``note``.
        note: the reason for an expected failure, or the file that is missing.
    """

    id: str
    claim: str
    source: str
    ours: str
    rule: str
    verdict: Verdict
    expected: Verdict = "holds"
    note: str = ""

    def __post_init__(self) -> None:
        if self.expected != "holds" and not self.note:
            raise SpecificationError(
                f"finding {self.id!r}: expected {self.expected!r} needs a note"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the fields that ``archwright reproduce --json`` prints."""
        names = ("id", "claim", "source", "ours", "rule", "verdict", "expected")
        return {name: getattr(self, name) for name in names}


def judge(holds: bool) -> Verdict:
    """Return the verdict of a rule."""
    return "holds" if holds else "does not hold"


def not_run(id: str, *, claim: str, source: str, rule: str, missing: str) -> Finding:
    """Return a finding that lacks its data, naming the file."""
    return Finding(
        id=id, claim=claim, source=source, ours="", rule=rule, verdict="not run", note=missing
    )


def as_declared(findings: list[Finding]) -> bool:
    """Say whether there are findings and every verdict is the declared one."""
    return bool(findings) and all(f.verdict == f.expected for f in findings)
