from __future__ import annotations

import math
from pathlib import Path

import pytest

from archwright.errors import SpecificationError, TraceError
from archwright.hardware.tables import catalogue_rows
from archwright.llm import own_scores, score
from archwright.llm.quality import quality


def test_makers_report_comes_first() -> None:
    chosen = score("Llama-3.3-70B", "MATH")
    assert chosen is not None
    assert (chosen.value, chosen.by_maker) == (77.0, True)
    assert {other.value for other in chosen.alternatives} >= {71.8, 66.3}


def test_then_the_newest() -> None:
    chosen = score("Qwen2.5-0.5B", "MMLU-Pro", "base")  # both from the maker
    assert chosen is not None
    assert (chosen.value, chosen.source.date) == (15.69, "2025-05-14")
    assert [other.value for other in chosen.alternatives] == [15.7]


def test_another_makers_harness_is_not_the_makers_report() -> None:
    chosen = score("Gemma-2-27B")
    assert chosen is not None and not chosen.by_maker


def test_every_choice_is_one_row_of_the_catalogue() -> None:
    for row in catalogue_rows("archwright.llm", "scores.csv"):
        chosen = score(row["model"], row["benchmark"], row["variant"])
        assert chosen is not None
        figures = [chosen.value, *(other.value for other in chosen.alternatives)]
        assert float(row["score"]) in figures


def test_variants_are_never_mixed() -> None:
    assert score("Qwen3-32B") is None
    base = score("Qwen3-32B", variant="base")
    assert base is not None and base.value == 65.54
    reasoning = score("DeepSeek-R1")
    assert reasoning is not None and reasoning.value == 84.0


def test_recalled_scores_carry_their_flag() -> None:
    chosen = score("Mistral-Small-24B-2501")
    assert chosen is not None and chosen.source.flag == "recalled"


def test_unknown_benchmark() -> None:
    with pytest.raises(SpecificationError, match=r"benchmark 'MMLU_Pro' \(nearest: 'MMLU-Pro'\)"):
        score("Llama-3.1-8B", "MMLU_Pro")


def test_quality_is_score_times_recovery() -> None:
    plain = quality("Llama-3.1-8B")
    assert (plain.value, plain.low, plain.high, plain.label) == (48.3, 48.3, 48.3, "table")
    coded = quality("Llama-3.1-8B", "int4_weight")
    assert coded.low < coded.value < plain.value
    assert coded.label == "derived" and coded.setting == "5-shot, CoT"


def test_a_score_taken_in_the_format_loses_nothing() -> None:
    assert quality("DeepSeek-R1", "fp8_block").value == 84.0


def test_unknown_says_why() -> None:
    no_score = quality("Qwen3-32B")
    assert math.isnan(no_score.value)
    assert no_score.reason == "the catalogue has no MMLU-Pro score of Qwen3-32B (instruct)"
    no_format = quality("Llama-3.1-8B", "fp8", "fp8")
    assert math.isnan(no_format.value) and math.isnan(no_format.low)
    assert no_format.reason == "nobody published what KV format fp8 leaves of a task score"


def test_own_scores_replace_the_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("model,benchmark,score,setting\nLlama-3.1-8B,MMLU-Pro,44.0,our prompts\n")
    mine = own_scores(path)
    found = quality("Llama-3.1-8B", scores=mine)
    assert (found.value, found.setting) == (44.0, "our prompts")
    other = quality("Llama-3.1-70B", scores=mine)
    assert other.reason == "your file has no MMLU-Pro score of Llama-3.1-70B (instruct)"
    assert quality("Llama-3.1-70B", benchmark="MMLU", scores=mine).value > 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,b,101", r":2: score: '101', expected a number from 0 to 100"),
        ("a,b,", r":2: score: '', expected a number from 0 to 100"),
        (",b,10", r":2: model: '', expected a name"),
        ("a,b,1\na,b,2", r":3: model: 'a', expected one score .*line 2 has it"),
    ],
)
def test_bad_own_scores(tmp_path: Path, rows: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f"model,benchmark,score\n{rows}\n")
    with pytest.raises(TraceError, match=message):
        own_scores(path)


def test_bad_variant(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("model,benchmark,score,variant\na,b,1,chat\n")
    with pytest.raises(TraceError, match=":2: variant: 'chat', expected base, instruct"):
        own_scores(path)
