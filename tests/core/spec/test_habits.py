"""Key names of other trainers, and the line that names ours."""

from __future__ import annotations

import pytest

from resnetbk.errors import UserError
from resnetbk.registry import Registry
from resnetbk.spec import read_text
from resnetbk.spec.habits import HABITS

HABITUAL = {
    *("n_layer", "d_model", "n_embd", "n_head", "block_size", "seq_len", "lr", "learning_rate", "batch_size"),
    *("max_steps", "max_iters", "dropout", "weight_decay", "vocab_size", "grad_accum", "dtype", "compile"),
    *("log_interval", "layers"),
}


def refusal(table: str, key: str, registry: Registry) -> str:
    text = f"""
name = "x"
data = {{ corpus = "tiny"{f", {key} = 1" if table == "data" else ""} }}
model = {{ width = 8, depth = 2, mixer = "chain"{f", {key} = 1" if table == "model" else ""} }}
train = {{ steps = 1{f", {key} = 1" if table == "train" else ""} }}
{f"{key} = 1" if not table else ""}
"""
    with pytest.raises(UserError) as caught:
        read_text(text, registry, "f")
    return str(caught.value)


@pytest.mark.parametrize("key", sorted(HABITUAL))
@pytest.mark.parametrize("table", ["", "data", "model", "train"])
def test_a_habitual_name_is_told_what_ours_is(table: str, key: str, registry: Registry) -> None:
    if (table, key) == ("train", "compile"):
        assert refusal(table, key, registry) == "f:5: train.compile: expects 'auto' or true or false, found 1"
        return
    line = {"": 6, "data": 3, "model": 4, "train": 5}[table]
    assert (
        refusal(table, key, registry)
        == f"f:{line}: {table}{table and ': '}unknown key {key!r}; {HABITS[key]}"
    )


def test_spelling_does_not_matter(registry: Registry) -> None:
    assert refusal("model", "N-Layer", registry).endswith("; the number of layers is model.depth")
    assert set(HABITS) == HABITUAL
