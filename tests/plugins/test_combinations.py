"""Any halting policy with any scheduler, gate and causal mixer: it works, or is refused with a reason.

By default every two choices meet in some combination; with CI set, every three.
"""

from __future__ import annotations

import copy
import itertools
import os

import pytest
import torch
from torch import Tensor

from resnetbk.errors import UserError
from resnetbk.kinds import Batch
from resnetbk.model.assemble import assemble
from resnetbk.model.language_model import LanguageModel, Output
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk.training.objective import objective

DEPTH = 4
CHOICES = {
    "mixer": (
        '{ use = "bk-causal", chains = 8 }',
        '{ use = "bk-resolvent", chains = 8 }',
        '{ use = "bk-moebius", chains = 4 }',
        '{ use = "gated-linear", heads = 2, keys = 4 }',
        '{ use = "gated-diagonal", channels = 8 }',
        '{ use = "attention", heads = 2 }',
        '[{ use = "bk-causal", chains = 8, layers = 2 }, { use = "attention", heads = 2 }]',
    ),
    "halting": (
        '"never"',
        '{ use = "act", bias = -0.5 }',
        '"ponder"',
        '{ use = "confidence", agree = 0.6, drop = 0.3 }',
        '{ use = "fixed", layers = 3 }',
        '{ use = "random", layers = 2.5 }',
    ),
    "resolution": (
        '"flat"',
        '{ use = "hourglass", layers = [1, 2, 1], factor = 3 }',
        '{ use = "hourglass", layers = [1, 1, 1, 1, 0], factor = 2 }',
        '{ use = "boundary", layers = [1, 2, 1] }',
    ),
    "gate": (
        '"open"',
        '{ use = "gumbel", keep = 0.6 }',
        '{ use = "top-rate", keep = 0.6, scope = "channel" }',
        '{ use = "random", keep = 0.6, scope = "mixer" }',
    ),
}
EXITS = ("ponder", "confidence")


def covering(count: int) -> list[tuple[str, ...]]:
    """Combinations in which all sets of so many choices of different kinds occur, built greedily."""
    every = {
        combination: set(itertools.combinations(enumerate(combination), count))
        for combination in itertools.product(*CHOICES.values())
    }
    missing = set().union(*every.values())
    chosen = []
    while missing:
        chosen.append(max(every, key=lambda each: len(missing & every[each])))
        missing -= every[chosen[-1]]
    return chosen


def spec(combination: tuple[str, ...]) -> str:
    keys = "\n".join(f"{key} = {value}" for key, value in zip(CHOICES, combination, strict=True))
    head = '[data]\ncorpus = "python-docs"\n[train]\nsteps = 1\n'
    return f'name = "t"\n{head}[model]\nwidth = 8\ndepth = {DEPTH}\n{keys}\n'


def refused(combination: tuple[str, ...]) -> bool:
    """Exits need the head to read every layer, which coarse layers do not allow."""
    _, halting, resolution, _ = combination
    return any(name in halting for name in EXITS) and "flat" not in resolution


def built(combination: tuple[str, ...]) -> LanguageModel:
    """In double precision: the number of rows of a product, and so its rounding, depends on the text."""
    model = assemble(read_text(spec(combination), Registry.discover()).model, vocabulary=256, seed=1)
    torch.manual_seed(2)
    for parameter in model.parameters():  # projections that start at zero would hide mistakes
        torch.nn.init.normal_(parameter, std=0.3)
    return model.double()


def text(length: int, seed: int = 0) -> Tensor:
    """Two unequal sequences of letters and spaces."""
    letters = torch.tensor(list(b"ab c. d\n"))
    return letters[torch.randint(len(letters), (2, length), generator=torch.Generator().manual_seed(seed))]


COMBINATIONS = covering(3 if os.environ.get("CI") else 2)
every_combination = pytest.mark.parametrize("combination", COMBINATIONS, ids=" ".join)
allowed = pytest.mark.parametrize(
    "combination", [each for each in COMBINATIONS if not refused(each)], ids=" ".join
)


@every_combination
def test_it_is_built_or_refused_with_a_reason(combination):
    if not refused(combination):
        built(combination)
        return
    with pytest.raises(UserError) as caught:
        read_text(spec(combination), Registry.discover())
    assert "conflicts with 'multi-resolution'" in str(caught.value)


@allowed
def test_a_step_of_training_reaches_every_part(combination):
    model = built(combination)
    model.anneal(0.5)
    tokens = text(24)
    result, output = objective(model, Batch(tokens[:, :-1], tokens[:, 1:]), "fp32")
    result.loss.backward()
    assert bool(result.loss.isfinite())
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    parts = {name.split(".")[1] for name, p in model.named_parameters() if p.grad is None and "trunk" in name}
    assert not parts - {"layers", "gate", "halting"}  # a layer that no row reached has no gradient
    assert len(output.layers) == DEPTH


@allowed
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_no_decision_or_number_depends_on_the_future(combination, mode):
    model = built(combination).train(mode == "train")

    def answer(tokens: Tensor) -> Output:
        torch.manual_seed(3)
        passed = copy.deepcopy(model) if model.training else model  # a training pass may change it
        return passed(tokens)

    for length in (7, 12):
        known = text(length)
        before = answer(known)
        for cut in range(1, length):
            changed = known.clone()
            changed[:, cut:] = text(length, seed=cut + 1)[:, cut:]
            after = answer(changed)
            _same(after.logits[:, :cut], before.logits[:, :cut])
            for one, other in zip(before.answers, after.answers, strict=True):
                _same(one.logits[:, :cut], other.logits[:, :cut])


@allowed
def test_one_token_at_a_time_gives_the_same_numbers(combination):
    model = built(combination).eval()
    assert "streaming" in model.provides
    known = text(13)
    with torch.inference_mode():
        expected = model(known).logits
        state, streamed = model.initial_state(2), []
        for column in known.unbind(1):
            logits, state = model.step(column, state)
            streamed.append(logits)
    _same(torch.stack(streamed, 1), expected)


@allowed
def test_sequences_of_a_batch_do_not_touch_each_other(combination):
    model = built(combination).eval()
    known = text(13)
    with torch.inference_mode():
        alone = torch.cat([model(row[None]).logits for row in known])
        _same(model(known).logits, alone)


def _same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
