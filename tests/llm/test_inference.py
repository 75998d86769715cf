"""The simulator and environment ``llm/infer``: names, files beside a study, the report."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.hardware import device
from archwright.hardware.profiles import shipped, write_profile
from archwright.llm import StepBatch, infer
from archwright.llm import inference_environment as module
from archwright.llm.inference import Inference, InferenceSpecification
from archwright.llm.inference_environment import (
    InferenceEnvironment,
    inference_environment,
    simulate_inference,
)
from archwright.search import (
    Choice,
    Integer,
    Measurements,
    Metric,
    Ordinal,
    SimulatorEnvironment,
)
from archwright.testing import check_environment

TINY = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 320,
    "max_position_embeddings": 4096,
}  # fmt: skip


def configure(folder: Path, vary: dict[str, Any] | None = None, **options: Any) -> Any:
    return inference_environment.configure(options, vary=vary or {}, folder=folder)


def measure(environment: SimulatorEnvironment) -> tuple[dict[str, Any], Measurements]:
    """The first design of a space, and what it measures."""
    design = environment.space.sample(np.random.default_rng(0), 1)[0]
    return design, environment.evaluate([design], seeds=np.zeros(1, np.uint64))


def test_a_configured_environment_keeps_its_panels(tmp_path: Path) -> None:
    """It is of the same class, with what was fixed."""
    made = configure(tmp_path, input=300)
    assert type(made) is InferenceEnvironment
    assert made.base.input == 300
    titles = [panel.title for panel in made.panels({"tp": 1, "batch": 4})]
    assert titles == ["What it costs", "Where the time of a step goes", "Roofline"]


def test_files_are_relative_to_the_study(tmp_path: Path) -> None:
    """A model's config in the study's folder, fixed or varied; none in the current folder."""
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    vary = {"batch": Choice([1, 2])}
    made = configure(tmp_path, vary, model="tiny.json")
    design, found = measure(made)
    assert found.is_feasible.all() and found.metrics["tpot_s"][0] > 0
    assert made.panels(design)
    varied = configure(tmp_path, {"model": Choice(["tiny.json"])})
    assert measure(varied)[1].is_feasible.all()
    with pytest.raises(SpecificationError, match=r"\[environment\].model: .*cannot be read"):
        configure(tmp_path / "elsewhere", vary, model="tiny.json")


def test_a_study_is_known_by_what_its_files_say(tmp_path: Path) -> None:
    """Configs of one name and other content are other studies; catalogue names have no file."""
    for folder, layers in (("one", 2), ("two", 3), ("three", 3)):
        (tmp_path / folder).mkdir()
        config = json.dumps(TINY | {"num_hidden_layers": layers})
        (tmp_path / folder / "tiny.json").write_text(config)
    names = ("one", "two", "three")
    one, two, three = (configure(tmp_path / name, model="tiny.json").identity() for name in names)
    assert one != two == three
    tpot = [simulate_inference(InferenceSpecification(model="tiny.json"), folder=tmp_path / n)[
        "tpot_s"] for n in names]  # fmt: skip
    assert tpot[0] < tpot[1] == tpot[2]
    varied = configure(tmp_path / "one", {"model": Choice(["Llama-3.1-8B", "tiny.json"])})
    assert list(varied.identity()["files"]) == ["tiny.json"]
    assert "files" not in configure(tmp_path).identity()


def test_a_folder_of_a_models_name_counts_only_beside_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the current folder, and not once it was left."""
    here = tmp_path / "Llama-3.1-8B"
    here.mkdir()
    (here / "config.json").write_text(json.dumps(TINY))
    monkeypatch.chdir(tmp_path)
    found = InferenceSpecification().cost(tmp_path / "study")
    assert found.model.layers == 32
    assert InferenceSpecification().cost(tmp_path).model.layers == TINY["num_hidden_layers"]
    assert InferenceSpecification(batch=2).cost(tmp_path / "study").model is found.model


def test_a_simulator_that_names_files_is_told_the_folder(tmp_path: Path) -> None:
    """Of an environment made from any simulator."""

    @dataclass(frozen=True, kw_only=True)
    class Named:
        file: str = "a.txt"

    def simulate(named: Named, *, folder: Path) -> dict[str, float]:
        return {"bytes": float((folder / named.file).stat().st_size)}

    (tmp_path / "b.txt").write_text("four")
    plain = SimulatorEnvironment(
        simulate, base=Named(), vary={"file": ["b.txt"]}, metrics=[Metric("bytes")]
    )
    made = plain.configure({}, vary={}, folder=tmp_path)
    assert measure(made)[1].metrics["bytes"].tolist() == [4.0]
    bound = SimulatorEnvironment(
        partial(simulate, folder=tmp_path), base=Named(), vary={"file": ["b.txt"]},
        metrics=[Metric("bytes")],
    )  # fmt: skip
    elsewhere = bound.configure({}, vary={}, folder=tmp_path / "other")
    assert measure(elsewhere)[1].metrics["bytes"].tolist() == [4.0]


@pytest.mark.parametrize(
    ("field", "name", "nearest"),
    [
        ("model", "Lama-3.1-8B", "Llama-3.1-8B"),
        ("device", "H100-SXN", "H100-SXM"),
        ("engine", "vlm", "vllm"),
        ("weights", "fp88", "fp8"),
        ("kv", "int9", "int8"),
        ("cloud", "awss", "aws"),
    ],
)
def test_a_name_that_nothing_has_is_refused(
    tmp_path: Path, field: str, name: str, nearest: str
) -> None:
    """Fixed, or in a list to choose from; no design is asked for."""
    message = rf"\[environment\].{field}: unknown .*'{name}' \(nearest: '{nearest}'\)"
    with pytest.raises(SpecificationError, match=message):
        configure(tmp_path, {"batch": Choice([1])}, **{field: name})
    with pytest.raises(SpecificationError, match=message):
        configure(tmp_path, {field: Choice([nearest, name])})


def test_a_list_of_names_holds_texts(tmp_path: Path) -> None:
    with pytest.raises(SpecificationError, match="model: expected a text, found 8"):
        configure(tmp_path, {"model": Choice([8])})


def test_what_does_not_go_together_is_infeasible(tmp_path: Path) -> None:
    """Good names, of which some designs cannot be built."""
    vary = {"device": Choice(["A100-80GB-SXM"]), "weights": Choice(["fp8"])}
    found = measure(configure(tmp_path, vary))[1]
    assert not found.is_feasible.any()
    assert found.reason == ["A100-80GB-SXM has no fp8 matrix rate, which fp8 needs"]
    vary = {"kv": Choice(["int8"]), "engine": Choice(["vllm-0.19.0", "trtllm"])}
    designs = [{"kv": "int8", "engine": name} for name in ("vllm-0.19.0", "trtllm")]
    found = configure(tmp_path, vary).evaluate(designs, seeds=np.zeros(2, np.uint64))
    assert found.is_feasible.tolist() == [False, True]
    assert found.reason[0] == "vllm-0.19.0 has no int8 KV cache; it has bf16, fp8"
    crowd = configure(tmp_path, {"batch": Choice([1025])})
    assert measure(crowd)[1].reason == [
        "batch: 1025, expected at most the 1024 sequences of vllm-0.19.0"
    ]


def test_a_report_works_out_the_costs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(*args: Any, **options: Any) -> Inference:
        calls.append(1)
        return infer(*args, **options)

    monkeypatch.setattr(module, "infer", counted)
    specification = InferenceSpecification(batch=4)
    page = simulate_inference.report(specification, tmp_path / "infer.html").read_text()
    assert len(calls) == 1
    tokens = simulate_inference(specification)["tokens_per_s"]
    assert f"{tokens:,.0f} tokens/s" in page


def test_a_made_up_device_has_no_price(tmp_path: Path) -> None:
    """Of a profile whose name no catalogue has; its times are its own."""
    real = device("H100-SXM")
    timing = {"gemm": {"bfloat16": shipped()["gemm"]["H100-SXM"]["bfloat16"]}}
    write_profile(replace(real, name="X1", timing=timing), tmp_path / "x1.toml")
    found = measure(configure(tmp_path, {"batch": Choice([1])}, device="x1.toml"))[1]
    assert found.is_feasible.all()
    assert np.isnan(found.metrics["usd_per_million_tokens"]).all()
    assert (found.metrics["tpot_s"] > 0).all()


def test_an_empty_step_takes_nothing() -> None:
    step = InferenceSpecification(engine="overlapped").cost()(StepBatch())
    assert (step.seconds, step.flops, step.joules) == (0.0, 0.0, 0.0)


def test_designs_measured_together_are_as_measured_alone() -> None:
    """To the last bit: those that fit, those that do not, those too long or without a rate."""
    vary = {
        "model": Choice(["Llama-3.1-8B", "Mixtral-8x7B-v0.1"]),
        "device": Choice(["H100-SXM", "A100-80GB-SXM"]),
        "tp": Ordinal([1, 8]),
        "weights": Choice(["bf16", "fp8"]),
        "batch": Ordinal([1, 3, 256]),
        "input": Integer(1, 200_000, log=True),
        "usd_per_hour": Ordinal([1.0, 2.5]),
    }
    environment = configure(Path(), vary)
    designs = environment.space.sample(np.random.default_rng(0), 200)
    seeds = np.zeros(200, np.uint64)
    found = environment.evaluate(designs, seeds=seeds)
    assert 0 < found.is_feasible.sum() < 200
    assert {text.split(":")[0] for text in found.reason if text} >= {"memory", "input and output"}
    for i in range(200):
        alone = environment.evaluate([designs[i]], seeds=seeds[:1])
        assert alone.reason == [found.reason[i]]
        for name, values in alone.metrics.items():
            assert np.array_equal(found.metrics[name][i : i + 1], values, equal_nan=True), name
        if found.is_feasible[i]:
            plain = InferenceSpecification(**designs[i])
            assert simulate_inference(plain)["tpot_s"] == found.metrics["tpot_s"][i]
    for name in ("ttft_s", "tpot_s"):
        fits = found.is_feasible
        low, high = found.low[name], found.high[name]
        assert (low[fits] <= found.metrics[name][fits]).all()
        assert (found.metrics[name][fits] <= high[fits]).all()


def test_it_conforms() -> None:
    check_environment(inference_environment, n=12)
