"""Importing a component, and what is said when the plugin's code fails."""

from __future__ import annotations

import sys

import attrs
import pytest

from resnetbk.errors import UserError
from resnetbk.registry import Registry

GOOD = """
import attrs

@attrs.frozen(kw_only=True)
class Part:
    rate: float = 0.1

    def build(self):
        return self.rate
"""


def manifest(use: str) -> str:
    return f'schema = 1\n[optimizer.part]\nuse = "{use}"\nsummary = "Some"\n'


def refusal(registry: Registry) -> UserError:
    with pytest.raises(UserError) as error:
        registry.load(registry.find("optimizer", "part"))
    assert str(error.value).isprintable()
    return error.value


def test_loads_the_class_that_the_manifest_names(fake_plugin):
    fake_plugin("acme", manifest=manifest("acme.inner.parts:Part"), modules={"inner.parts": GOOD})
    registry = Registry.discover()
    assert "acme" not in sys.modules
    part = registry.load(registry.find("optimizer", "part"))
    assert [field.name for field in attrs.fields(part)] == ["rate"]
    assert part(rate=0.5).build() == 0.5
    assert registry.load(registry.find("optimizer", "part")) is part


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import sys; sys.exit()", "SystemExit"),
        ("class Stop(BaseException): pass\nraise Stop('now')", "Stop: now"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def (", "SyntaxError: invalid syntax (parts.py, line 1)"),
        ("raise ValueError('\\x1b[31m')", "ValueError: \\x1b[31m"),
        ("raise ValueError('x' * 5000)", f"ValueError: {'x' * 287}…"),
        ("", "AttributeError: module 'acme.parts' has no attribute 'Part'"),
        ("def __getattr__(name): raise OSError('gone')", "OSError: gone"),
        ("class Part:\n  def build(self): ...", "it is no attrs class"),
        ("def Part(): ...", "it is no attrs class"),
        ("import attrs\n@attrs.frozen\nclass Part: pass", "it has no method 'build'"),
        ("import attrs\n@attrs.frozen\nclass Part:\n  build: int = 3", "it has no method 'build'"),
    ],
)
def test_whatever_goes_wrong_names_plugin_version_and_cause(fake_plugin, source, cause):
    fake_plugin("acme", manifest=manifest("acme.parts:Part"), modules={"parts": source}, version="0.9")
    error = refusal(Registry.discover())
    assert str(error) == f"plugin acme 0.9: cannot import acme.parts:Part: {cause}"


def test_a_missing_module_and_a_failing_package(fake_plugin):
    fake_plugin("acme", manifest=manifest("acme.parts:Part"), modules={"__init__": "1 / 0"})
    error = refusal(Registry.discover())
    assert str(error).endswith("cannot import acme.parts:Part: ZeroDivisionError: division by zero")
    assert isinstance(error.__cause__, ZeroDivisionError)
    fake_plugin("gone", manifest=manifest("gone.parts:Part"))
    error = refusal(Registry.discover(allow=["gone"]))
    assert str(error).endswith("ModuleNotFoundError: No module named 'gone.parts'")


def test_an_interrupt_is_not_taken_for_a_fault_of_the_plugin(fake_plugin):
    fake_plugin("acme", manifest=manifest("acme.parts:Part"), modules={"parts": "raise KeyboardInterrupt"})
    registry = Registry.discover()
    with pytest.raises(KeyboardInterrupt):
        registry.load(registry.find("optimizer", "part"))


def test_a_blocked_plugin_is_never_imported(fake_plugin):
    fake_plugin("acme", manifest=manifest("acme.parts:Part"), modules={"parts": GOOD})
    entry = Registry.discover().find("optimizer", "part")
    with pytest.raises(UserError, match=r"plugin acme 1\.0: blocked"):
        Registry.discover(block=["acme"]).load(entry)
    assert "acme" not in sys.modules


# ---------------------------------------------------------------- private manifests


def test_the_folder_of_a_private_manifest_is_importable_only_from_the_first_load_on(private):
    path = private("mine", manifest("private_parts:Part"), {"private_parts.py": GOOD})
    registry = Registry.discover([path])
    folder, before = str(path.parent), [*sys.path]
    entry = registry.find("optimizer", "mine/part")
    assert folder not in sys.path
    part = registry.load(entry)
    assert part.__module__ == "private_parts"
    assert sys.path == [*before, folder], "last, so that it hides nothing"
    assert registry.load(entry) is part
    assert sys.path.count(folder) == 1


def test_a_private_package_is_importable(private):
    path = private("mine", manifest("private_package.parts:Part"), {"private_package/parts.py": GOOD})
    assert refusal_free(path).__module__ == "private_package.parts"


def refusal_free(path):
    registry = Registry.discover([path])
    return registry.load(registry.find("optimizer", "part"))


def test_a_private_manifest_may_name_what_is_installed(private, fake_plugin):
    fake_plugin("acme", manifest="schema = 1", modules={"parts": GOOD})
    assert refusal_free(private("mine", manifest("acme.parts:Part"))).__module__ == "acme.parts"


def test_a_private_module_hidden_by_another_is_not_mistaken_for_it(private):
    """Without this check, the second folder would silently run the first one's code."""
    one = private("one", manifest("private_twin:Part"), {"private_twin.py": GOOD})
    two = private("two", manifest("private_twin:Part"), {"private_twin.py": GOOD})
    registry = Registry.discover([one, two])
    assert registry.load(registry.find("optimizer", "one/part"))
    with pytest.raises(UserError) as error:
        registry.load(registry.find("optimizer", "two/part"))
    hidden, by = two.parent / "private_twin.py", one.parent / "private_twin.py"
    cause = f"ImportError: {by} hides {hidden}; give that another name"
    assert str(error.value) == f"plugin two: cannot import private_twin:Part: {cause}"


def test_a_private_module_hidden_by_a_built_in_one(private):
    error = refusal(Registry.discover([private("mine", manifest("math:Part"), {"math.py": GOOD})]))
    assert "math.py; give that another name" in str(error)
