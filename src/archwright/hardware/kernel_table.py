"""Measured kernel times as they are, and between them the fitted law scaled to the nearest.

A table never says more than was measured: a point that was measured is returned as it is, with
bumps and all; any other is the law's time times the measured-to-law ratio of its nearest
neighbors in the logarithms of the shape; a format that was not measured is left to the law.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from archwright.errors import MissingExtraError, SpecificationError, unknown
from archwright.hardware.devices import Device
from archwright.hardware.evaluation import Timed, keys_of, predict
from archwright.hardware.measurements import Sample, read_folder
from archwright.hardware.profiles import key_name, resolve

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

__all__ = ["ARGUMENTS", "KernelTable", "arguments"]

NEIGHBORS = 4
"""Measured points that a point between them looks at."""
ARGUMENTS = {
    "gemm": ("m", "n", "k"),
    "attention_prefill": (
        *("batch", "query_tokens", "context_tokens", "heads", "kv_heads", "head_dim", "window"),
    ),
    "attention_decode": ("batch", "context_tokens", "heads", "kv_heads", "head_dim", "window"),
}
"""Names of a law's arguments, in its order."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Points:
    """Measured points of one law and format: their shapes as logarithms, and the ratios."""

    tree: cKDTree
    log_ratio: Floats


@dataclass(frozen=True, eq=False)
class KernelTable:
    """Measured kernels of one device, of one engine.

    Attributes:
        device: whose kernels they are.
        points: law and format to measured points.
        source: where they come from.
    """

    device: Device
    points: Mapping[tuple[str, str], _Points]
    source: str

    @classmethod
    def from_samples(cls, device: Device, samples: Iterable[Sample], source: str) -> KernelTable:
        """Make a table of samples; collectives and experts are left to the laws."""
        from scipy.spatial import cKDTree

        groups: dict[tuple[str, str], list[Sample]] = {}
        for sample in samples:
            if sample.law in ARGUMENTS and len(sample):
                groups.setdefault((sample.law, sample.key), []).append(sample)
        points = {}
        for (law, key), parts in groups.items():
            shape = [
                np.concatenate([p.shape[i] for p in parts]) for i in range(len(parts[0].shape))
            ]
            seconds = np.concatenate([p.seconds for p in parts])
            fitted = resolve(law, device, keys_of(law, key))
            law_s = predict(law, device, key, fitted, shape).seconds
            points[law, key] = _Points(cKDTree(_logs(shape)), np.log(seconds / law_s))
        if not points:
            raise SpecificationError(f"{source}: holds no kernel times of {device.name}")
        return cls(device, points, source)

    @classmethod
    def from_folder(cls, folder: str | Path, device: Device) -> KernelTable:
        """Read the tables of a device from a folder of CSVs, ``gemm_h100_sxm.csv.gz`` and so on.

        Raises:
            TraceError: no tables, or a broken one.
            SpecificationError: none of this device.
        """
        samples = read_folder(folder).samples
        if device.name not in samples:
            raise SpecificationError(unknown(f"device in {folder}", device.name, sorted(samples)))
        return cls.from_samples(device, samples[device.name], str(folder))

    @classmethod
    def from_aiconfigurator(
        cls, device: Device, *, system: str, engine: str = "trtllm", version: str | None = None
    ) -> KernelTable:
        """Read the tables that the package ``aiconfigurator-core`` ships.

        Args:
            device: whose kernels they are.
            system: name of the package's folder, such as ``h100_sxm``.
            engine: ``trtllm``, ``vllm`` or ``sglang``.
            version: version of the engine; by default the last that the package has.

        Raises:
            MissingExtraError: the package is not installed.
            SpecificationError: it has no such system, engine or version.
        """
        from importlib.util import find_spec

        found = find_spec("aiconfigurator_core")
        if found is None or not found.submodule_search_locations:
            raise MissingExtraError("the table of aiconfigurator-core", "tables")
        data = Path(found.submodule_search_locations[0]) / "systems" / "data"
        samples: list[Sample] = []
        for kind in ("gemm", "attention"):
            folder = _choose(data, "system", system) / kind
            folder = _choose(folder, "engine", engine)
            folder = _choose(folder, "version", version or _last(folder))
            samples += _read_parquet(folder)
        where = f"aiconfigurator-core {system} {engine}"
        return cls.from_samples(device, samples, where)

    def time(self, law: str, shape: Mapping[str, Any], otherwise: Timed) -> Timed:
        """Return the time of a kernel.

        Args:
            law: name of its law.
            shape: arguments of the law.
            otherwise: what the laws say, for formats that were not measured.
        """
        key = _key(law, shape)
        points = self.points.get((law, key))
        if points is None:
            return otherwise
        arrays = np.broadcast_arrays(*arguments(law, shape))
        flat = [np.asarray(a, dtype=np.float64).reshape(-1) for a in arrays]
        fitted = resolve(law, self.device, keys_of(law, key))
        law_s = predict(law, self.device, key, fitted, flat).seconds
        near = points.tree.query(_logs(flat), k=min(NEIGHBORS, len(points.log_ratio)))
        distance, index = (np.asarray(part) for part in near)
        distance, index = distance.reshape(len(law_s), -1), index.reshape(len(law_s), -1)
        # inverse squares of distances; a point that was measured alone counts
        weight = 1.0 / np.maximum(distance, 1e-12) ** 2
        weight[distance[:, 0] < 1e-9, 1:] = 0.0
        ratio = np.exp((weight * points.log_ratio[index]).sum(axis=1) / weight.sum(axis=1))
        seconds = (law_s * ratio).reshape(arrays[0].shape)
        exact = (distance[:, 0] < 1e-9).reshape(seconds.shape)
        spread = [np.asarray(end) / np.asarray(otherwise.seconds) for end in otherwise[1:]]
        low, high = (np.where(exact, seconds, seconds * s) for s in spread)
        return Timed(seconds[()], low[()], high[()])


def _read_parquet(folder: Path) -> list[Sample]:
    """Read the parquet tables of one kind; their times are milliseconds."""
    samples = []
    for path in sorted(folder.glob("*_perf.parquet")):
        c = {name: column.to_numpy() for name, column in _columns(path).items()}
        shape: tuple[Any, ...]
        if path.name == "gemm_perf.parquet":
            law, keys, shape = "gemm", c["gemm_dtype"], (c["m"], c["n"], c["k"])
        elif path.name in ("context_attention_perf.parquet", "generation_attention_perf.parquet"):
            keys = c["attn_dtype"] + "/" + c["kv_cache_dtype"]
            kv_heads = np.where(c["num_key_value_heads"] == 0, c["num_heads"],
                                c["num_key_value_heads"])  # fmt: skip
            window = np.where(c["window_size"] > 0, c["window_size"], np.inf)
            rest = (c["num_heads"], kv_heads, c["head_dim"], window)
            context = c["isl"] + c["step"]
            if path.name.startswith("context"):
                law, shape = "attention_prefill", (c["batch_size"], c["isl"], context, *rest)
            else:
                law, shape = "attention_decode", (c["batch_size"], context, *rest)
        else:
            continue
        for key in np.unique(keys.astype(str)):
            rows = keys == key
            samples.append(
                Sample(
                    table=path.stem,
                    law=law,
                    key=key,
                    shape=tuple(np.asarray(a[rows], dtype=np.float64) for a in shape),
                    seconds=np.asarray(c["latency"][rows], dtype=np.float64) * 1e-3,
                )
            )
    return samples


def _columns(path: Path) -> dict[str, Any]:
    table = pq.read_table(path)
    return {name: table[name] for name in table.column_names}


def arguments(law: str, shape: Mapping[str, Any]) -> list[Any]:
    """Return the arguments of a law from a shape; no window is one that never ends."""
    return [np.inf if shape.get(name) is None else shape[name] for name in ARGUMENTS[law]]


def _key(law: str, shape: Mapping[str, Any]) -> str:
    if law not in ARGUMENTS:
        return ""
    names = [shape["dtype"]] + ([shape["kv_dtype"]] if law.startswith("attention") else [])
    return key_name("/".join(names))


def _logs(shape: Iterable[Floats]) -> Floats:
    """Return shapes as points; a window that never ends is one of 2^40 keys."""
    columns = [np.log2(np.minimum(np.asarray(a, dtype=np.float64), 2.0**40)) for a in shape]
    return np.column_stack(columns)


def _choose(folder: Path, what: str, name: str) -> Path:
    known = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if name not in known:
        raise SpecificationError(f"aiconfigurator-core: {unknown(what, name, known)}")
    return folder / name


def _last(folder: Path) -> str:
    def order(name: str) -> list[tuple[int, str]]:
        return [(int(p) if p.isdigit() else -1, p) for p in name.replace("rc", ".").split(".")]

    return max((p.name for p in folder.iterdir() if p.is_dir()), key=order, default="")
