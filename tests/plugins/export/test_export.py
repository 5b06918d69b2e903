"""Exported models: what loads them computes what the run computes."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import pytest
import tiny
import torch

from resnetbk.training.sampling import streams

needs_transformers = pytest.mark.skipif(not find_spec("transformers"), reason="needs transformers")
TEXT = "the quick brown fox jumps"
MODELS = {
    "streaming": {"more": "", "corpus": 'corpus = { use = "text", path = "%s" }'},
    "skipping": {
        "mixer": 'mixer = [{ use = "attention", heads = 2, window = 8 }, "gated-linear"]\n'
        'halting = "act"\nresolution = { use = "hourglass", layers = [1, 2, 1] }\ntie = true',
        "depth": "depth = 4",
        "corpus": 'corpus = { use = "text", path = "%s" }\ntokenizer = { use = "bpe", vocabulary = 280 }',
    },
    "recomputing": {
        "mixer": 'mixer = { use = "attention", heads = 2, rope = false }',
        "embedding": 'embedding = { use = "learned-positions", length = 16 }',
        "corpus": 'corpus = { use = "text", path = "%s" }\ntokenizer = "chars"',
    },
}


@pytest.fixture(scope="module", params=MODELS)
def run(request, tmp_path_factory):
    if request.param == "skipping":
        pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("run")
    changes = dict(MODELS[request.param])
    changes["corpus"] %= tiny.corpus(folder)
    return tiny.experiment(folder, steps="steps = 4", **changes).train(folder / "run")


@pytest.fixture(scope="module")
def hf_folder(run, tmp_path_factory):
    pytest.importorskip("transformers")
    from resnetbk_plugins.export.folders import write_hf

    folder = tmp_path_factory.mktemp("exported") / "model"
    write_hf(run, folder)
    return folder


@pytest.fixture(scope="module")
def model(hf_folder):
    from transformers import AutoModelForCausalLM

    import resnetbk_plugins.hf  # noqa: F401

    return AutoModelForCausalLM.from_pretrained(hf_folder)


@pytest.fixture(scope="module")
def tokenizer(hf_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(hf_folder)


def our_logits(run, tokens):
    with torch.no_grad():
        return run.model.eval()(tokens).logits


def test_transformers_computes_our_logits_at_once_and_token_by_token(run, model) -> None:
    tokens = torch.from_numpy(run.encode(TEXT))[None, :16]
    with torch.no_grad():
        at_once = model(tokens).logits
        carried = model(tokens, use_cache=True)
    assert at_once.std() > 0.02
    torch.testing.assert_close(at_once, our_logits(run, tokens), atol=1e-5, rtol=0)
    torch.testing.assert_close(carried.logits, at_once, atol=1e-5, rtol=0)
    assert ("state" in carried) == streams(run.model)
    ours = torch.nn.functional.cross_entropy(at_once[0, :-1], tokens[0, 1:])
    torch.testing.assert_close(model(tokens, labels=tokens).loss, ours)


def test_it_generates_what_the_run_generates(run, model, tokenizer) -> None:
    prompt = tokenizer(TEXT, return_tensors="pt")
    reads = []
    handle = model.register_forward_pre_hook(
        lambda _, args, given: reads.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    whole = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    handle.remove()
    new = whole[0, prompt["input_ids"].shape[1] :].tolist()
    assert run.tokenizer.decode(new) == b"".join(run.generate(TEXT, 12, temperature=0))
    assert reads[1:] == [1 if streams(run.model) else 16] * 11
    beams = [
        model.generate(**prompt, max_new_tokens=8, do_sample=False, num_beams=3, use_cache=cache).tolist()
        for cache in (True, False)
    ]
    assert beams[0] == beams[1]


def test_its_tokenizer_gives_our_tokens(run, tokenizer) -> None:
    text = TEXT + ",  and\n0: then it sleeps. "
    if run.spec.data.tokenizer.name != "chars":
        text += "Größe 大\t\x00"
    tokens = tokenizer(text)["input_ids"]
    assert tokens == run.encode(text).tolist()
    assert tokenizer.decode(tokens) == text
    assert len(tokenizer) == run.tokenizer.vocabulary


def test_padding_at_the_left_is_refused_and_at_the_right_is_harmless(run, model) -> None:
    tokens = torch.from_numpy(run.encode(TEXT))[None, :8]
    mask = torch.ones_like(tokens)
    mask[:, -2:] = 0
    with torch.no_grad():
        assert model(tokens, attention_mask=mask).logits.isfinite().all()
    with pytest.raises(ValueError, match="padding at the left"):
        model(tokens, attention_mask=mask.flip(1))


def test_loading_leaves_random_numbers_alone(hf_folder) -> None:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    state = torch.get_rng_state()
    AutoModelForCausalLM.from_pretrained(hf_folder)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture(scope="module")
def streaming_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return tiny.experiment(folder, steps="steps = 2").train(folder / "run")


def test_the_readme_of_plain_weights_loads_them(call, streaming_run, tmp_path) -> None:
    folder = tmp_path / "new" / "weights"
    code, out, err = call("export", streaming_run.folder.path, "--to", "torch", folder)
    assert (code, out.strip(), err) == (0, str(folder), "")
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "model.safetensors", "spec.lock.toml", "tokenizer_state.json"}
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
    block = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert block
    names = {}
    exec(block[1], names)
    tokens = torch.from_numpy(names["tokenizer"].encode(TEXT.encode()).astype("int64"))[None]
    assert torch.equal(names["model"](tokens).logits, our_logits(streaming_run, tokens))


@needs_transformers
def test_the_verb_writes_a_folder_for_transformers(call, streaming_run, tmp_path) -> None:
    code, out, err = call("export", streaming_run.folder.path, "--to", "hf", tmp_path / "model")
    assert (code, out.strip()) == (0, str(tmp_path / "model")), err
    spec = json.loads((tmp_path / "model" / "config.json").read_text())["spec"]
    assert spec["model"]["width"] == 16
    assert spec["data"] == {"tokenizer": {"use": "bytes"}, "window": 16}
    assert "train" not in spec
    assert "import resnetbk_plugins.hf" in (tmp_path / "model" / "README.md").read_text()


@needs_transformers
def test_a_tokenizer_that_is_unknown_there_is_left_out(streaming_run, tmp_path, monkeypatch, caplog) -> None:
    from resnetbk_plugins.export import folders

    monkeypatch.setattr(folders, "tokenizer_json", lambda tokenizer: None)
    folders.write_hf(streaming_run, tmp_path / "model")
    assert "no tokenizer in it: 'bytes' has none that transformers knows" in caplog.text
    assert not list((tmp_path / "model").glob("tokenizer*"))
    assert "AutoTokenizer" not in (tmp_path / "model" / "README.md").read_text()


def test_mistakes_are_one_line_and_nothing_is_written(call, streaming_run, tmp_path, monkeypatch) -> None:
    run = streaming_run.folder.path
    code, _, err = call("export", run, "--to", "onnx", tmp_path / "x")
    assert code == 2
    assert "allowed: hf, torch" in err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    code, _, err = call("export", run, "--to", "torch", tmp_path / "full")
    assert code == 2
    assert "give a folder that is new or empty" in err
    monkeypatch.setattr("resnetbk_plugins.export.verb.find_spec", lambda name: None)
    code, _, err = call("export", run, "--to", "hf", tmp_path / "x")
    assert code == 2
    assert 'pip install "resnetbk[hf]"' in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
