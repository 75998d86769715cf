"""ArchGym: the space, the rules of its findings, and the reproduction at quick size."""

from __future__ import annotations

import pytest

from archwright.papers import archgym, as_declared
from archwright.search.sweep import Run, SweepResult


def test_the_space_is_the_grid_of_the_paper() -> None:
    """442,368 controllers, of the registered environment."""
    environment = archgym.controller_environment("random", 200)
    assert environment.space.size == 442_368
    assert {"latency_s", "power_w"} < {metric.name for metric in environment.metrics}


def result(**medians: list[float]) -> SweepResult:
    """A sweep whose settings have these medians."""
    runs = [
        Run(
            searcher=name, setting=i, options={}, seed=s, best=value, curve=(value,),
            evaluations=1, trials=1, seconds=0.0, stopped="",
        )
        for name, values in medians.items()
        for i, value in enumerate(values)
        for s in range(3)
    ]  # fmt: skip
    return SweepResult(tuple(runs), "loss")


AGENTS = ("genetic_gray", "ant_colony", "regularized_evolution", "annealing")


def test_the_rules_can_fail() -> None:
    """Equal settings are no lottery; an agent far behind, or behind random search, has lost."""
    alike = {name: [1.0, 1.0] for name in AGENTS}
    wide = {name: [1.0, 1.5] for name in AGENTS}
    behind = wide | {"annealing": [1.2, 1.5]}

    def verdicts(random: float, medians: dict[str, list[float]]) -> tuple[str, str]:
        sweeps = {("t", "m"): result(random=[random], **medians)}
        return archgym.lottery(sweeps).verdict, archgym.tuned_agents(sweeps).verdict

    assert verdicts(1.1, wide) == ("holds", "holds")
    assert verdicts(1.1, alike) == ("does not hold", "holds")
    assert verdicts(1.3, behind)[1] == "does not hold"
    assert verdicts(0.9, wide)[1] == "does not hold"


@pytest.mark.reproduce
def test_every_finding_is_as_declared() -> None:
    """At quick size."""
    assert as_declared(archgym.reproduce("quick", 0))
