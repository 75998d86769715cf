"""Average power of an accelerator from how busy its memory and its arithmetic units are.

    z = idle + busy · (busy time / time) + memory · (memory time / time)
        + compute · (compute time / time)
    power = TDP · z / (1 + z^4)^(1/4)

Busy time is that in which kernels run, memory time bytes over peak bandwidth, compute time
operations over peak rate. The constants are dimensionless and carried to every device by its TDP.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archwright.errors import SpecificationError, unknown
from archwright.hardware.devices import Device
from archwright.hardware.devices import device as _device
from archwright.hardware.tables import catalogue_toml
from archwright.provenance import Label

__all__ = ["Power", "power_label", "power_w"]

SHARPNESS = 4.0
"""How sharply power bends at the board's limit; a choice."""

Floats = NDArray[np.float64]


class Power(NamedTuple):
    """Watts of one device with the 90 % interval."""

    watts: Any
    low: Any
    high: Any


@cache
def constants() -> Mapping[str, Any]:
    return catalogue_toml("archwright.hardware", "power.toml")


def share_of_tdp(
    memory_share: Floats,
    compute_share: Floats,
    busy_share: Floats,
    idle: float,
    memory: float,
    compute: float,
    busy: float,
) -> Floats:
    """Return power over TDP from the three shares and the four constants."""
    z = idle + busy * busy_share + memory * memory_share + compute * compute_share
    return np.asarray(z / (1.0 + z**SHARPNESS) ** (1.0 / SHARPNESS))


def power_w(
    device: Device | str,
    memory_share: ArrayLike,
    compute_share: ArrayLike,
    busy_share: ArrayLike | None = None,
    *,
    kernels: str = "dense",
    return_interval: bool = False,
) -> Any:
    """Return the average power of one device.

    Fitted on the measured power of H100 and B200 boards that serve language models; GPU only,
    without host, fans or cooling.

    >>> round(float(power_w("H100-SXM", 0.5, 0.1)))
    581
    >>> idle, busy = power_w("B200-SXM", [0.0, 1.0], [0.0, 0.3])
    >>> bool(idle < 0.3 * busy < 300)
    True

    Args:
        device: catalogue name or `Device`.
        memory_share: bytes moved over what the peak bandwidth could have, 0 to 1, any shape.
        compute_share: operations over what the peak rate could have, 0 to 1.
        busy_share: share of the time in which kernels run; by default all of it where the device
            moves or computes anything.
        kernels: what runs, for the interval: ``dense`` or ``experts``, each with ``-8bit`` where
            weights have so many.
        return_interval: return a `Power` with the 90 % interval.

    Raises:
        SpecificationError: the TDP of the device is not known, or a share is no share.
    """
    target = device if isinstance(device, Device) else _device(device)
    if target.tdp_w is None:
        raise SpecificationError(f"the TDP of {target.name} is not known; its power is not either")
    moving = np.asarray(memory_share, dtype=np.float64)
    computing = np.asarray(compute_share, dtype=np.float64)
    if busy_share is None:
        running = np.where((moving > 0.0) | (computing > 0.0), 1.0, 0.0)
    else:
        running = np.asarray(busy_share, dtype=np.float64)
    for name, share in (
        ("memory_share", moving), ("compute_share", computing), ("busy_share", running)
    ):  # fmt: skip
        good = np.isfinite(share) & (share >= 0.0) & (share <= 1.0 + 1e-9)
        if not good.all():
            raise SpecificationError(f"{name}: {share[~good].flat[0]:g}, expected 0 to 1")
    row = constants()
    watts = target.tdp_w * share_of_tdp(
        moving, computing, running, row["idle"], row["memory"], row["compute"], row["busy"]
    )
    if not return_interval:
        return watts[()]
    if kernels not in row["interval"]:
        raise SpecificationError(unknown("kernels", kernels, row["interval"]))
    where = "measured" if target.name in row["devices"] else "other"
    low, high = row["interval"][kernels][where]
    return Power(watts[()], (watts * low)[()], np.minimum(watts * high, target.tdp_w)[()])


def power_label(device: Device) -> Label:
    """Say how the power of a device is known: fitted where it was measured, else analytic."""
    return "fitted" if device.name in constants()["devices"] else "analytic"
