"""What can be rented: a node or a single accelerator, whole."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Literal, get_args

from archwright.errors import SpecificationError, unknown
from archwright.provenance import Source

__all__ = ["Offer", "OfferKind"]

OfferKind = Literal["on-demand", "spot", "reserved"]


@dataclass(frozen=True)
class Offer:
    """A node, or a single accelerator, that is rented whole.

    >>> Offer("p5.48xlarge", "H100-SXM", 8, 55.04, "aws", "us-east-1").usd_per_accelerator_hour
    6.88

    Attributes:
        name: the cloud's name of it; unique within a cloud and region.
        device: its accelerator, as the device catalogue names it.
        accelerators: how many it has, from 1.
        usd_per_hour: dollars an hour of the whole, more than 0.
        cloud: name of the cloud; may be empty.
        region: region as the cloud names it; may be empty.
        kind: ``on-demand``, ``spot`` or ``reserved``.
        available: how many can be rented; None means no limit is known.
        source: where the price comes from.

    Raises:
        SpecificationError: an illegal value; the message names the offer and the value.
    """

    name: str
    device: str
    accelerators: int
    usd_per_hour: float
    cloud: str = ""
    region: str = ""
    kind: OfferKind = "on-demand"
    available: int | None = None
    source: Source | None = None

    def __post_init__(self) -> None:
        for key in ("name", "device", "cloud", "region"):
            value = getattr(self, key)
            if not isinstance(value, str) or (not value and key in ("name", "device")):
                raise SpecificationError(
                    f"offer {self.name!r}: {key}: expected a text, found {value!r}"
                )
        if not _is_whole(self.accelerators) or self.accelerators < 1:
            raise self._error("accelerators", "a whole number from 1")
        price = self.usd_per_hour
        real = isinstance(price, numbers.Real) and not isinstance(price, bool)
        if not real or not math.isfinite(price) or price <= 0:
            raise self._error("usd_per_hour", "a finite number above 0")
        if self.kind not in get_args(OfferKind):
            raise SpecificationError(
                f"offer {self.name!r}: {unknown('kind', self.kind, get_args(OfferKind))}"
            )
        if self.available is not None and (not _is_whole(self.available) or self.available < 0):
            raise self._error("available", "None or a whole number from 0")

    @property
    def usd_per_accelerator_hour(self) -> float:
        """Dollars an accelerator-hour."""
        return self.usd_per_hour / self.accelerators

    def _error(self, key: str, expected: str) -> SpecificationError:
        return SpecificationError(
            f"offer {self.name!r}: {key}: expected {expected}, found {getattr(self, key)!r}"
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
