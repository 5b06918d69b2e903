"""Writes docs/session.md: a stranger's first plugin, each command with what it really printed.

    python docs/make_session.py

Builds a wheel and installs it in a fresh environment, so it takes some minutes and 2 GB of disk.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

SOURCE = """\
resnetbk is in no package index yet: `dist` holds its wheel, as `pip wheel --no-deps -w dist .` makes it
in a checkout, and `PIP_FIND_LINKS` tells every pip where it is, also the one that tox runs.
"""

STEPS = (
    (
        "A fresh environment, and the wheel",
        (
            "export PIP_FIND_LINKS=$PWD/dist",
            "pip install -q {torch} {wheel}",
            "resnetbk list sequence-mixer",
        ),
    ),
    ("A package of one's own", ("resnetbk new my-mixer --kind sequence-mixer", "pip install -q ./my-mixer")),
    ("Its tests, in an environment of their own", ("pip install -q tox", "(cd my-mixer && tox)")),
    (
        "A spec that uses it",
        (
            "cat first.toml",
            "resnetbk train first.toml",
            "resnetbk generate runs/first --prompt 'Return the ' --tokens 60",
        ),
    ),
    (
        "Without the package",
        ("pip uninstall -q -y my-mixer", "resnetbk generate runs/first --prompt 'Return the '"),
    ),
    ("And with it again", ("pip install -q ./my-mixer", "resnetbk eval runs/first")),
)

SPEC = """\
name = "first"

[data]
corpus = "python-docs"
window = 128

[model]
width = 64
depth = 2
mixer = "my-mixer"

[train]
steps = 100
batch = 16
optimizer = { use = "muon", lr = 0.02 }
"""


def main() -> None:
    """Records the session in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="session-") as folder:
        home = Path(folder)
        (home / "first.toml").write_text(SPEC, encoding="utf-8")
        dist = home / "dist"
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", dist, ROOT], check=True, cwd=home
        )
        subprocess.run([sys.executable, "-m", "venv", home / "fresh"], check=True)
        wheel = next(dist.glob("*.whl"))
        environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("PYTHON", "VIRTUAL"))
            },
            "PATH": f"{home / 'fresh' / 'bin'}:{os.environ['PATH']}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "COLUMNS": "100",
        }
        lines = [
            "# A first plugin, recorded",
            "",
            "Each command with what it printed, in a fresh environment; written by `docs/make_session.py`.",
            *SOURCE.splitlines(),
        ]
        exports: list[str] = []
        for heading, commands in STEPS:
            lines += ["", f"## {heading}", "", "```console"]
            for command in commands:
                filled = command.format(torch="torch==2.13.0", wheel=f"dist/{wheel.name}")
                if filled.startswith("export "):  # each command has a shell of its own
                    exports.append(filled)
                done = subprocess.run(
                    "\n".join((*exports, filled)), shell=True, cwd=home, env=environment, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )  # fmt: skip
                lines += [f"$ {filled}", *_said(done.stdout, home)]
                if done.returncode:
                    lines.append(f"(exit code {done.returncode})")
            lines.append("```")
        (ROOT / "docs" / "session.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _said(output: str, home: Path) -> list[str]:
    """Without colours, blank ends, what pip warns of its sources, and the folder's own place."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", output).replace(f"{home}/", "").replace(str(home), ".")
    lines = [line.rstrip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("WARNING: Location")]


if __name__ == "__main__":
    main()
