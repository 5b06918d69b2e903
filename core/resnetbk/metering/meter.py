"""What a run costs: wall and CPU seconds, FLOPs, calls, tokens and memory, by phase.

    setup       what the spec causes before its first step: tokens, weights, optimizer, strategy, selector;
                not importing, and not reading the corpus
    forward     the model and its loss on what it is trained on
    backward    the gradient strategy, without the forward passes that it asks for
    optimizer   the size of the gradient, and the update
    scoring     the data selector: its choice, the passes that score windows for it, and what it learns
    evaluation  the held-out loss: the instrument's own cost, which no run is charged with

Setup and steps (all but evaluation) are what a run is charged with. A phase inside another one is not counted
twice: each has its own time alone. A refused step costs what it took.

Counting FLOPs slows down what is counted, so it is done on samples of an activity. Which calls are
samples depends on their number alone, which a checkpoint keeps: the first ones, then fewer and fewer, in the
end one in 256, at irregular distances so that what recurs periodically is met. Between two samples an
activity costs what it cost in the last one of its form: for each token, or for each call where it has no
tokens; and apart by how many weights take part, where a strategy lets some of them rest. So what a policy
skips may lag behind by as many calls, and a window of another length is charged in proportion. What a step
does not do, as to score or to differentiate, is not charged to it.

Memory is the peak since the meter began: on CUDA what torch had allocated there, on a CPU what was
resident in the whole process, torch itself included. Where the system cannot reset that (it is not Linux, or
refuses), it is the peak of the process since it began.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import attrs
import torch

from resnetbk.hooks import PhaseCost
from resnetbk.metering.flops import FlopCounter
from resnetbk.whole_process import PARTS, part

PHASES = ("setup", "forward", "backward", "optimizer", "scoring", "evaluation")
STEP_PHASES = ("forward", "backward", "optimizer", "scoring")

GOLDEN = 0.6180339887498949
SAMPLES = 2.0
RAREST = 256
WATCH = 8
"""Calls that are counted after one that nothing is known of."""


def sampled(call: int) -> bool:
    """Whether call number `call`, from 0, is a sample: with density 2 / (call + 1), at least 1 / 256.

    About 2 ln(n) of the first n calls. Multiples of the golden ratio spread evenly over [0, 1) and are in
    step with no period.
    """
    return call * GOLDEN % 1.0 < max(SAMPLES / (call + 1), 1.0 / RAREST)


@attrs.define
class Cost:
    """What a phase cost so far."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    flops: float = 0.0
    calls: int = 0
    tokens: int = 0


@attrs.define(eq=False)
class _Work:
    """An activity under way. `flops` are its own, when it is `counted`."""

    phase: str
    activity: str
    tokens: int
    weights: int
    counted: bool
    flops: int = 0


class Meter:
    """Charges what runs inside `with meter.phase(...)` to that phase. `cuda`: whose clock it reads, and
    does not wait for; what it says is known once `settle` was called."""

    def __init__(self, cuda: torch.device | None = None) -> None:
        self.costs = {phase: Cost() for phase in PHASES}
        self.counter = FlopCounter()
        self._cuda = cuda
        self._calls: dict[str, int] = {}  # by activity
        self._rates: dict[str, float] = {}  # of an activity in one of its forms
        self._due: dict[str, int] = {}  # calls of an activity to count although they are no samples
        self._open: list[_Work] = []
        self._wall = self._cpu = 0.0
        # CUDA's events, each with what gets the time before it
        self._marks: deque[tuple[Any, Cost | list[float] | None]] = deque()
        self._last: Any = None  # the last of them that was read
        self._counted = 0  # of the counter's FLOPs, how many are charged to a phase
        self._peak = 0
        if cuda is not None:
            torch.cuda.reset_peak_memory_stats(cuda)
        else:
            forget_peak()

    @contextmanager
    def phase(
        self, phase: str, activity: str = "", tokens: int = 0, *, weights: int = 0, always: bool = False
    ) -> Iterator[None]:
        """Runs something of a phase. `activity`: what is alike within it, if that is not all of it; `tokens`:
        what its FLOPs are in proportion to; `weights`: how many take part, if that changes; `always`:
        count them now, it will not be done often."""
        activity = activity or phase
        calls = self._calls.get(activity, 0)
        running = bool(self._open) and self._open[-1].counted
        due = self._due.get(activity, 0)
        self._due[activity] = max(0, due - 1)
        work = _Work(phase, activity, tokens, weights, running or always or due > 0 or sampled(calls))
        self._tick()
        self._open.append(work)
        self._calls[activity] = calls + 1
        self.costs[phase].calls += 1
        try:
            with self.counter if work.counted and not running else nullcontext():
                yield
        finally:
            self._tick()
            self._open.pop()
            self._charge(work)

    def worked(self, activity: str, tokens: int, weights: int = 0) -> None:
        """Adds tokens to an activity under way that learns only now what it works on, and with how many
        weights."""
        for work in reversed(self._open):
            if work.activity == activity:
                work.tokens += tokens
                work.weights = weights
                return

    def _tick(self) -> None:
        """Charges the time and the FLOPs since the last tick to the innermost work under way."""
        wall, cpu, flops = time.perf_counter(), time.process_time(), self.counter.flops
        cost = self.costs[self._open[-1].phase] if self._open else None
        if self._cuda is not None:
            mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            mark.record()
            self._marks.append((mark, cost))
        if cost is not None:
            work = self._open[-1]
            cost.seconds += 0.0 if self._cuda is not None else wall - self._wall
            PARTS["steps" if work.phase in STEP_PHASES else work.phase] += wall - self._wall
            cost.cpu_seconds += cpu - self._cpu
            work.flops += flops - self._counted
        self._wall, self._cpu, self._counted = wall, cpu, flops

    def moment(self) -> list[float]:
        """[`seconds`] of all that was launched so far; on CUDA empty until `settle` fills it in."""
        moment = [self.seconds] if self._cuda is None else []
        if self._cuda is not None:
            self._marks.append((None, moment))
        return moment

    def settle(self, until: Sequence[float] | None = None) -> None:
        """Waits for what was launched on CUDA, `until` a moment or all, and reads its time. On a CPU all is
        known at once."""
        while self._marks:
            mark, charged = self._marks.popleft()
            if isinstance(charged, list):
                charged.append(self.seconds)
                if charged is until:
                    return
                continue
            with part("steps"):
                mark.synchronize()
            if charged is not None:
                charged.seconds += self._last.elapsed_time(mark) / 1000.0
            self._last = mark

    def _charge(self, work: _Work) -> None:
        cost, unit = self.costs[work.phase], work.tokens or 1
        key = f"{work.activity} {'token' if work.tokens else 'call'} {work.weights}"
        if work.counted:
            self._rates[key] = work.flops / unit
            cost.flops += work.flops
        elif key in self._rates:
            cost.flops += unit * self._rates[key]
        else:  # never met in this form: it will be when it comes again soon
            self._due[work.activity] = WATCH
        cost.tokens += work.tokens

    def warm(self) -> None:
        """Everything has run once: what `check` judges begins now, without compiling and loading."""
        self.counter.seconds = 0.0
        self.counter.unknown.clear()

    def check(self) -> None:
        """Raises UserError when operators without a formula took more than 1 % of the time."""
        self.counter.check()

    # ------------------------------------------------------------ totals

    @property
    def seconds(self) -> float:
        """Wall seconds of steps, as far as they are settled."""
        return sum(self.costs[phase].seconds for phase in STEP_PHASES)

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of setup and steps, of all threads."""
        return sum(self.costs[phase].cpu_seconds for phase in ("setup", *STEP_PHASES))

    @property
    def flops(self) -> float:
        """FLOPs of setup and steps."""
        return sum(self.costs[phase].flops for phase in ("setup", *STEP_PHASES))

    @property
    def peak_memory(self) -> int:
        """Bytes."""
        self._peak = max(self._peak, _peak(self._cuda))
        return self._peak

    def phases(self) -> Mapping[str, PhaseCost]:
        self.settle()
        return {
            phase: PhaseCost(cost.seconds, cost.cpu_seconds, cost.flops, cost.calls)
            for phase, cost in self.costs.items()
        }

    def state(self) -> dict[str, Any]:
        self.settle()
        return {
            "costs": {phase: attrs.asdict(cost) for phase, cost in self.costs.items()},
            "calls": dict(self._calls),
            "rates": dict(self._rates),
            "due": dict(self._due),
            "peak_memory": self.peak_memory,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state. The setup of this process is forgotten: it is the interruption's."""
        self.costs = {phase: Cost(**state["costs"][phase]) for phase in PHASES}
        self._calls, self._rates = dict(state["calls"]), dict(state["rates"])
        self._due = dict(state["due"])
        self._peak = max(self._peak, state["peak_memory"])


# ---------------------------------------------------------------- memory


def forget_peak() -> bool:
    """Lets the peak of what is resident begin anew. False where the system does not let us."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _peak(cuda: torch.device | None) -> int:
    if cuda is not None:
        return int(torch.cuda.max_memory_allocated(cuda))
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # here, since not every system has it

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
