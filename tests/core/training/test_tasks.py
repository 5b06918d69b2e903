"""Texts with labels: what counts in a loss, which windows there are, and accuracy."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import tiny
import torch
from torch.nn import functional as F

from resnetbk.cli.results import print_results
from resnetbk.errors import UserError
from resnetbk.kinds import Batch, SelectionContext, Text, Windows
from resnetbk.model.assemble import assemble, build
from resnetbk.model.language_model import Output
from resnetbk.registry.lookup import Registry
from resnetbk.runs import checkpoint
from resnetbk.spec.reader import Reader
from resnetbk.task import Task
from resnetbk.training.data import UNLABELLED, Data
from resnetbk.training.objective import Evaluation, evaluate, objective, token_losses, window_weights
from resnetbk.training.selector_scores import selector_score
from resnetbk_plugins.gradient_strategy.micro_batches import differentiated

CPU = torch.device("cpu")
LENGTH, COUNT = 16, 40


def text(**changes) -> Text:
    """Example i of training consists of bytes i, but for what is labelled; labels at two places of each."""
    train = np.repeat(np.arange(COUNT, dtype=np.uint8), LENGTH)
    labels = np.zeros((COUNT, LENGTH), np.uint16)
    labels[:, 3], labels[:, 15] = 1 + np.arange(COUNT), 200
    valid = np.tile(np.arange(24, dtype=np.uint8), 5)
    asked = np.zeros((5, 24), np.uint16)
    asked[:, 5], asked[:, 20] = 7, 1
    group = np.zeros((5, 24), np.uint16)
    group[:, 20] = 2
    task = Task(
        train=labels.ravel(), valid=asked.ravel(), length=LENGTH, valid_length=24, group=group.ravel(),
        groups=("near", "none of these", "far"),
    )  # fmt: skip
    return Text(train.tobytes(), valid.tobytes(), "0" * 64, attrs.evolve(task, **changes))


def data(folder, **changes) -> Data:
    return Data.of(text(**changes), tiny.experiment(folder).spec.data)


def model(folder):
    spec = tiny.experiment(folder).spec
    made = assemble(spec.model, vocabulary=256, seed=0)
    torch.nn.init.normal_(made.head.weight, std=0.1)  # it starts at zero
    return made


def test_a_window_is_an_example_with_its_labels_as_targets(tmp_path):
    batch = data(tmp_path).batch(Windows(np.array([0, 35, 16 * 38]), LENGTH), CPU)
    assert batch.inputs.tolist() == [[i] * LENGTH for i in (0, 2, 38)]
    expected = torch.full((3, LENGTH), UNLABELLED)
    expected[:, 3], expected[:, 15] = torch.tensor([0, 2, 38]), 199
    assert torch.equal(batch.targets, expected)


def test_short_windows_are_the_beginnings_of_different_examples(tmp_path):
    batch = data(tmp_path).batch(Windows(np.arange(160, 320, 4), 4), CPU)
    assert sorted(batch.inputs[:, 0].tolist()) == list(range(COUNT))
    assert torch.equal(batch.targets[:, 3], batch.inputs[:, 0])


def test_held_out_examples_come_whole_and_once(tmp_path):
    batches = list(data(tmp_path).held_out(16, 2, CPU))
    assert [batch.inputs.shape for batch in batches] == [(2, 24), (2, 24), (1, 24)]
    assert all(batch.inputs[:, 0].eq(0).all() and batch.targets[:, 5].eq(6).all() for batch in batches)
    assert sum(int((batch.targets >= 0).sum()) for batch in batches) == 10


SELECTORS = [entry.name for entry in Registry.discover().entries("data-selector")]


@pytest.mark.parametrize("name", SELECTORS)
def test_windows_of_every_selector_begin_at_examples(tmp_path, name, monkeypatch):
    monkeypatch.setattr("resnetbk_plugins.data_selector.ngram.TABLE_BITS", 12)
    task = data(tmp_path)
    part = Reader(Registry.discover()).part(
        "data-selector", {"use": name, **({"start": 4} if name == "grow" else {})}
    )
    selector = build("data.selector", part, object, tokens=task.train, window=LENGTH, batch=4, seed=3)
    seen = set()
    for step in range(12):
        context = SelectionContext(step, step / 12, lambda windows, measure="loss": windows.starts % 7.0)
        windows = selector.select(context)
        batch = task.batch(windows, CPU)
        examples = batch.inputs[:, :1]
        assert (batch.inputs == examples).all()
        assert torch.equal(batch.targets[:, 3:4], examples)
        seen |= set(examples.flatten().tolist())
        selector.observe(context, windows, np.ones(len(windows.starts), np.float32))
    assert len(seen) > 5


def labelled() -> Batch:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(256, (4, 8), generator=generator)
    targets = torch.randint(256, (4, 8), generator=generator)
    counts = torch.rand(4, 8, generator=generator) < 0.4
    counts[3] = False  # a window that asks nothing
    counts[0, 2:4] = True
    return Batch(inputs, targets.where(counts, torch.tensor(UNLABELLED)))


def test_the_loss_is_the_mean_over_windows_of_the_mean_over_their_labels(tmp_path):
    batch = labelled()
    result, output = objective(model(tmp_path), batch, "fp32")
    logs = output.logits.log_softmax(-1)
    means = []
    for b in range(4):
        nats = [-logs[b, i, batch.targets[b, i]] for i in range(8) if batch.targets[b, i] >= 0]
        means.append(torch.stack(nats).mean() if nats else torch.zeros(()))
    torch.testing.assert_close(result.window_losses, torch.stack(means).detach())
    torch.testing.assert_close(result.loss, torch.stack(means).mean())


def test_what_is_not_labelled_has_no_gradient():
    batch = labelled()
    logits = torch.randn(4, 8, 256, requires_grad=True)
    (window_weights(batch.targets) * token_losses(logits, batch.targets)).mean().backward()
    touched = logits.grad.abs().sum(-1) > 0
    assert torch.equal(touched, batch.targets >= 0)


def test_where_all_counts_the_loss_is_the_plain_mean_to_the_bit(tmp_path):
    inputs = labelled().inputs
    batch = Batch(inputs[:, :-1], inputs[:, 1:])
    result, output = objective(model(tmp_path), batch, "fp32")
    nats = F.cross_entropy(output.logits.flatten(0, 1), batch.targets.flatten(), reduction="none").view(4, 7)
    assert torch.equal(result.cross_entropy, nats.mean())
    assert torch.equal(result.window_losses, nats.mean(1))


def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path):
    batch, made = labelled(), model(tmp_path)
    gradients = []
    for count in (1, 3):
        differentiated(list(made.parameters()), batch, lambda some: objective(made, some, "fp32")[0], count)
        gradients.append([p.grad.clone() for p in made.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)


def test_selectors_score_labelled_places_alone(tmp_path):
    batch = labelled()
    result, output = objective(model(tmp_path), batch, "fp32")
    for measure in ("entropy", "margin", "accuracy"):
        scores = selector_score(measure, result, output.logits, batch.targets)
        counted = batch.targets[0] >= 0
        alone = selector_score(measure, result, output.logits[:1, counted], batch.targets[:1, counted])
        torch.testing.assert_close(scores[:1], alone)
        assert scores[3].isnan() if measure == "accuracy" else scores[3] == 0


class Knows(torch.nn.Module):
    """Answers 6 where the input is 5, but in every second example, and 0 elsewhere."""

    def __init__(self, made) -> None:
        super().__init__()
        self.embedding, self.trunk = made.embedding, made.trunk

    def forward(self, tokens, asked=None):
        logits = torch.zeros(*tokens.shape, 256)
        logits[..., 0] = 1.0
        logits[::2, :, 6] = 2.0 * (tokens[::2] == 5)
        return Output(logits, {}, (), ())


def test_accuracy_is_the_share_of_labels_answered_right_in_all_and_by_group(tmp_path, monkeypatch):
    monkeypatch.setattr("resnetbk.training.objective.layers_run", lambda *_: torch.zeros(1))
    monkeypatch.setattr(Output, "rows", (0.0, 0.0))
    task, knows = data(tmp_path), Knows(model(tmp_path))
    evaluation = evaluate(knows, task, window=16, precision="fp32")
    assert evaluation.accuracy == pytest.approx((3 + 5) / 10)
    assert evaluation.groups == {"near": 3 / 5, "far": 1.0}
    assert evaluation.bits_per_byte == pytest.approx(evaluation.loss / np.log(2))
    without = evaluate(knows, data(tmp_path, group=None, groups=()), window=16, precision="fp32")
    assert (without.accuracy, without.groups) == (evaluation.accuracy, {})


def test_the_best_evaluation_has_the_highest_accuracy_the_first_of_equals(tmp_path, monkeypatch):
    known = iter([(3.0, 0.5), (2.9, 0.8), (2.8, 0.7), (2.7, 0.8), (2.6, 0.8)])

    def measured(*arguments, **more) -> Evaluation:
        loss, accuracy = next(known)
        return attrs.evolve(evaluate(*arguments, **more), loss=loss, accuracy=accuracy)

    monkeypatch.setattr("resnetbk.training.learner.evaluate", measured)
    task = 'corpus = { use = "group-words", group = "Z2", length = 16, examples = 100, held_out = 20 }'
    keys = {"corpus": task, "steps": "steps = 5", "more": "evaluate = 1\nsave = 1\nkeep = 1"}
    folder = tiny.experiment(tmp_path, **keys).train(tmp_path / "run").folder
    best = [line["best"] for line in folder.metrics() if line["event"] == "evaluation"]
    assert best == [True, True, False, False, False]
    assert [path.name for path in checkpoint.available(folder.path)] == ["step-000002", "step-000005"]


def test_a_constant_guess():
    labels = np.array([0, 3, 0, 3, 1, 0], np.uint16)
    asked = np.array([3, 0, 3, 1, 9], np.uint16)
    task = Task(train=labels, valid=asked, length=6, valid_length=5)
    accuracy, nats = task.constant_guess()
    chances = np.array([3, 3, 2, 1]) / (3 + 256)  # each of 256 bytes once more than it was seen
    assert accuracy == 0.5
    assert nats == pytest.approx(-np.log(chances).mean())


def test_what_labels_do_not_fit_is_refused(tmp_path):
    chars = tiny.experiment(tmp_path, window='tokenizer = "chars"\nwindow = 17').spec.data
    with pytest.raises(UserError) as caught:
        Data.of(text(), chars)
    tokenizer, window = str(caught.value).splitlines()
    assert tokenizer == "data.tokenizer: 'text' labels bytes, so its tokens must be; use bytes"
    assert window == "data.window: 17, but an example of 'text' has 16 tokens; give window = 16"


def test_a_text_without_labels_has_no_accuracy(tmp_path):
    trial = tiny.experiment(tmp_path, steps="steps = 1")
    report = trial.train(tmp_path / "run").report
    assert (report.accuracy, report.groups) == (None, {})
    trial = tiny.experiment(tmp_path, more="evaluate = 4\ntarget_accuracy = 0.9")
    with pytest.raises(UserError, match=r"'text' is no task and has no labels; give train.target, a loss"):
        trial.train(tmp_path / "other")


def test_of_many_groups_the_lowest_are_printed(tmp_path, capsys):
    task = data(tmp_path)
    groups = {f"skill {i}": i / 20 for i in range(20)}
    result = Evaluation(0.5, 0.7, 120, 0.1, (1.0,), (0.0, 1.0), accuracy=0.475, groups=groups)
    print_results("named", result, task, "skills", hooks=None)
    out = capsys.readouterr().out
    assert "held-out examples of skills: 5 of 24 tokens" in out
    assert "the lowest of 20 groups" in out
    assert "skill 15" in out
    assert "skill 16" not in out
    print_results("named", attrs.evolve(result, groups={"near": 1.0}), task, "skills", hooks=None)
    assert "lowest" not in capsys.readouterr().out
