"""What every resolution scheduler that has coarse rows promises, inside a model."""

from __future__ import annotations

import copy

import pytest
import synthetic as s
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from resnetbk.model.language_model import LanguageModel
from resnetbk_plugins.resolution_scheduler.boundary import Boundary
from resnetbk_plugins.resolution_scheduler.hourglass import Hourglass
from resnetbk_plugins.resolution_scheduler.marks import Marks

COMPONENTS = {
    "hourglass": Hourglass(layers=(1, 2, 1), factor=4),
    "hourglass by three": Hourglass(layers=(1, 2, 1), factor=3),
    "deep hourglass": Hourglass(layers=(1, 1, 1, 0, 1), factor=(2, 3)),
    "hourglass with bare ends": Hourglass(layers=(0, 0, 4, 0, 0), factor=2),
    "boundary": Boundary(layers=(1, 2, 1), longest=5),
    "boundary with bare ends": Boundary(layers=(0, 4, 0)),
    "marks": Marks(layers=(1, 2, 1), rate=0.4),
    "marks with bare ends": Marks(layers=(0, 4, 0)),
}
every_scheduler = pytest.mark.parametrize("name", COMPONENTS)
LETTERS = b"ab ,"


def scheduler(name: str, seed: int = 0) -> nn.Module:
    """With weights that are not zero, so that they hide no mistake."""
    torch.manual_seed(seed)
    module = COMPONENTS[name].build(width=s.WIDTH, depth=4)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    if "marks" in name:  # as in use: thresholds that move in training, test_marks.py
        module.eval().train = lambda mode=True: module
    return module


class Bytes(s.Table):
    """Embeds the few letters that these texts consist of."""

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        return super().forward(tokens % s.VOCABULARY, position)

    def step(self, tokens: Tensor, position: Tensor, state: dict[str, Tensor]):
        return super().step(tokens % s.VOCABULARY, position, state)


def model_of(name: str, seed: int = 0) -> LanguageModel:
    model = s.build(resolution=scheduler(name, seed), seed=seed)
    model.embedding = Bytes().double()
    return model


def text(batch: int, length: int, seed: int = 0) -> Tensor:
    """Words of a few letters with spaces and commas between."""
    letters = torch.tensor(list(LETTERS))
    return letters[torch.randint(4, (batch, length), generator=torch.Generator().manual_seed(seed))]


@every_scheduler
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_nothing_depends_on_the_future(name: str, mode: str) -> None:
    model = model_of(name).train(mode == "train")
    for length in range(1, 41):
        known = text(2, length, seed=length)
        before = model(known).logits
        for cut in {1, length // 2, length - 1} - {0, length}:
            changed = known.clone()
            changed[:, cut:] = text(2, length, seed=-length)[:, cut:]
            after = model(changed).logits
            if "hourglass" in name:
                assert torch.equal(after[:, :cut], before[:, :cut])
            else:  # the number of rows of a matrix product, and so its rounding, depends on the text
                torch.testing.assert_close(after[:, :cut], before[:, :cut], rtol=1e-12, atol=1e-12)


@every_scheduler
@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 40), batch=st.integers(1, 4), seed=st.integers(0, 99))
def test_one_token_at_a_time_gives_the_same_numbers(name: str, length: int, batch: int, seed: int) -> None:
    model, known = model_of(name, seed).eval(), text(batch, length, seed)
    with torch.inference_mode():
        expected = model(known).logits
        state, streamed = model.initial_state(batch), []
        for column in known.unbind(1):
            logits, state = model.step(column, state)
            streamed.append(logits)
    torch.testing.assert_close(torch.stack(streamed, 1), expected, rtol=1e-10, atol=1e-10)


@every_scheduler
def test_a_step_leaves_the_state_it_was_given_alone(name: str) -> None:
    module, known = scheduler(name), text(2, 6)
    state = module.initial_state(2)
    before = {key: value.clone() for key, value in state.items()}
    row = s.Rows(torch.randn(2, 1, s.WIDTH), torch.zeros(2, 1, dtype=torch.long))
    module.down_step(1, row, known[:, :1], state)
    assert all(torch.equal(state[key], value) for key, value in before.items())


@every_scheduler
def test_sequences_of_a_batch_do_not_touch_each_other(name: str) -> None:
    model = model_of(name)
    known = text(5, 23)
    alone = torch.cat([model(row[None]).logits for row in known])
    torch.testing.assert_close(model(known).logits, alone, rtol=1e-12, atol=1e-12)


@every_scheduler
def test_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    fresh = COMPONENTS[name].build(width=s.WIDTH, depth=4)
    model, known = s.build(resolution=fresh), text(2, 20)
    model.embedding = Bytes().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    levels = max(stack.level for stack in fresh.stacks)
    for _ in range(levels + 1):  # a weight that starts at zero blocks gradients for one step
        optimizer.zero_grad()
        model(known).logits.square().mean().backward()
        optimizer.step()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert bool((parameter.grad != 0).any()), key


@every_scheduler
def test_passes_and_gradients_repeat_exactly(name: str) -> None:
    runs = []
    for _ in range(2):
        model = model_of(name)
        logits = model(text(3, 21)).logits
        logits.square().sum().backward()
        runs.append([logits, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


@every_scheduler
def test_gradients_are_right(name: str) -> None:
    module = scheduler(name).double()
    known = text(2, 7)
    position = torch.arange(7).repeat(2, 1)

    def there_and_back(x: Tensor) -> Tensor:
        fine = s.Rows(x, position)
        return module.up(1, fine, module.down(1, fine, known)).x

    x = torch.randn(2, 7, s.WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(there_and_back, (x,))


@every_scheduler
def test_bfloat16_autocast_stays_close_and_keeps_the_residual_in_full(name: str) -> None:
    module, known = scheduler(name), text(3, 22)
    fine = s.Rows(torch.randn(3, 22, s.WIDTH, requires_grad=True), torch.arange(22).repeat(3, 1))
    exact = module.up(1, fine, module.down(1, fine, known)).x
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = module.down(1, fine, known)
        rough = module.up(1, fine, coarse).x
    assert coarse.x.dtype == rough.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.02 * exact.abs().max()
    rough.square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)


@every_scheduler
def test_streaming_under_autocast_stays_close(name: str) -> None:
    model, known = model_of(name).float().eval(), text(2, 17)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model(known).logits.float()
        state, streamed = model.initial_state(2), []
        for column in known.unbind(1):
            logits, state = model.step(column, state)
            streamed.append(logits.float())
    assert (torch.stack(streamed, 1) - expected).abs().max() < 0.05 * expected.abs().max()


@every_scheduler
def test_copies_and_saved_weights_give_the_same_numbers(name: str) -> None:
    first, second, known = model_of(name, 0), model_of(name, 1), text(2, 19)
    expected = first(known).logits
    assert torch.equal(copy.deepcopy(first)(known).logits, expected)
    assert not torch.equal(second(known).logits, expected)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(known).logits, expected)


@every_scheduler
def test_bare_rows_of_no_sequence(name: str) -> None:
    module = scheduler(name)
    row = s.Rows(torch.zeros(0, 1, s.WIDTH), torch.zeros(0, 1, dtype=torch.long))
    coarse, begins, _ = module.down_step(1, row, torch.zeros(0, 1, dtype=torch.long), module.initial_state(0))
    assert coarse.x.shape == (0, 1, s.WIDTH)
    assert begins.shape == (0,)
