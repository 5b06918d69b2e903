"""Models trained by torch's FSDP2, for `train.parallel`: "fsdp", where each process holds a share of the
weights, for models that do not fit into one device; and "ddp", where each holds them whole.

A layer's weights are gathered before it runs and freed after it, forward and backward. Its gradients are
averaged while the backward pass goes on to the next. Between steps a parameter is a DTensor, of which each
process holds some rows or, with "ddp", all; so are its gradient and what an optimizer keeps of it. What
gathers or averages waits for all processes: they run all layers equally often, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from resnetbk.errors import UserError
from resnetbk.kinds import Batch, BatchLoss
from resnetbk.model.language_model import LanguageModel, Output
from resnetbk.model.layer import Block, Layer
from resnetbk.spec.spec import Spec
from resnetbk.training import objective as plain
from resnetbk.training.compiled import CompiledObjective, to_compile
from resnetbk.training.processes import Processes


def place(
    model: LanguageModel, spec: Spec, device: torch.device, processes: Processes
) -> Callable[..., tuple[BatchLoss, Output]]:
    """Moves the model to the device, of a distributed one this process's part, and gives the objective of its
    steps. Raises UserError for a parameter that cannot be distributed."""
    size, parallel = processes.size, spec.train.parallel
    if not processes.lockstep(spec):
        model.to(device)
        return CompiledObjective(to_compile(spec.train, device), model, device)
    from torch.distributed.device_mesh import init_device_mesh  # here, since they take half a second
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    whole = dict(model.named_parameters())
    for name, parameter in whole.items():
        if not parameter.ndim:
            other = 'choose another component there, or parallel = "average"'
            raise UserError(f'train.parallel: "{parallel}" cannot take {name}, which has no rows; {other}')
    for module in model.modules():
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.sparse:
            module.sparse = False
            vars(module.weight)["sparse_gradient"] = True  # optimizers go on as if it were
    axes = {"shard": size} if parallel == "fsdp" else {"copy": size, "shard": 1}
    mesh = init_device_mesh(device.type, tuple(axes.values()), mesh_dim_names=tuple(axes))
    for layer in model.trunk.layers:
        fully_shard(layer, mesh=mesh)
        for half in ("across", "within"):
            register_fsdp_forward_method(layer, half)
    fully_shard(model, mesh=mesh)
    model.trunk.skip = _run_idle
    for name, parameter in model.named_parameters():
        vars(parameter).update(vars(whole[name]))  # role, rate and so on
    return _objective


def _run_idle(run: Block, layer: Layer, x: Tensor) -> Tensor:
    """The rows (B, M, D) as they are, of which this process has none for the layer: it computes one, for
    nothing but that others, which have some, need not wait. Gradients are zero."""
    position = torch.zeros(1, 1, dtype=torch.int64, device=x.device)
    after, _ = run(x.flatten(0, 1)[:1], lambda rows: layer.mixer(rows[None], position, None)[0])
    return _linked(x, after)


def _objective(model: LanguageModel, batch: Batch, precision: str) -> tuple[BatchLoss, Output]:
    """Of which each weight outside the layers has a gradient, of zero where it is not used: what is averaged
    must be of the same weights in all processes."""
    result, output = plain.objective(model, batch, precision)
    if result.loss.requires_grad:
        gathered = [p for p in model.parameters() if p.requires_grad and not hasattr(p, "full_tensor")]
        result.loss = _linked(result.loss, *gathered)
    return result, output


class _Linked(torch.autograd.Function):
    """Its first argument; the others get gradients of zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *unused: Tensor) -> Tensor:
        ctx.like = [(tensor.shape, tensor.dtype) for tensor in unused]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        zeros = (gradient.new_zeros((), dtype=dtype).expand(shape) for shape, dtype in ctx.like)
        return gradient, *zeros


_linked: Callable[..., Tensor] = _Linked.apply


# ---------------------------------------------------------------- what is saved


def whole(tree: Any, keep: bool) -> Any:
    """Nested dicts and tuples with whole tensors in place of parts, on the CPU; empty ones unless `keep`. All
    processes call it together."""
    if isinstance(tree, Mapping):
        return {key: whole(value, keep) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(whole(value, keep) for value in tree)
    if not hasattr(tree, "full_tensor"):
        return tree
    full = tree.detach().full_tensor()
    return full.cpu() if keep else full.new_empty(0)


def distributed_as(weights: Mapping[str, Tensor], tree: Any, like: Any = None) -> Any:
    """The reverse of `whole`: what stands below the name of a weight, and has its shape, becomes this
    process's part of it if the weight is one."""
    if isinstance(tree, Mapping):
        return {key: distributed_as(weights, value, weights.get(key, like)) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(distributed_as(weights, value, like) for value in tree)
    if not isinstance(tree, Tensor) or not hasattr(like, "full_tensor") or tree.shape != like.shape:
        return tree
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tree.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
