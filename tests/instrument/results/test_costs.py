"""The table of costs is the one place that says what a cost is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from resnetbk_instrument.results import costs
from resnetbk_instrument.results.costs import COSTS

RECORD = """
        Cost("joules", "energy", ((1.0, "J"), (1e3, "kJ"))),
        Cost("inference_joules", "inference energy", ((1.0, "J/token"),), inference=True),
"""

PROGRAM = """
import sys
import types
from pathlib import Path

table = types.ModuleType("resnetbk_instrument.results.costs")
sys.modules[table.__name__] = table
exec(Path(sys.argv[1]).read_text(), vars(table))

import click
import measured

from resnetbk_instrument.cli.compare import command
from resnetbk_instrument.cli.tables import print_comparison
from resnetbk_instrument.pages.comparison import comparison_page
from resnetbk_instrument.results.comparison import Goal
from resnetbk_instrument.results.conclude import measures, ratios
from resnetbk_instrument.session.budget import AtBudget
from resnetbk_instrument.session.journal import Journal
import attrs

trials = [
    measured.trial(name, pair, steps, joules=7.0 * steps / speed, inference_joules=3.0 / speed)
    for name, speed in (("alpha", 1), ("beta", 2))
    for pair in (-1, 0, 1)
    for steps in (100, 125)
]
goal = Goal(loss=1.89)
first, second = (measures(goal, trials, name, {}) for name in ("alpha", "beta"))
saved = {key: ratios(first, second, key) for key in table.COSTS if ratios(first, second, key)}
found = measured.comparison(1.0, 2.0)
reached = {"joules": measured.ratio(700.0, 5), "inference_joules": measured.ratio(3.0, 5)}
variants = [attrs.evolve(each, reached={**each.reached, **reached}) for each in found.variants]
variants[1] = attrs.evolve(variants[1], saved=saved)
found = attrs.evolve(found, variants=tuple(variants), trials=tuple(trials))
print(f"joules saved: {saved['joules'].estimate:.2f}")
print(next(option.type.choices for option in command.params if option.name == "equal"))
assert AtBudget(Goal(equal="joules", budget=1.0), Journal(), len, ("alpha",))
print_comparison(found)
print(comparison_page(found).replace("\\N{NO-BREAK SPACE}", " "))
"""


def test_a_cost_that_is_added_to_the_table_is_everywhere(tmp_path):
    pytest.importorskip("matplotlib", reason="reports need matplotlib, the extra `plots`")
    text = Path(costs.__file__).read_text(encoding="utf-8")
    more = re.sub(r"\n    \)\n\}", lambda end: RECORD.rstrip() + end[0], text, count=1)
    assert more != text
    (tmp_path / "costs.py").write_text(more)
    command = [sys.executable, "-c", PROGRAM, tmp_path / "costs.py"]
    done = subprocess.run(command, capture_output=True, text=True, env={**_environment(), "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    for said in (
        "joules saved: 2.00",
        "('seconds', 'flops', 'tokens', 'joules')",  # what --equal takes
        "inference joules",  # columns of the terminal
        "less energy",
        "Against energy",  # pictures of the page
        ">energy</text>",
        "energy, J</th>",  # columns of its tables
        "less inference energy, ×</th>",
    ):
        assert said in done.stdout, said


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_the_table_is_sound():
    for key, cost in COSTS.items():
        assert cost.key == key
        sizes = [size for size, _ in cost.units]
        assert sizes == sorted(sizes)
        assert len({name for _, name in cost.units}) == len(sizes)
