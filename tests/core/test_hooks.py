"""The hooks that observers may implement."""

import subprocess
import sys

from resnetbk.hooks import HOOKS


def test_the_hooks_are_these() -> None:
    assert set(HOOKS) == {
        "resnetbk_check",
        "resnetbk_built",
        "resnetbk_step",
        "resnetbk_evaluated",
        "resnetbk_finished",
        "resnetbk_interrupted",
        "resnetbk_baselines",
        "resnetbk_trained",
    }


def test_importing_the_hooks_imports_no_torch() -> None:
    code = "import resnetbk.hooks, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
