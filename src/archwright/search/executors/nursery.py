"""The process that workers are forked from, and what a worker does.

It imports and loads the environment once; a worker is then a fork of it, which takes
milliseconds, and shares the memory of the environment with the others. It has one thread, so
forking it is safe whatever the study's own process does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import Any

from archwright.errors import ArchwrightError, EnvironmentFault
from archwright.search.executors.frames import receive, send
from archwright.search.executors.measure import measure

__all__ = ["end_with_parent", "main", "tend"]

_POLL_SECONDS = 0.2
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def main(control: int, parent: int) -> None:
    """Begin in a fresh interpreter: take the path and the environment, then tend workers."""
    tend(socket.socket(fileno=control), parent)


def tend(control: socket.socket, parent: int) -> None:
    """Fork a worker for each connection that arrives, until the parent ends or closes."""
    import cloudpickle

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides how to stop
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler of the parent's is no business here
    payload = receive(control)
    if payload is None:
        os._exit(0)
    try:
        path, folder, environment = cloudpickle.loads(payload)
        sys.path[:] = path
        with contextlib.suppress(OSError):
            os.chdir(folder)
        loaded = cloudpickle.loads(environment)
        del payload, environment
        send(control, b"")
    except BaseException as error:  # noqa: BLE001 - it is told to the parent
        send(control, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    ended: dict[int, int] = {}
    while os.getppid() == parent:
        ready, _, _ = select.select([control], [], [], _POLL_SECONDS)
        _reap(ended)
        if not ready:
            continue
        message, handles, _, _ = socket.recv_fds(control, 64, 1)
        if not message:
            break
        if handles:
            child = os.fork()
            if not child:
                try:
                    control.close()
                    _work(socket.socket(fileno=handles[0]), loaded)
                finally:
                    os._exit(1)
            os.close(handles[0])
            control.sendall(b"%19d\n" % child)
        else:
            who = int(message)
            for _ in range(100):
                _reap(ended)
                if who in ended:
                    break
                time.sleep(0.01)
            control.sendall(b"%19d\n" % ended.pop(who, 0))
    os._exit(0)


def _reap(ended: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            who, status = os.waitpid(-1, os.WNOHANG)
            if not who:
                return
            ended[who] = os.waitstatus_to_exitcode(status)


def _work(connection: socket.socket, environment: Any) -> None:
    """Measure what arrives, until the study ends."""
    import cloudpickle

    parent, own = os.getppid(), os.getpid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    threading.Thread(target=end_with_parent, args=(parent,), daemon=True).start()
    while (data := receive(connection)) is not None:
        answer: tuple[Any, Any]
        try:
            answer = measure(environment, cloudpickle.loads(data)), None
        except ArchwrightError as error:
            answer = None, error
        except Exception as error:  # noqa: BLE001 - such as a block that cannot be loaded here
            answer = (
                None,
                EnvironmentFault(
                    f"the worker cannot evaluate this block: {type(error).__name__}: {error}"
                ),
            )
        if os.getpid() != own:
            os._exit(0)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        try:
            send(connection, cloudpickle.dumps(answer))
        except ConnectionError:  # the study has ended meanwhile
            break
    os._exit(0)


def end_with_parent(parent: int) -> None:
    """End this process soon after its parent has ended."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)
