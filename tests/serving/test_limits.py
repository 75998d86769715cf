"""Limits by name."""

from __future__ import annotations

import pytest

from archwright.errors import SpecificationError
from archwright.serving import Limits
from archwright.serving.limits import rule
from archwright.specification import from_mapping


def test_each_name_says_quantity_statistic_and_limit() -> None:
    """Means and percentiles of three quantities."""
    limits = from_mapping(
        Limits, {"ttft_p999_s": 2.0, "tpot_mean_s": 0.05, "e2e_p90_s": 30}, where="limits"
    )

    assert {(r.name, r.quantity, r.quantile, r.limit_s) for r in limits.rules} == {
        ("ttft_p999_s", "ttft", 0.999, 2.0),
        ("tpot_mean_s", "tpot", None, 0.05),
        ("e2e_p90_s", "e2e", 0.9, 30.0),
    }
    assert {r.words for r in limits.rules} == {
        "P99.9 TTFT", "mean TPOT", "P90 end-to-end latency",
    }  # fmt: skip


def test_a_percentile_leaves_a_share_and_a_mean_its_seconds() -> None:
    """What the mean over all requests may take."""
    assert rule("ttft_p95_s", 0.5).budget == pytest.approx(0.05)
    assert rule("tpot_mean_s", 0.5).budget == 0.5


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"ttft_p97_s": 1.0}, "limits: unknown key 'ttft_p97_s' .nearest: 'ttft_p9"),
        ({"ttft_p100_s": 1.0}, "limits: unknown key 'ttft_p100_s'"),
        ({"tpot_p99_ms": 1.0}, "limits: unknown key 'tpot_p99_ms' .nearest: 'tpot_p99"),
        ({"ttft_p99_s": 0.0}, "limits.ttft_p99_s: 0.0 is below the least"),
        ({"per_bucket": "yes"}, "limits.per_bucket: expected true or false"),
    ],
)
def test_an_unknown_percentile_is_named(table: dict[str, object], message: str) -> None:
    """With the nearest that is known."""
    with pytest.raises(SpecificationError, match=message):
        from_mapping(Limits, table, where="limits")
