"""The first losses of each golden spec: `python tests/golden/golden_losses.py [--write]`.

A change that is not meant to change numbers leaves all of them as they are, to the bit.
"""

import argparse
import contextlib
import hashlib
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from first_losses import Enough

HERE = Path(__file__).parent
LOSSES = HERE / "losses.json"
SPECS = {path.stem: path for path in sorted((HERE / "specs").glob("*.toml"))}


def text() -> str:
    """300 kB of made-up sentences, the same on every machine."""
    choose = random.Random(0)
    words = ["".join(choose.choice("etaoinshrdlu") for _ in range(choose.randint(1, 9))) for _ in range(500)]
    lines = (" ".join(choose.choice(words) for _ in range(choose.randint(4, 12))) for _ in range(6500))
    return "".join(f"{line.capitalize()}.\n" for line in lines)


def train(name: str, folder: Path) -> list[float]:
    """The first losses of a golden spec. `folder` holds the text, and the runs that specs start from."""
    import resnetbk

    corpus = folder / "text.txt"
    if not corpus.exists():
        corpus.write_text(text())
    out = folder / "losses.json"
    sets = [
        f'data.corpus={{ use = "text", path = "{corpus}" }}',
        f'train.observe=[{{ use = "first-losses", path = "{out}" }}]',
        'train.precision="fp32"',
    ]
    if name == "learning":
        smaller = folder / "smaller"
        short = [sets[0], sets[2], "train.steps=3", "train.observe=[]", "model.depth=1"]
        resnetbk.load(SPECS["plain"], sets=short).train(smaller)
        sets.append(f'train.start.path="{smaller}"')
    with contextlib.suppress(Enough):
        resnetbk.load(SPECS[name], sets=sets, registry=[HERE / "registry.toml"]).train(folder / name)
    return json.loads(out.read_text())


def all_losses() -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        return {name: train(name, Path(folder)) for name in SPECS}


ALIKE = {
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "NUMBA_CPU_NAME": "haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
"""What makes newer processors add in the order in which older ones do."""


def measure() -> dict[str, list[float]]:
    """`all_losses` in a process of its own, `ALIKE` on all machines as far as that goes."""
    environment = os.environ | ALIKE
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def here() -> dict[str, str]:
    """What the bits of a loss depend on besides the code: processor, torch, and who runs the scans."""
    import torch

    try:
        import numba

        scans = f"numba {numba.__version__}"
    except ImportError:
        scans = "torch"
    flags = next((line for line in cpu_info() if line.startswith(("flags", "Features"))), "")
    return {
        "torch": torch.__version__.partition("+")[0],
        "scans": scans,
        "processor": f"{platform.machine()} {hashlib.sha256(flags.encode()).hexdigest()[:12]}",
    }


def cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--write", action="store_true", help="store them for the torch that is installed")
    if options.parse_args().write:
        stored = json.loads(LOSSES.read_text()) if LOSSES.exists() else {}
        machine = here()
        version = machine.pop("torch")
        stored[version] = {**machine, "losses": measure()}
        LOSSES.write_text(json.dumps(stored, indent=1) + "\n")
    else:
        print(json.dumps(all_losses()))
