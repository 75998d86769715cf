from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp, spearmanr

from archwright.errors import SpecificationError, TraceError
from archwright.serving.trace import Trace, read_trace
from archwright.serving.workload import Workload, generate, workload
from serving.traces import FILES, reference_trace


def _trace(time_s: list[float], inputs: list[int], outputs: list[int]) -> Trace:
    return Trace(
        time_s=np.array(time_s, dtype=np.float64),
        input_tokens=np.array(inputs, dtype=np.int64),
        output_tokens=np.array(outputs, dtype=np.int64),
        source="test",
    )


@pytest.mark.parametrize("name", FILES)
def test_generated_like_the_trace(name: str) -> None:
    real = read_trace(reference_trace(name))
    made = generate(name, len(real), seed=3)
    assert ks_2samp(made.input_tokens, real.input_tokens).statistic < 0.05
    assert ks_2samp(made.output_tokens, real.output_tokens).statistic < 0.05
    rank = [spearmanr(t.input_tokens, t.output_tokens).statistic for t in (made, real)]
    assert abs(rank[0] - rank[1]) < 0.1
    ours, theirs = Workload.from_trace(made), Workload.from_trace(real)
    assert ours.mean_rate_per_s == pytest.approx(theirs.mean_rate_per_s, rel=0.05)
    assert ours.peak_rate_per_s == pytest.approx(theirs.peak_rate_per_s, rel=0.2)
    assert np.abs(ours.shares - theirs.shares).sum() < 0.2


@pytest.mark.parametrize("name", FILES)
def test_builtin_has_the_rates_of_the_trace(name: str) -> None:
    real = Workload.from_trace(reference_trace(name))
    built = workload(f"builtin:{name}")
    assert built.mean_rate_per_s == pytest.approx(real.mean_rate_per_s, rel=0.05)
    assert built.peak_rate_per_s == pytest.approx(real.peak_rate_per_s, rel=0.2)
    assert any("@" in note for note in built.notes)  # repository and commit


def test_generate_is_deterministic() -> None:
    first, second = generate("builtin:code", 500, seed=1), generate("code", 500, seed=1)
    np.testing.assert_array_equal(first.time_s, second.time_s)
    np.testing.assert_array_equal(first.output_tokens, second.output_tokens)
    assert (generate("code", 500, seed=2).time_s != first.time_s).any()
    assert workload("builtin:code") is workload("builtin:code")


@given(st.lists(st.tuples(st.integers(0, 200_000), st.integers(0, 9000)), min_size=2, max_size=60))
def test_buckets_hold_every_request(sizes: list[tuple[int, int]]) -> None:
    inputs, outputs = ([pair[k] for pair in sizes] for k in (0, 1))
    made = Workload.from_trace(_trace([float(t) for t in range(len(sizes))], inputs, outputs))
    assert made.shares.sum() == pytest.approx(1.0)
    # Totals survive the sorting into buckets.
    assert (made.shares * made.mean_input).sum() == pytest.approx(np.mean(inputs))
    assert (made.shares * made.mean_output).sum() == pytest.approx(np.mean(outputs))
    second = made.mean_output**2 * (1.0 + made.output_cv2)
    assert (made.shares * second).sum() == pytest.approx(np.mean(np.square(outputs)))
    assert made.input_edges[-1] >= max(inputs) and made.output_edges[-1] >= max(outputs)
    used = made.shares > 0
    assert (made.mean_input <= made.input_edges[:, None] + 1e-9)[used].all()


def test_default_edges_are_cut_and_extended() -> None:
    made = Workload.from_trace(_trace([0, 1], [25, 26], [300_000, 4]))
    assert made.input_edges.tolist() == [25, 100]
    assert made.output_edges[-3:].tolist() == [128_000, 256_000, 512_000]


def test_a_size_on_an_edge_belongs_below() -> None:
    made = Workload.from_trace(
        _trace([0, 1], [10, 11], [5, 5]), input_edges=[10, 20], output_edges=[5]
    )
    assert made.shares.tolist() == [[0.5], [0.5]]


def test_busiest_five_minutes() -> None:
    quiet, busy = np.arange(0, 3600, 10.0), np.arange(1000, 1300, 0.5)
    times = np.sort(np.concatenate([quiet, busy])).tolist()
    made = Workload.from_trace(_trace(times, [5] * len(times), [5] * len(times)))
    slow = max(sum(t <= other < t + 300 for other in times) for t in times)  # by brute force
    assert made.peak_rate_per_s == slow / 300
    assert made.mean_rate_per_s == pytest.approx((len(times) - 1) / 3590)


def test_short_trace_has_the_mean_as_peak() -> None:
    made = Workload.from_trace(_trace([0, 1, 2], [5] * 3, [5] * 3))
    assert made.peak_rate_per_s == made.mean_rate_per_s == 1.0
    assert made.notes == ("the trace lasts 2 s, under five minutes: peak = mean rate",)


def test_bad_from_trace() -> None:
    trace = _trace([0, 1], [50, 5], [5, 5])
    with pytest.raises(
        SpecificationError,
        match="input_edges: the last edge is 20, but the trace has a request of 50 input tokens",
    ):
        Workload.from_trace(trace, input_edges=[10, 20])
    with pytest.raises(SpecificationError, match=r"output_edges: \[20.0, 10.0\], expected asc"):
        Workload.from_trace(trace, output_edges=[20, 10])
    with pytest.raises(TraceError, match="test: 2 requests in 0 s, expected at least two at diff"):
        Workload.from_trace(_trace([0, 0], [1, 1], [1, 1]))
    with pytest.raises(SpecificationError, match="time_unit belongs to a file"):
        Workload.from_trace(trace, time_unit="s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": [[0.5], [0.4]]}, "shares: the sum is 0.9, expected 1"),
        ({"shares": [[0.5], [float("nan")]]}, r"shares\[1, 0\]: nan, expected a finite number"),
        ({"shares": [[1.5], [-0.5]]}, r"shares\[1, 0\]: -0.5, expected a finite number from 0"),
        ({"shares": [0.5, 0.5]}, r"shares: shape \(2,\), expected a matrix"),
        ({"shares": [[0.5, 0.5]]}, r"shares: shape \(1, 2\), expected \(2, 1\)"),
        ({"input_edges": [100, 100]}, r"input_edges: \[100.0, 100.0\], expected ascending"),
        ({"mean_rate_per_s": -1.0}, "mean_rate_per_s: -1.0, expected a positive number"),
        ({"peak_rate_per_s": 0.0}, "peak_rate_per_s: 0.0, expected a positive number"),
        ({"mean_output": [[1.0]]}, r"mean_output: shape \(1, 1\), expected \(2, 1\)"),
    ],
)
def test_bad_shares(change: dict[str, object], message: str) -> None:
    good = {
        "shares": [[0.5], [0.5]],
        "input_edges": [100, 200],
        "output_edges": [50],
        "mean_rate_per_s": 1.0,
    }
    Workload.from_shares(**good)  # type: ignore[arg-type]
    with pytest.raises(SpecificationError, match=message):
        Workload.from_shares(**{**good, **change})  # type: ignore[arg-type]


def test_resolver(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("time_s,input_tokens,output_tokens\n0,10,5\n2,20,5\n")
    assert workload("mine.csv", folder=tmp_path).mean_rate_per_s == 0.5
    with pytest.raises(SpecificationError, match=r"'builtin:chta' \(nearest: 'builtin:chat'\)"):
        workload("builtin:chta")
    with pytest.raises(SpecificationError, match=r"'mine.cvs' \(nearest: 'mine.csv'\).*no file"):
        workload("mine.cvs", folder=tmp_path)
    with pytest.raises(SpecificationError, match="n: 0, expected at least 1 request"):
        generate("chat", 0, seed=0)


def test_import_is_light() -> None:
    """The module itself needs no SciPy and no Arrow, whatever its package imports beside it."""
    code = """
import importlib.util, sys, types
spec = importlib.util.find_spec("archwright.serving")
package = types.ModuleType("archwright.serving")
package.__path__ = list(spec.submodule_search_locations)
sys.modules["archwright.serving"] = package
import archwright.serving.workload
assert not {"scipy", "pyarrow"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def _steady(rate: float, seconds: float, seed: int = 0) -> np.ndarray:
    """Arrivals of a Poisson process."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0.0, seconds, round(rate * seconds)))


def _of(times: np.ndarray) -> Workload:
    n = len(times)
    trace = Trace(
        time_s=times - times[0],
        input_tokens=np.full(n, 100),
        output_tokens=np.full(n, 10),
        source="made",
    )
    return Workload.from_trace(trace)


def test_a_poisson_trace_has_a_dispersion_of_one() -> None:
    """Counts vary as much as they are many, whatever the window."""
    found = _of(_steady(20.0, 3600.0))

    assert found.dispersion[1] == pytest.approx(1.0, abs=0.1)
    assert found.dispersion[10] == pytest.approx(1.0, abs=0.25)
    assert 0.3 < found.arrival_cv2 < 1.8


def test_peaks_are_those_of_the_busiest_windows() -> None:
    """A burst of 50 in a second stands out in the second, less in the minute."""
    times = np.sort(np.concatenate([_steady(2.0, 1000.0), np.linspace(500.0, 500.9, 50)]))
    found = _of(times)
    for window in (1, 10, 60, 300):
        counted = max(
            int(np.count_nonzero((times >= t) & (times < t + window))) for t in times.tolist()
        )
        assert found.peaks_per_s[window] == pytest.approx(counted / window)
    assert found.peaks_per_s[1] >= 50
    assert found.peaks_per_s[1] > found.peaks_per_s[10] > found.peaks_per_s[60]


def test_bursts_raise_the_dispersion_of_the_busiest_five_minutes_alone() -> None:
    """On and off for ten seconds each in it; calm elsewhere."""
    calm = _steady(2.0, 3000.0)
    wild = np.concatenate([3000.0 + k * 20 + _steady(20.0, 10.0, k) for k in range(15)])
    found, steady = _of(np.sort(np.concatenate([calm, wild]))), _of(calm)

    assert found.arrival_cv2 > 20
    assert steady.arrival_cv2 < 3


def test_a_short_trace_knows_no_dispersion() -> None:
    """It is taken as Poisson, and windows longer than it have no peak."""
    found = _of(_steady(2.0, 50.0))

    assert found.arrival_cv2 == 1.0
    assert set(found.peaks_per_s) == {1, 10}
    assert set(found.dispersion) == {1}


def test_longer_requests_keep_their_shares() -> None:
    """Edges and means grow together."""
    chat = workload("builtin:chat")
    found = chat.longer(1.2)

    assert np.array_equal(found.shares, chat.shares)
    np.testing.assert_allclose(found.mean_input, 1.2 * chat.mean_input)
    np.testing.assert_allclose(found.output_edges, 1.2 * chat.output_edges)
    assert found.tokens_per_request == pytest.approx(1.2 * chat.tokens_per_request)
