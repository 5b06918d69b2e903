"""The keys of a component in words, as `show` and the reference print them."""

from __future__ import annotations

import enum
from typing import Any, Literal

import attrs
from attrs.validators import and_, deep_iterable, ge, gt, in_, le, lt, min_len, optional

from resnetbk_authoring.keys import keys


class Shape(enum.Enum):
    ROUND = "round"
    FLAT = "flat"


@attrs.frozen
class Block:
    width: int = attrs.field(validator=ge(1))
    within: list[Block] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class Everything:
    free: str = "a"
    mode: Literal["rms", "layer"] = "rms"
    shape: Shape = Shape.FLAT
    measure: str = attrs.field(default="loss", validator=in_(["loss", "margin"]))
    share: float = attrs.field(default=0.5, validator=and_(gt(0.0), le(1.0)))
    rows: int = attrs.field(default=8, validator=[ge(1), lt(2**31)])
    limit: float | None = attrs.field(default=None, validator=optional(gt(0.5)))
    betas: tuple[float, float] = attrs.field(default=(0.9, 0.9), validator=deep_iterable(lt(1.0)))
    parts: list[Literal["head", "trunk"]] = attrs.field(factory=list, validator=min_len(1))
    path: str = attrs.field(validator=min_len(3))
    size: int | Literal["auto"] = "auto"
    block: Block = Block(4)
    blocks: dict[str, Block] = attrs.field(factory=dict)
    other: int = attrs.field()
    _hidden: int = attrs.field(default=1, init=False)

    @other.default
    def _twice(self) -> int:
        return 2 * self.rows


def test_each_key_tells_its_type_its_permitted_values_and_its_default() -> None:
    told = {".".join(key.path): (key.type, key.allowed, key.default) for key in keys(Everything)}
    assert told == {
        "free": ("str", "", "'a'"),
        "mode": ("str", "'rms' or 'layer'", "'rms'"),
        "shape": ("str", "'round' or 'flat'", "'flat'"),
        "measure": ("str", "'loss' or 'margin'", "'loss'"),
        "share": ("float", "> 0, <= 1", "0.5"),
        "rows": ("int", ">= 1, < 2147483648", "8"),
        "limit": ("float | None", "> 0.5", "None"),
        "betas": ("tuple[float, float]", "each < 1", "(0.9, 0.9)"),
        "parts": ("list[str]", "not empty, each 'head' or 'trunk'", "[]"),
        "path": ("str", "3 or more", "(required)"),
        "size": ("int | str", "'auto'", "'auto'"),
        "block": ("table", "", "{'width': 4, 'within': []}"),
        "block.width": ("int", ">= 1", "(required)"),
        "block.within": ("list[table]", "", "[]"),
        "blocks": ("dict[str, table]", "", "{}"),
        "blocks.width": ("int", ">= 1", "(required)"),
        "blocks.within": ("list[table]", "", "[]"),
        "other": ("int", "", "(from the other keys)"),
    }


def test_a_class_whose_types_cannot_be_resolved_is_told_as_it_is_written() -> None:
    @attrs.frozen
    class Local:
        missing: Nowhere = 1  # type: ignore[name-defined]  # noqa: F821

    (key,) = keys(Local)
    assert (key.path, key.type, key.allowed, key.default) == (("missing",), "Nowhere", "", "1")


def test_show_indents_the_keys_of_a_table(call: Any, fake_plugin: Any) -> None:
    manifest = 'schema = 1\n[observer.nested]\nuse = "one.parts:Nested"\nsummary = "has a table"\n'
    module = (
        "import attrs\nfrom attrs.validators import ge\n"
        "@attrs.frozen\nclass Block:\n    width: int = attrs.field(validator=ge(1))\n"
        "@attrs.frozen(kw_only=True)\nclass Nested:\n    '''Nothing.'''\n    blocks: list[Block] = []\n"
        "    def build(self, **given): ...\n"
    )
    fake_plugin("one", manifest=manifest, modules={"parts": module})
    code, out, err = call("show", "nested")
    assert (code, err) == (0, "")
    assert "\nblocks    list[table]             []" in out
    assert "\n  width   int           >= 1      (required)" in out
