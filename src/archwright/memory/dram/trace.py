"""Traces: when each request is offered, whether it writes, and its address."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.memory.dram.mapping import AddressMapping, DecodedAddresses
from archwright.memory.dram.memory import DramMemory

__all__ = [
    "GENERATED",
    "DramTrace",
    "cloud_1",
    "cloud_2",
    "load_trace",
    "named_trace",
    "random",
    "stream",
]

_LATEST = 10**12  # clocks of the trace
_DIGITS = set("0123456789abcdef")


class DramTrace:
    """Requests in the order offered.

    Args:
        cycle: clock of the trace at which each request is offered, never falling, shape (n,).
        write: whether each writes, shape (n,).
        address: byte address of each, shape (n,).
        name: what messages call the trace.
        address_bits: width of the address space in which the trace was recorded. Within it an
            address beyond the memory wraps round, as a memory ignores the upper address lines;
            without it such an address is refused.

    Example:
        >>> DramTrace([0, 1], [False, True], [0, 64])
        DramTrace('trace', requests=2)

    Raises:
        SpecificationError: no request, unequal lengths, clocks that fall or are negative.
    """

    def __init__(
        self,
        cycle: npt.ArrayLike,
        write: npt.ArrayLike,
        address: npt.ArrayLike,
        *,
        name: str = "trace",
        address_bits: int | None = None,
    ) -> None:
        whole = isinstance(address_bits, (int, np.integer)) and not isinstance(address_bits, bool)
        if address_bits is not None and not (whole and 1 <= address_bits <= 64):
            raise SpecificationError(
                f"{name}: address_bits: expected 1 to 64, found {address_bits!r}"
            )
        self.name = name
        self.address_bits = address_bits
        self.cycle = _column(cycle, np.int64, f"{name}: cycle")
        self.write = _column(write, np.bool_, f"{name}: write")
        self.address = _column(address, np.uint64, f"{name}: address")
        if not len(self.cycle) == len(self.write) == len(self.address):
            raise SpecificationError(
                f"{name}: cycle, write and address have {len(self.cycle)}, {len(self.write)} and "
                f"{len(self.address)} entries; expected the same number"
            )
        if not len(self.cycle):
            raise SpecificationError(f"{name}: the trace is empty; expected at least one request")
        if self.cycle[0] < 0:
            raise SpecificationError(f"{name}: clock {self.cycle[0]}; expected 0 or more")
        falls = np.flatnonzero(np.diff(self.cycle) < 0)
        if len(falls):
            i = int(falls[0]) + 1
            raise SpecificationError(
                f"{name}: request {i + 1}: clock {self.cycle[i]} after {self.cycle[i - 1]}; "
                "expected clocks that never fall"
            )
        self._decoded: tuple[AddressMapping, DecodedAddresses] | None = None

    def __len__(self) -> int:
        return len(self.cycle)

    def __repr__(self) -> str:
        return f"DramTrace({self.name!r}, requests={len(self)})"

    def decode(self, memory: DramMemory, mapping: AddressMapping) -> DecodedAddresses:
        """Return bank and row of each request; kept, so that a trace is decoded once.

        Raises:
            SpecificationError: an address lies beyond the memory, or the mapping does not fit.
        """
        mapping.check(memory)
        if self._decoded is None or self._decoded[0] != mapping:
            limit = max(memory.capacity_bytes, 2 ** (self.address_bits or 0))
            beyond = np.flatnonzero(self.address > np.uint64(limit - 1))
            if len(beyond):
                i = int(beyond[0])
                raise SpecificationError(
                    f"{self.name}: request {i + 1}: address {int(self.address[i]):#x} is beyond "
                    f"{memory.name}, whose last is {memory.capacity_bytes - 1:#x}"
                )
            self._decoded = (mapping, mapping.decode(self.address))
        return self._decoded[1]


def _column(values: npt.ArrayLike, kind: Any, what: str) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "bui"):
            raise ValueError(f"shape {array.shape}, type {array.dtype}")
        if array.size and kind is np.uint64 and int(array.min()) < 0:
            raise ValueError("a negative number")
        if array.size and kind is np.int64 and int(array.max()) > _LATEST:
            raise ValueError(f"a number above {_LATEST}")
        column = np.ascontiguousarray(array, dtype=kind).copy()
    except (ValueError, OverflowError, TypeError) as error:
        raise SpecificationError(f"{what}: expected one row of whole numbers: {error}") from error
    column.flags.writeable = False
    return column


def load_trace(path: str | PathLike[str], *, address_bits: int = 32) -> DramTrace:
    """Read a trace of lines ``clock: read|write address``; ``#`` begins a comment line.

    The address of a write may be followed by its data in hexadecimal, which costs no time and is
    left out.

    Args:
        path: the file.
        address_bits: width of the recorded address space; see :class:`DramTrace`. Most published
            traces are of 32-bit processors, whose addresses exceed a small memory.

    Raises:
        SpecificationError: a line that is not of this form (its number named), no request, or
            clocks relative to the request before (``.rstl``).
    """
    where = str(path)
    if where.endswith(".rstl"):
        raise SpecificationError(
            f"{where}: clocks relative to the request before, expected absolute ones (.stl)"
        )
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SpecificationError(f"{where}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecificationError(f"{where}: expected a text file: {error.reason}") from error
    cycles: list[int] = []
    writes: list[bool] = []
    addresses: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        place = f"{where}: line {number}"
        if len(words) == 4 and words[1] == "write":
            data = words.pop().lower().removeprefix("0x")
            if not data or set(data) - _DIGITS:
                raise SpecificationError(
                    f"{place}: expected hexadecimal data, found {line.split()[3][:60]!r}"
                )
        if len(words) != 3:
            raise SpecificationError(
                f"{place}: expected 'clock: read|write address', found {line.strip()[:60]!r}"
            )
        clock, operation, address = words
        if operation not in ("read", "write"):
            raise SpecificationError(
                f"{place}: {unknown('operation', operation[:60], ('read', 'write'))}"
            )
        clock = clock.removesuffix(":")
        if not (clock.isascii() and clock.isdigit() and len(clock) <= 13):
            raise SpecificationError(f"{place}: expected a clock, found {words[0][:60]!r}")
        if cycles and int(clock) < cycles[-1]:
            raise SpecificationError(
                f"{place}: clock {int(clock)} after {cycles[-1]}; expected clocks that never fall"
            )
        cycles.append(int(clock))
        writes.append(operation == "write")
        addresses.append(_hexadecimal(address, place))
    return DramTrace(
        cycle=np.array(cycles, dtype=np.int64),
        write=np.array(writes, dtype=np.bool_),
        address=np.array(addresses, dtype=np.uint64),
        name=where,
        address_bits=address_bits,
    )


def _hexadecimal(word: str, place: str) -> int:
    digits = word.lower().removeprefix("0x")
    if not digits or len(digits) > 16 or set(digits) - _DIGITS:
        raise SpecificationError(
            f"{place}: expected a hexadecimal address of at most 64 bits, found {word[:60]!r}"
        )
    return int(digits, 16)


def stream(*, requests: int = 10_000, stride_bytes: int = 64) -> DramTrace:
    """Return sequential reads, one a clock.

    >>> stream(requests=3).address
    array([  0,  64, 128], dtype=uint64)
    """
    address = np.arange(requests, dtype=np.uint64) * np.uint64(stride_bytes)
    return _reads("stream", address)


def random(
    rng: np.random.Generator, *, requests: int = 10_000, capacity_bytes: int = 2**30
) -> DramTrace:
    """Return reads of random bursts of 64 bytes over a memory, one a clock."""
    _check_sizes(requests, capacity_bytes)
    return _reads("random", _random_bursts(rng, requests, capacity_bytes))


def cloud_1(
    rng: np.random.Generator, *, requests: int = 10_000, capacity_bytes: int = 2**30
) -> DramTrace:
    """Return alternating blocks of 50 to 300 sequential and random reads, sequential first."""
    return _reads("cloud-1", _blocks(rng, requests, capacity_bytes, sequential=True))


def cloud_2(
    rng: np.random.Generator, *, requests: int = 10_000, capacity_bytes: int = 2**30
) -> DramTrace:
    """Return alternating blocks of 50 to 300 random and sequential reads, random first."""
    return _reads("cloud-2", _blocks(rng, requests, capacity_bytes, sequential=False))


GENERATED = ("stream", "random", "cloud-1", "cloud-2")
"""Names that ``named_trace`` generates instead of reading."""


def named_trace(
    name: str, folder: Path, *, key: str, requests: int, seed: int, capacity_bytes: int
) -> DramTrace:
    """Return a generated trace by its name, or the file of that name in a folder.

    Args:
        name: one of ``GENERATED``, or a file (``.stl``) relative to ``folder``.
        key: the setting that holds the name, for messages.
        requests, seed: size and seed of a generated trace; a stream has no randomness.
        capacity_bytes: addresses of a generated trace lie below it.

    Raises:
        SpecificationError: neither generated nor a file.
    """
    if name == "stream":
        return stream(requests=requests)
    if name in GENERATED:
        make = {"random": random, "cloud-1": cloud_1, "cloud-2": cloud_2}[name]
        return make(np.random.default_rng(seed), requests=requests, capacity_bytes=capacity_bytes)
    if not (folder / name).is_file():
        raise SpecificationError(
            f"{key}: {unknown('trace', name, GENERATED)}, and no file of that name"
        )
    return load_trace(folder / name)


def _reads(name: str, address: npt.NDArray[np.uint64]) -> DramTrace:
    n = len(address)
    return DramTrace(
        cycle=np.arange(n), write=np.zeros(n, dtype=np.bool_), address=address, name=name
    )


def _check_sizes(requests: int, capacity_bytes: int) -> None:
    if requests < 1:
        raise SpecificationError(f"requests: expected at least 1, found {requests}")
    if capacity_bytes < 64:
        raise SpecificationError(
            f"capacity_bytes: expected at least one request of 64 bytes, found {capacity_bytes}"
        )


def _random_bursts(
    rng: np.random.Generator, requests: int, capacity_bytes: int
) -> npt.NDArray[np.uint64]:
    return rng.integers(0, capacity_bytes // 64, size=requests, dtype=np.uint64) * np.uint64(64)


def _blocks(
    rng: np.random.Generator, requests: int, capacity_bytes: int, *, sequential: bool
) -> npt.NDArray[np.uint64]:
    _check_sizes(requests, capacity_bytes)
    parts: list[npt.NDArray[np.uint64]] = []
    have, streamed = 0, 0
    while have < requests:
        size = min(int(rng.integers(50, 301)), requests - have)
        if sequential:
            index = np.arange(streamed, streamed + size, dtype=np.uint64)
            parts.append(index * np.uint64(64) % np.uint64(capacity_bytes))
            streamed += size
        else:
            parts.append(_random_bursts(rng, size, capacity_bytes))
        have += size
        sequential = not sequential
    return np.concatenate(parts)
