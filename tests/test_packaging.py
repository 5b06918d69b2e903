"""What is shipped: the wheel and the sdist hold every package, and the registry with its real content."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLUGINS = ROOT / "plugins"
REGISTRY = (ROOT / "registry.toml").read_bytes()


def listed_packages() -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return set(config["options"]["packages"].split())


def test_setup_cfg_lists_every_package_of_both_roots():
    found = set()
    for root in (ROOT / "core" / "resnetbk", *PLUGINS.glob("resnetbk_*")):
        folders = {path.parent for path in root.rglob("*.py")}
        found |= {".".join(folder.relative_to(root.parent).parts) for folder in folders}
    assert listed_packages() == found | {"resnetbk_specs"}
    for package in found:
        base = ROOT / ("core" if package.split(".")[0] == "resnetbk" else "plugins")
        assert (base.joinpath(*package.split(".")) / "__init__.py").is_file()


def test_the_roots_hold_nothing_else():
    assert {p.name for p in (ROOT / "core").iterdir()} - {"__pycache__"} == {"resnetbk"}
    assert {p.name for p in (ROOT / "plugins").iterdir()} - {"__pycache__"} == {
        "resnetbk_plugins",
        "resnetbk_authoring",
        "resnetbk_instrument",
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel and an sdist of a copy of this tree, built without network."""
    source, out = tmp_path_factory.mktemp("source") / "tree", tmp_path_factory.mktemp("dist")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, tracked.stdout.decode().split("\0")):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_file():
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--sdist", "--outdir", str(out)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_wheel_holds_all_packages_and_the_registry(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        assert wheel.read("resnetbk_plugins/registry.toml") == REGISTRY
        points = wheel.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    assert {package.replace(".", "/") + "/__init__.py" for package in listed_packages()} <= names
    assert {
        "resnetbk/py.typed",
        "resnetbk_plugins/py.typed",
        "resnetbk_instrument/pages/report.css",
        "resnetbk_authoring/template/tox.ini.in",
        *(f"resnetbk_specs/{path.relative_to(ROOT / 'specs')}" for path in (ROOT / "specs").rglob("*.toml")),
    } <= names
    assert "[resnetbk.registry]" in points
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "resnetbk", "resnetbk_plugins", "resnetbk_authoring", "resnetbk_instrument", "resnetbk_specs",
    }  # fmt: skip
    for table in tomllib.loads(REGISTRY.decode()).values():
        for entry in table.values() if isinstance(table, dict) else ():
            module = entry["use"].partition(":")[0].replace(".", "/")
            assert f"{module}.py" in names


def test_the_sdist_holds_real_files(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        members = {member.name.partition("/")[2]: member for member in sdist.getmembers()}
        link = members["plugins/resnetbk_plugins/registry.toml"]
        content = sdist.extractfile(link)
        assert content is not None
        assert content.read() == REGISTRY
    for name in ("LICENSE", "README.md", "registry.toml", "specs/quickstart.toml", "tests/test_packaging.py"):
        assert name in members


def test_whatever_misses_an_extra_says_how_to_install_it() -> None:
    """And no message names one that is not there."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = set(setup["options.extras_require"]) - {"test", "dev"}
    code = "".join(
        path.read_text(encoding="utf-8")
        for part in ("core", "plugins")
        for path in (ROOT / part).rglob("*.py")
    )
    assert set(re.findall(r'pip install "resnetbk\[(\w+)\]"', code)) == extras
    assert set(re.findall(r"resnetbk\[(\w+)\]", code)) == extras


def test_one_environment_tests_every_extra() -> None:
    """Tests of a library that is missing are skipped: here none is."""
    setup, tox = (configparser.ConfigParser(interpolation=None) for _ in range(2))
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    extras = dict(setup["options.extras_require"])
    tested = {line.removeprefix("torch213: ") for line in tox["testenv"]["extras"].split("\n") if line}
    brought = {
        name for line in (extras[extra] for extra in tested) for name in re.findall(r"%\((\w+)\)s", line)
    }
    assert tested | brought == set(extras) - {"dev"}
