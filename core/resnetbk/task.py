"""What a text asks for: the labels of a task, whose tokens are bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


@attrs.frozen(eq=False, kw_only=True)
class Task:
    """The labels of a text that consists of examples. A window begins where an example does; the loss counts
    labelled positions alone, and accuracy is the share of held-out labels that are the likeliest token.

    train, valid          (bytes of that part,) integers: 0 where nothing is asked, else 1 + the byte that is
                          to be answered once this one is read. Every example has labels.
    length, valid_length  bytes of an example of each part, which consists of whole examples
    example_group         (examples to train on,) integers: the group of each, for data selectors
    group, groups         (bytes of valid,) integers: the group of each held-out label (hops, a skill), as its
                          place among the names in `groups`; None where there are none
    """

    train: Array
    valid: Array
    length: int
    valid_length: int
    group: Array | None = None
    groups: tuple[str, ...] = ()
    example_group: Array | None = None

    def constant_guess(self) -> tuple[float, float]:
        """What the frequencies of training labels give: accuracy of the most frequent one on held-out labels,
        and nats/label, the mean over examples."""
        counts = np.bincount(self.train, minlength=257)[1:] + 1.0  # so that none is impossible
        asked = self.valid[self.valid > 0].astype(np.int64) - 1
        labels = (self.valid.reshape(-1, self.valid_length) > 0).sum(1)
        nats = np.average(-np.log(counts / counts.sum())[asked], weights=1 / np.repeat(labels, labels))
        return float((asked == counts.argmax()).mean()), float(nats)
