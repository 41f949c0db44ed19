"""Compilation of the fast path: site energies and their gradient with respect to the pair vectors.

Training needs second derivatives: forces are a gradient of the energy, and the loss is differentiated again with
respect to the parameters. `torch.compile` supports only first derivatives. The gradient with respect to the pair
vectors is therefore first traced into plain tensor operations (`make_fx`), which are then compiled; the gradient with
respect to parameters and cutoffs is an ordinary backward pass.

Compilation takes about a minute (less if the program is in TorchInductor's cache on disk), so it pays off in long runs
only. It is done once each for training, evaluation and calibration; the program is valid for batches of any size.
"""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from fcl.models.compile_cpu import ROWS, multiply_by_onednn, onednn_multiplies, sum_in_order
from fcl.runs.device import forked

#: Minimum of variable sizes: torch specialises on sizes 0 and 1.
SMALLEST_SIZE = 2


class _SiteEnergies(torch.nn.Module):
    """`Potential.site_energies` as the forward of a module, for `torch.func.functional_call`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model.site_energies(*inputs)


class CompiledEnergies:
    """Compiled ``(site energies, d sum(site energies) / d vectors)`` of a model on its fast path.

    Called like `Potential.site_energies`. Parameters and buffers are inputs of the program, not constants: they may
    change between calls and, like the cutoffs, have gradients. ``backend``: see `torch.compile`. `ValueError` in a fork
    (`fcl.runs.device.forked`): the threads are part of the program.
    """

    def __init__(self, model, backend: str = "inductor"):
        self._module = _SiteEnergies(model)
        self._backend = backend
        self._programs: dict[tuple, tuple] = {}

    @staticmethod
    def covers(numbers: torch.Tensor, pair_index: torch.Tensor) -> bool:
        """Whether the batch is large enough for the program; a single atom or pair is evaluated without it."""
        return numbers.shape[0] >= SMALLEST_SIZE and pair_index.shape[1] >= SMALLEST_SIZE

    def __call__(
        self,
        numbers: torch.Tensor,
        pair_index: torch.Tensor,
        vectors: torch.Tensor,
        cutoffs: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Site energies [n_atoms] (eV) and gradient [n_pairs, 3] (eV/A); shapes of the inputs as in `fcl.data`."""
        if forked():
            message = "a compiled model cannot be used in a fork of a process with several threads"
            raise ValueError(f"{message}: set one thread before, or use the backend fast")
        inputs = (numbers, pair_index, vectors) if cutoffs is None else (numbers, pair_index, vectors, cutoffs)
        threads = torch.get_num_threads()
        key = (vectors.dtype, vectors.device, threads if vectors.device.type == "cpu" else None)
        if key not in self._programs:
            names, traced = self._trace(inputs)
            # The number of threads is part of the generated code. TorchInductor's cache on disk does not depend on
            # torch's number of threads, only on this option.
            options = {"cpp.threads": threads} if self._backend == "inductor" else None
            program = torch.compile(traced, backend=self._backend, fullgraph=True, options=options)
            self._programs[key] = names, program
        names, program = self._programs[key]
        n_pairs = vectors.shape[0]
        if onednn_multiplies(vectors):
            inputs = self._filled_up(*inputs)
        for tensor, dimension in zip(inputs, _VARIABLE_DIMENSION, strict=False):
            torch._dynamo.mark_dynamic(tensor, dimension)
        state = self._state()
        energies, gradient = program(*(state[name] for name in names), *inputs)
        return energies, gradient[:n_pairs]

    def _filled_up(self, numbers: torch.Tensor, pair_index: torch.Tensor, vectors: torch.Tensor, *cutoffs) -> tuple:
        """The inputs padded to a multiple of `ROWS` pairs by pairs beyond all cutoffs, which contribute exact zeros."""
        missing = -vectors.shape[0] % ROWS
        beyond = vectors.new_tensor([[2.0 * self._module.model.cutoff_limit, 0.0, 0.0]]).expand(missing, 3)
        pair_index = torch.cat([pair_index, pair_index.new_zeros(2, missing)], dim=1)
        return numbers, pair_index, torch.cat([vectors, beyond]), *cutoffs

    def _state(self) -> dict[str, torch.Tensor]:
        return {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}

    def _trace(self, inputs: tuple[torch.Tensor, ...]) -> tuple[list[str], torch.fx.GraphModule]:
        """Names of the parameters and buffers used by the program, and the program."""
        state = self._state()
        names = list(state)

        def energies_and_gradient(*tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            values, arguments = tensors[: len(names)], tensors[len(names) :]
            energies = torch.func.functional_call(self._module, dict(zip(names, values, strict=True)), arguments)
            return energies, torch.autograd.grad(energies.sum(), arguments[2], create_graph=True)[0]

        mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
        examples = [_fake(mode, state[name], None) for name in names]
        examples += [_fake(mode, tensor, dim) for tensor, dim in zip(inputs, _VARIABLE_DIMENSION, strict=False)]
        with mode, torch.enable_grad():
            traced = make_fx(energies_and_gradient)(*examples)
        graph = traced.graph
        for node in list(graph.nodes):
            # Tracing detaches tensors saved for the derivative, which would cut off the gradients of the parameters.
            if node.op == "call_function" and node.target is torch.ops.aten.detach.default:
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)
        graph.eliminate_dead_code()
        if inputs[2].device.type == "cpu" and torch.get_num_threads() > 1:
            sum_in_order(graph)
        if onednn_multiplies(inputs[2]):
            multiply_by_onednn(graph)
        unused = {
            name
            for name, node in zip(names, graph.find_nodes(op="placeholder"), strict=False)
            if not node.users and not graph.erase_node(node)
        }
        traced.recompile()
        return [name for name in names if name not in unused], traced


#: Dimension with variable size, of numbers, pair_index, vectors and cutoffs.
_VARIABLE_DIMENSION = (0, 1, 0, 0)


def _fake(mode: FakeTensorMode, tensor: torch.Tensor, variable: int | None) -> torch.Tensor:
    """A fake tensor without values; its size along ``variable`` is symbolic."""
    sizes = [DimDynamic.DYNAMIC if dim == variable else DimDynamic.STATIC for dim in range(tensor.dim())]
    fake = mode.from_tensor(tensor.detach(), symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes))
    return fake.requires_grad_(tensor.is_floating_point())
