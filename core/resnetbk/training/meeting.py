"""How the processes of a run meet: at a port of one of them, as torchrun says in the environment."""

from __future__ import annotations

import atexit
import os
import socket
from datetime import timedelta

import torch

from resnetbk.errors import ResnetbkError, UserError, one_line

MEETING = timedelta(seconds=120)
"""How long one waits for others: they load as much as it does, from a disk that may be slower."""


class Deserted(ResnetbkError):
    """Another process of the run ended before this one; it has said why."""


def meet() -> tuple[int, int]:
    """Rank and number of the processes of this run, after the first call has met the others; 0 and 1 alone.

    Raises UserError for an environment that says half of it, or nonsense; Deserted without the others."""
    if (size := _number("WORLD_SIZE", "1")) <= 1:
        return 0, 1
    rank, local = _number("RANK"), _number("LOCAL_RANK", "0")
    if rank >= size:
        raise UserError(f"RANK={rank}: there are WORLD_SIZE={size} processes, the last is {size - 1}")
    if not torch.distributed.is_initialized():
        _check_place(rank)
        if cuda := torch.cuda.is_available():
            torch.cuda.set_device(local % torch.cuda.device_count())
        _join(rank, size, "cpu:gloo,cuda:nccl" if cuda else "gloo")
    return rank, size


def _join(rank: int, size: int, backends: str) -> None:
    from torch.distributed.rendezvous import rendezvous  # here, since not every torch has it

    try:
        store, _, _ = next(rendezvous("env://", timeout=MEETING))
        store.set_timeout(timedelta(minutes=30))  # as torch's own
        torch.distributed.init_process_group(backends, store=store, rank=rank, world_size=size)
    except RuntimeError as error:
        late = f"did not meet all others, for which it waits {MEETING.seconds} s"
        raise Deserted(f"process {rank} of {size} {late}: {one_line(error)}") from error
    # while Python runs: a thread of gloo that waits for its lock when it ends aborts the process
    atexit.register(lambda: torch.distributed.is_initialized() and torch.distributed.destroy_process_group())


def _check_place(rank: int) -> None:
    """Raises UserError for a place to meet at that cannot be: torch would try for long, or say little."""
    host, port = os.environ.get("MASTER_ADDR", "").strip(), _number("MASTER_PORT")
    try:
        if not (host and 0 < port <= 65535):
            raise OSError("no such place")
        socket.getaddrinfo(host, port)
        if rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":  # else torchrun is there
            socket.create_server(("", port)).close()
    except (OSError, UnicodeError) as error:
        place = f"MASTER_ADDR={host}, MASTER_PORT={port}: {getattr(error, 'strerror', '') or error}"
        raise UserError(f"{place}; give a host and a free port, or start with torchrun") from None


def _number(name: str, default: str = "") -> int:
    """A number in the environment. Raises UserError."""
    value = os.environ.get(name, "").strip() or default
    if not (value.isdecimal() and len(value) < 10):
        raise UserError(
            f"{name}={value}: expects a number, since WORLD_SIZE={os.environ.get('WORLD_SIZE', '')} asks for "
            f"several processes; start them with torchrun, or unset WORLD_SIZE"
        )
    return int(value)
