"""What the verbs say of plugins: those that work, and those that do not."""

from __future__ import annotations

import json
import os

import tiny

from resnetbk.registry.lookup import Registry


def test_doctor_says_what_is_there_and_explains_what_is_broken(call, fake_plugin):
    code, out, _ = call("doctor")
    assert code == 0
    assert "plugin   resnetbk" in out
    manifest = """
        schema = 1
        [tokenizer.odd]
        use = "rotten.gone:Odd"
        summary = "cannot be imported"
    """
    fake_plugin("rotten", manifest=manifest)
    code, out, _ = call("doctor")
    assert code == 2
    assert "rotten.gone" in out
    assert "ModuleNotFoundError" in out


TOKENIZER = """
    schema = 1
    [tokenizer.odd]
    use = "{0}.parts:Odd"
    summary = "a tokenizer of its own"
    default = true
"""
ODD = """
    import attrs
    @attrs.frozen(kw_only=True)
    class Odd:
        "Odd."
        size: int = 3
        _twice: int = attrs.field()
        @_twice.default
        def _(self): return 2 * self.size
        def build(self, *, text): ...
"""


def test_doctor_tells_of_blocked_twins_and_hooks(call, fake_plugin, tmp_path, monkeypatch):
    fake_plugin("one", manifest=TOKENIZER.format("one"), modules={"parts": ODD})
    fake_plugin("two", manifest=TOKENIZER.format("two"), modules={"parts": ODD})
    code, out, _ = call("--block", "one", "doctor")
    assert code == 0
    assert "plugin   one 1.0: left out: blocked" in out
    points = tmp_path / "site-packages/two-1.0.dist-info/entry_points.txt"
    points.write_text("[resnetbk.registry]\none = two:registry.toml\n")
    code, out, _ = call("doctor")
    assert code == 2
    assert "plugin   one 1.0: 1 components" in out
    assert "plugin   one 1.0: left out: another plugin has this name" in out
    points.unlink()
    fake_plugin("hooked", manifest='schema = 1\n[plugin]\nhooks = "hooked.gone"\n')
    code, out, _ = call("doctor")
    assert code == 2
    assert "plugin hooked 1.0: cannot import its hooks hooked.gone: ModuleNotFoundError" in out


def test_a_default_that_no_spec_gets_has_no_star(call, fake_plugin):
    fake_plugin("one", manifest=TOKENIZER.format("one"), modules={"parts": ODD})
    rows = json.loads(call("list", "tokenizer", "--json")[1])
    assert [row["name"] for row in rows if row["default"]] == ["bytes"]


def test_show_has_keys_as_a_spec_has_them(call, fake_plugin):
    fake_plugin("one", manifest=TOKENIZER.format("one"), modules={"parts": ODD})
    code, out, err = call("show", "odd")
    assert (code, err) == (0, "")
    assert "(from the other keys)" in out
    assert "_twice" not in out


def test_one_of_two_of_a_name_is_shown_by_its_kind(call):
    assert call("show", "random")[1].count("chosen by") == 2
    assert call("show", "sparsity-gate/random")[1].count("chosen by") == 1


def test_what_a_component_outside_of_the_model_requires_is_asked(call, fake_plugin, tmp_path):
    manifest = """
        schema = 1
        [data-selector.dice]
        use = "dice.parts:Dice"
        summary = "throws dice"
        requires = ["bidirectional"]
        [data-selector.broken]
        use = "dice.parts:Broken"
        summary = "has a check that fails"
    """
    parts = """
        import attrs
        @attrs.frozen(kw_only=True)
        class Dice:
            def build(self, **given): ...
        @attrs.frozen(kw_only=True)
        class Broken(Dice):
            def check(self, spec): return spec.nothing
    """
    fake_plugin("dice", manifest=manifest, modules={"parts": parts})
    code, _, err = call("check", tiny.write_spec(tmp_path, selector='selector = "dice"'))
    assert code == 2
    assert "data.selector: dice requires 'bidirectional', which model.mixer = bk-causal does not" in err
    code, _, err = call("check", tiny.write_spec(tmp_path, selector='selector = "broken"'))
    assert code == 2
    assert "data.selector: dice/broken: its check fails: " in err
    assert len(err.splitlines()) == 1


def test_a_broken_plugin_is_named_once_and_harms_nothing(call, fake_plugin, tmp_path):
    fake_plugin("rotten", manifest="schema = 1\n[nonsense.x]\n")
    code, out, err = call("list")
    assert code == 0
    assert "bk-causal" in out
    assert err.count("rotten") >= 1
    assert len(err.splitlines()) == 1
    assert call("check", tiny.write_spec(tmp_path))[0] == 0


def test_a_private_manifest_is_found_by_option(call, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import attrs\n@attrs.frozen(kw_only=True)\nclass Mine:\n    '''Mine.'''\n    size: int = 3\n"
        "    def build(self, *, text): ...\n"
    )
    manifest = tmp_path / "registry.toml"
    manifest.write_text('schema = 1\n[tokenizer.mine]\nuse = "mine:Mine"\nsummary = "my own"\n')
    assert "my own" in call("--registry", manifest, "list", "tokenizer")[1]
    assert "size" in call("--registry", manifest, "show", "mine")[1]
    assert call("show", "mine")[0] == 2


def test_a_run_to_start_from_is_read_with_the_same_plugins(call, tmp_path, monkeypatch):
    monkeypatch.setenv("RESNETBK_PLUGINS", "")
    monkeypatch.delenv("RESNETBK_REGISTRY", raising=False)
    manifest = tmp_path / "mine" / "registry.toml"
    manifest.parent.mkdir()
    manifest.write_text(
        'schema = 1\n[optimizer.mine]\nuse = "mine_parts:Mine"\nsummary = "muon by another name"\n'
    )
    (manifest.parent / "mine_parts.py").write_text(
        "import attrs\nfrom resnetbk_plugins.optimizer.muon import Muon\n\n\n"
        '@attrs.frozen(kw_only=True)\nclass Mine(Muon):\n    "Mine."\n'
    )
    source, spec = tmp_path / "source", tiny.write_spec(tmp_path, steps="steps = 1")
    start = f'train.start={{ use = "run", path = "{source}" }}'
    private = ("--registry", manifest)
    code, _, err = call(*private, "train", spec, "--set", "train.optimizer=mine", "--out", source)
    assert code == 0, err
    code, out, err = call(*private, "train", spec, "--set", start, "--out", tmp_path / "child")
    assert code == 0, err
    assert "It builds on runs" in out
    assert os.environ["RESNETBK_PLUGINS"] == ""
    assert "RESNETBK_REGISTRY" not in os.environ
    code, _, err = call("train", spec, "--set", start, "--out", tmp_path / "other")
    assert code == 4
    assert "train.optimizer: no plugin 'mine'" in err
    code, _, err = call(
        *private, "--block", "mine", "train", spec, "--set", start, "--out", tmp_path / "other"
    )
    assert code == 4
    assert "blocked" in err
    assert os.environ["RESNETBK_PLUGINS"] == ""


def test_a_mistyped_name_in_the_environment_is_told(call, monkeypatch):
    for listed, missing in (("resnetbkk,resnetbk", "resnetbkk"), ("-resnetbkk", "resnetbkk")):
        monkeypatch.setenv("RESNETBK_PLUGINS", listed)
        code, _, err = call("list")
        assert code == 0
        assert err == f"RESNETBK_PLUGINS: no plugin '{missing}'; did you mean 'resnetbk'?\n"


def test_a_name_of_ours_stays_ours(fake_plugin, caplog):
    fake_plugin("acme", manifest='schema = 1\n[optimizer.muon]\nuse = "acme.parts:Part"\nsummary = "x"\n')
    registry = Registry.discover()
    assert registry.find("optimizer", "muon").plugin == "resnetbk"
    (message,) = caplog.messages
    assert message.endswith("acme has one of this name too: write acme/muon for it")
    assert registry.find("optimizer", "acme/muon").plugin == "acme"
