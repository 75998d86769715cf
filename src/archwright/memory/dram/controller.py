"""The controller: its policies and the sizes of its queues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

from archwright.errors import SpecificationError, unknown
from archwright.specification import from_mapping, option

__all__ = ["DramController"]

# DRAMSys's own names of the fields, in its order.
_NAMES = {
    "PagePolicy": "page_policy",
    "Scheduler": "scheduler",
    "SchedulerBuffer": "scheduler_buffer",
    "RequestBufferSize": "request_buffer_size",
    "RespQueue": "resp_queue",
    "RefreshPolicy": "refresh_policy",
    "RefreshMaxPostponed": "refresh_max_postponed",
    "RefreshMaxPulledin": "refresh_max_pulledin",
    "Arbiter": "arbiter",
    "MaxActiveTransactions": "max_active_transactions",
}
# What DRAMSys can also vary and this controller does in one way only.
_FIXED = {"CmdMux": "Oldest", "PowerDownPolicy": "NoPowerDown"}


@dataclass(frozen=True, kw_only=True)
class DramController:
    """A memory controller, with the values that DRAMSys gives its parameters.

    Example:
        >>> DramController.from_dramsys({"PagePolicy": "Closed", "Arbiter": "Fifo"}).page_policy
        'Closed'

    Raises:
        SpecificationError: a value that is not legal; the message names the nearest.
    """

    page_policy: str = option(
        "Open",
        doc="whether a row stays open after an access",
        choices=("Open", "OpenAdaptive", "Closed", "ClosedAdaptive"),
    )
    scheduler: str = option(
        "FrFcfs",
        doc="order of the requests of a bank: arrival, row hits first, or grouped by direction",
        choices=("Fifo", "FrFcfs", "FrFcfsGrp"),
    )
    scheduler_buffer: str = option(
        "Bankwise",
        doc="what the request buffer is shared by",
        choices=("Bankwise", "ReadWrite", "Shared"),
    )
    request_buffer_size: int = option(8, low=1, high=1_000_000, doc="requests a buffer holds")
    resp_queue: str = option(
        "Fifo",
        doc="responses leave as their data come, or in the order of the requests",
        choices=("Fifo", "Reorder"),
    )
    refresh_policy: str = option(
        "AllBank", doc="refresh of all banks at once, or none", choices=("NoRefresh", "AllBank")
    )
    refresh_max_postponed: int = option(
        8, low=0, high=1_000_000, doc="refreshes that may be put off while requests wait"
    )
    refresh_max_pulledin: int = option(
        8, low=0, high=1_000_000, doc="refreshes that may be done early while none waits"
    )
    arbiter: str = option(
        "Simple",
        doc="Fifo and Reorder limit the active transactions; Reorder also answers in order",
        choices=("Simple", "Fifo", "Reorder"),
    )
    max_active_transactions: int = option(
        128,
        low=1,
        high=1_000_000,
        doc="requests without response; the Simple arbiter has no limit",
    )

    def __post_init__(self) -> None:
        for field in fields(self):
            value, legal = getattr(self, field.name), field.metadata
            where = f"controller.{field.name}"
            if legal["choices"] is not None:
                if value not in legal["choices"]:
                    message = unknown("value", value, legal["choices"])
                    raise SpecificationError(f"{where}: {message}")
            elif isinstance(value, bool) or not isinstance(value, int):
                raise SpecificationError(f"{where}: expected a whole number, found {value!r}")
            elif not legal["low"] <= value <= legal["high"]:
                raise SpecificationError(
                    f"{where}: expected {legal['low']} to {legal['high']}, found {value}"
                )

    @classmethod
    def from_dramsys(cls, table: Mapping[str, Any]) -> DramController:
        """Read DRAMSys's own keys and values; what is absent keeps its default.

        Raises:
            SpecificationError: an unknown key or value.
        """
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key in _FIXED:
                if value != _FIXED[key]:
                    raise SpecificationError(
                        f"controller: {key}: {value!r} is not supported; expected {_FIXED[key]!r}"
                    )
            elif key in _NAMES:
                # Whole numbers of any kind, such as those of a data frame.
                whole = isinstance(value, Integral) and not isinstance(value, bool)
                values[_NAMES[key]] = int(value) if whole else value
            else:
                raise SpecificationError(f"controller: {unknown('key', key, (*_NAMES, *_FIXED))}")
        return from_mapping(cls, values, where="controller")

    def codes(self) -> dict[str, int]:
        """Return each field as a number; a choice is its place among the legal values."""
        found: dict[str, int] = {}
        for field in fields(self):
            value, choices = getattr(self, field.name), field.metadata["choices"]
            found[field.name] = value if choices is None else choices.index(value)
        return found
