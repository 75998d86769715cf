import numpy as np
import numpy.typing as npt

class Tables:
    def __init__(
        self,
        tokens: npt.NDArray[np.float64],
        sampled: npt.NDArray[np.float64],
        decode: npt.NDArray[np.float64],
        prefill: npt.NDArray[np.float64],
        more: npt.NDArray[np.float64],
        per_octave: float,
        host_step_s: float,
        host_sequence_s: float,
        windowed: bool,
    ) -> None: ...
    def compositions(
        self,
        batch: npt.NDArray[np.float64],
        context: npt.NDArray[np.float64],
        requests: npt.NDArray[np.float64],
        query: npt.NDArray[np.float64],
        end: npt.NDArray[np.float64],
        plane: int,
        out: npt.NDArray[np.float64],
        /,
    ) -> tuple[int, int]: ...
    def lists(
        self,
        chunks: npt.NDArray[np.int64],
        chunk_ends: npt.NDArray[np.int64],
        decodes: npt.NDArray[np.int64],
        decode_ends: npt.NDArray[np.int64],
        plane: int,
        out: npt.NDArray[np.float64],
    ) -> tuple[int, int]: ...
    def one(
        self, chunks: npt.NDArray[np.int64], decodes: npt.NDArray[np.int64], plane: int
    ) -> tuple[float, int]: ...
