"""Address mappings: which bits of an address choose bank, row and column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from archwright.errors import SpecificationError, unknown
from archwright.memory.dram.memory import DramMemory, check_memory, read_json

__all__ = ["AddressMapping", "DecodedAddresses", "load_mapping"]

_PARTS = {
    "BYTE_BIT": "byte_bits",
    "COLUMN_BIT": "column_bits",
    "BANK_BIT": "bank_bits",
    "BANKGROUP_BIT": "bank_group_bits",
    "ROW_BIT": "row_bits",
}


@dataclass(frozen=True, kw_only=True)
class DecodedAddresses:
    """Bank and row of each address; banks count through the groups.

    ``wrapped`` addresses had bits above the memory's, which it ignores.
    """

    bank: npt.NDArray[np.uint8]
    row: npt.NDArray[np.uint32]
    wrapped: int = 0


@dataclass(frozen=True, kw_only=True)
class AddressMapping:
    """The address bits of each part, least significant first.

    Attributes:
        xor: pairs of bits; the first is replaced by the exclusive or of both.

    Example:
        >>> mapping = AddressMapping(byte_bits=(0,), column_bits=(1, 2), bank_bits=(3,),
        ...                          row_bits=(4, 5))
        >>> mapping.decode(np.array([0b101000], dtype=np.uint64)).row
        array([2], dtype=uint32)

    Raises:
        SpecificationError: the bits do not cover 0 to the highest, each once.
    """

    byte_bits: tuple[int, ...]
    column_bits: tuple[int, ...]
    bank_bits: tuple[int, ...]
    row_bits: tuple[int, ...]
    bank_group_bits: tuple[int, ...] = ()
    xor: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        seen: dict[int, str] = {}
        for key, name in _PARTS.items():
            for bit in getattr(self, name):
                if bit in seen:
                    raise SpecificationError(
                        f"{key}: address bit {bit} is covered twice, already by {seen[bit]}"
                    )
                seen[bit] = key
        missing = sorted(set(range(max(seen, default=-1) + 1)) - set(seen))
        if missing or not seen:
            raise SpecificationError(
                f"address bit {missing[0] if missing else 0} is covered by no part; "
                "expected every bit from 0 to the highest"
            )
        for pair in self.xor:
            for bit in pair:
                if bit not in seen:
                    raise SpecificationError(f"XOR: bit {bit} is not an address bit")

    @classmethod
    def ordered(cls, memory: DramMemory, order: str = "row-bank-column") -> AddressMapping:
        """Return a mapping that gives each part one run of bits, the first part the highest.

        Args:
            memory: the memory to map onto.
            order: ``row-bank-column`` or ``bank-row-column``.

        Raises:
            SpecificationError: another order, or a memory whose counts are not powers of two.
        """
        orders = {
            "row-bank-column": ("bank_bits", "bank_group_bits", "row_bits"),
            "bank-row-column": ("row_bits", "bank_bits", "bank_group_bits"),
        }
        if order not in orders:
            raise SpecificationError(unknown("mapping", order, orders))
        check_memory(memory, where=memory.name)
        counts = {_PARTS[key]: count for key, count in _needed(memory).items()}
        parts: dict[str, tuple[int, ...]] = {}
        first = 0
        for name in ("byte_bits", "column_bits", *orders[order]):
            width = counts[name].bit_length() - 1
            parts[name] = tuple(range(first, first + width))
            first += width
        mapping = cls(xor=(), **parts)
        mapping.check(memory)
        return mapping

    @property
    def bits(self) -> int:
        """Number of address bits."""
        return sum(len(getattr(self, name)) for name in _PARTS.values())

    def check(self, memory: DramMemory) -> None:
        """Refuse a mapping whose parts do not fit the memory.

        Raises:
            SpecificationError: a part has too few or too many bits.
        """
        for key, count in _needed(memory).items():
            have = len(getattr(self, _PARTS[key]))
            if 2**have != count:
                raise SpecificationError(
                    f"{key}: the mapping has {have} bits, which number {2**have}; "
                    f"expected {count} for {memory.name}"
                )

    def decode(self, address: npt.NDArray[np.uint64]) -> DecodedAddresses:
        """Return bank and row of each address."""
        one = np.uint64(1)
        source = address
        if self.xor:
            address = address.copy()
            for first, second in self.xor:
                bit = ((source >> np.uint64(first)) ^ (source >> np.uint64(second))) & one
                address = (address & ~np.uint64(1 << first)) | (bit << np.uint64(first))
        bank = _gather(address, self.bank_bits + self.bank_group_bits)
        return DecodedAddresses(
            bank=bank.astype(np.uint8),
            row=_gather(address, self.row_bits).astype(np.uint32),
            wrapped=int(np.count_nonzero(source > np.uint64(2**self.bits - 1))),
        )


def _needed(memory: DramMemory) -> dict[str, int]:
    """Return how many values each part of an address must number."""
    return {
        "BYTE_BIT": memory.width_bits * memory.devices // 8,
        "COLUMN_BIT": memory.columns,
        "BANK_BIT": memory.banks // memory.bank_groups,
        "BANKGROUP_BIT": memory.bank_groups,
        "ROW_BIT": memory.rows,
    }


def _gather(address: npt.NDArray[np.uint64], bits: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    """Collect bits into a number, runs of neighbors at once."""
    value = np.zeros_like(address)
    start = 0
    while start < len(bits):
        stop = start + 1
        while stop < len(bits) and bits[stop] == bits[stop - 1] + 1:
            stop += 1
        run = (address >> np.uint64(bits[start])) & np.uint64((1 << (stop - start)) - 1)
        value |= run << np.uint64(start)
        start = stop
    return value


def named_mapping(name: str, memory: DramMemory, folder: Path) -> AddressMapping:
    """Return the mapping of an order of parts, or the file (``.json``) of that name in a folder.

    Raises:
        SpecificationError: neither an order nor a file that can be used.
    """
    if name.endswith(".json"):
        return load_mapping(folder / name)
    return AddressMapping.ordered(memory, name)


def load_mapping(path: str | PathLike[str]) -> AddressMapping:
    """Read an address mapping in DRAMSys's JSON form (``CONGEN``).

    Raises:
        SpecificationError: the file is not such a mapping, or bits are missing or covered twice.
    """
    where = str(path)
    table = read_json(path)
    if not isinstance(table, Mapping) or not isinstance(table.get("CONGEN"), Mapping):
        raise SpecificationError(f"{where}: expected a table 'CONGEN'")
    congen = table["CONGEN"]
    known = (*_PARTS, "XOR", "RANK_BIT", "CHANNEL_BIT")
    for key, value in congen.items():
        if key not in known:
            raise SpecificationError(f"{where}: {unknown('key', key, known)}")
        if key in ("RANK_BIT", "CHANNEL_BIT") and value != []:
            raise SpecificationError(f"{where}: {key}: one rank and one channel are supported")
    parts = {name: _bits(congen.get(key, []), f"{where}: {key}") for key, name in _PARTS.items()}
    try:
        return AddressMapping(xor=_pairs(congen.get("XOR", []), f"{where}: XOR"), **parts)
    except SpecificationError as error:
        raise SpecificationError(f"{where}: {error}") from error


def _bits(value: Any, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(_is_bit(bit) for bit in value):
        raise SpecificationError(f"{where}: expected a list of bits from 0 to 63, found {value!r}")
    return tuple(value)


def _is_bit(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 64


def _pairs(value: Any, where: str) -> tuple[tuple[int, int], ...]:
    good = isinstance(value, list) and all(
        isinstance(pair, Mapping) and all(_is_bit(pair.get(key)) for key in ("FIRST", "SECOND"))
        for pair in value
    )
    if not good:
        raise SpecificationError(f"{where}: expected a list of FIRST and SECOND bits")
    return tuple((pair["FIRST"], pair["SECOND"]) for pair in value)
