"""What several threads of a CPU do better than the traced program says: sums that they share.

The graph of `fcl.model.compiled` is rewritten before it is differentiated, so derivatives are rewritten with it.
"""

from __future__ import annotations

import torch

aten = torch.ops.aten


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
