"""Tables of measured kernel times, read into the shapes that the laws take.

A table is a CSV, plain or gzip, in the columns of the public tables of ai-dynamo/aiconfigurator
as ``data/llm-measured`` holds them; its kind is told from its columns. Times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from archwright.errors import SpecificationError, TraceError, nearest, unknown
from archwright.hardware.devices import Device, device
from archwright.hardware.evaluation import Timed, machine, machine_of, predict
from archwright.hardware.laws import BOUNDS, LAWS, Array
from archwright.hardware.profiles import Fitted, key_name
from archwright.hardware.tables import catalogue_toml

__all__ = ["SOUND", "Sample", "Tables", "check", "read_folder", "read_table"]

_KINDS = {
    "gemm": ("dtype", "m", "n", "k"),
    "attention_context": (
        "attn_dtype", "kv_cache_dtype", "batch_size", "num_heads", "num_key_value_heads",
        "head_dim", "isl",
    ),
    "attention_generation": (
        "attn_dtype", "kv_cache_dtype", "batch_size", "num_heads", "num_key_value_heads",
        "head_dim", "context_len",
    ),
    "moe": (
        "moe_dtype", "num_tokens", "hidden_size", "inter_size", "topk", "num_experts",
        "moe_tp_size", "moe_ep_size", "distribution",
    ),
    "nccl": ("op", "dtype", "num_gpus", "message_elements"),
    "custom_allreduce": ("allreduce_dtype", "num_gpus", "message_elements"),
}  # fmt: skip
_OPTIONAL = (
    "window_size", "kernel_source", "implementation", "framework", "version", "device", "op_name",
)  # fmt: skip
_TEXT = (
    "dtype", "attn_dtype", "kv_cache_dtype", "moe_dtype", "allreduce_dtype", "distribution",
    "kernel_source", "op", "implementation", "framework", "version", "device", "op_name",
)  # fmt: skip
_ELEMENT_BYTES = {"half": 2.0, "float16": 2.0, "bfloat16": 2.0, "int8": 1.0, "float": 4.0}
"""Bytes of an element of a message, by the names that the tables of collectives have."""


SOUND = 0.95
"""Share of rows that must not be faster than the roofline for a table to teach anything."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Measured times of one law in one format on one device.

    Attributes:
        table: name of the file, without its ending.
        law: name of the law.
        key: format, ``arithmetic/cache`` for attention, ``link`` or ``host`` for collectives.
        part: what the rows have in common beside the format, such as a routing; may be empty.
        shape: arguments of the law, one array each.
        seconds: measured.
        fits: whether constants may be fitted on these rows.
    """

    table: str
    law: str
    key: str
    part: str = ""
    shape: tuple[Array, ...]
    seconds: Array
    fits: bool = True

    def __len__(self) -> int:
        return len(self.seconds)

    def take(self, index: Any) -> Sample:
        """Return the rows of an index or mask."""
        return replace(
            self, shape=tuple(part[index] for part in self.shape), seconds=self.seconds[index]
        )

    def thin(self, rows: int, seed: int = 0) -> Sample:
        """Return at most `rows` rows, drawn by a seed."""
        if len(self) <= rows:
            return self
        order = np.random.default_rng(seed).permutation(len(self))
        return self.take(np.sort(order[:rows]))

    def possible(self, target: Device) -> Array:
        """Return a mask of the rows that are not faster than the roofline by over 2 %."""
        if self.law not in BOUNDS:
            return np.ones(len(self), dtype=bool)
        bound = BOUNDS[self.law](machine_of(target, self.law, self.key), *self.shape)
        return np.asarray(bound <= 1.02 * self.seconds)

    def honest(self, target: Device) -> NDArray[np.bool_]:
        """Return a mask of the rows of decode attention that read all that they state.

        A series is what has heads, width and window in common. Where one of its rows, twice the
        cache in size, is faster than memory, the series was timed on a cache that it reads but in
        part: then its rows beyond the size of the last-level cache say nothing, those a little
        below the peak included. Groups of more query heads than the engine has a kernel for do
        not count either.
        """
        if self.law != "attention_decode":
            return np.ones(len(self), dtype=bool)
        found = machine_of(target, self.law, self.key)
        batch, context, heads, kv_heads, head_dim, window = self.shape
        moved = 2.0 * batch * kv_heads * np.minimum(context, window) * head_dim * found.weight
        fast = (moved > 2.0 * found.l2) & (moved > 1.02 * self.seconds * found.bandwidth)
        kinds = np.column_stack([heads, kv_heads, head_dim, window])
        _, series = np.unique(kinds, axis=0, return_inverse=True)
        broken = np.isin(series, series[fast])
        catalogue = catalogue_toml("archwright.hardware", "laws.toml")
        engine = catalogue["engines"].get(target.name, "")
        most = catalogue["decode_group"].get(engine, np.inf)
        return np.asarray(~(broken & (moved > found.l2)) & (heads <= most * kv_heads))

    def predicted(self, target: Device, fitted: Fitted) -> Timed:
        """Return the times that constants give on a device, and the ends of the interval."""
        return predict(self.law, target, self.key, fitted, self.shape)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What a folder of tables holds.

    Attributes:
        samples: device name to samples.
        skipped: file, or part of one, to the reason that it was left out.
    """

    samples: dict[str, list[Sample]]
    skipped: dict[str, str]


def _columns(path: Path) -> dict[str, np.ndarray]:
    try:
        table = pa.csv.read_csv(path)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error}") from None
    except pa.ArrowInvalid as error:
        raise TraceError(f"{path}: is not a CSV table: {error}") from None
    if not table.num_rows:
        raise TraceError(f"{path}: no rows, expected measured kernel times")
    found: dict[str, np.ndarray] = {}
    for name in table.column_names:
        values = table.column(name).to_numpy(zero_copy_only=False)
        if name in _TEXT:
            found[name] = values.astype(str)
            continue
        try:
            found[name] = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            for line, value in enumerate(values, start=2):
                try:
                    float(value)
                except (TypeError, ValueError):
                    raise TraceError(
                        f"{path}:{line}: {name}: {value!r}, expected a number"
                    ) from None
    return found


def _kind(path: Path, columns: Iterable[str]) -> str:
    names = set(columns)
    known = {"latency_ms", *_OPTIONAL, *(c for need in _KINDS.values() for c in need)}
    for name in sorted(names):
        if name not in known:
            raise TraceError(f"{path}:1: unknown column {name!r}{nearest(name, known)}")
    # The kind with the most columns in common; what it lacks is named.
    kind = max(
        _KINDS, key=lambda k: (len(names & set(_KINDS[k])) / len(_KINDS[k]), len(_KINDS[k]))
    )
    missing = [c for c in (*_KINDS[kind], "latency_ms") if c not in names]
    if missing:
        raise TraceError(
            f"{path}:1: missing column {missing[0]!r}; the header looks like a table of {kind}, "
            f"which needs {', '.join((*_KINDS[kind], 'latency_ms'))}"
        )
    return kind


def read_table(path: str | Path, target: Device) -> list[Sample]:
    """Read a table of kernel times that were measured on a device.

    Rows of collectives that no law is for are left out.

    Args:
        path: the file.
        target: the device, which decides over which link its collectives went.

    Raises:
        TraceError: naming file, line, column, value and what was expected.
    """
    return [sample for sample in _read_table(path, target) if sample.law in LAWS]


def _read_table(path: str | Path, target: Device) -> list[Sample]:
    """Read a table; a collective that no law is for stands under its own name."""
    path = Path(path)
    columns = _columns(path)
    kind = _kind(path, columns)
    for name in (*_KINDS[kind], "latency_ms"):
        if name in _TEXT:
            continue
        low = 0.0 if name == "num_key_value_heads" else 1e-12
        bad = ~(np.isfinite(columns[name]) & (columns[name] >= low))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise TraceError(
                f"{path}:{row + 2}: {name}: {columns[name][row]:g}, expected a positive number"
            )
    if kind in ("nccl", "custom_allreduce"):
        _check_elements(path, columns, "dtype" if kind == "nccl" else "allreduce_dtype")
    stem = path.name.removesuffix(".gz").removesuffix(".csv")
    reader = {
        "gemm": _gemm,
        "attention_context": _attention,
        "attention_generation": _attention,
        "moe": _moe,
        "nccl": _nccl,
        "custom_allreduce": _custom,
    }[kind]
    return [replace(sample, table=stem) for sample in reader(columns, target)]


def _check_elements(path: Path, columns: dict[str, np.ndarray], name: str) -> None:
    bad = ~np.isin(columns[name], list(_ELEMENT_BYTES))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise TraceError(
            f"{path}:{row + 2}: {unknown(name, str(columns[name][row]), _ELEMENT_BYTES)}"
        )


def _gemm(c: dict[str, np.ndarray], target: Device) -> list[Sample]:
    whole = (c["m"], c["n"], c["k"])
    return [
        _sample("gemm", str(dtype), whole, c, c["dtype"] == dtype)
        for dtype in np.unique(c["dtype"])
    ]


def _sample(
    law: str, key: str, shape: tuple[Array, ...], c: dict[str, np.ndarray], rows: Any,
    part: str = "", fits: bool = True,
) -> Sample:  # fmt: skip
    return Sample(
        table="",
        law=law,
        key=key_name(key),
        part=part,
        shape=tuple(np.asarray(array[rows], dtype=np.float64) for array in shape),
        seconds=c["latency_ms"][rows] * 1e-3,
        fits=fits,
    )


def _attention(c: dict[str, np.ndarray], target: Device) -> list[Sample]:
    heads = c["num_heads"]
    kv_heads = np.where(c["num_key_value_heads"] == 0, heads, c["num_key_value_heads"])
    window = c.get("window_size", np.zeros(len(heads)))
    window = np.where(window > 0, window, np.inf)
    shape: tuple[Array, ...]
    rest = (heads, kv_heads, c["head_dim"], window)
    if "isl" in c:
        law, shape = "attention_prefill", (c["batch_size"], c["isl"], c["isl"], *rest)
    else:
        law, shape = "attention_decode", (c["batch_size"], c["context_len"], *rest)
    keys = np.char.add(np.char.add(c["attn_dtype"], "/"), c["kv_cache_dtype"])
    return [_sample(law, str(key), shape, c, keys == key) for key in np.unique(keys)]


def _moe(c: dict[str, np.ndarray], target: Device) -> list[Sample]:
    source = c.get("kernel_source", np.full(len(c["topk"]), ""))
    matrices = np.where(np.char.find(source.astype(str), "nongated") >= 0, 2.0, 3.0)
    shape = (
        c["num_tokens"], c["hidden_size"], c["inter_size"] / c["moe_tp_size"], c["num_experts"],
        c["topk"], c["moe_ep_size"], matrices,
    )  # fmt: skip
    # Several kernels may have been timed for one case; the engine takes the fastest.
    names, code = np.unique(
        np.char.add(np.char.add(c["moe_dtype"], " "), c["distribution"]), return_inverse=True
    )
    cases = np.column_stack([*shape, code])
    order = np.lexsort((c["latency_ms"], *cases.T))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(cases[order], axis=0) != 0).any(axis=1)
    best = np.zeros(len(order), dtype=bool)
    best[order[first]] = True
    samples = []
    for name in names:
        dtype, routing = str(name).split(" ")
        rows = best & (c["moe_dtype"] == dtype) & (c["distribution"] == routing)
        uneven = routing_spread(routing, *(c[n] for n in ("num_tokens", "num_experts", "topk")))
        part = "" if routing == "balanced" else routing
        samples.append(_sample("moe", dtype, (*shape, uneven), c, rows, part))
    return samples


def routing_spread(routing: str, tokens: Array, experts: Array, chosen: Array) -> Array:
    """Return the standard deviation over the mean of the experts' loads of a table's routing.

    The loads were drawn from a bounded power law, whose upper end grows with the tokens: so does
    the unevenness. NaN where the catalogue does not know the routing.

    >>> tokens, experts, chosen = np.array([64.0, 16384.0]), np.array(64), np.array(8)
    >>> few, many = routing_spread("power_law_1.01", tokens, experts, chosen)
    >>> bool(few < many)
    True
    """
    law = catalogue_toml("archwright.hardware", "laws.toml")["routing"]
    if routing == "balanced" or routing not in law["exponents"]:
        return np.full(tokens.shape, 0.0 if routing == "balanced" else np.nan)
    exponent = float(law["exponents"][routing])
    many = tokens * chosen > experts
    low = np.where(many, law["many"][0], law["few"][0])
    high = np.where(many, np.maximum(law["many"][1] * tokens, 2.0 * low), law["few"][1])

    def moment(power: float) -> Array:
        n = power + 1.0 - exponent
        return np.asarray((high**n - low**n) / n)

    relative = moment(2.0) * moment(0.0) / moment(1.0) ** 2
    return np.asarray(np.sqrt(np.maximum(relative - 1.0, 0.0)))


def _link(target: Device) -> str:
    return "link" if target.link_devices > 1 else "host"


def _message_bytes(c: dict[str, np.ndarray], dtypes: np.ndarray) -> Array:
    element = np.array([_ELEMENT_BYTES[str(name)] for name in dtypes])
    return np.asarray(c["message_elements"] * element)


def _nccl(c: dict[str, np.ndarray], target: Device) -> list[Sample]:
    ranks, size = c["num_gpus"], _message_bytes(c, c["dtype"])
    shapes = {"all_reduce": (ranks, size, np.ones(len(ranks)))}
    laws = {"alltoall": "all_to_all"}
    return [
        _sample(laws.get(op, op), _link(target), shapes.get(op, (ranks, size)), c, c["op"] == op)
        for op in np.unique(c["op"]).tolist()
    ]


def _custom(c: dict[str, np.ndarray], target: Device) -> list[Sample]:
    ranks, size = c["num_gpus"], _message_bytes(c, c["allreduce_dtype"])
    # A case has a row launched from a graph and one launched eagerly: the graph is what runs.
    order = np.lexsort((c["latency_ms"], size, ranks))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(ranks[order]) != 0) | (np.diff(size[order]) != 0)
    shape = (ranks, size, np.zeros(len(ranks)))
    return [_sample("all_reduce", _link(target), shape, c, order[first], part="direct")]


def read_folder(folder: str | Path) -> Tables:
    """Read every table of kernel times of a folder, ``KIND_SYSTEM.csv`` or ``.csv.gz``.

    Files of systems that the device catalogue does not know, tables and series that did other
    work than they state, formats that a device has no peak of, and rows of collectives that no
    law is for are named among those skipped.

    Raises:
        TraceError: the folder holds no such table, or one of them is broken.
    """
    folder = Path(folder)
    samples: dict[str, list[Sample]] = {}
    skipped: dict[str, str] = {}
    left_out = catalogue_toml("archwright.hardware", "laws.toml")["left_out"]
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")]):
        stem = path.name.removesuffix(".gz").removesuffix(".csv")
        kind = next((k for k in _KINDS if stem.startswith(k + "_")), None)
        if kind is None:
            continue
        if stem in left_out:
            skipped[path.name] = left_out[stem]
            continue
        try:
            target = device(stem.removeprefix(kind + "_"))
        except SpecificationError as error:
            skipped[path.name] = str(error)
            continue
        for sample in _read_table(path, target):
            if sample.law not in LAWS:
                skipped[f"{path.name} {sample.law}"] = f"{len(sample)} rows: no law is for it"
                continue
            try:
                check(sample, target)
            except SpecificationError as error:
                skipped[f"{path.name} {sample.key} {sample.part}".rstrip()] = str(error)
                continue
            honest = sample.honest(target)
            if not honest.all():
                skipped[f"{path.name} {sample.key}, in part"] = (
                    f"{int((~honest).sum())} rows: of series that are faster than memory, or of "
                    "a fallback kernel"
                )
                sample = sample.take(honest)
            # A table in which many rows beat the roofline did other work than it states.
            sound = sample.possible(target).mean() >= SOUND
            kept = replace(sample, fits=sample.fits and bool(sound))
            samples.setdefault(target.name, []).append(kept)
    if not samples:
        raise TraceError(f"{folder}: no table of kernel times such as gemm_h100_sxm.csv.gz")
    return Tables(samples=samples, skipped=skipped)


def check(sample: Sample, target: Device) -> None:
    """Refuse rows that no law can be asked for.

    Raises:
        SpecificationError: a format that the device lacks, an expert routing without a spread.
    """
    if sample.law in ("all_reduce", "all_to_all"):
        return
    dtype, _, kv_dtype = sample.key.partition("/")
    machine(target, dtype, kv_dtype=kv_dtype or None)
    if sample.law == "moe" and np.isnan(sample.shape[-1]).any():
        known = catalogue_toml("archwright.hardware", "laws.toml")["routing"]["exponents"]
        raise SpecificationError(unknown("distribution", sample.part, ["balanced", *known]))
