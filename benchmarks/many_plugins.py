"""How long `resnetbk list` takes with many plugins installed: python benchmarks/many_plugins.py [COUNT]

Each plugin is a package with a manifest of two components, whose import would end the program.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5


def install(site: Path, number: int) -> None:
    name = f"plug{number}"
    package, info = site / name, site / f"{name}-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")
    tables = [
        f'[{kind}.{name}]\nuse = "{name}.parts:Part"\nsummary = "one of many"\n'
        for kind in ("optimizer", "corpus")
    ]
    (package / "registry.toml").write_text("schema = 1\n" + "".join(tables))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[resnetbk.registry]\n{name} = {name}:registry.toml\n")


def seconds(environment: dict[str, str]) -> tuple[float, int]:
    """Seconds of the whole process, and the number of lines it printed."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "resnetbk", "list"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return time.perf_counter() - start, len(done.stdout.splitlines())


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            install(Path(folder), number)
        path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))
        measured: dict[str, list[float]] = {"without them": [], f"with {count} plugins": []}
        for _ in range(ROUNDS):
            for name, environment in zip(
                measured, (os.environ, {**os.environ, "PYTHONPATH": path}), strict=True
            ):
                wall, lines = seconds(dict(environment))
                assert name == "without them" or lines > 2 * count
                measured[name].append(wall)
    for name, times in measured.items():
        fastest, median, slowest = min(times), statistics.median(times), max(times)
        print(f"resnetbk list {name:18} {median:.2f} s ({fastest:.2f} to {slowest:.2f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
