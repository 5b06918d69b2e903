"""What careless and hostile callers give the instrument: a line each, and exit code 2 or 4."""

from __future__ import annotations

import json

import pytest
import tiny

from resnetbk.errors import StorageError
from resnetbk.files import with_crc
from resnetbk_instrument.session.journal import SCHEMA, read_result


@pytest.mark.parametrize("change", [{"variants": []}, {"trials": "of another"}])
def test_a_result_that_contradicts_itself_is_damaged(tmp_path, change):
    trial = {
        "variant": "z", "pair": 0, "seed": 0, "steps": 1, "speed": [1.0, 1.0],
        "outcome": {"loss": 1.0, "bits_per_byte": 1.0, "costs": {"seconds": 1.0}, "parameters": 1},
    }  # fmt: skip
    loss = {"estimate": 1.0, "low": 1.0, "high": 1.0, "n": 1}
    tree = {
        "schema": SCHEMA, "kind": "comparison", "name": "x", "goal": {"loss": 1.0},
        "ngram_baseline": {}, "machine": {},
        "variants": [{"name": "a", "spec": {}, "parameters": 1, "loss": loss}], "trials": [], "command": "",
        "thrown_out": 0,
    }  # fmt: skip
    file = tmp_path / "result.json"
    file.write_text(json.dumps(with_crc(tree)))
    assert read_result(file).name == "x"
    file.write_text(json.dumps(with_crc({**tree, **({"trials": [trial]} if "trials" in change else change)})))
    with pytest.raises(StorageError, match="damaged"):
        read_result(file)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (f"model.depth=1:{'9' * 400}", "expects two integers"),
        (f"model.depth=1,{'1' * 5000}", ""),
        (f"model.norm={'[' * 3000}", ""),
    ],
)
def test_ranges_too_large_or_too_deep_are_told_with_all_others(call, tmp_path, span, words):
    spec = tiny.write_spec(tmp_path)
    outcome = call("tune", spec, "--range", span, "--range", "zzz")
    code, _, err = outcome
    assert code == 2, err
    assert words in err
    assert "--range zzz" in err
    assert "Traceback" not in err
