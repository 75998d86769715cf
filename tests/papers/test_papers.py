"""The catalogue, the contract of a reproduction, and the first of them."""

from __future__ import annotations

import json

import pytest

from archwright.cli import main
from archwright.errors import SpecificationError
from archwright.papers import Finding, as_declared, catalogue, melange, paper, reproduce
from archwright.papers.contract import judge, not_run
from archwright.serving import plan_fleet

KEYS = ["id", "claim", "source", "ours", "rule", "verdict", "expected"]


def finding(**changes: str) -> Finding:
    """A finding that holds, changed."""
    fields = {"id": "a", "claim": "c", "source": "s", "ours": "o", "rule": "r", "verdict": "holds"}
    return Finding(**(fields | changes))  # type: ignore[arg-type]


def test_the_catalogue_has_48_systems_and_their_state_is_computed() -> None:
    """Every slug once; a system works where its file exists."""
    slugs = [one.slug for one in catalogue()]

    assert len(slugs) == len(set(slugs)) == 48
    assert paper("melange").state == "works"
    assert paper("dualmap").state == "planned"
    assert all(1990 < one.year < 2030 and one.room and one.title for one in catalogue())


def test_a_wrong_slug_names_the_nearest_and_a_planned_one_what_works() -> None:
    """Both are a user's mistake with one line."""
    with pytest.raises(SpecificationError, match=r"unknown paper 'melagne' .nearest: 'melange'"):
        reproduce("melagne")
    with pytest.raises(SpecificationError, match=r"planned, not built yet; these work: .*melange"):
        reproduce("dualmap")
    with pytest.raises(SpecificationError, match="unknown size 'huge'"):
        reproduce("melange", size="huge")  # type: ignore[arg-type]


def test_findings_are_as_declared_only_where_each_verdict_is() -> None:
    """A failure counts unless it was declared, with its reason; data that is missing does not."""
    failed = finding(verdict="does not hold")
    declared = finding(verdict="does not hold", expected="does not hold", note="no hardware here")
    missing = not_run("b", claim="c", source="s", rule="r", missing="trace.csv")

    assert as_declared([finding(), declared, missing])
    assert not as_declared([finding(), failed])
    assert not as_declared([finding(expected="does not hold", note="why")])
    with pytest.raises(SpecificationError, match="needs a note"):
        finding(expected="does not hold")
    assert judge(False) == "does not hold"


def test_a_plan_that_is_too_dear_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The brute-force finding can fail."""

    def careless(*arguments: object, **options: object) -> object:
        from dataclasses import replace

        found = plan_fleet(*arguments, **options)  # type: ignore[arg-type]
        return replace(found, cost_per_hour=found.cost_per_hour + 1e-3)

    monkeypatch.setattr(melange, "plan_fleet", careless)

    assert melange.brute_force(instances=4, seed=0).verdict == "does not hold"
    assert melange.published_example().verdict == "does not hold"


@pytest.mark.reproduce
def test_melange_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """All four findings hold at quick size, and the JSON has exactly the keys of the contract."""
    assert main(["reproduce", "melange", "--json"]) == 0

    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == [
        "published-example", "staircase", "brute-force", "azure-saving",
    ]  # fmt: skip
    assert all(list(row) == KEYS for row in rows)
    assert {row["verdict"] for row in rows} == {"holds"}


def test_one_slug_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither and both are mistakes."""
    assert main(["reproduce"]) == 2
    assert main(["reproduce", "melange", "--all"]) == 2
    assert "give one SLUG, or --all" in capsys.readouterr().err
