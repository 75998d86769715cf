"""What a study ends with: answer, counts, title; one point for equal designs; no empty chart."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from archwright.explain import comparison, figures, render
from archwright.explain.closing import asked, closing
from archwright.explain.columns import points
from archwright.explain.compose import answer, compose, compose_comparison, title_of
from archwright.search import Bars, Choice, Facts, Goal, ParameterSpace, Real, Table
from archwright.search.amounts import amount
from archwright.search.panels import Headline
from explain.environments import Formula, mixed, run

GOAL = {"minimize": ["cost"], "maximize": ["quality"]}


def tied(*, limit=2.0):
    """Costs and qualities that do not depend on the color: each point is three designs."""
    space = ParameterSpace(
        {"size": Choice([1, 2, 3]), "color": Choice(["red", "green", "blue"]), "x": Real(0, 1)}
    )

    def formula(designs):
        size = np.asarray(designs["size"], float)
        return {"cost": size, "quality": np.sqrt(size)}

    return Formula(
        space, formula, ("cost", "quality"), infeasible=lambda d: np.asarray(d["x"]) > limit
    )


class Speaking(Formula):
    """An environment that speaks for its designs."""

    def __init__(self, describe="1 × A serves it", headline=None, panels=()):
        base = tied()
        super().__init__(base.space, base._formula, ("cost", "quality"))
        self._said = describe, headline, panels

    def describe(self, design):
        return self._said[0]

    def headline(self, design):
        return self._said[1]

    def panels(self, design):
        return list(self._said[2])


def page(result, environment, goal=None):
    goal = goal or Goal(**GOAL)
    return render(compose(result, environment, goal, command="again", title="mine"))


def test_designs_of_equal_metrics_are_one_point_everywhere() -> None:
    """Figure, table, hover, caption, comparison and terminal agree: three points of 60 designs."""
    environment, goal = tied(), Goal(**GOAL)
    result = run(environment, trials=60, **GOAL)
    assert len(result.front) == 60
    assert len(points(result)) == 3
    assert closing(result, environment, goal).counts.startswith("60 designs, 3 on the front; ")

    front = compose(result, environment, goal, command="", title="").front
    assert front is not None
    assert len(front.x) == 3
    assert sorted(front.x) == [1.0, 2.0, 3.0]
    assert all("; " in words and " more\n" in words for words in front.hover)
    text = page(result, environment)
    assert "3 points: 3 on the front, 0 dominated, 0 that break a limit." in text

    drawn = next(trace for trace in figures.front(result).data if trace.name == "front")
    assert len(drawn.x) == 3
    assert all(re.match(r"trials \d+, \d+", note) for note in drawn.hovertext)
    table = comparison({"a": result})
    assert table.rows[0][table.columns.index("front")] == 3


def test_an_unknown_metric_is_neither_dominated_nor_outside_the_view() -> None:
    """It is counted apart, wherever its other metric lies."""
    space = ParameterSpace({"x": Real(0.0, 1.0)})

    def formula(designs):
        x = np.asarray(designs["x"])
        return {"cost": 100.0 * (x > 0.5) + x, "quality": np.where(x > 0.5, np.nan, x)}

    environment = Formula(space, formula, ("cost", "quality"))
    result = run(environment, trials=50, **GOAL)
    lost = int(np.isnan(result.metric("quality")).sum())
    text = page(result, environment)
    assert f"{lost} not drawn for want of a metric." in text
    assert "0 dominated, 0 that break a limit" in text
    assert "lie outside this view" not in text
    assert "listed apart" in text.lower()


@pytest.mark.parametrize("trials", [30, 0])
def test_nothing_feasible_or_no_trial_draws_no_empty_chart(trials) -> None:
    """No front, no progress, no table of best designs; the page says why."""
    environment = mixed(limit=-1.0)
    result = run(environment, trials=30, **GOAL)
    if not trials:
        empty = result.table.slice(0, 0)
        result = type(result)(empty, result.schema, "no time", None, (), result.study)
    content = compose(result, environment, Goal(**GOAL), command="", title="t")
    assert content.front is None
    assert content.best_per_metric is None
    text = render(content)
    for empty_part in ("The front", "How the search went", "Best design for each metric"):
        assert empty_part not in text
    assert ("No design was tried." if not trials else "None of 30 designs") in text
    assert text.count('class="plot"') == (1 if trials else 0)  # trials over time, by state
    both = compose_comparison({"a": result, "b": result}, command="")
    assert [s.title for s in both.sections] == ["The runs"]


def test_a_limit_that_all_break_draws_no_empty_chart() -> None:
    """The metrics are known, but no design is feasible."""
    goal = {"minimize": ["cost"], "subject_to": ["cost <= 0.5"]}
    result = run(tied(), trials=30, **goal)
    text = page(result, tied(), Goal(**goal))
    assert "broken by 30 of 30 designs" in text
    assert "How the search went" not in text


def test_empty_panels_are_left_out() -> None:
    """Bars of nothing, a table without rows, facts without items."""
    panels = [
        Bars(title="no bars", labels=[], series={"s": []}),
        Bars(title="unknown bars", labels=["a"], series={"s": [float("nan")]}),
        Table(title="no rows", columns=["a"]),
        Facts(title="no facts", items=[]),
        Facts(title="a fact", items=["true"]),
    ]
    environment = Speaking(panels=panels)
    content = compose(
        run(environment, trials=9, **GOAL), environment, Goal(**GOAL), command="", title="t"
    )
    assert [panel.title for panel in content.panels] == ["a fact"]


def test_a_study_of_one_goal_makes_sense() -> None:
    """No front in the counts or on the page; the best value by its name."""
    environment, goal = mixed(), Goal(minimize=["cost"])
    result = run(environment, trials=40, minimize=["cost"])
    counts = closing(result, environment, goal).counts
    assert counts == "40 designs; the budget of 40 evaluations is used"
    text = page(result, environment, goal)
    assert "<h2>The front</h2>" not in text
    assert "<h1>mine: cost</h1>" in text
    assert "How the search went" in text


def test_a_phrase_follows_what_was_asked_and_a_sentence_stands_alone() -> None:
    """``Best of N designs for cost and quality: …`` or the environment's own sentence."""
    goal = Goal(**GOAL)
    phrase, whole = Speaking("1 × A serves it"), Speaking("Rent 1 × A.\nIt holds 1 s.")
    result = run(phrase, trials=9, **GOAL)
    assert answer(result, phrase, goal) == (
        "Best of 9 designs for cost and quality: 1 × A serves it."
    )
    assert answer(result, whole, goal) == "Rent 1 × A.\nIt holds 1 s."
    text = page(result, whole)
    assert '<p class="answer">Rent 1 × A.</p>' in text
    assert '<p class="more-answer">It holds 1 s.</p>' in text


def test_titles_tell_studies_apart() -> None:
    """Name, metrics, and what was designed: of the headline, or of the study file."""
    goal = Goal(**GOAL)
    plain, told = tied(), Speaking(headline=Headline(subject="serving chat at 20 requests/s"))
    result = run(plain, trials=9, **GOAL)
    assert asked(plain, goal) == "cost and quality"
    assert title_of("a", result, plain, goal) == "a: cost and quality"
    assert title_of("a", result, told, goal) == (
        "a: cost and quality of serving chat at 20 requests/s"
    )
    study = {"environment": {"name": "memory/dram", "requests": 500, "vary": {"x": [1]}}}
    stored = type(result)(result.table, result.schema, "", None, (), study)
    assert title_of("a", stored, plain, goal) == (
        "a: cost and quality of memory/dram (requests 500)"
    )


def test_the_headline_orders_the_page() -> None:
    """Sentence, box, dollars, alternatives; leading panels before the front, others after."""
    headline = Headline(
        figures=[("An hour", "$10.60")],
        table=Table(
            title="Limits",
            columns=["limit", "planned", "chance to hold"],
            rows=[["P99 TTFT", "864 ms", "56 %"], ["mean TPOT", "38 ms", "over 99 %"]],
        ),
        lines=["Safe plan: 2 × A."],
        lead=1,
    )
    panels = [Facts(title="What to rent", items=["a"]), Facts(title="What binds", items=["b"])]
    environment = Speaking("Rent it.", headline, panels)
    text = page(run(environment, trials=9, **GOAL), environment)
    body = text[text.index("<body>") :]
    parts = ["Rent it.", "P99 TTFT", "An hour", "Safe plan: 2", "What to rent", "The front",
             "What binds", "Repeat it"]  # fmt: skip
    places = [body.index(part) for part in parts]
    assert places == sorted(places)
    assert re.findall(r'<strong class="doubt">(.*?)</strong>', body) == ["56 %"]


def test_numbers_are_written_as_people_write_them() -> None:
    """No float of 17 digits, no nan, seconds in milliseconds with the axis in them."""
    space = ParameterSpace({"x": Real(0.0, 1.0)})

    def formula(designs):
        x = np.asarray(designs["x"])
        return {"latency_s": 0.01 + x / 30, "energy_j": 1e-6 / (0.1 + x)}

    environment = Formula(space, formula, ("latency_s", "energy_j"))
    environment.metrics = tuple(
        type(m)(m.name, unit, "") for m, unit in zip(environment.metrics, ("s", "J"), strict=True)
    )
    goal = {"minimize": ["latency_s", "energy_j"]}
    result = run(environment, trials=40, **goal)
    content = compose(result, environment, Goal(**goal), command="", title="t")
    assert content.front is not None
    assert content.front.x_axis == "latency_s [ms]"
    assert content.front.y_axis == "energy_j [µJ]"
    assert 10 <= np.min(content.front.x) <= 45
    words = re.sub(r"<script.*?</script>|<style.*?</style>", "", render(content), flags=re.S)
    assert not re.search(r"\d\.\d{9}|\bnan\b", words)
    assert re.search(r"latency_s = [\d.]+ ms, energy_j = [\d.]+ (µJ|nJ)", content.answer)
    json.dumps(content.answer)


def test_a_memory_controller_is_named_with_its_goal() -> None:
    """Scheduler and page policy in the words of the field, time and energy with SI prefixes."""
    from archwright.memory.dram.environment import dram_controller

    environment = dram_controller(requests=200, workload="stream")
    result = run(environment, trials=12, minimize=["latency_s"])
    text = answer(result, environment, Goal(minimize=["latency_s"]))
    assert re.match(
        r"Best of 12 designs for latency: (FR-FCFS|FIFO).* with an? (adaptive )?(open|closed) "
        r"page policy, .*: 200 requests in [\d.]+ (ns|µs) at [\d.]+ (nJ|µJ) \(",
        text,
    ), text
    best = result.metric("latency_s").min()
    assert amount(best, "s") in text
