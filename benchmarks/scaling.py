"""What 8 and 64 GPUs would do, by a model of FLOPs, bytes and bandwidths: python benchmarks/scaling.py

Nothing of it but UTILISATION was measured. docs/cluster.md says what the model leaves out.
"""

from __future__ import annotations

PEAK = 989e12
"""FLOP/s of an H200 in bf16, dense, by its data sheet."""
UTILISATION = 0.35
"""Share of PEAK in 6 N FLOPs a token: 680,000 tokens/s of 85 M parameters, docs/results, On a GPU."""
REACHED = 0.7
"""Share of a bandwidth that collectives reach."""
NVLINK = 450e9 * REACHED
"""Bytes/s of a GPU, in one direction, within a machine: NVLink 4."""
ADAPTER = 50e9 * REACHED
"""Bytes/s of an InfiniBand adapter, in one direction: 400 Gbit/s."""
LATENCY = 10e-6
"""Seconds of each of the 2 (p - 1) steps of a ring."""
BACKWARD = 2 / 3
"""Share of a step's computing in which gradients of some layers may travel while others are computed."""

MODELS = {"85 M, DDP": (85e6, "ddp"), "7 B, FSDP": (7e9, "fsdp")}
TOKENS = (8192, 32_768)
"""Of each GPU in a step."""
NETWORKS = {
    "8, NVLink": (8, NVLINK),
    "64, 8 adapters a machine": (64, min(NVLINK, 8 * ADAPTER)),
    "64, 1 adapter a machine": (64, ADAPTER),
}
"""GPUs, and the bytes/s at the narrowest place of the rings: those between machines share its adapters."""


def ring(size: float, gpus: int, bandwidth: float) -> float:
    """Seconds of an all-reduce of `size` bytes, of which each GPU sends and receives 2 (p - 1) / p."""
    return 2 * (gpus - 1) * (size / gpus / bandwidth + LATENCY)


def reduced(parameters: float, kind: str) -> float:
    """Bytes that are reduced in a step. DDP: gradients in fp32. FSDP gathers weights in bf16 before forward
    and backward passes, and scatters gradients in fp32: each is half of an all-reduce."""
    return parameters * (4 if kind == "ddp" else (2 + 2 + 4) / 2)


def main() -> None:
    print(
        "| model | tokens a GPU | GPUs | computes | communicates | of ideal: in turn | at once | tokens/s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for model, (parameters, kind) in MODELS.items():
        for tokens in TOKENS:
            for network, (gpus, bandwidth) in NETWORKS.items():
                compute = 6 * parameters * tokens / (PEAK * UTILISATION)
                communication = ring(reduced(parameters, kind), gpus, bandwidth)
                in_turn = compute / (compute + communication)
                at_once = compute / (compute + max(0.0, communication - BACKWARD * compute))
                low, high = (gpus * tokens / compute * share / 1e3 for share in (in_turn, at_once))
                print(
                    f"| {model} | {tokens:,} | {network} | {compute * 1e3:,.0f} ms "
                    f"| {communication * 1e3:,.0f} ms | {in_turn:.0%} | {at_once:.0%} "
                    f"| {low:,.0f} to {high:,.0f} k |"
                )


if __name__ == "__main__":
    main()
