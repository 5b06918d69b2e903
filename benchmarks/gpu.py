"""Our training on one GPU beside its references, in one run: python benchmarks/gpu.py

--nanogpt DIR   a checkout of nanoGPT (git clone https://github.com/karpathy/nanoGPT): its model is then a
                reference beside a plain one (reference_models.py)
--data FILE     tiny Shakespeare, for specs/speedrun-gpu.toml; left out without it

Needs triton and an H100 or H200 and takes under 8 minutes; what does not fit into them is left out and said.
Kernels are first compared with float64. Steps are whole ones: data, forward, backward, AdamW.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from paired import median, paired
from reference_models import Plain, nanogpt, reference_step
from torch import Tensor

from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk.training.learner import Learner
from resnetbk_plugins.kernels import backend, one_sided, resolvent, two_sided

SECONDS = 330.0
"""After which no more is begun, so that all ends within 8 minutes."""
BEGAN = time.perf_counter()
ETAS = (2.0, 0.5, 0.05, 1e-3)
SHAPES = [(8, 4096, 1024), (2, 16384, 1024), (1, 65536, 1024)]
CALLS = 10
WARM_UP = 89
"""Steps before steps are timed: few of those after them are counted, which run uncompiled."""
TOKENS = 32768
LENGTHS = {1024: 0.8, 4096: 1.05, 16384: 2.0, 32768: 3.4}
"""How many times the tokens/s of our compiled attention are wanted of bk-causal at each context length."""

SPEC = """
name = "gpu"
[data]
corpus = "python-docs"
tokenizer = "bytes"
window = {window}
[model]
width = {width}
depth = {depth}
norm = "layer"
embedding = {{ use = "learned-positions", length = {window} }}
mixer = {mixer}
channel = {{ use = "mlp", activation = "gelu", dropout = {dropout} }}
[train]
steps = 1000000
batch = {batch}
precision = "bf16"
compile = true
evaluate = 0
optimizer = {{ use = "adamw", lr = 1e-4 }}
"""
BASE = {"width": 768, "depth": 12, "dropout": 0.0}
ATTENTION = '{{ use = "attention", heads = {heads}, rope = false, dropout = {dropout} }}'
BK = '{ use = "bk-causal", chains = 1024 }'

Build = Callable[[], Callable[[], object]]
"""Builds what can be trained, and gives a step of it."""

results: list[tuple[str, str, str]] = []


def note(what: str, measured: str, wanted: str = "") -> None:
    results.append((what, measured, wanted))
    print(f"{what:64} {measured:>18}   {wanted}", flush=True)


# ---------------------------------------------------------------- kernels


def check_kernels() -> None:
    """The largest difference from float64 scans on the CPU, relative to the largest value, at every eta."""
    backend._KERNELS.pop("cpu", None)  # scans of plain torch: numba would compile for half a minute
    for name, scan, inputs in (
        ("one_sided", one_sided, 1),
        ("two_sided", two_sided, 1),
        ("resolvent", resolvent, 2),
    ):
        for eta in ETAS:
            torch.manual_seed(0)
            tensors = [torch.randn(2, 1500, 48, dtype=torch.float64) for _ in range(inputs)]
            wanted = results_and_gradients(scan, tensors, eta)
            actual = results_and_gradients(scan, [x.float().cuda() for x in tensors], eta)
            errors = [
                float((a.double().cpu() - b).abs().max() / b.abs().max())
                for a, b in zip(actual, wanted, strict=True)
            ]
            note(f"{name} at eta = {eta}: error, value and gradients", f"{max(errors):.1e}", "1e-3 or less")


def results_and_gradients(scan: Callable[..., Any], tensors: list[Tensor], eta: float) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in tensors]
    etas = torch.full_like(leaves[0][0, 0], eta).requires_grad_()
    out = scan(leaves[0], etas, *leaves[1:])
    sum(part.mul(part.detach().sign()).sum() for part in out).backward()
    return [*(part.detach() for part in out), *(leaf.grad for leaf in (*leaves, etas))]


def time_kernels() -> None:
    from triton.testing import do_bench  # here, since it wants a CUDA device

    for shape in SHAPES:
        v = torch.randn(shape, device="cuda")
        eta = torch.linspace(0.5, 1.7, shape[2], device="cuda").requires_grad_()
        out = torch.randn_like(v), torch.randn_like(v)
        g = one_sided(v.requires_grad_(), eta)
        backward = partial(torch.autograd.grad, g, (v, eta), out, retain_graph=True)
        milliseconds = partial(do_bench, warmup=20, rep=100, return_mode="median")
        one_way = milliseconds(partial(torch.empty_like(v).copy_, out[0])) / 2  # one tensor read, or written
        forward = partial(one_sided, v.detach(), eta.detach())
        for name, run, tensors, wanted in (("forward", forward, 3, 200), ("backward", backward, 5, 120)):
            spent = milliseconds(run)
            speed, copies = v.numel() / 1e6 / spent, spent / (tensors * one_way)
            what = f"one_sided {name} {shape}, G chain-steps/s; of a copy's time"
            note(what, f"{speed:.0f}; {copies:.2f}x", f"{wanted} or more")


def waited(run: Callable[[], object]) -> None:
    for _ in range(CALLS):
        run()
    torch.cuda.synchronize()


# ---------------------------------------------------------------- training steps


def our_step(mixer: str, batch: int, window: int, **more: Any) -> Callable[[], object]:
    """A step as `train` makes it: its losses stay on the device until `train.log_every` of them are read."""
    text = SPEC.format(**{**BASE, **more}, mixer=mixer, batch=batch, window=window)
    learner = Learner(read_text(text, Registry.discover()), device="cuda")

    def step() -> None:
        learner.learn()
        if len(learner.unread) >= learner.every:
            learner.read(keep=1)

    return step


def steps(candidates: dict[str, Build]) -> dict[str, tuple[float, float]]:
    """Seconds of a step and bytes at its peak. Each has a process of its own, so that all compile at the same
    time; then they run one after the other, interleaved."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, build in candidates.items():
        pipes[name], theirs = spawn.Pipe()
        processes.append(spawn.Process(target=serve, args=(theirs, build), daemon=True))
        processes[-1].start()
        theirs.close()
    peaks = {name: pipe.recv() for name, pipe in pipes.items()}
    seconds = paired({name: partial(asked, pipe) for name, pipe in pipes.items()}, 5)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(False)
        process.join()
    return {name: (median(seconds[name]) / CALLS, peaks[name]) for name in candidates}


def serve(pipe: Any, build: Build) -> None:
    torch.set_float32_matmul_precision("high")
    step = build()
    for _ in range(WARM_UP):
        step()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    pipe.send(torch.cuda.max_memory_allocated())
    while pipe.recv():
        waited(step)
        pipe.send(True)


def asked(pipe: Any) -> None:
    pipe.send(True)
    pipe.recv()


def references(folder: Path | None, window: int, batch: int, **config: Any) -> dict[str, Build]:
    """The plain model and, where it is at hand, nanoGPT's, of the same size."""
    build: dict[str, Build] = {"plain": partial(reference, None, window, batch, config)}
    return build | ({"nanoGPT": partial(reference, folder, window, batch, config)} if folder else {})


def reference(folder: Path | None, window: int, batch: int, config: dict[str, Any]) -> Callable[[], object]:
    if folder:
        return reference_step(nanogpt(folder, block_size=window, **config), batch, window)
    return reference_step(Plain(config["n_embd"], config["n_layer"], config["n_head"], window), batch, window)


def time_steps(folder: Path | None) -> None:
    """nanoGPT's recipe for tiny Shakespeare on a GPU (6 layers of 384, 64 windows of 256, dropout 0.2), and
    12 layers of 768 on 32,768 tokens a step."""
    mixer, sizes = ATTENTION.format(heads=6, dropout=0.2), {"width": 384, "depth": 6, "dropout": 0.2}
    recipe: dict[str, Build] = {"ours": partial(our_step, mixer, 64, 256, **sizes)}
    recipe |= references(folder, 256, 64, n_layer=6, n_head=6, n_embd=384, dropout=0.2)
    plain = references(folder, 1024, TOKENS // 1024, n_layer=12, n_head=12, n_embd=768, dropout=0.0)
    short = at_length(1024) | {f"1024, {name}": build for name, build in plain.items()}
    measured = steps(short | recipe)
    for name in recipe:
        seconds, _ = measured.pop(name)
        note(f"Shakespeare recipe, {name}: ms a step", f"{1e3 * seconds:.1f}", "9 or less" * (name == "ours"))
    seconds, peak = measured["1024, attention"]
    for name in plain:
        theirs, their_peak = measured[f"1024, {name}"]
        note(f"N = 1024: attention beside {name}", f"{theirs / seconds:.2f}x", "1.0 or more")
        note(f"N = 1024: its peak memory beside {name}", f"{peak / their_peak:.2f}x", "1.1 or less")
    if time.perf_counter() - BEGAN < SECONDS:
        longer: dict[str, Build] = {}
        for window in list(LENGTHS)[1:]:
            longer |= at_length(window)
        measured |= steps(longer)
    for name, (seconds, peak) in measured.items():
        note(f"N = {name}: tokens/s; peak memory", f"{TOKENS / seconds / 1e3:.0f} k; {peak / 2**30:.1f} GiB")
    for window, wanted in LENGTHS.items():
        if f"{window}, attention" not in measured:
            note(f"N = {window}", "left out", "8 minutes would be over")
            continue
        beside = measured[f"{window}, attention"][0] / measured[f"{window}, bk-causal"][0]
        note(f"N = {window}: bk-causal beside attention", f"{beside:.2f}x", f"{wanted} or more")


def at_length(window: int) -> dict[str, Build]:
    attention = ATTENTION.format(heads=12, dropout=0.0)
    return {
        f"{window}, attention": partial(our_step, attention, TOKENS // window, window),
        f"{window}, bk-causal": partial(our_step, BK, TOKENS // window, window),
    }


def speedrun(data: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [*(sys.executable, "-m", "resnetbk", "train", "specs/speedrun-gpu.toml", "--json")]
        command += ["--set", f"data.corpus.path={data}", "--out", f"{folder}/run"]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        whole = time.perf_counter() - began
    if done.returncode:
        note("specs/speedrun-gpu.toml", "failed", done.stderr.strip().splitlines()[-1])
        return
    run = json.loads(done.stdout)
    note("specs/speedrun-gpu.toml: held-out loss", f"{run['loss']:.4f}", "1.4697 or less")
    note("its seconds of steps, whole process", f"{run['seconds']:.1f}, {whole:.1f}", "20, 60 or less")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no CUDA device here, and nothing else that this script could measure")
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    torch.set_float32_matmul_precision("high")
    check_kernels()
    time_kernels()
    if options.data:
        speedrun(options.data)
    time_steps(options.nanogpt)
    print(f"\nsummary, after {time.perf_counter() - BEGAN:.0f} s\n")
    for what, measured, wanted in results:
        print(f"{what:64} {measured:>18}   {wanted}")


if __name__ == "__main__":
    main()
