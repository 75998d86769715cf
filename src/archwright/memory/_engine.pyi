from typing import Any

import numpy as np
import numpy.typing as npt

def simulate_dram(
    offered: npt.NDArray[np.int64],
    write: npt.NDArray[np.uint8],
    bank: npt.NDArray[np.uint8],
    row: npt.NDArray[np.uint32],
    address: npt.NDArray[np.uint64],
    trace_period: int,
    memory_period: int,
    timings: dict[str, int],
    control: dict[str, int],
    record: bool,
) -> dict[str, Any]: ...
