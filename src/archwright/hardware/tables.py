"""Tables of figures: catalogues shipped with a room, and CSV files of the user's own."""

from __future__ import annotations

import csv
import io
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from archwright.errors import SpecificationError, TraceError, nearest

__all__ = ["Row", "catalogue_rows", "catalogue_toml", "read_rows", "read_toml"]


def catalogue_rows(package: str, name: str) -> list[dict[str, str]]:
    """Read the CSV catalogue `name` of a room.

    >>> len(catalogue_rows("archwright.hardware", "devices.csv")) > 50
    True
    """
    path = resources.files(package) / "catalogue" / name
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


@cache
def catalogue_toml(package: str, name: str) -> dict[str, Any]:
    """Read the TOML catalogue `name` of a room.

    >>> catalogue_toml("archwright.hardware", "assumptions.toml")["matmul_fraction"]["flag"]
    'assumed'
    """
    path = resources.files(package) / "catalogue" / name
    return tomllib.loads(path.read_text(encoding="utf-8"))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of the user's own.

    Raises:
        SpecificationError: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecificationError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecificationError(f"{path}: is not TOML: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a user's table, which names its own place when a value is wrong.

    Attributes:
        path: the file.
        line: line number, the header being 1.
        values: column name to text, stripped.
    """

    path: Path
    line: int
    values: dict[str, str]

    def error(self, column: str, expected: str) -> TraceError:
        """Return the error of a value of this row that cannot be used."""
        value = self.values.get(column, "")
        return TraceError(f"{self.path}:{self.line}: {column}: {value!r}, expected {expected}")

    def text(self, column: str) -> str:
        """Return the text of a column that must not be empty."""
        value = self.values.get(column, "")
        if not value:
            raise self.error(column, "a name")
        return value

    def number(self, column: str, *, low: float, high: float = math.inf) -> float:
        """Return a finite number within [low, high]."""
        bounds = f"a number from {low:g}" + (f" to {high:g}" if high < math.inf else " up")
        try:
            value = float(self.values.get(column, ""))
        except ValueError:
            raise self.error(column, bounds) from None
        if not math.isfinite(value) or not low <= value <= high:
            raise self.error(column, bounds)
        return value


def read_rows(path: Path, required: Iterable[str], optional: Iterable[str] = ()) -> list[Row]:
    """Read a user's CSV with a header line, columns in any order.

    Args:
        path: the file; lines starting with ``#`` are comments.
        required: columns that must be there.
        optional: columns that may be there; any other is refused with the nearest known one.

    Raises:
        TraceError: the file is missing, empty or has an unknown or missing column, or a row
            has another number of fields than the header.
    """
    required = list(required)
    known = [*required, *optional]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TraceError(f"{path}: is not UTF-8 text, expected a CSV file") from None
    header: list[str] = []
    rows = []
    for line, raw in enumerate(text.splitlines(), start=1):
        if not raw.strip() or raw.lstrip().startswith("#"):
            continue
        fields = [field.strip() for field in next(csv.reader([raw]))]
        if not header:
            header = fields
            _check_header(path, line, header, required, known)
            continue
        if len(fields) != len(header):
            raise TraceError(f"{path}:{line}: {len(fields)} fields, expected {len(header)}")
        rows.append(Row(path=path, line=line, values=dict(zip(header, fields, strict=True))))
    if not rows:
        raise TraceError(f"{path}: no rows, expected a header {','.join(required)} and rows")
    return rows


def _check_header(
    path: Path, line: int, header: list[str], required: list[str], known: list[str]
) -> None:
    for column in header:
        if column not in known:
            raise TraceError(
                f"{path}:{line}: unknown column {column!r}{nearest(column, known)}; "
                f"known: {', '.join(known)}"
            )
        if header.count(column) > 1:
            raise TraceError(f"{path}:{line}: column {column!r} appears twice, expected once")
    for column in required:
        if column not in header:
            raise TraceError(
                f"{path}:{line}: missing column {column!r}; the header has: {', '.join(header)}"
            )
