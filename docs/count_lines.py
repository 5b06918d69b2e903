"""Prints how many lines of Python each part of the project has: `python docs/count_lines.py`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "resnetbk"
READING = ("document", "habits", "problem", "read", "reader", "spec")

HEART = {
    "interfaces": [CORE / f"{name}.py" for name in ("kinds", "hooks", "errors")],
    "registry": sorted((CORE / "registry").rglob("*.py")),
    "reading of specs": [CORE / "spec" / f"{name}.py" for name in READING],
    "model": sorted((CORE / "model").rglob("*.py")),
}
"""What somebody reads who wants to know how a spec becomes a model. `toml_places.py`, which
reads manifests and locks as well, is not in it."""


def lines(paths: Iterable[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def parts() -> dict[str, list[Path]]:
    """The files of each part: those of the heart, what else core has by folder, the plugins, the tests."""
    taken = {path for paths in HEART.values() for path in paths}
    rest: dict[str, list[Path]] = {}
    for path in sorted(set(CORE.rglob("*.py")) - taken):
        folder = path.relative_to(CORE).parts[0]
        rest.setdefault(folder, []).append(path)
    outside = {
        name: sorted((ROOT / name).rglob("*.py"))
        for name in (*(f"plugins/{path.name}" for path in (ROOT / "plugins").glob("resnetbk_*")), "tests")
    }
    texts = {"texts that `new` fills in (not Python)": sorted((ROOT / "plugins").rglob("*.in"))}
    return HEART | rest | {"core": sorted(CORE.rglob("*.py"))} | texts | outside


def main() -> None:
    counted = {name: lines(paths) for name, paths in parts().items()}
    counted["interfaces, registry, reading of specs, model"] = sum(counted[name] for name in HEART)
    for name, count in counted.items():
        print(f"{count:7,}  {name}")
    paths = [path for path in ROOT.rglob("*.py") if not any(part.startswith(".") for part in path.parts)]
    longest = sorted(((lines([path]), path) for path in paths), reverse=True)[:5]
    print("\nlongest files:", ", ".join(f"{path.relative_to(ROOT)} {count}" for count, path in longest))


if __name__ == "__main__":
    main()
