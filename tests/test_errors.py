"""The exception tree and its standard sentences."""

from __future__ import annotations

import pytest

from archwright import errors


def test_every_error_stands_in_one_tree() -> None:
    """Users catch ArchwrightError; the command line catches UserError."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    kinds = [kind for kind in kinds if isinstance(kind, type)]

    assert all(issubclass(kind, errors.ArchwrightError) for kind in kinds)
    users = {kind.__name__ for kind in kinds if issubclass(kind, errors.UserError)}
    assert users == {
        "UserError", "SpecificationError", "TraceError", "StudyError", "StoreError",
        "MissingExtraError",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "choices", "expected"),
    [
        ("nsga", ["nsga2", "random"], " (nearest: 'nsga2')"),
        ("BF16", ["bf16", "fp8"], " (nearest: 'bf16')"),
        ("zzz", ["bf16"], ""),
        (8, [80, 16], " (nearest: '80')"),
        ("a", [], ""),
    ],
)
def test_nearest(value: object, choices: list[object], expected: str) -> None:
    """The nearest choice is named, whatever its case, and nothing where none is near."""
    assert errors.nearest(value, choices) == expected


DEVICES = ["A10G", "A10", "L4", "L40S", "A100-40GB-SXM", "A100-80GB-SXM", "H100-PCIe", "H100-SXM",
           "H200-SXM", "B200-SXM", "GB200", "MI300X", "RTX-4090", "Gaudi-2"]  # fmt: skip
MODELS = ["Llama-2-7B", "Llama-3-8B", "Llama-3-70B", "Llama-3.1-8B", "Llama-3.1-70B",
          "Llama-3.3-70B", "Qwen3-32B", "Qwen3-30B-A3B", "gpt-oss-120b", "gpt-oss-20b", "Phi-4",
          "Mixtral-8x7B-v0.1", "Gemma-3-27B"]  # fmt: skip
TABLES = ["format", "seed", "environment", "goal", "searcher", "budget", "run", "start", "sweep"]
RUN = ["executor", "workers", "address", "window", "chunk", "replicates"]
LIMITS = ["ttft_mean_s", "ttft_p99_s", "tpot_mean_s", "tpot_p99_s", "e2e_p99_s", "per_bucket"]
METRICS = ["cost_usd_per_hour", "quality", "ttft_p99_s", "tpot_mean_s", "power_w", "headroom"]
SEARCHERS = ["annealing", "ant_colony", "cmaes", "genetic", "genetic_gray", "gp", "local",
             "many_agents", "nsga2", "random", "regularized_evolution", "tpe"]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "choices", "expected"),
    [
        # a name cut short, drawn out, or joined otherwise
        ("llama-3.3", MODELS, "Llama-3.3-70B"),
        ("llama3.3", MODELS, "Llama-3.3-70B"),
        ("llama-3.1-70", MODELS, "Llama-3.1-70B"),
        ("llama3", MODELS, "Llama-3-8B"),
        ("Llama-3.1-8B-Instruct", MODELS, "Llama-3.1-8B"),
        ("70b-llama-3.3", MODELS, "Llama-3.3-70B"),
        ("lama-3.1-8b", MODELS, "Llama-3.1-8B"),
        ("qwen-3-32b", MODELS, "Qwen3-32B"),
        ("qwen3-30b", MODELS, "Qwen3-30B-A3B"),
        ("gptoss120b", MODELS, "gpt-oss-120b"),
        ("mixtral", MODELS, "Mixtral-8x7B-v0.1"),
        ("gemma-3-27", MODELS, "Gemma-3-27B"),
        ("H10", DEVICES, "H100-SXM"),
        ("H10", ["A10", "H100"], "H100"),
        ("h10", ["A10", "L4", "H100-SXM"], "H100-SXM"),
        ("H100_SXN", DEVICES, "H100-SXM"),
        ("H10O-SXM", DEVICES, "H100-SXM"),
        ("sxm-h200", DEVICES, "H200-SXM"),
        ("A1000", DEVICES, "A100-40GB-SXM"),
        ("b100", DEVICES, "B200-SXM"),
        ("MI300", DEVICES, "MI300X"),
        ("MI30X", DEVICES, "MI300X"),
        ("rtx4080", DEVICES, "RTX-4090"),
        ("L40", DEVICES, "L40S"),
        # keys of a study file
        ("enviroment", TABLES, "environment"),
        ("search", TABLES, "searcher"),
        ("stat", TABLES, "start"),
        ("goals", TABLES, "goal"),
        ("Seed", TABLES, "seed"),
        ("worker", RUN, "workers"),
        ("exector", RUN, "executor"),
        ("replicas", RUN, "replicates"),
        ("ttft_p99", LIMITS, "ttft_p99_s"),
        ("ttft_99_s", LIMITS, "ttft_p99_s"),
        ("TTFT-P99-S", LIMITS, "ttft_p99_s"),
        ("tpot_s", LIMITS, "tpot_p99_s"),
        ("e2e", LIMITS, "e2e_p99_s"),
        ("cost", METRICS, "cost_usd_per_hour"),
        ("qualty", METRICS, "quality"),
        ("power", METRICS, "power_w"),
        ("nsga", SEARCHERS, "nsga2"),
        ("genetic_grey", SEARCHERS, "genetic_gray"),
        ("simulated_annealing", SEARCHERS, "annealing"),
        ("evolution", SEARCHERS, "regularized_evolution"),
        ("agents", SEARCHERS, "many_agents"),
        ("tep", SEARCHERS, "tpe"),
        # nothing is near
        ("zzz", TABLES, None),
        ("claude", MODELS, None),
        ("objective", TABLES, None),
        ("", MODELS, None),
        ("---", MODELS, None),
    ],
)
def test_the_nearest_is_what_was_meant(
    value: str, choices: list[str], expected: str | None
) -> None:
    """Cases as people type them."""
    found = f" (nearest: '{expected}')" if expected else ""
    assert errors.nearest(value, choices) == found


@pytest.mark.parametrize("choices", [DEVICES, MODELS, TABLES, RUN, LIMITS, METRICS, SEARCHERS])
def test_a_slip_in_a_name_leads_back_to_it(choices: list[str]) -> None:
    """Every name with two letters swapped, or in other case, is found again, nearly always."""
    slips = [
        (name[:i] + name[i + 1] + name[i] + name[i + 2 :], name)
        for name in choices
        for i in range(1, len(name) - 1)
        if name[i].isalpha() and name[i + 1].isalpha()
    ]
    right = sum(errors.nearest(slip, choices) == f" (nearest: '{name}')" for slip, name in slips)
    assert right >= 0.95 * len(slips)
    for name in choices:
        for other in (name.upper(), name.replace("-", "_"), name.replace("_", " ")):
            assert errors.nearest(other, choices) == f" (nearest: '{name}')"


def test_unknown_lists_a_dozen_choices() -> None:
    """Long lists are cut, empty ones say none."""
    many = errors.unknown("device", "x", [f"device-{i}" for i in range(20)])

    assert many.endswith("device-11, …")
    assert errors.unknown("device", "x", []) == "unknown device 'x'; known: none"


def test_a_missing_extra_has_the_install_command() -> None:
    """The message can be pasted into a shell."""
    text = str(errors.MissingExtraError("the searcher nsga3", "pymoo"))

    assert text == "the searcher nsga3 needs the extra 'pymoo': pip install 'archwright[pymoo]'"
