"""Weights of Hugging Face: the same logits as transformers', or every reason why not."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from resnetbk.errors import StorageError, UserError
from resnetbk.training.learner import Learner
from resnetbk_plugins.initializer.hf_config import model_table, read_config

GPT2 = {
    "width": 'width = 16\nnorm = "layer-bias"\nnorm_eps = 1e-5\ntie = true',
    "mixer": 'mixer = { use = "attention", heads = 2, rope = false, bias = true }',
    "channel": 'channel = { use = "mlp", expansion = 3.0, activation = "gelu-tanh", bias = true }',
    "embedding": 'embedding = { use = "learned-positions", length = 32 }',
}
LLAMA = {
    "width": 'width = 32\nnorm = "rms"\nnorm_eps = 1e-2',
    "mixer": 'mixer = { use = "attention", heads = 4, kv_heads = 2, rope_base = 500.0 }',
    "channel": 'channel = { use = "swiglu", expansion = 3.0 }',
}
SIZES = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_inner": 48, "n_positions": 32},
    "llama": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "rms_norm_eps": 1e-2,
    },
}


def learner(folder, start, **changes: str) -> Learner:
    more = f'start = {{ use = "hf", path = "{start}" }}'
    return Learner(tiny.experiment(folder, **({"more": more} | changes)).spec)


def config(folder, kind: str, **changes: object):
    """A folder with a config.json alone."""
    target = folder / kind
    target.mkdir(exist_ok=True)
    document = {"model_type": kind, "vocab_size": 256, **SIZES[kind], **changes}
    (target / "config.json").write_text(json.dumps(document))
    return target


@pytest.fixture(scope="module", params=["gpt2", "llama", "tied llama"])
def theirs(request, tmp_path_factory):
    """A random model of transformers, its folder, and our spec for it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes: dict[str, object] = {"vocab_size": 256, "initializer_range": 0.3}
    if request.param == "gpt2":
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **SIZES["gpt2"]))
        spec = GPT2
    else:
        sizes["tie_word_embeddings"] = request.param == "tied llama"
        sizes["rope_parameters"] = {"rope_type": "default", "rope_theta": 500.0}
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **SIZES["llama"]))
        spec = LLAMA | ({"embedding": "tie = true"} if request.param == "tied llama" else {})
    with torch.no_grad():
        for parameter in model.parameters():  # biases and scales as well
            parameter += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("weights")
    model.save_pretrained(folder)
    return model.eval(), folder, spec


def test_logits_are_those_of_transformers(theirs, tmp_path, caplog) -> None:
    model, folder, spec = theirs
    caplog.set_level("INFO", "resnetbk")
    ours = learner(tmp_path, folder, **spec).model.eval()
    tokens = torch.randint(256, (2, 24))
    with torch.no_grad():
        expected = model(tokens).logits
        assert expected.std() > 0.3
        torch.testing.assert_close(ours(tokens).logits, expected, atol=1e-4, rtol=0)
    count = len(ours.state_dict())
    assert f"loaded {count} of {count} tensors" in caplog.text


def test_a_model_that_skips_work_may_start_from_them_and_its_policy_fresh(theirs, tmp_path, caplog) -> None:
    model, folder, spec = theirs
    caplog.set_level("INFO", "resnetbk")
    ours = learner(tmp_path, folder, **spec | {"model": '[model]\nhalting = "act"'}).model
    assert "starts fresh: trunk.halting." in caplog.text
    assert torch.equal(ours.embedding.weight, model.get_input_embeddings().weight)


def test_shards_and_files_without_a_prefix_are_read_as_well(theirs, tmp_path) -> None:
    model, folder, spec = theirs
    expected = learner(tmp_path, folder, **spec).model.state_dict()
    model.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    bare = config(tmp_path, "gpt2")  # as the hub has GPT-2, with its masks
    (bare / "config.json").write_bytes((folder / "config.json").read_bytes())
    weights = load_file(folder / "model.safetensors")
    without = {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}
    save_file({**without, "h.0.attn.bias": torch.ones(1, 1, 32, 32)}, bare / "model.safetensors")
    for other in (tmp_path / "shards", bare):
        for name, tensor in learner(tmp_path, other, **spec).model.state_dict().items():
            assert torch.equal(tensor, expected[name]), name


def test_a_run_from_them_opens_without_their_folder(theirs, tmp_path) -> None:
    _, folder, spec = theirs
    moved = folder.rename(tmp_path / "weights")
    try:
        start = f'start = {{ use = "hf", path = "{moved}" }}'
        run = tiny.experiment(tmp_path, steps="steps = 1", more=start, **spec).train(tmp_path / "run")
    finally:
        moved.rename(folder)
    import resnetbk

    assert resnetbk.open_run(run.folder.path).spec.train.start.name == "hf"


def test_every_misfit_is_told_with_what_to_write(tmp_path) -> None:
    folder = config(tmp_path, "gpt2")
    with pytest.raises(UserError) as caught:
        learner(tmp_path, folder)
    lines = [mistake.message for mistake in caught.value.mistakes]
    assert all(line.startswith("train.start: the weights need model.") for line in lines)
    assert 'model.norm = "layer-bias", not "rms"' in lines[0]
    assert "model.norm_eps = 1e-05" in lines[1]
    mixer = "{ use = \"attention\", heads = 2, rope = false, bias = true }, not 'bk-causal'"
    assert f"model.mixer = {mixer}" in lines[3]
    assert len(lines) == 6
    with pytest.raises(UserError) as caught:
        learner(tmp_path, folder, **GPT2 | {"mixer": GPT2["mixer"].replace("heads = 2", "qk_norm = true")})
    (mistake,) = caught.value.mistakes
    assert mistake.message.endswith("not heads = 4, not qk_norm = true")


@pytest.mark.parametrize("kind", SIZES)
def test_the_lines_that_it_asks_for_fit(kind, tmp_path) -> None:
    folder = config(tmp_path, kind)
    table = model_table(read_config(folder))
    with pytest.raises(UserError) as caught:
        learner(tmp_path, folder)
    asked = [line.message.partition("need ")[2].partition(", not ")[0] for line in caught.value.mistakes]
    sets = [line.replace(" = ", "=", 1) for line in asked]
    import resnetbk

    spec = resnetbk.load(tmp_path / "tiny.toml", sets=sets).spec
    assert spec.model.width == table["width"]


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("gpt2", {"model_type": "bert"}, "'bert' are not read; allowed: gpt2, llama"),
        ("gpt2", {"activation_function": "relu"}, "activation_function = 'relu'"),
        ("gpt2", {"n_embd": None}, "incomplete or damaged"),
        ("llama", {"rope_scaling": {"rope_type": "llama3"}}, "rope_type = 'llama3'"),
        ("llama", {"head_dim": 16, "hidden_act": "x"}, "head_dim = 16"),
    ],
)
def test_what_our_layers_cannot_do_is_refused(kind, changes, said, tmp_path) -> None:
    with pytest.raises(UserError, match=r"train\.start") as caught:
        learner(tmp_path, config(tmp_path, kind, **changes))
    assert said in str(caught.value)


def test_a_damaged_config_is_one_line(tmp_path) -> None:
    folder = config(tmp_path, "gpt2")
    (folder / "config.json").write_text("[]")
    with pytest.raises(UserError, match="is no configuration of a language model") as caught:
        learner(tmp_path, folder)
    assert len(caught.value.mistakes) == 1


def test_other_vocabularies_pickles_and_missing_files_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"have 50257 tokens, and data\.tokenizer has 256"):
        learner(tmp_path, config(tmp_path, "gpt2", vocab_size=50257), **GPT2)
    folder = config(tmp_path, "gpt2")
    with pytest.raises(StorageError, match=r"model\.safetensors"):
        learner(tmp_path, folder, **GPT2)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"pickled weights alone \(\.bin\)"):
        learner(tmp_path, folder, **GPT2)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(StorageError, match="damaged"):
        learner(tmp_path, folder, **GPT2)
    with pytest.raises(StorageError, match="absent"):
        learner(tmp_path, tmp_path / "absent", **GPT2)
