"""Data of texts that stay on disk: the same tokens as in memory, and memory that does not grow with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from resnetbk import texts
from resnetbk.cache import cache_folder
from resnetbk.kinds import Text, Windows
from resnetbk.training.data import Data

CPU = torch.device("cpu")
TEXT = "".join(f"{i}: {tiny.SENTENCE}\n" for i in range(200)).encode()


def data(folder: Path, tokenizer: str, *, view: bool) -> Data:
    spec = tiny.experiment(folder, window=f'window = 16\ntokenizer = "{tokenizer}"').spec.data
    whole = memoryview(TEXT) if view else TEXT
    return Data.of(Text(whole[:10_000], whole[10_000:], "0" * 64), spec)


@pytest.fixture(autouse=True)
def small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many pieces, in a cache of the test's own."""
    monkeypatch.setattr(texts.pieces, "__defaults__", (512,))
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("tokenizer", ["bytes", "chars"])
def test_a_text_on_disk_has_the_tokens_of_one_in_memory(tmp_path: Path, tokenizer: str) -> None:
    near, far, again = (data(tmp_path, tokenizer, view=view) for view in (False, True, True))
    for found in (far, again):
        for part in ("train", "valid"):
            expected, tokens = getattr(near, part), getattr(found, part)
            assert tokens.dtype == expected.dtype
            assert tokens.tolist() == expected.tolist()
    windows = Windows(np.array([5, 0, 700]), 16)
    assert torch.equal(near.batch(windows, CPU).targets, far.batch(windows, CPU).targets)
    held_out = zip(near.held_out(16, 4, CPU), far.held_out(16, 4, CPU), strict=True)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in held_out)
    assert near.held_out_bytes == far.held_out_bytes


def test_only_tokens_that_differ_from_a_large_text_are_kept(tmp_path: Path) -> None:
    data(tmp_path, "chars", view=False)
    far = data(tmp_path, "bytes", view=True)
    assert not cache_folder().exists()
    assert np.shares_memory(far.train, np.frombuffer(far.text.train, np.uint8))
    data(tmp_path, "chars", view=True)
    kept = list((cache_folder() / "tokens").glob("*.uint8"))
    assert len(kept) == 2


def test_of_more_than_a_piece_tokens_are_kept_though_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = data(tmp_path, "chars", view=False).train.tolist()
    monkeypatch.setattr("resnetbk.training.data.PIECE", 5000)
    assert data(tmp_path, "chars", view=False).train.tolist() == expected
    kept = data(tmp_path, "chars", view=False).train
    assert kept.tolist() == expected
    kept[0] = 0  # which changes no file
    assert data(tmp_path, "chars", view=False).train.tolist() == expected
    assert len(list((cache_folder() / "tokens").glob("*.sha256"))) == 1


MEMORY = """
import resource, sys, torch
from pathlib import Path
import numpy as np
import resnetbk
from resnetbk.kinds import Windows
from resnetbk.training.data import Data
spec = resnetbk.load(sys.argv[1]).spec.data
spec.tokenizer.component, spec.corpus.component  # imported before the limit
status = Path("/proc/self/status").read_text().split()
now = int(status[status.index("VmData:") + 1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (now + int(sys.argv[2]),) * 2)
data = Data.load(spec)
starts = np.array([0, len(data.train) // 2, len(data.train) - 17])
batch = data.batch(Windows(starts, 16), torch.device("cpu"))
next(data.held_out(16, 4, torch.device("cpu")))
print(data.tokenizer.decode(batch.inputs[0].tolist()).decode(), len(data.train) + len(data.valid))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts what is allocated on Linux alone")
@pytest.mark.parametrize(
    ("tokenizer", "megabytes", "files"), [("bytes", 300, 1), ("bytes", 300, 2), ("chars", 80, 1)]
)
def test_memory_does_not_grow_with_the_text(
    tmp_path: Path, tokenizer: str, megabytes: int, files: int
) -> None:
    """Under a limit of a quarter of the text on what may be allocated."""
    size, paths = (megabytes << 20) // files, [tmp_path / f"{i}.txt" for i in range(files)]
    for path in paths:
        path.write_bytes((b"It begins so here. " * (size // 19 + 1))[:size])
    spec = tiny.write_spec(
        tmp_path,
        corpus=f'corpus = {{ use = "text", path = {[str(path) for path in paths]} }}',
        window=f'window = 16\ntokenizer = "{tokenizer}"',
    )
    command = [sys.executable, "-c", MEMORY, str(spec), str((megabytes << 20) // 4)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"It begins so her {files * size}\n"), done.stderr
