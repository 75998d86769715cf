"""The public names of each package, held as literal lists."""

from __future__ import annotations

import importlib

import pytest

NAMES = {
    "archwright.errors": [
        "ArchwrightError", "EnvironmentFault", "InfeasibleError", "MissingExtraError",
        "SpecificationError", "StoreError", "StudyError", "TraceError", "UserError", "nearest",
        "unknown",
    ],
    "archwright.provenance": ["LABELS", "Label", "Source"],
    "archwright.registry": ["GROUPS", "Entry", "Group", "entries", "resolve"],
    "archwright.search": [
        "NSGA2", "Artifacts", "Bars", "Budget", "Choice", "Design", "Designs", "Environment",
        "Executor",
        "Exhaustive", "Facts", "Fidelity", "Goal", "Integer", "Measurements", "Metric",
        "Objectives", "Ordinal", "Panel", "Parameter", "ParameterSpace", "Permutation",
        "Processes", "Proposals", "RandomSearch", "Real", "Result", "Roofline", "Scores",
        "Searcher",
        "Serial", "Session", "SimulatorEnvironment", "Space", "Strips", "Study", "Table", "Trials",
        "environment",
        "isolated_rng", "order",
    ],
    "archwright.specification": [
        "describe", "from_mapping", "option", "paths", "read_path", "replace_path",
        "replace_paths", "to_mapping",
    ],
    "archwright.testing": [
        "ConformanceError", "ToyEnvironment", "check_environment", "check_searcher",
        "check_space", "check_store", "same_trials", "toy_environment",
    ],
    "archwright.solve": [
        "Allocation", "ParetoArchive", "Problem", "allocate", "hypervolume",
        "nondominated", "unserved",
    ],
    "archwright.serving": [
        "CountLimit", "EngineLimits", "FleetEnvironment", "FleetPlan", "FleetSpecification",
        "GpuProfile", "InstanceType", "Limits", "Offer", "Profile", "Rule", "Trace", "Way",
        "Workload", "erlang_c", "fleet_environment", "generate", "p99_wait_s", "plan_fleet",
        "profile", "read_trace", "workload",
    ],
    "archwright.llm": [
        "CompiledStepCost", "EngineLimits", "EngineSpec", "Footprint", "Inference",
        "InferenceSpecification", "Operator", "ParallelPlan", "Quality", "Score", "StackedSteps",
        "StepBatch", "StepCost", "StepEstimate", "Transformer", "assumptions", "benchmarks",
        "engine", "engines", "free_kv_bytes", "infer", "kv_capacity_tokens", "load_config",
        "memory", "model_types", "own_scores", "parameter_breakdown", "score", "step_costs",
        "step_operators", "supports", "transformer",
    ],
    "archwright.hardware": [
        "Device", "Graph", "Link", "MatmulFraction", "Offer", "Operator", "Price", "Tier",
        "cheapest", "device", "load_offers", "load_prices", "matmul_fraction",
    ],
    "archwright.formats": [
        "KvFormat", "Recovery", "WeightFormat", "kv_format", "kv_formats", "recovery",
        "weight_format", "weight_formats",
    ],
    "archwright.explain": [
        "Assumption", "Direction", "Front", "Independence", "PairGain", "Quantity",
        "ReportContent", "Section", "Sensitivity", "TradeOff", "Unranked", "best_per_metric",
        "comparison", "comparison_sections", "hypervolume_history", "importance",
        "independence", "interactions", "knee", "morris", "next_steps", "render", "sections",
        "show", "sobol", "write_optuna_journal", "write_report",
    ],
    "archwright.memory": ["DramAccuracyRow", "dram", "dram_accuracy"],
    "archwright.memory.dram": [
        "AddressMapping", "DramCommand", "DramController", "DramControllerEnvironment",
        "DramControllerSpecification", "DramEnergy", "DramMemory",
        "DramPower", "DramResult", "DramTiming", "DramTrace", "Violation", "check_commands",
        "chrome_trace", "cloud_1", "cloud_2", "dram_controller", "load_mapping",
        "load_memory", "load_trace", "memories", "memory", "random", "recount_energy",
        "simulate", "stream", "target_reward",
    ],
    "archwright.papers": [
        "Finding", "Paper", "as_declared", "catalogue", "paper", "reproduce",
    ],
    "archwright.search.store": [
        "Disk", "Store", "TableSchema", "Verification", "durability", "read_study", "read_trials",
        "stored_schema", "verify",
    ],
}  # fmt: skip


@pytest.mark.parametrize("package", NAMES)
def test_public_names(package: str) -> None:
    """A name is added or removed on purpose, and each stands in its package."""
    module = importlib.import_module(package)

    assert NAMES[package] == module.__all__
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
