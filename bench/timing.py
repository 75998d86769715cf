"""Points a second of the kernel-time laws on arrays, beside a plain roofline in numpy."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from archwright.hardware import timing

POINTS = 1_000_000
REPEATS = 3


def best(run: Callable[[], object]) -> float:
    """Return the least seconds of a few runs."""
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)

    def powers(low: int, high: int) -> np.ndarray:
        return np.floor(2.0 ** rng.uniform(low, high, POINTS))

    m, n, k = powers(0, 14), powers(7, 15), powers(7, 15)
    batch, query, context = powers(0, 8), powers(0, 11), powers(11, 15)
    size, ranks = powers(8, 30), 2.0 ** rng.integers(1, 4, POINTS)
    heads = (32, 8, 128, "bf16")
    rows: dict[str, Callable[[], object]] = {
        "numpy roofline of a matmul": lambda: np.maximum(
            2.0 * m * n * k / 989e12, 2.0 * (m * k + k * n + m * n) / 3.35e12
        ),
        "gemm": lambda: timing.gemm_seconds("H100-SXM", m, n, k),
        "gemm with interval": lambda: timing.gemm_seconds(
            "H100-SXM", m, n, k, return_interval=True
        ),
        "attention, prefill": lambda: timing.attention_prefill_seconds(
            "H100-SXM", batch, query, context, *heads
        ),
        "attention, decode": lambda: timing.attention_decode_seconds(
            "H100-SXM", batch, context, *heads
        ),
        "experts": lambda: timing.moe_seconds("H100-SXM", m, 4096, 1536, 128, 8, ranks),
        "all-reduce": lambda: timing.all_reduce_seconds("H100-SXM", ranks, size),
    }
    print(f"{'law':30s} {'million points/s':>17s}")
    for name, run in rows.items():
        print(f"{name:30s} {POINTS / best(run) / 1e6:17.2f}")
    one = best(lambda: [timing.gemm_seconds("H100-SXM", 16, 4096, 4096) for _ in range(1000)])
    print(f"{'gemm, one point a call':30s} {1e3 / one / 1e6:17.4f}")


if __name__ == "__main__":
    main()
