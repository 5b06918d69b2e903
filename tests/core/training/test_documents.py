"""`data.documents = "pack"`: windows cut where documents begin, in training, evaluation and once trained."""

import pytest
import torch

import resnetbk
from resnetbk.errors import UserError
from resnetbk.model.rows import Documents
from resnetbk.training.data import Data, document_tokens
from resnetbk.training.objective import evaluate, text_losses

SPEC = """
name = "packed"
[data]
corpus = {{ use = "text", path = "{path}", separator = "\\u0000", held_out = 0.3 }}
window = 24
documents = "pack"
{data}
[model]
width = 16
depth = 2
mixer = "gated-linear"
{model}
[train]
steps = 3
batch = 4
precision = "fp32"
"""


@pytest.fixture
def spec(tmp_path):
    """A spec over files of 3 to 40 bytes, with `data` and `model` added to it."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(60):
        (folder / f"{i:02}.txt").write_text("abcdefghij klmnopq rstuvwxyz 0123456789."[: 3 + i * 7 % 38])

    def made(data="", model="", **changes):
        text = SPEC.format(path=folder, data=data, model=model)
        for old, new in changes.items():
            text = text.replace(*{"documents": ('"pack"', new), "separator": ('"\\u0000"', new)}[old])
        path = tmp_path / "packed.toml"
        path.write_text(text)
        return resnetbk.load(path)

    return made


def test_documents_are_cut_padded_and_put_together_again():
    begins = torch.zeros(2, 6, dtype=torch.bool)
    begins[0, 2] = begins[0, 5] = begins[1, 0] = True
    documents = Documents(begins)
    rows = torch.arange(12).view(2, 6)
    assert documents.length.tolist() == [2, 3, 1, 6]
    assert documents.pad(rows).tolist() == [
        [0, 1, 0, 0, 0, 0], [2, 3, 4, 0, 0, 0], [5, 0, 0, 0, 0, 0], [6, 7, 8, 9, 10, 11]
    ]  # fmt: skip
    assert torch.equal(documents.unpad(documents.pad(rows)), rows)
    assert documents.unpad(1.0) == 1.0


def test_a_separator_follows_each_file_and_begins_the_next_document(spec):
    data = Data.load(spec().spec.data)
    text = bytes(data.text.train) + bytes(data.text.valid)
    assert text.count(b"\0") == 60
    assert text.startswith(b"abc\0")
    begins = document_tokens(spec().spec.data, data.tokenizer)
    assert begins.nonzero().flatten().tolist() == [0]
    assert document_tokens(spec(documents='"cross"').spec.data, data.tokenizer) is None


def test_rows_of_json_lines_are_documents(spec, tmp_path):
    lines = tmp_path / "texts" / "rows.jsonl"
    lines.write_text("".join(f'{{"text": "row number {i}"}}\n' for i in range(9)))
    keys = f'data.corpus={{ use = "text", path = "{lines}", field = "text", separator = "\\u0000" }}'
    spec()
    text = Data.load(resnetbk.load(tmp_path / "packed.toml", sets=[keys]).spec.data).text
    assert (bytes(text.train) + bytes(text.valid)).count(b"\0") == 9


@pytest.mark.parametrize(
    "model",
    [
        "",
        'halting = "act"',
        'resolution = { use = "hourglass", layers = [0, 2, 0] }',
        'gate = { use = "top-rate", keep = 0.5 }',
    ],
)
def test_a_packed_run_trains_and_its_losses_are_those_of_documents_alone(spec, tmp_path, model):
    run = spec(model=model).train(tmp_path / "run")
    tokens = run.data().valid
    packed = text_losses(run.model, tokens[:25], window=24, precision="fp32")
    run.model.begins = None
    for start, end in _documents(tokens[:25].tolist()):
        alone = text_losses(run.model, tokens[start : end + 1], window=24, precision="fp32")
        torch.testing.assert_close(torch.tensor(packed[start:end]), torch.tensor(alone))


def _documents(tokens):
    """Starts and ends of the documents of inputs: a separator is the first token of its document."""
    starts = sorted({0, *(i for i, token in enumerate(tokens[:-1]) if token == 0)})
    return list(zip(starts, [*starts[1:], len(tokens) - 1], strict=True))


def test_what_stands_before_a_document_is_no_context_and_else_it_is(spec, tmp_path):
    run = spec().train(tmp_path / "run")
    with torch.no_grad():
        run.model.head.weight.normal_()
    before, other = (torch.tensor([list(text + b"\0xyz 123")]) for text in (b"abcdef", b"uvwxyz"))

    def after(tokens):
        return run.model(tokens).logits[0, 6:]

    assert torch.equal(after(before), after(other))
    run.model.begins = None
    assert not torch.equal(after(before), after(other))


def test_an_opened_run_evaluates_as_it_trained(spec, tmp_path):
    run = spec(model='halting = "act"').train(tmp_path / "run")
    opened = resnetbk.open_run(tmp_path / "run")
    result = evaluate(opened.model, opened.data(), window=24, precision="fp32")
    assert result.loss == run.report.loss
    assert sum(result.depths) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"separator": '""'}, 'data.documents: "pack" needs a corpus with a separator'),
        ({"model": 'embedding = "ngram-counts"'}, "ngram-counts does not provide 'ragged': data.documents"),
    ],
)
def test_what_cannot_be_packed_is_refused(spec, changes, said):
    with pytest.raises(UserError) as refused:
        spec(**changes)
    assert said in str(refused.value)


def test_a_separator_of_several_tokens_is_refused(spec):
    chosen = spec(separator='"xy"').spec.data
    tokenizer = Data.load(chosen).tokenizer
    with pytest.raises(UserError, match="separator = \"xy\" is not one token of 'bytes'"):
        document_tokens(chosen, tokenizer)
