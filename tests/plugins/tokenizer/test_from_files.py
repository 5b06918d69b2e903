"""`tokenizer-json` and `tiktoken`: a file's own tokens, every byte back, and no file needed once trained."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

import resnetbk
from resnetbk.errors import StorageError, UserError
from resnetbk.kinds import Text
from resnetbk_plugins.tokenizer import byte_level
from resnetbk_plugins.tokenizer.bpe import BPE
from resnetbk_plugins.tokenizer.byte_level import ByteLevelTokenizer
from resnetbk_plugins.tokenizer.tiktoken import PATTERNS, Tiktoken
from resnetbk_plugins.tokenizer.tokenizer_json import TokenizerJson

pytestmark = pytest.mark.skipif(find_spec("tokenizers") is None, reason="the extra hf is not installed")

SENTENCES = "".join(f"{i}: {tiny.SENTENCE}größe 你好 I'll DON'T\n" for i in range(200))
TEXT = Text(SENTENCES.encode(), b"", "0" * 64)
ANY = st.one_of(st.binary(), st.text(alphabet=st.characters(codec="utf-8")).map(str.encode))
OF_WORDS = st.lists(
    st.sampled_from(["the", " quick", "\n", "  ", "'ll", "ß", "12345", "<|end|>", "你", "\t;"])
)


def saved() -> dict:
    """A tokenizer.json with what Hugging Face's have besides: a special token, and what is left out."""
    file = json.loads(BPE(vocabulary=400).build(text=TEXT).state()["tokenizer"])
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    file["added_tokens"] = [{"id": 400, "content": "<|end|>", "special": True, **flags}]
    return file


def written(folder: Path, **changes: object) -> str:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**saved(), **changes}), encoding="utf-8")
    return str(path)


def ranks(folder: Path) -> str:
    """The learned vocabulary as a file of ranks."""
    learned = BPE(vocabulary=600).build(text=TEXT)
    tokens = [learned.decode([token]) for token in range(learned.vocabulary)]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    path = folder / "own.tiktoken"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def from_json(tmp_path_factory: pytest.TempPathFactory) -> ByteLevelTokenizer:
    changes = {
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "normalizer": {"type": "NFC"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<|end|>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [400], "tokens": ["<|end|>"]}},
        },
    }
    path = written(tmp_path_factory.mktemp("json"), **changes)
    return TokenizerJson(path=path).build(text=TEXT)


@pytest.fixture(scope="module", params=PATTERNS)
def from_ranks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ByteLevelTokenizer:
    path = ranks(tmp_path_factory.mktemp("ranks"))
    return Tiktoken(path=path, pattern=request.param, endoftext=700).build(text=TEXT)


@given(ANY)
def test_any_bytes_there_and_back(
    from_json: ByteLevelTokenizer, from_ranks: ByteLevelTokenizer, text: bytes
) -> None:
    for tokenizer in (from_json, from_ranks):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@given(OF_WORDS.map("".join))
def test_a_json_has_the_tokens_of_the_library(from_json: ByteLevelTokenizer, text: str) -> None:
    from tokenizers import Tokenizer

    library = Tokenizer.from_str(json.dumps(saved()))
    assert from_json.encode(text.encode()).tolist() == library.encode(text).ids


def test_a_special_token_is_one_token_and_its_text(from_json: ByteLevelTokenizer) -> None:
    assert from_json.vocabulary == 401
    assert from_json.encode(b"the<|end|>the").tolist()[1] == 400
    assert from_json.decode([400]) == b"<|end|>"


def test_ranks_are_numbers_and_the_end_of_a_text_has_its_own(from_ranks: ByteLevelTokenizer) -> None:
    assert from_ranks.vocabulary == 701
    assert from_ranks.encode(b"<|endoftext|>").tolist() == [700]
    assert from_ranks.decode([700, 699]) == b"<|endoftext|>"  # no token has number 699
    assert from_ranks.encode(b" quick").size == 1


@pytest.mark.skipif(find_spec("tiktoken") is None, reason="tiktoken is not installed")
@pytest.mark.parametrize("pattern", PATTERNS)
def test_tokens_are_those_of_tiktoken(tmp_path: Path, pattern: str) -> None:
    import tiktoken
    from tiktoken_ext import openai_public

    path = ranks(tmp_path)
    tokenizer = Tiktoken(path=path, pattern=pattern).build(text=TEXT)  # type: ignore[arg-type]
    lines = [line.split() for line in Path(path).read_text().splitlines()]
    table = {base64.b64decode(token): int(rank) for token, rank in lines}
    name = {"gpt2": "r50k_base", "cl100k": "cl100k_base", "o200k": "o200k_base"}[pattern]
    # the published patterns, without their ranks, which are on the network
    openai_public.load_tiktoken_bpe = lambda *_, **__: table
    known = getattr(openai_public, name)()["pat_str"]
    library = tiktoken.Encoding("own", pat_str=known, mergeable_ranks=table, special_tokens={})

    @given(st.one_of(OF_WORDS.map("".join), st.text(alphabet="the quickß12'\n\r\t ;A你", max_size=60)))
    def same(text: str) -> None:
        assert tokenizer.encode(text.encode()).tolist() == library.encode_ordinary(text)

    same()
    assert tokenizer.encode(TEXT.train).tolist() == library.encode_ordinary(SENTENCES)


@pytest.mark.parametrize("use", ["tokenizer-json", "tiktoken"])
def test_a_run_needs_the_file_no_more(tmp_path: Path, use: str) -> None:
    path = written(tmp_path) if use == "tokenizer-json" else ranks(tmp_path)
    more = "" if use == "tokenizer-json" else ', pattern = "gpt2"'
    table = f'tokenizer = {{ use = "{use}", path = "{path}"{more} }}'
    spec = tiny.write_spec(tmp_path, window=f"{table}\nwindow = 8", steps="steps = 2")
    run = resnetbk.load(spec).train(tmp_path / "run")
    Path(path).unlink()
    again = resnetbk.open_run(tmp_path / "run")
    assert again.tokenizer.vocabulary == run.tokenizer.vocabulary
    assert again.evaluate().loss == run.report.loss


def test_another_file_is_not_gone_on_with(tmp_path: Path) -> None:
    table = f'tokenizer = {{ use = "tokenizer-json", path = "{written(tmp_path)}" }}'
    spec = tiny.write_spec(tmp_path, window=f"{table}\nwindow = 8", steps="steps = 2")
    resnetbk.load(spec).train(tmp_path / "run")
    written(tmp_path, added_tokens=[])
    with pytest.raises(UserError, match=r"with another tokenizer than data.tokenizer gives now"):
        resnetbk.load(spec).train(tmp_path / "run", resume=True)


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
PREFIX = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": None}, "is no tokenizer.json with a token for each byte"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, "token for each byte, as GPT-2"),
        ({"pre_tokenizer": PREFIX}, "does not give back what it encodes: .A  b"),
        ({"pre_tokenizer": {"type": "WhitespaceSplit"}}, "does not give back what it encodes"),
        ({"pre_tokenizer": METASPACE}, "does not give back what it encodes"),
        ({"normalizer": {"type": "Lowercase"}}, "does not give back what it encodes"),
    ],
)
def test_a_json_that_loses_text_is_refused(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        TokenizerJson(path=written(tmp_path, **changes)).build(text=TEXT)
    assert "\n" not in str(caught.value)


def test_a_token_that_takes_spaces_with_it_is_refused(tmp_path: Path) -> None:
    added = [{**saved()["added_tokens"][0], "lstrip": True}]
    with pytest.raises(UserError, match=r"'a <\|end\|> b' becomes 'a<\|end\|> b'"):
        TokenizerJson(path=written(tmp_path, added_tokens=added)).build(text=TEXT)


def test_files_are_checked(tmp_path: Path) -> None:
    path = ranks(tmp_path)
    right = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert Tiktoken(path=path, pattern="gpt2", sha256=right).build(text=TEXT).vocabulary == 508
    with pytest.raises(UserError, match=f"is {right}, but the spec asks for {'0' * 64}"):
        Tiktoken(path=path, pattern="gpt2", sha256="0" * 64).build(text=TEXT)
    with pytest.raises(UserError, match=r"there is no file .*nowhere; path is relative to the working"):
        TokenizerJson(path=str(tmp_path / "nowhere")).build(text=TEXT)
    with pytest.raises(UserError, match="has another token of number 5; give endoftext = 508 or more"):
        Tiktoken(path=path, pattern="gpt2", endoftext=5).build(text=TEXT)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "own.tiktoken:1: expects a token in base64 and its rank"),
        ("IQ== 0\n\nI!g== 1", "own.tiktoken:3: expects"),
        ("IQ== 0\n", "has no token for 255 of the 256 bytes, such as 0"),
    ],
)
def test_what_is_no_file_of_ranks_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "own.tiktoken"
    path.write_text(content)
    with pytest.raises(UserError, match=says):
        Tiktoken(path=str(path), pattern="gpt2").build(text=TEXT)


def test_two_tokens_of_one_rank_are_refused(tmp_path: Path) -> None:
    path = Path(ranks(tmp_path))
    path.write_text(path.read_text() + "enp6 507\n")
    with pytest.raises(UserError, match="the same rank to several tokens"):
        Tiktoken(path=str(path), pattern="gpt2").build(text=TEXT)


@pytest.mark.parametrize("component", [TokenizerJson(path="x"), Tiktoken(path="x", pattern="gpt2")])
def test_a_damaged_state_is_refused_and_a_missing_library_named(
    component: TokenizerJson | Tiktoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="holds no byte-level BPE"):
        component.restore(state={})

    def missing(name: str) -> None:
        raise byte_level.PackageNotFoundError(name)

    monkeypatch.setattr(byte_level, "version", missing)
    with pytest.raises(UserError, match=r'needs the package tokenizers: pip install "resnetbk\[hf\]"'):
        component.build(text=TEXT)
