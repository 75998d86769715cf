"""Weight and KV-cache formats, and what they leave of a model's quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from archwright.errors import SpecificationError, unknown
from archwright.hardware.tables import catalogue_rows, catalogue_toml
from archwright.provenance import Label, Source

__all__ = [
    "KvFormat",
    "Recovery",
    "WeightFormat",
    "kv_format",
    "kv_formats",
    "recovery",
    "weight_format",
    "weight_formats",
]

_ROOM = "archwright.formats"


@dataclass(frozen=True, kw_only=True)
class WeightFormat:
    """A number format of the weights, and of the activations where it names them.

    Attributes:
        name: short name.
        bits_per_weight: mean bits a weight of the linear layers, scales included.
        compute: matrix types its products can run in, in order of preference.
        rows: formats of the effects catalogue that stand for it.
        exact: it is the baseline, so it loses nothing.
        source: where the bits come from.
    """

    name: str
    bits_per_weight: float
    compute: tuple[str, ...]
    rows: tuple[str, ...]
    exact: bool = False
    source: Source


@dataclass(frozen=True, kw_only=True)
class KvFormat:
    """A number format of the KV cache.

    Attributes:
        name: short name.
        bits_per_value: mean bits a cached value, scales included.
        rows: formats of the effects catalogue that stand for it.
        exact: it is the baseline, so it loses nothing.
        source: where the bits come from.
    """

    name: str
    bits_per_value: float
    rows: tuple[str, ...]
    exact: bool = False
    source: Source


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Share of a model's score that a format leaves; 1 is no loss.

    Attributes:
        value: the median of the rows.
        low: lower end of the interval.
        high: upper end of the interval.
        scope: ``exact`` (the baseline itself), ``published`` (this model and benchmark) or
            ``pooled`` (other models and benchmarks).
        rows: number of published figures behind it.
        label: how it was obtained.
        sources: the sources, without repeats.
    """

    value: float
    low: float
    high: float
    scope: Literal["exact", "published", "pooled"]
    rows: int
    label: Label
    sources: tuple[Source, ...] = ()

    def __mul__(self, other: Recovery) -> Recovery:
        """Return the joint effect of two formats, taken as independent."""
        order = ("exact", "published", "pooled")
        weaker = max(self, other, key=lambda r: order.index(r.scope))
        return Recovery(
            value=self.value * other.value,
            low=self.low * other.low,
            high=self.high * other.high,
            scope=weaker.scope,
            rows=self.rows + other.rows,
            label=weaker.label,
            sources=tuple(dict.fromkeys(self.sources + other.sources)),
        )


_EXACT = Recovery(value=1.0, low=1.0, high=1.0, scope="exact", rows=0, label="table")


def _source(row: Mapping[str, Any]) -> Source:
    return Source(source=row["source"], date=str(row["date"]), flag=row["flag"])


@cache
def _formats() -> dict[str, Any]:
    return catalogue_toml(_ROOM, "formats.toml")


@cache
def weight_formats() -> Mapping[str, WeightFormat]:
    """Return the weight formats by name.

    >>> weight_formats()["int4_weight"].compute
    ('bf16', 'fp16')
    """
    return MappingProxyType(
        {
            name: WeightFormat(
                name=name,
                bits_per_weight=row["bits"],
                compute=tuple(row["compute"]),
                rows=tuple(row["rows"]),
                exact=row.get("exact", False),
                source=_source(row),
            )
            for name, row in _formats()["weights"].items()
        }
    )


@cache
def kv_formats() -> Mapping[str, KvFormat]:
    """Return the KV-cache formats by name.

    >>> list(kv_formats())
    ['bf16', 'fp8', 'int8', 'int4']
    """
    return MappingProxyType(
        {
            name: KvFormat(
                name=name,
                bits_per_value=row["bits"],
                rows=tuple(row["rows"]),
                exact=row.get("exact", False),
                source=_source(row),
            )
            for name, row in _formats()["kv"].items()
        }
    )


def weight_format(name: str) -> WeightFormat:
    """Return a weight format by name.

    >>> weight_format("nvfp4").bits_per_weight
    4.5

    Raises:
        SpecificationError: no such format; the message names the nearest one.
    """
    if name not in weight_formats():
        raise SpecificationError(unknown("weight format", name, weight_formats()))
    return weight_formats()[name]


def kv_format(name: str) -> KvFormat:
    """Return a KV-cache format by name.

    >>> kv_format("int8").bits_per_value
    8.25

    Raises:
        SpecificationError: no such format; the message names the nearest one.
    """
    if name not in kv_formats():
        raise SpecificationError(unknown("KV format", name, kv_formats()))
    return kv_formats()[name]


@dataclass(frozen=True, kw_only=True)
class _Effect:
    """One published effect of a format."""

    model: str
    variant: str
    benchmark: str
    recovery: float
    error: float
    source: Source


@cache
def _effects(rows: tuple[str, ...]) -> tuple[_Effect, ...]:
    pool = _formats()["pool"]
    return tuple(
        _Effect(
            model=row["base_model"],
            variant=row["variant"],
            benchmark=row["metric"],
            recovery=float(row["recovery_pct"]) / 100.0,
            error=_relative_error(row),
            source=_source(row),
        )
        for row in catalogue_rows(_ROOM, "effects.csv")
        if row["format"] in rows
        and row["method"] not in pool["methods_left_out"]
        and row["metric"] not in pool["metrics_left_out"]
        and row["unit"] in pool["units"]
    )


def _relative_error(row: Mapping[str, str]) -> float:
    if not row["error"] or not row["baseline"]:
        return 0.0
    return float(row["error"]) / float(row["baseline"])


def recovery(
    weights: str, kv: str, model: str, benchmark: str, *, variant: str = "instruct"
) -> Recovery | None:
    """Return what a weight and a KV format together leave of a model's score.

    Published figures of this model, variant and benchmark are used where there are any. Else
    the task scores of all models are pooled, with their 5th to 95th percentile (their whole
    range below 20 rows). Post-training methods are pooled; formats that a model was trained
    in are left out. The effects of weights and cache are multiplied.

    >>> recovery("bf16", "bf16", "Llama-3.1-8B", "MMLU-Pro").value
    1.0
    >>> r = recovery("nvfp4", "bf16", "Llama-3.1-70B", "MMLU-Pro")
    >>> r.scope, r.low < r.value <= r.high
    ('pooled', True)
    >>> recovery("bf16", "fp8", "Llama-3.1-8B", "MMLU-Pro") is None  # nobody published it
    True

    Args:
        weights: name of a weight format.
        kv: name of a KV-cache format.
        model: model name without its variant, such as ``Llama-3.1-8B``.
        benchmark: benchmark name, such as ``MMLU-Pro``.
        variant: ``base`` or ``instruct``, with or without a suffix.

    Returns:
        The recovery, or None where nobody measured one of the formats.
    """
    parts = [
        _recovery(format_, model, benchmark, variant.partition("-")[0])
        for format_ in (weight_format(weights), kv_format(kv))
    ]
    if parts[0] is None or parts[1] is None:
        return None
    return parts[0] * parts[1]


def _recovery(
    format_: WeightFormat | KvFormat, model: str, benchmark: str, variant: str
) -> Recovery | None:
    if format_.exact:
        return _EXACT
    effects = _effects(format_.rows)
    if not effects:
        return None
    pooled = _summary(effects, "pooled")
    own = tuple(
        effect
        for effect in effects
        if (effect.model, effect.variant, effect.benchmark) == (model, variant, benchmark)
    )
    if not own:
        return pooled
    published = _summary(own, "published")
    if len(own) > 1 or own[0].error:
        return published
    # One figure without an error shows no spread of its own: it takes that of the pool.
    return Recovery(
        value=published.value,
        low=published.value - (pooled.value - pooled.low),
        high=published.value + (pooled.high - pooled.value),
        scope="published",
        rows=1,
        label="table",
        sources=published.sources,
    )


def _summary(effects: tuple[_Effect, ...], scope: Literal["published", "pooled"]) -> Recovery:
    values = np.array([effect.recovery for effect in effects])
    errors = np.array([effect.error for effect in effects])
    if scope == "pooled" and len(values) >= _formats()["pool"]["rows_for_percentiles"]:
        low, high = np.quantile(values, [0.05, 0.95])
    else:
        low, high = np.min(values - 1.96 * errors), np.max(values + 1.96 * errors)
    return Recovery(
        value=float(np.median(values)),
        low=float(low),
        high=float(high),
        scope=scope,
        rows=len(values),
        label="table" if scope == "published" else "derived",
        sources=tuple(dict.fromkeys(effect.source for effect in effects)),
    )
