"""Whether the other processes of a run live, known also while this one waits for nobody or within nccl.

Each is connected to the first. The system closes the connection of a process that dies, however, and within
20 s that of a machine that no longer answers: no time is a limit for what lives and is slow.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait

from resnetbk.errors import NumericError
from resnetbk.training.processes import GONE, Processes
from resnetbk.training.signals import Interrupted

GRACE = 8.0
"""Seconds in which a process may still end by itself, and say why, after another is gone."""
PATIENCE = 20.0
"""Seconds in which processes that have met connect."""
TOGETHER = b"."
"""What a process sends that ends as all do."""
KEPT_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3}


@contextmanager
def watched(processes: Processes) -> Iterator[None]:
    """Within it, another process that dies ends this one with a line, whatever it does: what is saved is
    whole at any moment."""
    if processes.size == 1:
        yield
        return
    connections = _connections(processes)
    left = threading.Event()
    watcher = threading.Thread(target=_watch, args=(connections, left), daemon=True)
    watcher.start()
    last = b""
    try:
        yield
        last = TOGETHER
    except (Interrupted, NumericError):  # which all raise, and the first after it has saved
        last = TOGETHER
        raise
    finally:
        left.set()
        for connection in connections:
            with suppress(OSError):
                connection.sendall(last)
                connection.shutdown(socket.SHUT_RDWR)
        watcher.join()
        for connection in connections:
            connection.close()


def _connections(processes: Processes) -> list[socket.socket]:
    """Of the first process to all others; of another to the first. A stranger's is dropped."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    with socket.create_server(("", 0), family=family, dualstack_ipv6=dual) as server:
        port, token = processes.gather([server.getsockname()[1], secrets.token_hex(16)])[0]
        if processes.first:
            server.settimeout(PATIENCE)
            connections: list[socket.socket] = []
            while len(connections) < processes.size - 1:
                connection, _ = server.accept()
                connection.settimeout(PATIENCE)
                if connection.recv(len(token), socket.MSG_WAITALL) == token.encode():
                    connections.append(connection)
        else:
            connections = [socket.create_connection((os.environ["MASTER_ADDR"], port), PATIENCE)]
            connections[0].sendall(token.encode())
    for connection in connections:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEPT_ALIVE.items():
            if hasattr(socket, name):  # Windows and macOS call some otherwise
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connections


def _watch(connections: list[socket.socket], left: threading.Event) -> None:
    living = list(connections)
    while living and not left.is_set():
        for connection in wait(living):
            assert isinstance(connection, socket.socket)
            last = b""
            with suppress(OSError):  # the machine no longer answers
                last = connection.recv(1)
            living.remove(connection)
            if last != TOGETHER:
                for other in connections:  # which are told by it
                    with suppress(OSError):
                        other.shutdown(socket.SHUT_RDWR)
                if not left.wait(GRACE):
                    os.write(2, f"{GONE}\n".encode())
                    os._exit(1)
                return
