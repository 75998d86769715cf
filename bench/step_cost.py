"""Step costs: microseconds a composition, exact and compiled, and configurations a second.

    python bench/step_cost.py

Goals: 10 us a composition, 0.2 us compiled, 1,000 configurations a second. Beside them a plain
roofline of the same graph, which knows no kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from archwright.hardware import device
from archwright.llm import StepBatch, StepCost, infer, transformer
from archwright.llm.inference import InferenceSpecification, simulate_inference

POINTS = 2000


def best(work: Callable[[], object], repeats: int = 7) -> float:
    """Return the least seconds of some runs."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    batch, context = rng.integers(1, 256, POINTS), rng.integers(1, 8000, POINTS)
    chunks, query = rng.integers(0, 2, POINTS), rng.integers(1, 512, POINTS)
    end = query + rng.integers(0, 4000, POINTS)
    composition = StepBatch(
        decode_batch=batch, decode_context=context, prefill_requests=chunks,
        prefill_query_tokens=query, prefill_context_tokens=end,
    )  # fmt: skip
    llama = transformer("Llama-3.1-8B")
    fitted = StepCost(model=llama, device=device("H100-SXM"))
    roofline = StepCost(model=llama, device=device("H100-SXM"), back_end="roofline")
    compiled = fitted.compile()
    exact_s = best(lambda: fitted(composition)) / POINTS
    plain_s = best(lambda: roofline(composition)) / POINTS
    looked_up_s = best(lambda: compiled.seconds(batch, context, chunks, query, end)) / POINTS
    decode_s = best(lambda: compiled.seconds(batch, context)) / POINTS
    print(f"step cost, fitted         {exact_s * 1e6:8.3f} us a composition (goal 10)")
    print(f"step cost, roofline       {plain_s * 1e6:8.3f} us a composition")
    print(f"compiled, with chunks     {looked_up_s * 1e6:8.3f} us a composition (goal 0.2)")
    print(f"compiled, decode alone    {decode_s * 1e6:8.3f} us a composition")
    print(f"compiling                 {best(lambda: fitted.compile(), 3) * 1e3:8.1f} ms")

    many = best(lambda: infer(fitted, batch=batch, input_tokens=context, output_tokens=256))
    print(f"infer, arrays             {POINTS / many:8,.0f} configurations/s")
    names = ("H100-SXM", "H200-SXM", "B200-SXM", "L40S")
    models = ("Llama-3.1-8B", "Qwen2.5-7B", "Gemma-3-12B", "Qwen2.5-14B")
    each = [
        InferenceSpecification(model=m, device=d, batch=b, input=i, output=128)
        for m in models for d in names for b in (1, 16) for i in (128, 2048)
    ]  # fmt: skip
    one_s = best(lambda: [simulate_inference(s) for s in each], 3) / len(each)
    print(f"llm/infer, one by one     {1 / one_s:8,.0f} configurations/s (goal 1,000)")


if __name__ == "__main__":
    main()
