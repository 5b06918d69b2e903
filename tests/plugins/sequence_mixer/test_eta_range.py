"""What the resolvent mixers accept as the range of eta."""

from __future__ import annotations

import pytest
import torch

from resnetbk_plugins.sequence_mixer.bk_causal import BKCausal
from resnetbk_plugins.sequence_mixer.bk_diagonal import BKDiagonal
from resnetbk_plugins.sequence_mixer.bk_resolvent import BKResolvent
from resnetbk_plugins.sequence_mixer.eta_range import LARGEST, SMALLEST

every_mixer = pytest.mark.parametrize("mixer", [BKCausal, BKDiagonal, BKResolvent])


@every_mixer
@pytest.mark.parametrize(
    ("low", "high", "named"),
    [
        (1e-20, 1.0, "eta_low"),
        (0.0, 1.0, "eta_low"),
        (-1.0, 1.0, "eta_low"),
        (1.0, 1e20, "eta_high"),
        (2.0, 1.0, "eta_high"),
    ],
)
def test_what_has_no_square_in_fp32_is_refused_in_one_line(mixer, low, high, named):
    with pytest.raises(ValueError, match=f"^'?{named}'? must be [^\\n]*$"):
        mixer(eta_low=low, eta_high=high)


@every_mixer
@pytest.mark.parametrize("eta", [SMALLEST, LARGEST])
def test_at_the_ends_of_the_range_rows_are_finite(mixer, eta):
    module = mixer(eta_low=eta, eta_high=eta, spread=0.0).build(width=8, depth=1)
    torch.nn.init.ones_(module.output.weight)
    y = module(torch.zeros(1, 1, 8), torch.zeros(1, 1, dtype=torch.int64), None)
    assert y.isfinite().all()
