"""`labelled`: the gradients of `backprop`, without the rows that no label asks for."""

from __future__ import annotations

from copy import deepcopy

import attrs
import pytest
import tiny
import torch

from resnetbk.kinds import Batch
from resnetbk.metering.flops import FlopCounter
from resnetbk.model.assemble import assemble
from resnetbk.training.data import UNLABELLED
from resnetbk.training.objective import objective
from resnetbk_plugins.gradient_strategy.backprop import Backprop
from resnetbk_plugins.gradient_strategy.labelled import Labelled

ASKED = torch.tensor([[0, 0, 1, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, 1, 1]]).bool()

MODELS = {
    "two layers": {},
    "two mixers": {"mixer": 'mixer = [{ use = "attention" }, { use = "bk-moebius", chains = 4 }]'},
    "loops": {"embedding": 'share = "layers"'},
    "halting": {"embedding": 'halting = { use = "act", bias = -0.5 }'},
    "exits": {"embedding": 'halting = { use = "confidence" }'},
    "exits with weights": {"embedding": 'halting = "ponder"'},
    "scales": {"embedding": 'resolution = { use = "hourglass", layers = [1, 1, 1] }', "depth": "depth = 3"},
    "all layers coarse": {"embedding": 'resolution = { use = "hourglass", layers = [0, 2, 0] }'},
    "a gate": {"embedding": 'gate = { use = "top-rate", keep = 0.5 }'},
    "a gate in the first layer": {"embedding": 'gate = { use = "top-rate", keep = 0.5, layers = [0] }'},
    "resnet-bk": {"embedding": 'wiring = "resnet-bk"'},
}  # fmt: skip


def stirred(folder, **changes: str):
    model = assemble(
        tiny.experiment(folder, **{"depth": "depth = 2"} | changes).spec.model, vocabulary=256, seed=0
    )
    torch.manual_seed(1)
    for parameter in model.parameters():  # a head that starts at zero would hide mistakes
        torch.nn.init.normal_(parameter, std=0.2)
    return model.double().train()


def asked_batch(counts: torch.Tensor = ASKED) -> Batch:
    tokens = torch.randint(256, (2, *counts.shape), generator=torch.Generator().manual_seed(0))
    return Batch(tokens[0], tokens[1].where(counts, torch.tensor(UNLABELLED)))


def labelled_batch() -> Batch:
    return attrs.evolve(asked_batch(), labelled=True)


def learned(model, component, batch: Batch, **keys: int):
    torch.manual_seed(2)
    model = deepcopy(model)  # gates adapt in each pass
    strategy = component(**keys).build(weights=model.weights())
    result = strategy.gradients(0, batch, lambda some: objective(model, some, "fp32")[0])
    return result, {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("changes", MODELS.values(), ids=MODELS)
def test_losses_and_gradients_are_those_of_backprop(tmp_path, changes):
    model = stirred(tmp_path, **changes)
    (plain, expected), (result, gradients) = (
        learned(model, component, asked_batch()) for component in (Backprop, Labelled)
    )
    torch.testing.assert_close(result.window_losses, plain.window_losses, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(result.cross_entropy, plain.cross_entropy, rtol=1e-9, atol=1e-12)
    assert set(gradients) == set(expected)
    if "agreement" in plain.penalties:  # of the rows asked alone
        return
    torch.testing.assert_close(result.penalties, plain.penalties)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-8, atol=1e-12, msg=name)


def test_documents_that_do_not_see_each_other_learn_the_same(tmp_path):
    model = stirred(tmp_path, mixer='mixer = { use = "attention", heads = 2 }')
    model.begins = torch.arange(256) % 3 == 0
    (_, expected), (_, gradients) = (
        learned(model, component, asked_batch()) for component in (Backprop, Labelled)
    )
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-8, atol=1e-12)


def test_micro_batches_give_the_same(tmp_path):
    model = stirred(tmp_path)
    (_, expected), (_, gradients) = (
        learned(model, Labelled, asked_batch(), accumulate=count) for count in (1, 3)
    )
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gate", ["", 'gate = { use = "top-rate", keep = 0.5, layers = [0] }'])
def test_the_last_channel_mixer_and_the_head_compute_labelled_rows_alone(tmp_path, gate):
    model, rows = stirred(tmp_path, embedding=gate), []
    for place in (*(layer.channel for layer in model.trunk.layers), model.norm):
        place.register_forward_pre_hook(lambda _, given: rows.append(given[0].shape[:-1].numel()))
    output = objective(model, labelled_batch(), "fp32")[1]
    assert rows[1:] == [12, 12]
    assert rows[0] < 24 if gate else rows[0] == 24
    assert output.logits.shape == (12, 256)
    assert output.rows[1] == (24 + 12) / 2


def test_all_is_computed_where_rows_depend_on_each_other_or_a_gate_chooses(tmp_path):
    tangled = stirred(tmp_path, embedding='wiring = "resnet-bk"')
    assert objective(tangled, labelled_batch(), "fp32")[1].rows == (24, 24)
    gated = stirred(tmp_path, embedding='gate = { use = "top-rate", keep = 0.5 }')
    plain = objective(deepcopy(gated), asked_batch(), "fp32")[1].rows
    assert objective(gated, labelled_batch(), "fp32")[1].rows == plain
    assert plain[1] < 24


def test_where_all_rows_have_labels_it_is_backprop(tmp_path):
    model, batch = stirred(tmp_path), asked_batch(torch.ones_like(ASKED))
    (plain, expected), (result, gradients) = (
        learned(model, component, batch) for component in (Backprop, Labelled)
    )
    assert torch.equal(result.window_losses, plain.window_losses)
    assert all(torch.equal(gradients[name], expected[name]) for name in expected)


@pytest.mark.parametrize("changes", ["two layers", "exits"])
def test_a_batch_without_any_label_has_no_loss(tmp_path, changes):
    model = stirred(tmp_path, **MODELS[changes])
    result, gradients = learned(model, Labelled, asked_batch(torch.zeros_like(ASKED)))
    assert result.cross_entropy == result.loss == 0
    assert all(gradient is None or not gradient.any() for gradient in gradients.values())


def test_work_is_less_by_what_is_left_out(tmp_path):
    model, spent = stirred(tmp_path), []
    for component in (Backprop, Labelled):
        with FlopCounter() as counter:
            learned(model, component, asked_batch())
        spent.append(counter.operators["aten::addmm"] + counter.operators["aten::mm"])
    width, hidden = model.head.weight.shape[1], next(model.trunk.layers[1].channel.parameters()).shape[0]
    left_out = 12 * 3 * 2 * (256 * width + 2 * width * hidden)  # rows, passes, FLOPs a weight
    assert spent[0] - spent[1] == left_out
