"""Processes that meet: what the environment must say of the place, and others that do not come."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest
from launched import needs_gloo

from resnetbk.errors import UserError
from resnetbk.training import meeting
from resnetbk.training.meeting import Deserted
from resnetbk.training.processes import Processes

PLACE = {"RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "31999"}


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"WORLD_SIZE": "2"}, "RANK=: expects a number, since WORLD_SIZE=2"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two: expects a number"),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "RANK=-1: expects a number"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2: there are WORLD_SIZE=2 processes, the last is 1"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_PORT=: expects a number"),
        (
            {"RANK": "0", "MASTER_PORT": "31999"},
            "MASTER_ADDR=, MASTER_PORT=31999: no such place; give a host",
        ),
        ({**PLACE, "MASTER_PORT": "0"}, "MASTER_ADDR=127.0.0.1, MASTER_PORT=0: no such place; give"),
        ({**PLACE, "MASTER_ADDR": "a..b"}, "MASTER_ADDR=a..b, MASTER_PORT=31999: "),
        ({**PLACE, "MASTER_PORT": "99999"}, "MASTER_ADDR=127.0.0.1, MASTER_PORT=99999: no such place; give"),
        (
            {**PLACE, "MASTER_ADDR": "no.such.host.invalid"},
            "MASTER_ADDR=no.such.host.invalid, MASTER_PORT=31",
        ),
        ({**PLACE, "RANK": "0", "MASTER_PORT": "TAKEN"}, "MASTER_ADDR=127.0.0.1, MASTER_PORT="),
    ],
)
def test_half_an_environment_is_refused(monkeypatch, environment, told):
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("", 0)) as server:
        taken = str(server.getsockname()[1])
        for name, value in {"WORLD_SIZE": "2", **environment}.items():
            monkeypatch.setenv(name, value.replace("TAKEN", taken))
        with pytest.raises(UserError) as caught:
            Processes.here()
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "", "RANK": ""}, {"RANK": "x"}])
def test_an_environment_that_says_nothing_is_one_process(monkeypatch, environment):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Processes.here() == Processes()


@needs_gloo
@pytest.mark.parametrize("rank", [0, 1])
def test_one_whose_others_do_not_come_says_so(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setattr(meeting, "MEETING", timedelta(seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    places = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in places.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(Deserted) as caught:
        Processes.here()
    told = f"process {rank} of 2 did not meet all others, for which it waits 1 s: "
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)
