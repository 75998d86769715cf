"""Fit the built-in workloads to public request traces and print their catalogue.

Usage: python bench/fit_workloads.py DATA > src/archwright/serving/catalogue/workloads.toml

DATA is a folder with azure_llm_2023_conv.csv, azure_llm_2023_code.csv and
mooncake_conversation_trace.jsonl. Lengths become quantile tables joined by a table of
their ranks, arrivals a rate by ten seconds and the shape of Gamma gaps on that clock.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from archwright.serving.trace import Trace, read_trace

AZURE = "Azure/AzurePublicDataset@b469a113cedca53ddc3bdea71a143dc4b7d8700c data/"
MOONCAKE = "kvcache-ai/Mooncake@3b5a594133958449a1feaf1c9e0fc1b553e34a28 FAST25-release/traces/"
TRACES = {
    "chat": (
        "azure_llm_2023_conv.csv",
        f"{AZURE}AzureLLMInferenceTrace_conv.csv (CC-BY-4.0, Patel et al., ISCA 2024)",
        "2023-11-16",
    ),
    "code": (
        "azure_llm_2023_code.csv",
        f"{AZURE}AzureLLMInferenceTrace_code.csv (CC-BY-4.0, Patel et al., ISCA 2024)",
        "2023-11-16",
    ),
    "long": (
        "mooncake_conversation_trace.jsonl",
        f"{MOONCAKE}conversation_trace.jsonl (Apache-2.0)",
        "2025-02-24",
    ),
}
LEVELS = np.concatenate([[0.0, 0.005, 0.015], np.linspace(0.035, 0.965, 29), [0.985, 0.995, 1.0]])
BINS = 360
RANKS = 20


def quantiles(tokens: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Return the quantiles of counts spread over half a token to each side."""
    spread = np.maximum(tokens + rng.uniform(-0.5, 0.5, len(tokens)), 0.6)
    return [round(float(value), 2) for value in np.quantile(spread, LEVELS)]


def copula(trace: Trace, rng: np.random.Generator) -> list[list[int]]:
    """Return the requests in each cell of input rank by output rank, ties broken at random."""
    cells = []
    for tokens in (trace.input_tokens, trace.output_tokens):
        order = np.argsort(tokens + rng.uniform(-0.5, 0.5, len(tokens)))
        rank = np.empty(len(tokens), dtype=np.int64)
        rank[order] = np.arange(len(tokens))
        cells.append(rank * RANKS // len(tokens))
    counts = np.bincount(cells[0] * RANKS + cells[1], minlength=RANKS**2)
    return counts.reshape(RANKS, RANKS).tolist()


def dispersion(trace: Trace) -> float:
    """Return the variance over the mean of short counts about the rate by ten seconds.

    The smallest over three widths: the profile carries the slower swings, and stamps that
    come at ticks (three seconds in Mooncake) cluster only because they are rounded.
    """
    found = []
    for parts in (2, 5, 20):
        counts, _ = np.histogram(trace.time_s, np.linspace(0, trace.duration_s, BINS * parts + 1))
        groups = counts.reshape(BINS, parts)
        expected = groups.mean(axis=1, keepdims=True)
        busy = expected[:, 0] > 0
        squares = (groups - expected)[busy] ** 2 / expected[busy]
        # Counts about their own mean have one degree of freedom less.
        found.append(float(squares.mean()) * parts / (parts - 1))
    return min(found)


def fit(name: str, folder: Path) -> str:
    """Return the TOML table of one workload."""
    file, source, date = TRACES[name]
    trace = read_trace(folder / file)
    profile, _ = np.histogram(trace.time_s, np.linspace(0.0, trace.duration_s, BINS + 1))
    rng = np.random.default_rng(0)
    rows = {
        "source": f'"{source}"',
        "date": f'"{date}"',
        "flag": '"derived"',
        "mean_rate_per_s": round((len(trace) - 1) / trace.duration_s, 6),
        "period_s": round(trace.duration_s, 3),
        "rate_profile": profile.tolist(),
        "gap_shape": round(1.0 / dispersion(trace), 4),
        "copula": copula(trace, rng),
        "levels": [round(float(level), 6) for level in LEVELS],
        "input_quantiles": quantiles(trace.input_tokens, rng),
        "output_quantiles": quantiles(trace.output_tokens, rng),
    }
    return "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in rows.items())])


def main() -> None:
    """Print the catalogue."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the traces")
    folder = parser.parse_args().data
    print("# Written by bench/fit_workloads.py. Lengths in tokens, spread by half a token.")
    print("# copula: requests by rank of input (rows) and rank of output (columns).")
    print("# rate_profile: requests in each 360th of the period, which repeats.")
    print("\n" + "\n\n".join(fit(name, folder) for name in TRACES))


if __name__ == "__main__":
    main()
