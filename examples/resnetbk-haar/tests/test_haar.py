"""The mixer has its capabilities, and computes its formula."""

import torch
from resnetbk_haar.haar import Haar

from resnetbk_authoring.testing import all_components


@all_components("resnetbk-haar")
def test_conformance(component, check):
    check.run(component)


def test_details_are_differences_of_means():
    mixer = Haar(levels=3, channels=5).build(width=4, depth=1).double()
    torch.nn.init.normal_(mixer.output.weight)
    x = torch.randn(2, 13, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value, gate = mixer.value(x), torch.sigmoid(mixer.gate(x))
    padded = torch.cat([value.new_zeros(2, 16, 5), value], 1)
    rows = []
    for i in range(13):
        end = 16 + i + 1
        row = mixer.weights[-1] * padded[:, end - 1]
        for level, scale in enumerate((1, 2, 4)):
            last = padded[:, end - scale : end].sum(1)
            before = padded[:, end - 2 * scale : end - scale].sum(1)
            row = row + mixer.weights[level] * (last - before) / scale
        rows.append(row)
    expected = mixer.output(torch.stack(rows, 1) * gate)
    torch.testing.assert_close(mixer(x, torch.arange(13).repeat(2, 1), None), expected)
