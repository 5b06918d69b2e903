"""Corpus `needles`: selective copying, which demands a choice of what to keep.

A few symbols at random places among noise are to be given again, in their order, at the slots that end an
example (Gu and Dao 2023, "Mamba", arXiv:2312.00752; in MAD: Poli et al. 2024, arXiv:2403.17844). What does
not depend on the tokens, as a convolution or a fixed decay, cannot tell them from noise. Most rows are
noise, so what skips rows may save here what it claims.

The dial is `length`: useful are 2 needles / length of the rows; where length = 2 needles, the control, all
are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import ge

from resnetbk.kinds import Text
from resnetbk_plugins.corpus.examples import Examples, check_task, drawn_text, without_replacement

if TYPE_CHECKING:
    from resnetbk.spec import Spec


@attrs.frozen(kw_only=True)
class Needles:
    """Noise with needles in it, and then as many slots, labelled with the needles in order. Tokens: noise
    from 0, then symbols, then that of a slot. data.window must be `length`.

    length    tokens of an example, slots included: the dial
    needles   to be copied; at most half of `length`
    symbols   of which each needle is one; symbols + noise at most 255
    noise     different tokens of noise
    examples  to train on
    held_out  held-out examples
    seed      of all examples
    """

    length: int = attrs.field(default=256, validator=ge(2))
    needles: int = attrs.field(default=16, validator=ge(1))
    symbols: int = attrs.field(default=16, validator=ge(1))
    noise: int = attrs.field(default=16, validator=ge(1))
    examples: int = attrs.field(default=50_000, validator=ge(1))
    held_out: int = attrs.field(default=200, validator=ge(1))
    seed: int = attrs.field(default=0, validator=ge(0))

    def __attrs_post_init__(self) -> None:
        if 2 * self.needles > self.length:
            raise ValueError(f"needles = {self.needles} need length = {2 * self.needles} or more")
        if self.symbols + self.noise > 255:
            raise ValueError(f"symbols + noise = {self.symbols + self.noise} must be at most 255")

    def check(self, spec: Spec) -> None:
        check_task(spec, self.length)

    def build(self) -> Text:
        return drawn_text(self.seed, (self.examples, self.held_out), self._draw)

    def _draw(self, generator: np.random.Generator, count: int) -> Examples:
        end = self.length - self.needles
        places = np.sort(without_replacement(generator, np.ones(end), count, self.needles), 1)
        needles = self.noise + generator.integers(self.symbols, size=(count, self.needles), dtype=np.uint16)
        tokens = np.full((count, self.length), self.noise + self.symbols, np.uint16)
        tokens[:, :end] = generator.integers(self.noise, size=(count, end), dtype=np.uint16)
        np.put_along_axis(tokens, places, needles, 1)
        labels = np.zeros((count, self.length), np.uint16)
        labels[:, end:] = 1 + needles
        return Examples(tokens, labels)
