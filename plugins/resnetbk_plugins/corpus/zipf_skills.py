"""Corpus `zipf-skills`: many skills of unequal frequency, which demand a choice of what to train on.

A skill is the parity of a few fixed bits; an example names one, gives bits and asks for it (multitask
sparse parity: Michaud et al. 2023, "The Quantization Model of Neural Scaling", arXiv:2303.13506). Skill i
is drawn with chances proportional to i^-skew, so that most examples are of skills that are known long
since. Held-out examples have all skills in turn: accuracy is the mean over skills, and a data selector may
gain there what it claims.

The dial is `skew`; at 0, the control, all skills are equally frequent.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import numpy as np
from attrs.validators import and_, ge, le

from resnetbk.kinds import Text
from resnetbk_plugins.corpus.examples import Examples, check_task, drawn_text, without_replacement

if TYPE_CHECKING:
    from resnetbk.kinds import Array
    from resnetbk.spec import Spec

SKILLS = 2
"""Where the draws of skills are, beside those of the parts."""

QUESTION = 2
"""The token that asks; 0 and 1 are bits, and skills come after it."""


@attrs.frozen(kw_only=True)
class ZipfSkills:
    """A skill, bits, and the token where the parity of the skill's own bits is asked. data.window must be
    bits + 2. Accuracy also comes by skill.

    skew      skill i has chances proportional to i^-skew: the dial
    skills    how many
    bits      in each example
    chosen    of them, whose parity a skill is
    examples  to train on
    held_out  held-out examples: a multiple of skills, up to 1024, has all of them equally often
    seed      of skills and examples
    """

    skew: float = attrs.field(default=1.4, validator=ge(0))
    skills: int = attrs.field(default=32, validator=and_(ge(1), le(253)))
    bits: int = attrs.field(default=32, validator=ge(1))
    chosen: int = attrs.field(default=3, validator=ge(1))
    examples: int = attrs.field(default=200_000, validator=ge(1))
    held_out: int = attrs.field(default=1024, validator=ge(1))
    seed: int = attrs.field(default=0, validator=ge(0))

    def __attrs_post_init__(self) -> None:
        if self.chosen > self.bits:
            raise ValueError(f"chosen = {self.chosen} must be at most bits = {self.bits}")

    @property
    def length(self) -> int:
        """Tokens of an example."""
        return self.bits + 2

    def check(self, spec: Spec) -> None:
        check_task(spec, self.length)

    def build(self) -> Text:
        generator = np.random.default_rng((self.seed, SKILLS))
        chosen = without_replacement(generator, np.ones(self.bits), self.skills, self.chosen)
        draws = partial(self._draw, chosen, False), partial(self._draw, chosen, True)
        groups = [f"skill {i + 1}" for i in range(self.skills)]
        return drawn_text(self.seed, (self.examples, self.held_out), *draws, groups=groups)

    def _draw(self, chosen: Array, in_turn: bool, generator: np.random.Generator, count: int) -> Examples:
        chances = np.arange(1.0, self.skills + 1) ** -self.skew
        skill = generator.choice(self.skills, count, p=chances / chances.sum())
        if in_turn:
            skill = np.arange(count) % self.skills
        tokens, labels, groups = np.zeros((3, count, self.bits + 2), np.uint16)
        tokens[:, 0], tokens[:, -1] = QUESTION + 1 + skill, QUESTION
        bits = generator.integers(2, size=(count, self.bits), dtype=np.uint16)
        tokens[:, 1:-1] = bits
        labels[:, -1] = 1 + np.take_along_axis(bits, chosen[skill], 1).sum(1) % 2
        groups[:, -1] = skill
        return Examples(tokens, labels, groups)
