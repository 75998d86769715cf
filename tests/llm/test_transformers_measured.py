"""The models of the reference measurements: known by their ids, and of the size printed there."""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path

import pytest

from archwright.errors import SpecificationError
from archwright.llm import transformer

# Mamba hybrids and linear attention have no shape here.
_OTHER_KINDS = ("nvidia/NVIDIA-Nemotron-Nano", "Qwen/Qwen3.5-")
# Printed sizes are cut (14.0 for 14.8).
_WITHIN = 0.06


def _rows(name: str) -> list[dict[str, str]]:
    path = Path(os.environ.get("ARCHWRIGHT_DATA", "../shared/data")) / name
    if not path.exists():
        pytest.skip(f"{path} is absent; set ARCHWRIGHT_DATA to the reference measurements")
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return list(csv.DictReader(io.StringIO(text.decode("utf-8"))))


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("llm-energy/mlenergy_llm.csv", "model_id"),
        ("llm-measured/serving_e2e.csv.gz", "model_path"),
    ],
)
def test_measured_models_are_known(name: str, column: str) -> None:
    ids = sorted({row[column] for row in _rows(name)})
    assert len(ids) > 10
    for model_id in ids:
        if model_id.startswith(_OTHER_KINDS):
            with pytest.raises(SpecificationError, match="unknown model"):
                transformer(model_id)
        else:
            assert model_id in transformer(model_id).hf_ids


def test_sizes_of_the_energy_table() -> None:
    sizes = {
        row["model_id"]: float(row["total_params_billions"])
        for row in _rows("llm-energy/mlenergy_llm.csv")
        if not row["model_id"].startswith(_OTHER_KINDS)
    }
    for model_id, billions in sizes.items():
        found = transformer(model_id).parameters / 1e9
        assert found == pytest.approx(billions, rel=_WITHIN), model_id
