"""What a CPU does better than the traced program says: products of tall matrices, and sums that several threads share.

Both rewrite the graph of `fcl.models.compile` before it is differentiated, so derivatives are rewritten with it.
"""

from __future__ import annotations

import torch

aten = torch.ops.aten
#: The number of pairs is filled up to a multiple of this where oneDNN multiplies: it makes a program for each shape,
#: which takes milliseconds, and keeps a thousand of them.
ROWS = 512
#: Below this width (rows and columns of the weight) a call costs more than it gains.
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
    """Whether `multiply_by_onednn` has something to do: float32 on a CPU, in a PyTorch built with oneDNN."""
    return (
        tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def multiply_by_onednn(graph: torch.fx.Graph) -> None:
    """Let oneDNN make the products of matrices of variable height.

    MKL, which torch calls, uses half of the vector width of an AMD processor with AVX-512; oneDNN uses all of it.
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
        product.meta["val"] = node.meta["val"]  # it may be a factor of the next product
        node.replace_all_uses_with(product)
        graph.erase_node(node)


def sum_in_order(graph: torch.fx.Graph) -> None:
    """Let `scatter_add` make the sums over pairs, and `gather` the choices whose derivative is such a sum.

    From `index_add` TorchInductor makes a loop in which the threads of a CPU add to the same memory, in an order that
    differs from run to run and one atomic operation at a time. Its `scatter_add` with several threads is torch's own
    kernel: it sorts by receiver, and gives the same bits again.
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
