"""What a study asked off its rhythm: at the end of a budget, which may grow later."""

from __future__ import annotations

import json
from pathlib import Path

from archwright.search.store import Disk

__all__ = ["AskLog"]


class AskLog:
    """The file ``asks.jsonl``: short asks, and the places where the study had ended.

    Args:
        folder: the study's folder; None keeps it in memory.
        disk: the file layer.
    """

    def __init__(self, folder: Path | None, disk: Disk) -> None:
        self._path = None if folder is None else folder / "asks.jsonl"
        self._disk = disk
        self.sizes: dict[int, int] = {}
        self.drains: set[int] = set()
        if self._path is not None and self._path.exists():
            self._read(self._path)

    def size(self, ask: int, n: int) -> None:
        """Note the size of an ask, before anything of it is measured."""
        if self.sizes.get(ask) != n:
            self.sizes[ask] = n
            self._write({"ask": ask, "size": n})

    def drain(self, ask: int) -> None:
        """Note that all was told before an ask."""
        if ask not in self.drains:
            self.drains.add(ask)
            self._write({"ask": ask, "drained": True})

    def _read(self, path: Path) -> None:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):  # a kill tore the last line: nothing was asked by it
            self._disk.truncate(path, len(whole))
        for line in whole.splitlines():
            entry = json.loads(line)
            if "size" in entry:
                self.sizes[entry["ask"]] = entry["size"]
            else:
                self.drains.add(entry["ask"])

    def _write(self, entry: dict[str, object]) -> None:
        if self._path is None:
            return
        fresh = not self._path.exists()
        handle = self._disk.open_append(self._path)
        try:
            self._disk.write(handle, json.dumps(entry).encode() + b"\n")
            self._disk.sync(handle)  # the rows that follow are read by it
        finally:
            self._disk.close(handle)
        if fresh:
            self._disk.sync_folder(self._path.parent)
