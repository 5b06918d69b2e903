"""Damage to any file of a run folder or of the cache is seen, or harmless: never other numbers."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny

from resnetbk.errors import ResnetbkError
from resnetbk.registry.lookup import Registry
from resnetbk.runs.run_folder import RunFolder
from resnetbk.training.data import Data
from resnetbk.training.run import Run
from resnetbk_instrument.results.ngram_baseline import ngram_baseline

DAMAGES = int(os.environ.get("DAMAGES", 40))
"""How many are tried."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run with the cache that it fills, and all that they say."""
    pytest.importorskip("tokenizers", reason="bpe needs tokenizers, the extra `hf`")
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNETBK_CACHE", str(folder / "cache"))
        tokens = 'window = 16\ntokenizer = { use = "bpe", vocabulary = 260 }'
        tiny.experiment(folder, window=tokens, more="save = 4\nkeep = 2").train(folder / "run")
        said = numbers(folder / "run")
    return folder, said


def numbers(run: Path) -> Any:
    """What a run and its text say: from its folder, and from the cache."""
    loaded = Run.open(run, Registry.discover())
    data = Data.load(loaded.spec.data)
    counted = ngram_baseline(data.train, data.valid, data.tokenizer.vocabulary)
    return loaded.evaluate(data).loss, counted.nats, RunFolder(run).metrics()


def damage(file: Path, others: list[Path], rng: random.Random) -> str:
    """Changes one file; says how."""
    data = file.read_bytes()
    how = rng.choice(["flip", "flip", "flip", "truncate", "swap", "remove", "lengthen"])
    if how == "flip" and data:
        place = rng.randrange(len(data))
        data = data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
    elif how == "truncate":
        data = data[: rng.randrange(len(data) + 1)]
    elif how == "swap":
        data = rng.choice(others).read_bytes()
    elif how == "lengthen":
        data += bytes([rng.randrange(256)])
    file.write_bytes(data)
    if how == "remove":
        file.unlink()
    return how


def test_damage_is_seen_or_harmless(whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, said = whole
    rng = random.Random(0)
    seen = 0
    for _ in range(DAMAGES):
        for part in ("run", "cache"):
            shutil.rmtree(tmp_path / part, ignore_errors=True)
            shutil.copytree(original / part, tmp_path / part)
        monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
        files = sorted(path for part in ("run", "cache") for path in (tmp_path / part).rglob("*"))
        files = [path for path in files if path.is_file() and path.stat().st_size]
        file = rng.choice(files)
        how = damage(file, [other for other in files if other != file], rng)
        try:
            assert without_torn_end(numbers(tmp_path / "run"), said) == said, (how, file)
        except ResnetbkError as error:
            assert "\n" not in str(error), (how, file)  # noqa: PT017
            assert tmp_path / "run" in file.parents, (how, file)
            seen += 1
    assert seen > DAMAGES // 4


def without_torn_end(now: Any, before: Any) -> Any:
    """Metrics that end early are what a crash leaves, and are known to be missing."""
    loss, nats, metrics = now
    return loss, nats, before[2] if metrics == before[2][: len(metrics)] else metrics
