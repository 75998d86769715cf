"""The catalogue, the contract of a reproduction, and the first of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from archwright.cli import main
from archwright.errors import SpecificationError
from archwright.papers import Finding, as_declared, catalogue, melange, paper, reproduce
from archwright.papers.contract import judge, not_run
from archwright.serving import plan_fleet

SYSTEMS = {
    "archgym": (2023, "search/, memory/dram"),
    "melange": (2024, "serving/fleet"),
    "dualmap": (2026, "serving/routers"),
    "wrp": (2026, "serving/"),
    "coe": (2024, "serving/experts"),
    "sn40l": (2024, "llm/dataflow, serving/experts"),
    "marl-dse": (2022, "search/searchers"),
    "nasaic": (2020, "chips/accelerator, nn/nas"),
    "codesign-law": (2026, "llm/"),
    "qeil": (2026, "llm/, search/searchers"),
    "heteroinfer": (2025, "llm/soc"),
    "fenghuang": (2025, "llm/paging"),
    "holmes": (2023, "training/"),
    "zyphra-amd": (2025, "training/"),
    "hwnas-survey": (2021, "nn/nas, search/"),
    "pc-darts": (2019, "nn/nas"),
    "sharpdarts": (2019, "nn/nas"),
    "gm-nas": (2022, "nn/nas"),
    "eas": (2017, "nn/nas"),
    "fsap": (2025, "nn/nas"),
    "lowformer": (2024, "nn/vision"),
    "ascan": (2024, "nn/vision"),
    "spartan": (2025, "nn/vision"),
    "bibench": (2023, "formats/, nn/quantized"),
    "sherry": (2026, "formats/, nn/quantized"),
    "sail": (2025, "chips/"),
    "flashmoba": (2025, "kernels/"),
    "hipkittens": (2025, "kernels/"),
    "stream-cpp": (2016, "kernels/"),
    "gpu-core": (2025, "chips/"),
    "hopper-bench": (2024, "hardware/"),
    "intar": (2025, "chips/"),
    "snn-edge": (2025, "chips/"),
    "mg-verilog": (2024, "chips/rtl"),
    "nps": (2021, "nn/slots"),
    "cycle-slots": (2023, "nn/slots"),
    "slotcurri": (2026, "nn/slots"),
    "slotcon": (2022, "nn/slots"),
    "slot-tta": (2022, "nn/slots"),
    "ddm": (2025, "nn/diffusion, training/"),
    "aptp": (2024, "nn/diffusion"),
    "turbomem": (2026, "memory/"),
    "bolt": (2025, "memory/"),
    "aeon": (2026, "agentic/"),
    "budgetmem": (2026, "agentic/"),
    "agent-scaling": (2026, "agentic/"),
    "edge-reasoning": (2026, "agentic/, nn/"),
    "atraf": (2025, "explain/"),
}

KEYS = ["id", "claim", "source", "ours", "rule", "verdict", "expected"]


def finding(**changes: str) -> Finding:
    """A finding that holds, changed."""
    fields = {"id": "a", "claim": "c", "source": "s", "ours": "o", "rule": "r", "verdict": "holds"}
    return Finding(**(fields | changes))  # type: ignore[arg-type]


def test_the_catalogue_has_48_systems_and_their_state_is_computed() -> None:
    """Every slug once; a system works where its file exists."""
    slugs = [one.slug for one in catalogue()]

    assert len(slugs) == 48
    assert {one.slug: (one.year, one.room) for one in catalogue()} == SYSTEMS
    assert paper("melange").state == "works"
    assert paper("dualmap").state == "planned"
    assert all(one.title and one.what for one in catalogue())


def test_a_wrong_slug_names_the_nearest_and_a_planned_one_what_works() -> None:
    """Both are a user's mistake with one line."""
    with pytest.raises(SpecificationError, match=r"unknown paper 'melagne' .nearest: 'melange'"):
        reproduce("melagne")
    with pytest.raises(SpecificationError, match=r"planned, not built yet; these work: .*melange"):
        reproduce("dualmap")
    with pytest.raises(SpecificationError, match="unknown size 'huge'"):
        reproduce("melange", size="huge")  # type: ignore[arg-type]
    with pytest.raises(SpecificationError, match="seed: -1, expected a whole number from 0"):
        reproduce("melange", seed=-1)


def test_findings_are_as_declared_only_where_each_verdict_is() -> None:
    """A failure counts unless it was declared, with its reason; so does what was not run."""
    failed = finding(verdict="does not hold")
    declared = finding(verdict="does not hold", expected="does not hold", note="no hardware here")
    missing = not_run("b", claim="c", source="s", rule="r", missing="trace.csv")

    assert as_declared([finding(), declared])
    assert not as_declared([finding(), missing])
    assert not as_declared([])
    assert not as_declared([finding(), failed])
    assert not as_declared([finding(expected="does not hold", note="why")])
    with pytest.raises(SpecificationError, match="needs a note"):
        finding(expected="does not hold")
    assert judge(False) == "does not hold"


def test_a_plan_that_is_too_dear_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The brute-force finding can fail."""

    def careless(*arguments: object, **options: object) -> object:
        found = plan_fleet(*arguments, **options)  # type: ignore[arg-type]
        return replace(found, cost_per_hour=found.cost_per_hour + 1e-3)

    monkeypatch.setattr(melange, "plan_fleet", careless)

    assert melange.brute_force(instances=4, seed=0).verdict == "does not hold"
    assert melange.published_example().verdict == "does not hold"


def test_a_mix_dearer_than_one_type_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The saving finding can fail, and says which type has no fleet of its own."""

    def careless(shares: object, gpus: dict[str, object], rate: float) -> object:
        found = plan_fleet(shares, gpus, rate)  # type: ignore[arg-type]
        extra = 1.5 if len(gpus) > 1 else 1.0
        return replace(found, cost_per_hour=found.cost_per_hour * extra)

    monkeypatch.setattr(melange, "plan_fleet", careless)

    found = melange.azure_saving()
    assert found.verdict == "does not hold"
    assert "L4 cannot serve it alone" in found.ours


def test_a_staircase_with_a_step_elsewhere_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The staircase finding can fail."""

    def slow(shares: object, gpus: dict[str, object], rate: float) -> object:
        return plan_fleet(shares, gpus, 2 * rate)  # type: ignore[arg-type]

    monkeypatch.setattr(melange, "plan_fleet", slow)

    assert melange.staircase().verdict == "does not hold"


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
