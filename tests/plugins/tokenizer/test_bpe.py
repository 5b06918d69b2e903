"""`bpe`: round trip of any bytes, merges of frequent strings, determinism, and what is restored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from resnetbk import texts
from resnetbk.cache import cache_folder
from resnetbk.errors import StorageError, UserError
from resnetbk.kinds import Text
from resnetbk_plugins.tokenizer import bpe, byte_level
from resnetbk_plugins.tokenizer.bpe import BPE
from resnetbk_plugins.tokenizer.byte_level import ByteLevelTokenizer

TEXT = Text(
    ("".join(f"{i}: {tiny.SENTENCE}größe 你好\n" for i in range(200))).encode(), b"never seen", "0" * 64
)

needs_tokenizers = pytest.mark.skipif(find_spec("tokenizers") is None, reason="the extra hf is not installed")


@pytest.fixture(scope="module")
def learned() -> ByteLevelTokenizer:
    return BPE(vocabulary=400).build(text=TEXT)


@needs_tokenizers
@given(st.one_of(st.binary(), st.text(alphabet=st.characters(codec="utf-8")).map(str.encode)))
def test_any_bytes_there_and_back(learned: ByteLevelTokenizer, text: bytes) -> None:
    tokens = learned.encode(text)
    assert learned.decode(tokens) == learned.decode(tokens.tolist()) == text
    assert learned.encode(memoryview(text)).tolist() == tokens.tolist()


@needs_tokenizers
def test_frequent_strings_are_one_token(learned: ByteLevelTokenizer) -> None:
    assert learned.vocabulary == 400
    assert len(learned.encode(TEXT.train)) < 0.4 * len(TEXT.train)
    assert [learned.decode([t]) for t in learned.encode(b"the quick brown fox \xff")] == [
        *(b"the", b" quick", b" brown", b" fox", b" ", b"\xff")
    ]


@needs_tokenizers
def test_nothing_is_joined_over_the_border_of_pieces(
    learned: ByteLevelTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learned.encode(TEXT.train).tolist()
    monkeypatch.setattr(texts.pieces, "__defaults__", (100,))
    assert learned.encode(TEXT.train).tolist() == whole  # pieces end with lines, so no merge is missed


@needs_tokenizers
@pytest.mark.parametrize(("vocabulary", "dtype"), [(256, np.uint8), (257, np.uint16)])
def test_the_smallest_type_that_holds_the_vocabulary(vocabulary: int, dtype: type) -> None:
    tokenizer = BPE(vocabulary=vocabulary).build(text=TEXT)
    assert tokenizer.encode(b"the").dtype == tokenizer.encode(b"").dtype == dtype
    assert tokenizer.vocabulary == vocabulary


@needs_tokenizers
def test_a_short_text_gives_fewer_tokens() -> None:
    assert BPE().build(text=Text(b"abab", b"", "1" * 64)).vocabulary < 260


@needs_tokenizers
def test_a_checkpoint_restores_it(learned: ByteLevelTokenizer) -> None:
    restored = BPE().restore(state=json.loads(json.dumps(learned.state())))
    assert restored.vocabulary == 400
    assert restored.encode(TEXT.train).tolist() == learned.encode(TEXT.train).tolist()
    assert restored.state() == learned.state()


@needs_tokenizers
@pytest.mark.parametrize("state", [{}, {"tokenizer": "{}"}, {"tokenizer": "x"}, {"tokenizer": None}])
def test_a_damaged_state_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(StorageError, match="holds no byte-level BPE"):
        BPE().restore(state=state)


@needs_tokenizers
def test_tokens_outside_the_vocabulary_are_refused(learned: ByteLevelTokenizer) -> None:
    for token in (-1, 400):
        with pytest.raises(ValueError, match=r"\[0, 400\)"):
            learned.decode([token])


@needs_tokenizers
def test_it_is_learned_once_for_a_text_and_a_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNETBK_CACHE", str(tmp_path))
    first = BPE(vocabulary=300).build(text=TEXT)
    monkeypatch.setattr(bpe, "_learn", lambda text, vocabulary: "damaged")
    assert BPE(vocabulary=300).build(text=TEXT).state() == first.state()
    with pytest.raises(StorageError, match=r"\.json is damaged; delete it"):
        BPE(vocabulary=301).build(text=TEXT)
    assert len(list((cache_folder() / "bpe").glob("*.json"))) == 2


@needs_tokenizers
def test_another_process_learns_the_same(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT.train)
    code = (
        "import sys; from pathlib import Path; from resnetbk.kinds import Text\n"
        "from resnetbk_plugins.tokenizer.bpe import _learn\n"
        "print(_learn(Text(Path(sys.argv[1]).read_bytes(), b'', ''), 400))"
    )
    for threads in ("1", "2"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "text")],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.rstrip("\n") == bpe._learn(TEXT, 400)


@needs_tokenizers
def test_what_is_cached_is_read_in_any_locale(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT.train)
    code = (
        "import sys; from pathlib import Path; from resnetbk.kinds import Text\n"
        "from resnetbk_plugins.tokenizer.bpe import BPE\n"
        "text = Text(Path(sys.argv[1]).read_bytes(), b'', '2' * 64)\n"
        "for _ in range(2): print(*BPE(vocabulary=400).build(text=text).encode(b'gr\\xc3\\xb6\\xc3\\x9fe'))"
    )
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "text")],
        env={**os.environ, **environment, "RESNETBK_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    here = " ".join(map(str, BPE(vocabulary=400).build(text=TEXT).encode("größe".encode())))
    assert done.stdout.split("\n")[:2] == [here, here]


UNITS = {
    "letters": "ab",
    "digits": "12",
    "spaces": " ",
    "lines": "\n",
    "others": "-=",
    "一": "一二",
    "_": "_!",
}


@needs_tokenizers
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_tokens_end_within_unbroken_runs(
    unit: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bpe, "UNBROKEN", 512)
    text = unit * 600
    tokenizer = ByteLevelTokenizer(bpe._learn(Text(text.encode(), b"", ""), 400))
    characters = len(text) // 256 * 256
    assert f"{characters:,} characters of the text are in runs of 256 or more" in caplog.text
    assert caplog.text.rstrip().endswith("from the first 512")
    tokens = tokenizer.encode(text.encode())
    assert tokenizer.decode(tokens) == text.encode()
    lengths = [len(tokenizer.decode([token]).decode()) for token in tokens]
    assert lengths[: characters // 256] == [256] * (characters // 256)  # learning and encoding cut alike


@needs_tokenizers
def test_merges_are_learned_from_a_part_of_what_no_space_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "UNBROKEN", 512)
    base64 = ("a+1/" * 128 + "b-2=" * 128).encode()
    parts = list(bpe._learned(Text(b"words " + base64 + b" words", b"", "")))
    assert "".join(parts) == "words " + "a+1/" * 128 + " words"


@needs_tokenizers
def test_of_other_text_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    words = ("a" * 255 + " " + "一" * 255 + "，") * 20
    learned = ByteLevelTokenizer(bpe._learn(Text(words.encode(), b"", ""), 300))
    assert learned.decode(learned.encode(words.encode())) == words.encode()
    assert not caplog.records


def test_without_the_library_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise byte_level.PackageNotFoundError(name)

    monkeypatch.setattr(byte_level, "version", missing)
    for attempt in (lambda: BPE().build(text=TEXT), lambda: BPE().restore(state={"tokenizer": "{}"})):
        with pytest.raises(UserError) as caught:
            attempt()
        assert str(caught.value) == 'bpe: needs the package tokenizers: pip install "resnetbk[hf]"'


def test_a_vocabulary_holds_all_bytes() -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        BPE(vocabulary=255)


BORDERS = st.lists(
    st.sampled_from(["\n", "\r", "\t", " ", "a", "B", "1", ";", "'ll", "é", "\u3000", "你", "🙂"])
)


@needs_tokenizers
@given(BORDERS.map("".join))
def test_text_that_cores_share_has_the_tokens_of_the_library_alone(
    learned: ByteLevelTokenizer, text: str
) -> None:
    shares, given = list(byte_level._shares(text)), byte_level.SHARE
    assert shares in ([text], [])
    expected = learned._tokenizer.encode(text).ids
    try:
        byte_level.SHARE = 0  # cut wherever that is possible
        assert learned.encode(text.encode()).tolist() == expected
        assert "".join(byte_level._shares(text)) == text
    finally:
        byte_level.SHARE = given


@needs_tokenizers
def test_long_text_is_shared_among_cores() -> None:
    text = TEXT.train.decode() * 10
    shares = list(byte_level._shares(text))
    assert len(shares) == -(-len(text) // (byte_level.SHARE + 80))
    assert "".join(shares) == text


@given(st.text(alphabet=" \x1c\u3000a;_一\n", min_size=500, max_size=600))
def test_where_no_run_is_seen_in_bytes_there_is_none_in_the_text(text: str) -> None:
    for unit in ("", "\u3000 " * 128, "a一" * 128, ";" * 256, "a" * 255):
        whole = (text + unit + text).replace(" ", " b") if unit else text
        if byte_level._has_no_run(whole.encode()):
            assert byte_level.cut(whole) == [whole]
    assert byte_level._has_no_run(TEXT.train)
    assert not byte_level._has_no_run(b"a" * 256)
    assert byte_level._has_no_run(b"a" * 255)
    assert not byte_level._has_no_run(b" " * 256)
