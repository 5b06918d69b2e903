"""Drift: how what is there now differs from what a lock says was there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from resnetbk.lock.changes import NOTHING, changes, shown
from resnetbk.lock.lock import name_at

Tree = Mapping[str, Any]


@attrs.frozen
class Drift:
    """One difference.

    about  "spec"; "component", its plugin or version, the source being the same; "source" of a component;
           or "environment"
    key    `model.width`, `model.mixer`, `torch`
    was    in the lock, in words
    now    here, in words
    fix    what makes it as it was, in words; "" when the lock does not say
    """

    about: Literal["spec", "component", "source", "environment"]
    key: str
    was: str
    now: str
    fix: str

    def line(self, instead: str) -> str:
        """`torch: locked 2.12.0, now 2.13.0; install torch==2.12.0, or <instead>`"""
        what_to_do = ", or ".join(filter(None, (self.fix, instead)))
        return f"{self.key}: locked {self.was}, now {self.now}; {what_to_do}"

    def __str__(self) -> str:
        return f"{self.key} {self.was} -> {self.now}"


def drift(locked: Tree, now: Tree) -> list[Drift]:
    """Every difference between two trees of `resnetbk.lock.lock.facts`: the spec, the plugin, version and
    source of each component, and all of the environment that `now` has. Of Python, major and minor count."""
    of_spec = [
        Drift("spec", change.key, shown(change.before), shown(change.after), "take the change back")
        for change in changes(locked["spec"], now["spec"])
    ]
    return [*of_spec, *_components(locked, now), *_environment(locked["environment"], now["environment"])]


def _components(locked: Tree, now: Tree) -> Iterator[Drift]:
    for key, here in now["components"].items():
        name = name_at(now["spec"], key)
        if name != name_at(locked["spec"], key):
            continue  # another component, which the spec's differences say
        before = locked["components"].get(key, {})
        versions = [f"{c.get('plugin', '?')} {c.get('version', '')}".rstrip() for c in (before, here)]
        sources = [str(c.get("sha256", "none"))[:12] for c in (before, here)]
        if before.get("sha256") != here.get("sha256"):
            was, there = (f"{v}, source {s}" for v, s in zip(versions, sources, strict=True))
            fix = f"{'install' if versions[0] != versions[1] else 'restore'} {name} of plugin {versions[0]}"
            yield Drift("source", key, was, there, fix if before else "")
        elif versions[0] != versions[1]:
            was, there = versions
            yield Drift("component", key, was, there, f"install plugin {was}")


def _environment(locked: Tree, now: Tree) -> Iterator[Drift]:
    fixes = {"python": "run it with Python {}", "threads": "set OMP_NUM_THREADS={}",
             "platform": "run it there", "corpus_sha256": "restore the text",
             "precision": 'say train.precision = "{}"'}  # fmt: skip
    for key, here in now.items():
        before = locked.get(key, NOTHING)
        if key == "python":  # of which major and minor count
            before, here = (v if v is NOTHING else ".".join(str(v).split(".")[:2]) for v in (before, here))
        if before != here:
            was, there = ("nothing" if value is NOTHING else str(value) for value in (before, here))
            if key == "corpus_sha256":
                was, there = was[:12], there[:12]
            fix = fixes.get(key, f"install {key}=={{}}").format(was)
            yield Drift("environment", key, was, there, "" if before is NOTHING else fix)
