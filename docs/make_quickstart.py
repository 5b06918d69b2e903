"""Draws docs/quickstart.svg: what the README's first command shows once it has trained.

python docs/make_quickstart.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
COMMAND = "resnetbk train specs/quickstart.toml"
COLUMNS = 100


def main() -> None:
    env = os.environ | {"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(ROOT / "specs", Path(folder) / "specs")
        command = [sys.executable, "-m", *COMMAND.split()]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8", check=True)
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    console.print(f"$ {COMMAND}\n", style="bold", highlight=False)
    console.print(Text.from_ansi("\n".join([*done.stderr.splitlines()[-3:], done.stdout.rstrip()])))
    console.save_svg(str(ROOT / "docs" / "quickstart.svg"), title="resnetbk")


if __name__ == "__main__":
    main()
