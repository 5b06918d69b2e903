from __future__ import annotations

import copy
from typing import Any

import pytest
import synthetic as s
import torch
from torch import Tensor

from resnetbk.errors import UserError
from resnetbk.kinds import Rows
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk_plugins.sparsity_gate.saliency import Saliency
from resnetbk_plugins.sparsity_gate.saliency_module import SaliencyGate

DEPTH, KINDS = 3, 6


def gate_of(width: int = s.WIDTH, **keys: Any) -> SaliencyGate:
    gate = Saliency(**keys).build(width=width, depth=DEPTH)
    assert isinstance(gate, SaliencyGate)
    return gate


def rows_of_kinds(seed: int = 0) -> tuple[Rows, Tensor]:
    """Rows of a few kinds, as those of a token table, and the kind of each."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(KINDS, s.WIDTH, generator=torch.Generator().manual_seed(9))
    kinds = torch.randint(KINDS, (8, 40), generator=generator)
    return Rows(table[kinds].requires_grad_(), torch.arange(40).repeat(8, 1)), kinds


def teach(gate: SaliencyGate, rows: Rows, importance: Tensor) -> None:
    """A backward pass in which the gradient of each row behind the first gated layer has this size."""
    after = gate.fill(0, rows.x, 2 * rows.x, gate.keep(0, rows))
    (after.sum(-1) * importance).sum().backward()


def model_of(decided: bool = True, **keys: Any) -> Any:
    gate = gate_of(**keys)
    if decided:
        torch.manual_seed(3)
        gate.weight[:-1] = torch.randn(s.WIDTH)
        gate.decides.fill_(True)
    return s.build(depth=DEPTH, gate=gate)


def tokens(batch: int = 3, length: int = 17) -> Tensor:
    return torch.randint(s.VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))


def test_rows_like_those_with_large_gradients_are_kept() -> None:
    gate = gate_of(keep=2 / KINDS).train()
    for seed in range(12):
        rows, kinds = rows_of_kinds(seed)
        gate.anneal(0.0)
        assert seed or bool(gate.keep(0, rows).mask.all())
        size = 1 + torch.rand(kinds.shape, generator=torch.Generator().manual_seed(seed))
        teach(gate, rows, torch.where((kinds == 1) | (kinds == 4), size, 0.01 * size))
    gate.anneal(0.5)
    rows, kinds = rows_of_kinds(99)
    assert torch.equal(gate.eval().keep(0, rows).mask, (kinds == 1) | (kinds == 4))


def test_the_chance_is_that_of_a_least_squares_fit() -> None:
    gate, (rows, _) = gate_of(keep=0.3).train(), rows_of_kinds()
    importance = torch.rand(8, 40, generator=torch.Generator().manual_seed(2))
    teach(gate, rows, importance)
    gate.anneal(0.9)
    features = torch.nn.functional.normalize(rows.x.detach().flatten(0, 1), dim=1).double()
    features = torch.cat((features, torch.ones(320, 1)), 1)
    large = (importance.flatten() > importance.flatten().sort().values[223]).double()
    assert int(large.sum()) == 96
    products = features.T @ torch.cat((features, large[:, None]), 1) / 320
    expected = torch.linalg.solve(products[:, :-1] + 1e-4 * torch.eye(s.WIDTH + 1), products[:, -1])
    torch.testing.assert_close(gate.weight.double(), expected, rtol=1e-3, atol=1e-3)
    assert not bool(gate.decides)  # what is at random is not explained
    assert bool(gate.keep(0, rows).mask.all())


def test_the_gradient_of_rows_is_left_alone() -> None:
    gate, (rows, _) = gate_of().train(), rows_of_kinds()
    before = gate.moments.clone()
    teach(gate, rows, torch.ones(8, 40))
    assert torch.equal(rows.x.grad, torch.full_like(rows.x, 2.0))
    assert not torch.equal(gate.moments, before)
    taught = gate.moments.clone()
    teach(gate.eval(), rows, torch.ones(8, 40))
    assert torch.equal(gate.moments, taught)


def test_padding_teaches_nothing() -> None:
    moments, length = [], torch.tensor([40, 1, 0, 7, 40, 40, 3, 9])
    present = torch.arange(40) < length[:, None]
    for padding in (0.0, 7.0):
        gate, (rows, _) = gate_of().train(), rows_of_kinds()
        x = torch.where(present[..., None], rows.x.detach(), padding).requires_grad_()
        teach(
            gate,
            Rows(x, rows.position, length),
            torch.where(present, 1 + rows.x[..., 0].detach(), 100 * padding),
        )
        moments.append(gate.moments)
    assert torch.equal(*moments)


def test_it_decides_once_for_all_gated_layers_that_see_the_same_rows() -> None:
    gate = gate_of(layers=(0, 2)).eval()
    gate.weight[0], gate.weight[-1] = 1.0, gate.density / 4
    gate.decides.fill_(True)
    rows, _ = rows_of_kinds()
    first = gate.keep(0, rows).mask
    assert 0 < int(first.sum()) < first.numel()
    assert gate.keep(1, rows).mask is None
    changed = Rows(-rows.x, rows.position)
    assert torch.equal(gate.keep(2, changed).mask, first)
    assert torch.equal(gate.keep(0, changed).mask, ~first)  # the next pass
    coarser = Rows(rows.x[:, ::2], rows.position[:, ::2])
    assert torch.equal(gate.keep(2, coarser).mask, first[:, ::2])


def test_rows_left_out_are_not_computed_by_any_gated_layer() -> None:
    for training in (False, True):
        model = model_of().train(training)
        output = model(tokens())
        computed = output.rows[0]
        assert 0 < computed < 51
        assert output.rows == (computed,) * DEPTH
        assert all(sum(layer.channel.handed) == computed for layer in model.trunk.layers)
    assert model_of(decided=False)(tokens()).rows == (51,) * DEPTH


def test_logits_do_not_change_when_the_future_does() -> None:
    model = model_of().eval()
    for cut in (1, 5, 16):
        changed = tokens()
        changed[:, cut:] = (changed[:, cut:] + 3) % s.VOCABULARY
        first, second = model(tokens()).logits[:, :cut], model(changed).logits[:, :cut]
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


def test_one_token_at_a_time_gives_the_same_numbers() -> None:
    model, known = model_of().eval(), tokens(3, 23)
    state, actual = model.initial_state(3), []
    state["trunk"]["layers"] = [{k: v.double() for k, v in each.items()} for each in state["trunk"]["layers"]]
    for column in known.unbind(1):
        logits, state = model.step(column, state)
        actual.append(logits)
    torch.testing.assert_close(torch.stack(actual, 1), model(known).logits, rtol=1e-10, atol=1e-10)


def test_decisions_are_saved_with_the_model() -> None:
    first, second = model_of().eval(), model_of(decided=False).eval()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(tokens()).logits, second(tokens()).logits)
    assert torch.equal(first(tokens()).logits, copy.deepcopy(first)(tokens()).logits)


def test_at_density_one_there_is_no_gate() -> None:
    gate = gate_of(keep=1.0)
    gate.anneal(0.9)
    assert gate.keep(0, rows_of_kinds()[0]).mask is None
    assert not list(gate.buffers())


@pytest.mark.parametrize("keys", ["layers = [1]", ""])
def test_one_gated_layer_is_refused(keys: str) -> None:
    head = 'name = "t"\n[data]\ncorpus = "python-docs"\n[train]\nsteps = 1\n'
    gate = f'gate = {{ use = "saliency", {keys} }}' if keys else 'gate = "saliency"'
    depth = 3 if keys else 1
    with pytest.raises(UserError, match="must gate 2 layers or more"):
        read_text(
            f'{head}[model]\nwidth = 8\ndepth = {depth}\nmixer = "attention"\n{gate}\n', Registry.discover()
        )
