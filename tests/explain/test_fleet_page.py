"""The fleet's first screen: what decides, in the order and the numbers in which people read it."""

from __future__ import annotations

import re

import pytest

from archwright.explain.closing import closing
from archwright.explain.compose import compose
from archwright.explain.report import render
from archwright.search import Budget, Choice, Exhaustive, Goal, Study
from archwright.serving import fleet_environment

GOAL = Goal(minimize=["cost_usd_per_hour"], maximize=["quality"])


def studied(**options):
    environment = fleet_environment(
        **{
            "rate_per_s": 10.0,
            "limits": {"ttft_p99_s": 1.0, "tpot_mean_s": 0.05},
            "devices": ["L4", "L40S", "H100-SXM"],
            "tensor_parallel": [1],
            "vary": {
                "model": Choice(["Llama-3.1-8B"]),
                "weights": Choice(["fp8"]),
                "kv": Choice(["bf16"]),
                "max_batch": Choice([128, 256]),
            },
            **options,
        }
    )
    result = Study(environment, GOAL, Exhaustive(), budget=Budget(evaluations=9)).run()
    return result, environment


@pytest.fixture(scope="module")
def page():
    today = {"fleet": {"H100-SXM": 4}, "model": "Llama-3.1-8B"}
    result, environment = studied(today=today)
    end = closing(result, environment, GOAL)
    return end, render(compose(result, environment, GOAL, command="again", title="mine"))


def test_the_sentence_is_short_and_the_lines_below_hold_the_doubt(page) -> None:
    """What to rent and for how much; then each limit with value, interval and chance."""
    end, _ = page
    first, second, *_ = end.answer.splitlines()
    assert re.fullmatch(
        r"Rent \d+ × .* from \S+ .* for \$[\d,.]+ an hour \(\$[\d,]+ a month\) to serve 10 "
        r"requests/s with Llama-3.1-8B in fp8\.",
        first,
    )
    limit = r"{} [\d.]+ m?s \([^;()]+ to [^;()]+; [^;()]+ % to stay within {}\)"
    for words, at_most in (("P99 TTFT", "1 s"), ("mean TPOT", "50 ms")):
        assert re.search(limit.format(words, at_most), second), second


def test_the_terminal_has_the_limits_the_safe_plan_and_three_clouds(page) -> None:
    """Without a cloud named, each is planned; the table fits 80 columns."""
    table = page[0].headline.table
    widths = [
        max(len(str(row[i])) for row in [table.columns, *table.rows])
        for i in range(len(table.columns))
    ]
    assert sum(widths) + 2 * (len(widths) - 1) <= 80
    assert [row[0] for row in table.rows] == ["P99 TTFT", "Mean TPOT"]
    safe, clouds = page[0].headline.brief
    assert "90 %" in safe
    assert clouds.startswith("Cheapest clouds, dollars an hour: ")
    prices = [float(x.replace(",", "")) for x in re.findall(r"\$([\d,.]+\d)", clouds)]
    assert len(prices) == 3
    assert prices == sorted(prices)


def test_the_page_decides_first(page) -> None:
    """Sentence, box, dollars, alternatives, nodes, who serves what, front, what binds, sources."""
    end, text = page
    body = text[text.index("<body>") :]
    parts = [
        "mine: cost and quality of serving builtin:chat at 10 requests/s</h1>",
        end.answer.splitlines()[0].replace("'", "&#39;"),
        "chance to hold</th>", "<dt>An hour</dt>", "<dt>A million input tokens</dt>",
        "single accelerator type", "afe plan", "Today: 4 × H100-SXM (",
        "Cheapest clouds", "<h2>What to rent</h2>", "<h2>Who serves what</h2>",
        "<h2>The front</h2>", "<h2>What binds</h2>", "<h2>What the answer stands on</h2>",
    ]  # fmt: skip
    places = [body.index(part) for part in parts]
    assert places == sorted(places)
    words = re.sub(r"<script.*?</script>", "", body, flags=re.S)
    assert not re.search(r"\d%|\bnan\b|\binf\b|\d\.\d{7}|\$\d+\.\d(?!\d)", words)


def test_an_interval_without_end_is_called_overload() -> None:
    """In the sentence and the box, with a note; plain data has null."""
    result, environment = studied(cloud="aws", rate_per_s=40.0, limits={"ttft_p99_s": 1.0})
    design = result.design(result.best())
    answer = environment.solved(design)
    head = environment.headline(design)
    endless = answer.limits[0].value.high == float("inf")
    assert ("to overload" in environment.describe(design)) == endless
    assert ("Overload:" in head.table.note) == endless
    assert (environment.answer(design)["limits"][0]["high"] is None) == endless
    assert head.brief == [line for line in head.lines if "90 %" in line][:1]
