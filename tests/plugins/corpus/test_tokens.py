"""The corpus `tokens` and its tokenizer `ids`: shards as other programs write them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from resnetbk.errors import ResnetbkError, StorageError, UserError
from resnetbk_plugins.corpus import tokens
from resnetbk_plugins.corpus.tokens import Tokens
from resnetbk_plugins.tokenizer.ids import Ids, IdTokenizer

TRAIN = [(np.arange(3000) * 7 % 300).astype(np.uint16), (np.arange(2000) * 11 % 300).astype(np.uint16)]
VALID = (np.arange(700) * 7 % 300).astype(np.uint16)


def write(
    name: str, of: np.ndarray, magic: int = 20240520, version: int = 1, count: int | None = None
) -> None:
    """As `write_datafile` of llm.c does."""
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(of) if count is None else count
    Path(name).write_bytes(header.tobytes() + of.tobytes())


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path / "cache"))
    write("train_1.bin", TRAIN[0])
    write("train_2.bin", TRAIN[1])
    write("val.bin", VALID)


def built(**keys: object) -> tuple[np.ndarray, np.ndarray]:
    text = Tokens(**{"path": "train_*.bin", "valid": "val.bin", **keys}).build()  # type: ignore[arg-type]
    assert text.tokens
    train, valid = text.tokens
    assert text.sha256 == hashlib.sha256(train.tobytes() + valid.tobytes()).hexdigest()
    return train, valid


@pytest.mark.parametrize("large", [False, True])
def test_shards_are_joined_in_the_order_of_their_paths(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(tokens, "LARGE", 1000)
    train, valid = built()
    assert train.dtype == np.uint16
    np.testing.assert_array_equal(train, np.concatenate(TRAIN))
    np.testing.assert_array_equal(valid, VALID)
    assert isinstance(valid.base, np.memmap) is large


def test_formats_of_other_programs() -> None:
    wide = np.array([128_000, 5, 100_000], np.uint32)
    write("train_2.bin", wide, magic=20240801, version=7)
    VALID.tofile("val.bin")  # nanoGPT's has no header
    train, valid = built()
    np.testing.assert_array_equal(train, np.concatenate([TRAIN[0].astype(np.uint32), wide]))
    np.testing.assert_array_equal(valid, VALID)
    wide.tofile("val.bin")
    np.testing.assert_array_equal(built(dtype="uint32")[1], wide)


@pytest.mark.parametrize(
    ("written", "keys", "message"),
    [
        (
            {"count": 701},
            {},
            "tokens: val.bin is damaged: its header counts 701 tokens of 2 or 4 bytes, and 1,400",
        ),
        ({"version": 2}, {}, "tokens: val.bin is of version 2, where 1 can be read"),
        ({"of": VALID[:0]}, {}, "tokens: val.bin has 0 bytes, no tokens of 2"),
        ({}, {"path": "*.bin"}, "tokens: valid names val.bin, which path names too"),
        ({}, {"path": "none.bin"}, "tokens: there is no file or folder 'none.bin'"),
    ],
)
def test_mistakes_are_one_line(written: dict[str, object], keys: dict[str, object], message: str) -> None:
    write("val.bin", **{"of": VALID, **written})  # type: ignore[arg-type]
    with pytest.raises(ResnetbkError) as caught:
        built(**keys)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


def spec(vocabulary: int) -> str:
    tokenizer = f'{{ use = "ids", vocabulary = {vocabulary} }}' if vocabulary else '"bytes"'
    return f"""
    name = "shards"
    [data]
    corpus = {{ use = "tokens", path = "train_*.bin", valid = "val.bin" }}
    tokenizer = {tokenizer}
    window = 32
    [model]
    width = 16
    depth = 1
    mixer = "attention"
    [train]
    steps = 60
    batch = 8
    precision = "fp32"
    optimizer = {{ use = "adamw", lr = 0.02 }}
    """


def test_a_run_learns_from_shards_and_gives_numbers(call) -> None:  # type: ignore[no-untyped-def]
    Path("s.toml").write_text(spec(300))
    code, out, err = call("train", "s.toml", "--out", "run")
    assert code == 0, err
    assert "held-out text of tokens: 700 tokens" in out
    code, out, err = call("eval", "run", "--json")
    result = json.loads(out)
    assert code == 0, err
    assert result["tokens"] == 699
    assert result["loss"] < 5.6  # ln 300 is 5.70
    digits = len(IdTokenizer(300).decode(VALID[1:].tolist()))
    assert result["bits_per_byte"] == pytest.approx(result["loss"] / np.log(2) * 699 / digits)
    code, out, err = call("generate", "run", "--prompt", "14 27", "--tokens", "3")
    assert code == 0, err
    assert all(0 <= int(word) < 300 for word in out.split())
    code, _, err = call("generate", "run", "--prompt", "14 300")
    assert (code, err.count("\n")) == (2, 1)
    assert "ids: '300' is no token, a number below 300" in err


@pytest.mark.parametrize("vocabulary", [0, 299])
def test_tokens_beyond_the_vocabulary_are_refused(call, vocabulary: int) -> None:  # type: ignore[no-untyped-def]
    Path("s.toml").write_text(spec(vocabulary))
    code, _, err = call("train", "s.toml", "--out", "run")
    assert code == 2
    assert (
        f"has {vocabulary or 256} tokens, and 'tokens' holds token 299: choose one of 300 tokens or more"
        in err
    )


def test_ids_are_restored_and_refuse_what_is_damaged() -> None:
    tokenizer = Ids(vocabulary=50_257).restore(state=IdTokenizer(70_000).state())
    assert tokenizer.encode(b" 69999 0\n").tolist() == [69_999, 0]
    assert tokenizer.encode(b"").dtype == np.uint32
    assert tokenizer.decode([5, 17]) == b" 5 17"
    with pytest.raises(ValueError, match="tokens must be in"):
        tokenizer.decode([70_000])
    with pytest.raises(StorageError, match="holds no vocabulary"):
        Ids(vocabulary=2).restore(state={})
    with pytest.raises(UserError, match="'x' is no token"):
        tokenizer.encode(b"1 x")
