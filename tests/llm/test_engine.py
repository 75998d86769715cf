"""What an inference engine is: the catalogue, what it runs, and files of calibrations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w

from archwright.errors import SpecificationError
from archwright.formats import kv_formats, weight_formats
from archwright.hardware import device
from archwright.hardware.devices import devices
from archwright.llm import EngineLimits, EngineSpec, StepCost, engine, engines, transformer
from archwright.llm.engine import engine_table, load_engine

LLAMA = transformer("Llama-3.1-8B")
VLLM = engine("vllm-0.19.0")


def test_the_catalogue_names_what_there_is() -> None:
    """Formats of the formats' catalogue, devices that patterns meet, limits and sources."""
    names = {d.name for d in devices()}
    for name, spec in engines().items():
        assert spec.name == name
        assert set(spec.weights) <= set(weight_formats()) and set(spec.kv) <= set(kv_formats())
        for pattern in spec.devices:
            met = [d for d in names if replace(spec, devices=(pattern,)).reason(
                device=device(d)) is None]  # fmt: skip
            assert met, f"{name}: {pattern} meets no device"
        assert spec.source.source and spec.source.flag in ("fitted", "assumed", "sourced")
    assert engine("overlapped").reason(kv_format="int4", device=device("V100-SXM2-32GB")) is None


def test_a_name_without_a_version_is_its_newest() -> None:
    assert engine("vllm") is VLLM
    with pytest.raises(SpecificationError, match=r"'vllm-0.18.0' \(nearest: 'vllm-0.19.0'\)"):
        engine("vllm-0.18.0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kv_format": "int8"}, "vllm-0.19.0 has no int8 KV cache; it has bf16, fp8"),
        ({"engine": "sglang", "weight_format": "int3_weight"}, "does not run int3_weight weights"),
        ({"device": device("V100-SXM2-32GB"), "kv_format": "bf16"}, "vllm-0.19.0 does not run on"),
        ({"engine": replace(VLLM, widths=(2, 4))}, "does not run tensor width 1; it runs 2, 4"),
    ],
)
def test_what_an_engine_does_not_run_is_refused(options: dict[str, object], message: str) -> None:
    """With what it can; the same by the ideal engine is none the worse."""
    given = {"device": device("H100-SXM"), "engine": "vllm"} | options
    with pytest.raises(SpecificationError, match=message):
        StepCost(model=LLAMA, **given)  # type: ignore[arg-type]
    if options.get("device") is None:
        StepCost(model=LLAMA, **given | {"engine": "overlapped"})  # type: ignore[arg-type]


def test_a_device_that_nobody_knows_is_ported_to() -> None:
    """A made-up one, where a known one that the engine lacks is refused."""
    made_up = replace(device("V100-SXM2-32GB"), name="X1")
    assert VLLM.reason(device=made_up) is None
    assert VLLM.reason(device=device("V100-SXM2-32GB")) is not None


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_num_seqs": 0}, "max_num_seqs: 0, expected a whole number"),
        ({"block_size": 1.5}, "block_size: 1.5, expected a whole number"),
        ({"max_num_batched_tokens": 63}, "max_num_batched_tokens: 63, expected at least"),
    ],
)
def test_limits_that_cannot_be_are_refused(limits: dict[str, object], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        EngineLimits(**{"max_num_seqs": 64, "max_num_batched_tokens": 2048} | limits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [("host_step_s", -1.0), ("front_end_s", float("nan")), ("kv_share", 0.0), ("sampling", "b")],
)
def test_an_engine_that_cannot_be_is_refused(field: str, value: object) -> None:
    with pytest.raises(SpecificationError, match=field):
        EngineSpec(name="own", **{field: value})  # type: ignore[arg-type]


def test_a_batch_beyond_the_limit_has_a_reason() -> None:
    small = replace(VLLM, limits=replace(VLLM.limits, max_num_seqs=8))
    assert small.too_much(8) is None
    assert small.too_much(9) == "batch: 9, expected at most the 8 sequences of vllm-0.19.0"


@pytest.mark.parametrize("base", [None, "vllm-0.19.0"])
def test_a_file_gives_the_engine_back(tmp_path: Path, base: str | None) -> None:
    """Written whole, or as what differs from an engine of the catalogue."""
    own = replace(VLLM, name="own", host_step_s=2e-3, front_end_s=0.01)
    path = tmp_path / "own.toml"
    path.write_bytes(tomli_w.dumps(engine_table(own, base)).encode())
    found = load_engine(path)
    assert found == replace(own, runs=found.runs)
    assert engine(str(path)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format = 2\n[engine]\n", "format: 2, expected 1; calibrate again"),
        ("[engine]\nhost_step_s = 0\nhost_sequence_s = 0\nbase = 'vlm'\n", "nearest: 'vllm'"),
        ("[engine]\nhost_step_s = 0\n", "host_sequence_s: None, expected seconds"),
        ("[engine]\nhost_step_s = 0\nhost_sequence_s = 0\nsampling = 'x'\n", "sampling"),
        (
            "[engine]\nhost_step_s = 0\nhost_sequence_s = 0\n[engine.limits]\nmax_num_seq = 1\n",
            "nearest: 'max_num_seqs'",
        ),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(SpecificationError, match=message):
        load_engine(path)
