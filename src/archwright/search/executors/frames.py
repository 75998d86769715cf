"""Messages between a study and its worker processes: one length, then bytes."""

from __future__ import annotations

import socket
import struct

__all__ = ["receive", "send"]

_LENGTH = struct.Struct("!Q")


def send(to: socket.socket, data: bytes) -> None:
    """Send one message."""
    to.sendall(_LENGTH.pack(len(data)))
    to.sendall(data)


def receive(source: socket.socket) -> bytes | None:
    """Return one message; None where the other side has ended, even within one."""
    head = _exactly(source, _LENGTH.size)
    return None if head is None else _exactly(source, _LENGTH.unpack(head)[0])


def _exactly(source: socket.socket, n: int) -> bytes | None:
    data = bytearray()
    while len(data) < n:
        try:
            part = source.recv(min(n - len(data), 1 << 20))
        except ConnectionError:
            return None
        if not part:
            return None
        data += part
    return bytes(data)
