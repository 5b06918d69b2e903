from pathlib import Path

from resnetbk.files import without_crc
from resnetbk.hooks import EvaluationReport, PhaseCost, RunReport, StepReport
from resnetbk.training.observers import manager
from resnetbk_plugins.observer.jsonl import JSONLines

EVALUATION = EvaluationReport(2, 2.25, 3.25, 1000, 0.5, True, (1.0, 0.5), (0.0, 0.5, 0.5))


def test_every_report_becomes_one_line(tmp_path: Path) -> None:
    hook = manager([JSONLines().build(folder=tmp_path, spec=None)]).hook
    for step in (1, 2):
        hook.resnetbk_step(
            report=StepReport(
                step,
                600,
                step / 600,
                2.5,
                {"ponder": 0.01},
                0.02,
                1.5,
                512 * step,
                0.1 * step,
                (1.0, 0.5),
                1e9 * step,
            )
        )
    hook.resnetbk_evaluated(report=EVALUATION)
    phases = {"setup": PhaseCost(0.1, 0.2, 1e6, 1)}
    hook.resnetbk_finished(
        run=RunReport(tmp_path, 2.25, 3.25, 800_000, 2, 1024, 0.2, "steps", phases, 3e9, 0.4, 2**28)
    )

    first, second, evaluation, finished = [
        without_crc(line) for line in (tmp_path / "metrics.jsonl").read_bytes().splitlines()
    ]
    assert first == {
        "event": "step",
        "step": 1,
        "steps": 600,
        "progress": 1 / 600,
        "loss": 2.5,
        "penalties": {"ponder": 0.01},
        "rate": 0.02,
        "gradient_norm": 1.5,
        "tokens": 512,
        "seconds": 0.1,
        "rows": [1.0, 0.5],
        "layers": 1.5,
        "flops": 1e9,
    }
    assert second["step"] == 2
    assert evaluation == {
        "event": "evaluation",
        "step": 2,
        "loss": 2.25,
        "bits_per_byte": 3.25,
        "tokens": 1000,
        "seconds": 0.5,
        "best": True,
        "rows": [1.0, 0.5],
        "layers": 1.5,
        "depths": [0.0, 0.5, 0.5],
        "accuracy": None,
        "groups": {},
    }
    assert finished == {
        "event": "finished",
        "step": 2,
        "loss": 2.25,
        "bits_per_byte": 3.25,
        "parameters": 800_000,
        "tokens": 1024,
        "seconds": 0.2,
        "stopped": "steps",
        "phases": {"setup": {"seconds": 0.1, "cpu_seconds": 0.2, "flops": 1e6, "calls": 1}},
        "flops": 3e9,
        "cpu_seconds": 0.4,
        "peak_memory": 2**28,
        "parents_cost": {},
        "uncounted": "",
        "precision": "",
        "accuracy": None,
        "groups": {},
    }


def test_a_run_that_goes_on_appends(tmp_path: Path) -> None:
    for _ in range(2):
        manager([JSONLines().build(folder=tmp_path, spec=None)]).hook.resnetbk_evaluated(report=EVALUATION)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
