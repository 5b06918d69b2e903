"""What Windows and macOS lack is not needed: a process without it imports everything and trains."""

from __future__ import annotations

import subprocess
import sys

import tiny

WITHOUT = """
import importlib, os, pkgutil, signal, sys
for name in ("fcntl", "resource", "termios", "tty", "pwd", "grp", "syslog"):
    sys.modules[name] = None  # importing it fails
for name in ("fork", "forkpty", "mkfifo", "getuid", "geteuid", "sched_getaffinity", "killpg", "setsid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGPIPE"):
    if hasattr(signal, name):
        delattr(signal, name)
import resnetbk
import resnetbk_authoring, resnetbk_instrument, resnetbk_plugins
LEFT_OUT = ("__main__", "numba", "triton", "template", "harness", "plugins.hf", "schedule_free")
for package in (resnetbk, resnetbk_authoring, resnetbk_instrument, resnetbk_plugins):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not any(word in module.name for word in LEFT_OUT):
            importlib.import_module(module.name)
from resnetbk.cli import _run
sys.exit(_run(["train", *sys.argv[1:]]))
"""


def test_nothing_of_unix_alone_is_needed(tmp_path) -> None:
    spec = tiny.write_spec(tmp_path, steps="steps = 2")
    command = [sys.executable, "-c", WITHOUT, str(spec), "--out", str(tmp_path / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "metrics.jsonl").exists()
