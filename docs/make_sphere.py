"""Draws docs/sphere.svg: where the states of a trained chain lie after words of a group.

python docs/make_sphere.py runs/s3 runs/a5

Of all chains in a run's first layer the one is drawn whose states differ least within an element of the
group. A state is a unit quaternion, the same as its negative; drawn is where its rotation takes one point.
"""

from __future__ import annotations

import sys
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from make_pictures import STANDS_FOR
from make_words import save

import resnetbk
from resnetbk_plugins.sequence_mixer.bk_moebius_module import rotation_matrix

WORDS = 40


def states(run: resnetbk.Run) -> tuple[Any, Any]:
    """Rotations (n, C, 3, 3) after each element of WORDS held-out words, and the products (n,) of these."""
    data = run.data()
    length = data.text.task.valid_length
    words = torch.from_numpy(data.valid[: WORDS * length].astype(np.int64)).view(WORDS, length)
    mixer, rows = run.model.trunk.layers[0].mixer, []
    with torch.no_grad(), mixer.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0])):
        run.model(words)
        state, matrices = mixer.initial_state(WORDS), []
        for i in range(length):
            state = mixer.step(rows[0][:, i], torch.full((WORDS,), i), state)[1]
            matrices.append(rotation_matrix(state["quaternion"]))
    rotations = torch.stack(matrices, dim=1).movedim(-1, -2)  # (words, length, C, 9)
    products = data.text.task.valid[: WORDS * length].astype(np.int64) - 1
    return rotations.reshape(WORDS * length, -1, 3, 3).numpy(), products


def clearest(rotations: Any, products: Any) -> tuple[int, float]:
    """The chain whose rotations differ least within an element, and what share of their variance that is."""
    within = np.zeros(rotations.shape[1])
    elements = np.unique(products)
    for element in elements:
        within += rotations[products == element].var(axis=0).sum(axis=(1, 2)) / len(elements)
    share = within / rotations.var(axis=0).sum(axis=(1, 2)).clip(1e-9)
    means = np.stack([rotations[products == element].mean(axis=0) for element in elements])
    apart = np.stack([np.abs(means - mean).sum(axis=(2, 3)) for mean in means])
    apart[np.arange(len(elements)), np.arange(len(elements))] = np.inf
    share[apart.min(axis=(0, 1)) < 0.3] = np.inf  # it does not tell all elements
    chain = int(share.argmin())
    return chain, float(share[chain])


def probe(rotations: Any, products: Any) -> Any:
    """(3,) the point whose images under the elements lie farthest apart, of 2000 drawn."""
    means = np.stack([rotations[products == element].mean(axis=0) for element in np.unique(products)])
    points = np.random.default_rng(0).normal(size=(2000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    images = np.einsum("eij,pj->pei", means, points)
    apart = np.linalg.norm(images[:, :, None] - images[:, None], axis=-1)
    apart[:, np.arange(len(means)), np.arange(len(means))] = np.inf
    return points[apart.min(axis=(1, 2)).argmax()]


def draw(paths: list[str]) -> Any:
    """A sphere for each run, seen from one side; what lies behind is small."""
    figure, panels = plt.subplots(1, len(paths), figsize=(3.4 * len(paths), 3.7), squeeze=False)
    figure.subplots_adjust(0.02, 0.02, 0.98, 0.9, wspace=0.05)
    for axes, path in zip(panels[0], paths, strict=True):
        run = resnetbk.open_run(path)
        group = run.spec.data.corpus.component.group
        rotations, products = states(run)
        chain, share = clearest(rotations, products)
        x, y, z = (rotations[:, chain] @ probe(rotations[:, chain], products)).T
        elements = len(np.unique(products))
        few = elements <= 8
        color = plt.get_cmap("Dark2" if few else "hsv")(products if few else products / elements)
        axes.add_patch(plt.Circle((0, 0), 1, fill=False, color=STANDS_FOR["pale"], lw=0.8))
        front = z > 0
        axes.scatter(x[~front], y[~front], s=1.5, color=color[~front], alpha=0.35, lw=0, rasterized=True)
        axes.scatter(x[front], y[front], s=7, color=color[front], lw=0, rasterized=True)
        axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
        axes.axis("off")
        axes.set_title(f"{group}: {elements} elements,\n{share:.0%} of the variance within one")
    return figure


if __name__ == "__main__":
    mpl.rcParams.update({"svg.hashsalt": "resnetbk", "svg.fonttype": "none", "font.family": "sans-serif"})
    save(draw(sys.argv[1:]), "sphere")
