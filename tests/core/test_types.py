"""The interfaces are types: mypy tells authors what their components miss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import resnetbk
import resnetbk_plugins

pytest.importorskip("mypy", reason="mypy is not installed")

IMPORTS = """
import attrs
from torch import Tensor, nn
from resnetbk.kinds import DataSelector, HaltingPolicy, Rows, Halting, StreamingMixer, State
"""

MIXER = """
class Same(nn.Module):
    def forward(self, x: Tensor, position: Tensor, length: Tensor | None) -> Tensor:
        return x
{methods}

@attrs.frozen(kw_only=True)
class Mixer:
    def build(self, *, width: int, depth: int) -> StreamingMixer:
        return Same()
"""

METHODS = """
    def initial_state(self, batch: int) -> State:
        return {}
    def step(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        return x, state
"""

POLICY = """
class Policy(nn.Module):
    def begin(self, stack: int) -> Halting: ...

@attrs.frozen(kw_only=True)
class Component:
    def build(self, *, width: int) -> HaltingPolicy:
        return Policy()
"""

SELECTOR = """
class Chosen:
    def restore(self, state: dict[str, object]) -> None: ...

@attrs.frozen(kw_only=True)
class Component:
    def build(self) -> DataSelector:
        return Chosen()
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """What mypy says of each component above, in one run of it."""
    folder = tmp_path_factory.mktemp("authors")
    sources = {
        "right": MIXER.format(methods=METHODS),
        "no_step": MIXER.format(methods=METHODS.partition("    def step")[0]),
        "no_methods": MIXER.format(methods=""),
        "other_arguments": POLICY,
        "no_select": SELECTOR,
    }
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(IMPORTS + source)
    roots = {Path(package.__path__[0]).parent for package in (resnetbk, resnetbk_plugins)}
    config = folder / "mypy.ini"
    # where packages are installed mypy finds them itself, and refuses to be told
    paths = ":".join(str(root) for root in sorted(roots) if root.name != "site-packages")
    config.write_text(
        f"[mypy]\nmypy_path = {paths}\nfollow_imports = silent\ndisable_error_code = empty-body\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), *(f"{n}.py" for n in sources)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    return {name: "\n".join(line for line in lines if line.startswith(f"{name}.py")) for name in sources}


def test_a_component_with_all_methods_passes(verdicts):
    assert verdicts["right"] == ""


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("no_step", "step"),
        ("no_methods", "initial_state"),
        ("other_arguments", "begin"),
        ("no_select", "select"),
    ],
)
def test_a_missing_method_is_an_error_that_names_it(verdicts, name, method):
    assert "error: Incompatible return value type" in verdicts[name]
    assert method in verdicts[name]
