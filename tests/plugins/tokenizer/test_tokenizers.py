"""`bytes` and `chars`: round trip, what they refuse, and what a checkpoint restores."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetbk.errors import StorageError, UserError
from resnetbk.kinds import Text
from resnetbk_plugins.tokenizer.bytes import Bytes
from resnetbk_plugins.tokenizer.chars import Chars

UTF8 = st.text(alphabet=st.characters(codec="utf-8"))


def of(train: str, valid: str = "") -> Text:
    return Text(train.encode(), valid.encode(), "")


@given(st.binary())
def test_bytes_there_and_back(text: bytes) -> None:
    tokenizer = Bytes().build(text=of("x"))
    tokens = tokenizer.encode(text)
    assert tokens.dtype == np.uint8
    assert tokens.tolist() == list(text)
    assert tokenizer.decode(tokens) == tokenizer.decode(tokens.astype(np.int64)) == text
    assert tokenizer.decode(tokens.tolist()) == text


def test_bytes_are_not_copied() -> None:
    text = b"x" * 1000
    tokens = Bytes().build(text=of("x")).encode(text)
    assert np.shares_memory(tokens, np.frombuffer(text, dtype=np.uint8))


def test_bytes_restore() -> None:
    state = json.loads(json.dumps(Bytes().build(text=of("x")).state()))
    assert Bytes().restore(state=state).vocabulary == 256


def test_bytes_refuse_what_is_no_byte() -> None:
    with pytest.raises(ValueError, match="256"):
        Bytes().build(text=of("x")).decode([256])


@given(UTF8.filter(bool), UTF8)
def test_chars_there_and_back_also_when_restored(train: str, valid: str) -> None:
    first = Chars().build(text=of(train, valid))
    alphabet = sorted(set(train + valid))
    restored = Chars().restore(state=json.loads(json.dumps(first.state())))
    for tokenizer in (first, restored):
        assert tokenizer.vocabulary == len(alphabet)
        for part in (train, valid):
            tokens = tokenizer.encode(part.encode())
            assert tokens.tolist() == [alphabet.index(c) for c in part]
            assert tokenizer.decode(tokens.tolist()) == tokenizer.decode(tokens) == part.encode()


@pytest.mark.parametrize(("size", "dtype"), [(256, np.uint8), (257, np.uint16), (65_537, np.uint32)])
def test_chars_take_the_smallest_type_that_holds_the_vocabulary(size: int, dtype: type) -> None:
    text = "".join(map(chr, range(0x10000, 0x10000 + size)))
    tokens = Chars().build(text=of(text)).encode(text.encode())
    assert tokens.dtype == dtype
    assert tokens[-1] == size - 1


def test_an_unknown_character_is_named_with_its_place() -> None:
    tokenizer = Chars().build(text=of("abc\u00e9"))
    with pytest.raises(UserError, match=r"'\u20ac' \(U\+20AC\) at character 2 is not among the 4"):
        tokenizer.encode("\u00e9a\u20acz".encode())
    with pytest.raises(UserError, match=r"'\\n' \(U\+000A\) at character 0"):
        tokenizer.encode(b"\n")


def test_chars_refuse_what_is_not_utf8() -> None:
    with pytest.raises(UserError, match="not UTF-8 at byte 2"):
        Chars().build(text=of("abc")).encode(b"ab\xff")


def test_chars_refuse_tokens_outside_the_alphabet() -> None:
    tokenizer = Chars().build(text=of("abc"))
    for token in (-1, 3):
        with pytest.raises(ValueError, match=r"\[0, 3\)"):
            tokenizer.decode([token])
    assert tokenizer.decode([]) == b""


@pytest.mark.parametrize(
    "state", [{}, {"alphabet": ""}, {"alphabet": "ba"}, {"alphabet": "aa"}, {"alphabet": 3}]
)
def test_a_damaged_state_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(StorageError, match="no alphabet"):
        Chars().restore(state=state)
