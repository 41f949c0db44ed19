"""What a CPU does better than the traced program says: products of tall matrices, and sums that several threads share.

Both rewrite the graph of `fcl.model.compiled` before it is differentiated, so derivatives are rewritten with it.
"""

from __future__ import annotations

import torch

aten = torch.ops.aten
#: Rows that go to oneDNN at a time. It makes a program for each shape: the number of pairs changes at every step.
ROWS = 1024
#: Below this width (rows and columns of the weight) a call costs more than it gains.
WIDTH = 64


@torch.library.custom_op("fcl::tall_product", mutates_args=())
def tall_product(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``rows`` [n, k] @ ``weight`` [k, m] in float32 on a CPU, by oneDNN in blocks of `ROWS`; the rest as torch.mm."""
    whole = rows.shape[0] - rows.shape[0] % ROWS
    product = rows.new_empty(rows.shape[0], weight.shape[1])
    transposed = weight.t().contiguous()
    for start in range(0, whole, ROWS):
        block = slice(start, start + ROWS)
        product[block] = torch.ops.mkldnn._linear_pointwise(rows[block], transposed, None, "none", [], "")
    torch.mm(rows[whole:], weight, out=product[whole:])
    return product


@tall_product.register_fake
def _(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[1])


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _derivative(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows, weight = ctx.saved_tensors
    return tall_product(gradient.contiguous(), weight.t()), rows.t() @ gradient


tall_product.register_autograd(_derivative, setup_context=_keep)


def multiply_by_onednn(graph: torch.fx.Graph) -> int:
    """Replace float32 products of a matrix of variable height on a CPU; how many were replaced.

    MKL, which torch calls, uses half of the vector width of an AMD processor with AVX-512; oneDNN uses all of it.
    """
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return 0
    replaced = 0
    for node in graph.find_nodes(op="call_function", target=aten.mm.default):
        rows, weight = (argument.meta["val"] for argument in node.args)
        tall = not isinstance(rows.shape[0], int) and rows.stride(1) == 1
        if tall and rows.dtype == torch.float32 and rows.device.type == "cpu" and min(weight.shape) >= WIDTH:
            node.target = torch.ops.fcl.tall_product.default
            replaced += 1
    return replaced


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
