"""Quality of a model in given formats: a published score times what the formats leave of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from archwright.errors import SpecificationError, unknown
from archwright.formats import Recovery, recovery, weight_format
from archwright.hardware.tables import catalogue_rows, catalogue_toml, read_rows
from archwright.llm.transformers import catalogue_name
from archwright.provenance import Label, Source

__all__ = ["Quality", "Score", "benchmarks", "own_scores", "quality", "score"]

_ROOM = "archwright.llm"


@dataclass(frozen=True, kw_only=True)
class Score:
    """A published or own score of a model.

    Attributes:
        model: model name without its variant.
        variant: ``base``, ``instruct`` or ``instruct-…``.
        benchmark: benchmark name.
        value: percent, higher is better.
        setting: who ran it and how, shots included.
        by_maker: it stands in the report of the model's maker.
        source: where it comes from; ``source.flag`` says whether it is recalled.
        alternatives: scores of other settings, which are never averaged with it.
    """

    model: str
    variant: str
    benchmark: str
    value: float
    setting: str
    by_maker: bool = False
    source: Source
    alternatives: tuple[Score, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The quality of a model in given formats on one benchmark.

    Attributes:
        value: percent; NaN where it is unknown.
        low: lower end of the interval that the formats' effects leave.
        high: upper end of it.
        label: ``table``, ``derived`` where a recovery was pooled, ``assumed`` if unknown.
        setting: the setting of the score, empty if unknown.
        sources: sources of the score and the recoveries.
        reason: why it is unknown, else empty.
    """

    value: float
    low: float
    high: float
    label: Label
    setting: str = ""
    sources: tuple[Source, ...] = ()
    reason: str = ""


@cache
def _catalogue() -> tuple[Score, ...]:
    makers = catalogue_toml(_ROOM, "makers.toml")["maker"]
    return tuple(
        Score(
            model=row["model"],
            variant=row["variant"],
            benchmark=row["benchmark"],
            value=float(row["score"]),
            setting=", ".join(
                filter(None, (f"{row['shots']}-shot" if row["shots"] else "", row["setting"]))
            ),
            by_maker=any(
                row["model"].startswith(tuple(maker["models"]))
                and any(part in row["source"] for part in maker["sources"])
                for maker in makers
            ),
            source=Source(source=row["source"], date=row["date"], flag=row["flag"]),
        )
        for row in catalogue_rows(_ROOM, "scores.csv")
    )


def benchmarks() -> list[str]:
    """Return the benchmarks of the score catalogue.

    >>> "MMLU-Pro" in benchmarks()
    True
    """
    return sorted({row.benchmark for row in _catalogue()})


def score(model: str, benchmark: str = "MMLU-Pro", variant: str = "instruct") -> Score | None:
    """Return the published score of one model, or None.

    One figure is chosen by a fixed rule, never a mean: the maker's own report first, then
    sourced before recalled, then the newest, then the first of the table. The others are
    listed as alternatives. Variants are never mixed.

    >>> score("Llama-3.1-8B").value
    48.3
    >>> score("DeepSeek-V3", variant="base").value, len(score("DeepSeek-V3").alternatives)
    (64.4, 0)
    >>> score("Qwen3-32B") is None  # its report has MMLU-Pro only of the base model
    True

    Raises:
        SpecificationError: a benchmark that the catalogue does not have.
    """
    if benchmark not in benchmarks():
        raise SpecificationError(unknown("benchmark", benchmark, benchmarks()))
    found = [
        row
        for row in _catalogue()
        if (row.model, row.benchmark, row.variant) == (model, benchmark, variant)
    ]
    if not found:
        return None
    found.sort(key=lambda row: row.source.date, reverse=True)
    found.sort(key=lambda row: (not row.by_maker, row.source.flag == "recalled"))
    return _with_alternatives(found[0], found[1:])


def _with_alternatives(chosen: Score, others: Sequence[Score]) -> Score:
    return Score(
        model=chosen.model,
        variant=chosen.variant,
        benchmark=chosen.benchmark,
        value=chosen.value,
        setting=chosen.setting,
        by_maker=chosen.by_maker,
        source=chosen.source,
        alternatives=tuple(others),
    )


def own_scores(path: str | Path) -> list[Score]:
    """Read a user's own scores from a CSV.

    Columns: ``model``, ``benchmark``, ``score`` (percent) and optionally ``variant``
    (default ``instruct``) and ``setting``. A model is named as elsewhere: by the catalogue's name,
    a Hugging Face id, or the file or folder of its ``config.json`` as the study names it.

    Raises:
        TraceError: naming file, line, column, value and what was expected.
    """
    path = Path(path)
    table = []
    seen: dict[tuple[str, str, str], int] = {}
    for row in read_rows(path, ["model", "benchmark", "score"], ["variant", "setting"]):
        model, benchmark = row.text("model"), row.text("benchmark")
        variant = row.values.get("variant") or "instruct"
        if not variant.startswith(("base", "instruct")):
            raise row.error("variant", "base, instruct or instruct-…")
        first = seen.setdefault((catalogue_name(model), benchmark, variant), row.line)
        if first != row.line:
            raise row.error(
                "model", f"one score a model, benchmark and variant (line {first} has it)"
            )
        table.append(
            Score(
                model=model,
                variant=variant,
                benchmark=benchmark,
                value=row.number("score", low=0.0, high=100.0),
                setting=row.values.get("setting", ""),
                source=Source(source=f"{path.name}:{row.line}", flag="sourced"),
            )
        )
    return table


def quality(
    model: str,
    weights: str = "bf16",
    kv: str = "bf16",
    benchmark: str = "MMLU-Pro",
    variant: str = "instruct",
    scores: Sequence[Score] | None = None,
    called: Sequence[str] = (),
) -> Quality:
    """Return score times recovery, or NaN with the reason why it is unknown.

    Own `scores` replace the catalogue for every benchmark they name, so that scores of two
    settings do not meet on one front.

    >>> quality("Llama-3.1-8B").value
    48.3
    >>> quality("Llama-3.1-8B", kv="fp8").reason
    'nobody published what KV format fp8 leaves of a task score'

    Args:
        model: model name without its variant.
        weights: name of a weight format.
        kv: name of a KV-cache format.
        benchmark: benchmark name.
        variant: ``base``, ``instruct`` or ``instruct-…``.
        scores: own scores, as `own_scores` reads them.
        called: what own scores may call the model, too, such as the path of its file.
    """
    found = _score(model, benchmark, variant, scores, called)
    if found is None:
        where = "your file" if _covers(scores, benchmark) else "the catalogue"
        return _unknown(f"{where} has no {benchmark} score of {model} ({variant})")
    effect = _recovery(weights, kv, model, benchmark, variant)
    if effect is None:
        measured = recovery(weights, "bf16", model, benchmark, variant=variant)
        which = f"KV format {kv}" if measured else f"weight format {weights}"
        return _unknown(f"nobody published what {which} leaves of a task score")
    return Quality(
        value=found.value * effect.value,
        low=found.value * effect.low,
        high=found.value * effect.high,
        label=effect.label,
        setting=found.setting,
        sources=(found.source, *effect.sources),
    )


def _covers(scores: Sequence[Score] | None, benchmark: str) -> bool:
    return any(row.benchmark == benchmark for row in scores or ())


def _score(
    model: str,
    benchmark: str,
    variant: str,
    scores: Sequence[Score] | None,
    called: Sequence[str],
) -> Score | None:
    if not _covers(scores, benchmark):
        return score(model, benchmark, variant)
    meant = {catalogue_name(name) for name in (model, *called)}
    for row in scores or ():
        same = (row.benchmark, row.variant) == (benchmark, variant)
        if same and catalogue_name(row.model) in meant:
            return row
    return None


def _recovery(weights: str, kv: str, model: str, benchmark: str, variant: str) -> Recovery | None:
    if weight_format(weights).name == _native().get(model):
        weights = "bf16"  # the score was taken in this very format
    return recovery(weights, kv, model, benchmark, variant=variant)


@cache
def _native() -> Mapping[str, str]:
    table: dict[str, str] = catalogue_toml(_ROOM, "makers.toml")["native"]
    return table


def _unknown(reason: str) -> Quality:
    return Quality(value=math.nan, low=math.nan, high=math.nan, label="assumed", reason=reason)
