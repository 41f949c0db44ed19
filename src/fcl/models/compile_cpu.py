"""Graph rewrites for CPUs: products of tall matrices by oneDNN, and deterministic parallel sums.

Both are applied to the graph of `fcl.models.compile` before it is differentiated, and so affect derivatives too.
"""

from __future__ import annotations

import torch

aten = torch.ops.aten
#: With oneDNN the number of pairs is padded to a multiple of this: oneDNN generates a kernel per shape, which takes
#: milliseconds, and caches about a thousand.
ROWS = 512
#: Minimum width (rows and columns of the weight); below it, the overhead of a call exceeds the gain.
WIDTH = 16


@torch.library.custom_op("fcl::tall_product", mutates_args=())
def tall_product(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``rows`` [n, k] @ ``weight`` [k, m] in float32 on a CPU, by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(rows, weight.t().contiguous(), None, "none", [], "")


@tall_product.register_fake
def _(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[1])


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _derivative(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows, weight = ctx.saved_tensors
    return tall_product(gradient.contiguous(), weight.t()), rows.t() @ gradient


tall_product.register_autograd(_derivative, setup_context=_keep)


def onednn_multiplies(tensor: torch.Tensor) -> bool:
    """Whether `multiply_by_onednn` is applicable: float32 on a CPU, and PyTorch built with oneDNN."""
    return (
        tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def multiply_by_onednn(graph: torch.fx.Graph) -> None:
    """Replace products of matrices of variable height by oneDNN calls.

    MKL, which torch uses, exploits only half of the vector width of AMD processors with AVX-512; oneDNN all of it.
    """
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target not in (aten.mm.default, aten.addmm.default):
            continue
        *bias, rows, weight = node.args
        tall, wide = rows.meta["val"], weight.meta["val"]
        if isinstance(tall.shape[0], int) or tall.dtype != torch.float32 or min(wide.shape) < WIDTH or node.kwargs:
            continue
        with graph.inserting_before(node):
            product = graph.call_function(torch.ops.fcl.tall_product.default, (rows, weight))
            product = graph.call_function(aten.add.Tensor, (product, bias[0])) if bias else product
        product.meta["val"] = node.meta["val"]  # it may be an operand of the next product
        node.replace_all_uses_with(product)
        graph.erase_node(node)


def sum_in_order(graph: torch.fx.Graph) -> None:
    """Replace `index_add` by `scatter_add`, and `index_select`, whose derivative is such a sum, by `gather`.

    For `index_add`, TorchInductor generates a parallel loop with atomic additions, which is slow and whose order varies
    from run to run. For `scatter_add` with several threads it calls torch's own kernel, which sorts by receiver and is
    deterministic.
    """
    sums = {aten.index_add.default: aten.scatter_add.default, aten.index_add_.default: aten.scatter_add_.default}
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target not in (*sums, aten.index_select.default):
            continue
        values, dimension, index, *source = node.args
        if dimension != 0 or node.kwargs or not node.meta["val"].is_floating_point():
            continue
        tail = [int(size) for size in node.meta["val"].shape[1:]]
        with graph.inserting_before(node):
            rows = graph.call_function(aten.view.default, (index, [-1] + [1] * len(tail)))
            rows = graph.call_function(aten.expand.default, (rows, [-1, *tail]))
        node.target = sums.get(node.target, aten.gather.default)
        node.args = (values, 0, rows, *source)
