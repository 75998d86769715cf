"""What an inference engine is: its limits, its scheduling, its time on the host, what it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Literal

from archwright.errors import SpecificationError, nearest, unknown
from archwright.hardware import Device
from archwright.hardware.devices import devices
from archwright.hardware.tables import catalogue_toml, read_toml
from archwright.provenance import Source
from archwright.specification import from_mapping, option, to_mapping

__all__ = [
    "SAMPLING",
    "EngineLimits",
    "EngineSpec",
    "Sampling",
    "engine",
    "engine_table",
    "engines",
    "load_engine",
]

Sampling = Literal["greedy", "top_p"]
SAMPLING: tuple[Sampling, ...] = ("greedy", "top_p")
FORMAT = 1
"""Version of the files that a calibration writes."""


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """What the scheduler of an engine holds in every step.

    >>> EngineLimits(max_num_seqs=128, max_num_batched_tokens=2048).block_size
    16

    Raises:
        SpecificationError: a limit below 1, or a budget that cannot give each sequence a token.
    """

    max_num_seqs: int = option(low=1, doc="most sequences that run at once")
    max_num_batched_tokens: int = option(low=1, unit="tokens", doc="most tokens a step")
    block_size: int = option(16, low=1, unit="tokens", doc="tokens of a block of the KV cache")
    num_gpu_blocks: int | None = option(
        None, low=1, doc="blocks of the KV cache; by default what the memory holds"
    )
    enable_prefix_caching: bool = option(True, doc="blocks of equal prefixes are shared")
    max_model_len: int | None = option(
        None, low=1, unit="tokens", doc="longest input and output; by default the model's"
    )

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            counts = isinstance(value, int) and not isinstance(value, bool)
            if (
                name != "enable_prefix_caching"
                and value is not None
                and not (counts and value >= 1)
            ):
                raise SpecificationError(f"{name}: {value!r}, expected a whole number from 1 up")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise SpecificationError(
                f"max_num_batched_tokens: {self.max_num_batched_tokens}, expected at least "
                f"max_num_seqs, {self.max_num_seqs}: each running sequence takes a token"
            )


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """An inference engine of one version.

    An empty list of formats, widths or devices is no limit: the engine is an ideal, or nobody
    has stated what it cannot run.

    >>> engine("vllm-0.19.0").reason(kv_format="int8")
    'vllm-0.19.0 has no int8 KV cache; it has bf16, fp8'

    Attributes:
        name: name and version.
        limits: what its scheduler holds.
        chunked_prefill: chunks of prompts share steps with running sequences.
        kv_share: share of the memory that weights and KV cache may take.
        host_step_s: seconds of the host a step that nothing hides.
        host_sequence_s: seconds of the host a running sequence and step.
        front_end_s: seconds from a request's arrival to its place in the queue, and from its
            token to the client.
        sampling: how tokens are drawn on the device.
        weights: weight formats that it runs.
        kv: KV-cache formats that it runs.
        widths: tensor-parallel widths that it runs.
        devices: names of devices that it runs on, ``*`` for any letters.
        source: where the times come from.
        runs: where formats, widths and devices come from.
    """

    name: str
    limits: EngineLimits = option(
        factory=lambda: EngineLimits(max_num_seqs=1024, max_num_batched_tokens=8192)
    )
    chunked_prefill: bool = True
    kv_share: float = option(0.9, low=0.01, high=1.0)
    host_step_s: float = option(0.0, low=0.0, unit="s")
    host_sequence_s: float = option(0.0, low=0.0, unit="s")
    front_end_s: float = option(0.0, low=0.0, unit="s")
    sampling: Sampling = option("greedy", choices=SAMPLING)
    weights: tuple[str, ...] = ()
    kv: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()
    source: Source = field(default_factory=lambda: Source(source="stated", flag="assumed"))
    runs: Source = field(default_factory=lambda: Source(source="no limit", flag="assumed"))

    def __post_init__(self) -> None:
        for name in ("host_step_s", "host_sequence_s", "front_end_s"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
                raise SpecificationError(f"{name}: {value!r}, expected seconds from 0 up")
        if not 0 < self.kv_share <= 1:
            raise SpecificationError(f"kv_share: {self.kv_share!r}, expected above 0, at most 1")
        if self.sampling not in SAMPLING:
            raise SpecificationError(unknown("sampling", self.sampling, SAMPLING))

    def reason(
        self,
        *,
        device: Device | None = None,
        weight_format: str | None = None,
        kv_format: str | None = None,
        tensor: int | None = None,
    ) -> str | None:
        """Return why the engine cannot run this, with what it can; None where it can.

        Args:
            device: one of the devices of the instance. A device that the catalogue lacks is
                taken to be one that the engine was ported to.
            weight_format: name of a weight format.
            kv_format: name of a KV-cache format.
            tensor: tensor-parallel width.
        """
        if weight_format is not None and self.weights and weight_format not in self.weights:
            return f"{self.name} does not run {weight_format} weights; {self._can(self.weights)}"
        if kv_format is not None and self.kv and kv_format not in self.kv:
            return f"{self.name} has no {kv_format} KV cache; it has {', '.join(self.kv)}"
        if tensor is not None and self.widths and tensor not in self.widths:
            widths = ", ".join(map(str, self.widths))
            return f"{self.name} does not run tensor width {tensor}; it runs {widths}"
        if device is not None and not self._runs_on(device.name):
            can = [d.name for d in devices() if self._runs_on(d.name)]
            close = nearest(device.name, can) or f"; it runs on {', '.join(can[:8])}, …"
            return f"{self.name} does not run on {device.name}{close}"
        return None

    def too_much(self, sequences: int) -> str | None:
        """Return why so many sequences cannot run at once, None where they can."""
        most = self.limits.max_num_seqs
        if sequences <= most:
            return None
        return f"batch: {sequences}, expected at most the {most} sequences of {self.name}"

    @staticmethod
    def _can(formats: tuple[str, ...]) -> str:
        return f"it runs {', '.join(formats)}"

    def _runs_on(self, name: str) -> bool:
        known = name in _device_names()
        return not (self.devices and known) or any(fnmatchcase(name, p) for p in self.devices)


@cache
def _device_names() -> frozenset[str]:
    return frozenset(d.name for d in devices())


@cache
def engines() -> Mapping[str, EngineSpec]:
    """Return the engines of the catalogue by name and version.

    >>> sorted(engines())
    ['overlapped', 'sglang-0.5.9', 'trtllm-1.3.0', 'vllm-0.19.0']
    """
    table = catalogue_toml("archwright.llm", "engines.toml")
    return {name: _read(name, row, f"engines.toml [{name}]") for name, row in table.items()}


def engine(name: str) -> EngineSpec:
    """Return an engine by name; one without a version is its newest.

    >>> engine("vllm").name
    'vllm-0.19.0'

    Args:
        name: of the catalogue, or the path of a profile that a calibration wrote.

    Raises:
        SpecificationError: no such engine; the message names the nearest one.
    """
    if name.endswith(".toml"):
        return load_engine(name)
    known = engines()
    newest = {version.rsplit("-", 1)[0]: version for version in known}  # the catalogue's order
    if name not in known and name not in newest:
        raise SpecificationError(unknown("engine", name, list(dict.fromkeys([*newest, *known]))))
    return known[newest.get(name, name)]


def load_engine(path: str | Path) -> EngineSpec:
    """Read an engine that a calibration wrote.

    Raises:
        SpecificationError: the file cannot be read, is of another version, or a key is missing
            or unknown.
    """
    path = Path(path)
    table = read_toml(path)
    if table.get("format", FORMAT) != FORMAT:
        raise SpecificationError(
            f"{path}: format: {table['format']!r}, expected {FORMAT}; calibrate again"
        )
    row = dict(table.get("engine", {}))
    for key in ("host_step_s", "host_sequence_s"):
        value = row.get(key)
        if key in row and (
            not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0
        ):
            raise SpecificationError(f"{path} [engine]: {key}: {value!r}, expected seconds")
    row.setdefault("source", path.name)
    row.setdefault("flag", "fitted")
    name = str(row.pop("name", path.stem))
    found = _read(name, row, f"{path} [engine]")
    for key in ("host_step_s", "host_sequence_s"):
        if key not in row:
            raise SpecificationError(f"{path} [engine]: {key}: None, expected seconds")
    return found


def engine_table(spec: EngineSpec, base: str | None = None) -> dict[str, Any]:
    """Return an engine as the table of a file, which `load_engine` reads back.

    Args:
        spec: the engine.
        base: engine of the catalogue whose limits and formats hold; by default all are written.
    """
    source = {"source": spec.source.source, "date": spec.source.date, "flag": spec.source.flag}
    fitted = ("name", "host_step_s", "host_sequence_s", "front_end_s")
    row: dict[str, Any] = {name: getattr(spec, name) for name in fitted}
    if base is not None:
        row["base"] = base
    else:
        row |= {name: getattr(spec, name) for name in ("chunked_prefill", "kv_share", "sampling")}
        limits = to_mapping(spec.limits)
        row["limits"] = {key: value for key, value in limits.items() if value is not None}
        lists = {name: list(getattr(spec, name)) for name in _LISTS}
        row |= {name: values for name, values in lists.items() if values}
    return {"format": FORMAT, "engine": row | source}


_LISTS = ("weights", "kv", "widths", "devices")
_PLAIN = (
    "chunked_prefill", "kv_share", "host_step_s", "host_sequence_s", "front_end_s", "sampling",
)  # fmt: skip
_KEYS = ("base", "limits", *_PLAIN, *_LISTS, "source", "date", "flag", "runs")


def _read(name: str, row: Mapping[str, Any], where: str) -> EngineSpec:
    for key in row:
        if key not in _KEYS:
            raise SpecificationError(f"{where}: unknown key {key!r}{nearest(key, _KEYS)}")
    base = engine(row["base"]) if "base" in row else EngineSpec(name=name)
    given: dict[str, Any] = {key: row[key] for key in _PLAIN if key in row}
    given |= {key: tuple(row[key]) for key in _LISTS if key in row}
    if "limits" in row:
        given["limits"] = from_mapping(
            EngineLimits, to_mapping(base.limits) | dict(row["limits"]), where=f"{where}.limits"
        )
    source = Source(
        source=str(row.get("source", "")), date=str(row.get("date", "")),
        flag=row.get("flag", "assumed"),
    )  # fmt: skip
    runs = base.runs
    if "runs" in row:
        runs = Source(source=row["runs"], date=source.date, flag="recalled")
    try:
        return replace(base, name=name, source=source, runs=runs, **given)
    except SpecificationError as error:
        raise SpecificationError(f"{where}: {error}") from None
