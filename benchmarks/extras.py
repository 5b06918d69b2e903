"""What each extra brings, in MB on disk and seconds of `pip install`: the table of docs/install.md.

    python benchmarks/extras.py [EXTRA...]

A fresh environment gets torch, then the wheel of this checkout. pip says what an extra would add to that
(`--dry-run --report`), and just that is installed into a folder of its own: nothing from pip's cache, the
versions of constraints.txt. Seconds hold the download, so they depend on the network.
"""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINNED = ("-c", str(ROOT / "constraints.txt"))


def megabytes(folder: Path) -> float:
    """Of the files in a folder, as `du` counts them: in blocks."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / 1e6


def missing(python: Path, *wanted: str) -> dict[str, str]:
    """Distributions, with versions, that pip would install into the environment for what is wanted."""
    command = [python, "-m", "pip", "install", "-q", "--dry-run", "--report", "-", *PINNED, *wanted]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    names = (item["metadata"] for item in report["install"])
    return {name["name"]: name["version"] for name in names}


def row(python: Path, name: str, distributions: dict[str, str], folder: Path) -> None:
    """Installs distributions into the folder, and prints what that took."""
    exact = [f"{distribution}=={version}" for distribution, version in distributions.items()]
    command = [python, "-m", "pip", "install", "-q", "--no-cache-dir", "--no-deps", "--target", folder]
    start = time.perf_counter()
    if exact:
        subprocess.run([*command, "--find-links", folder.parent, *exact], check=True)
    seconds = time.perf_counter() - start
    print(f"| {name} | {len(exact)} | {megabytes(folder):.0f} | {seconds:.0f} |", flush=True)


def main(*chosen: str) -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = chosen or [name for name in setup["options.extras_require"] if name not in ("test", "dev")]
    with tempfile.TemporaryDirectory(prefix="extras-") as place:
        home = Path(place)
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", home, ROOT], check=True, cwd=home
        )
        wheel = str(next(home.glob("*.whl")))
        subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
        python = home / "venv" / "bin" / "python"
        install = [python, "-m", "pip", "install", "-q", *PINNED]
        print("| | distributions | MB | seconds |\n|---|---|---|---|")
        row(python, "torch", missing(python, "torch"), home / "torch")
        subprocess.run([*install, "torch"], check=True)
        row(python, "resnetbk", missing(python, wheel), home / "resnetbk")
        subprocess.run([*install, wheel], check=True)
        for extra in extras:
            row(python, f"`{extra}`", missing(python, f"{wheel}[{extra}]"), home / extra)


if __name__ == "__main__":
    main(*sys.argv[1:])
