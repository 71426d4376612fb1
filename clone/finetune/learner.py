"""One step after another: rows of sequences through the model, and the optimizer.

What a step finds is known on the device long before anybody asks: nothing here waits for it, so that the next rows are
laid and the next kernels queued while the device works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from clone.finetune.devices import average_gradients, deal, passes
from clone.finetune.fabric import Fabric
from clone.finetune.packed import PackedModel
from clone.finetune.rows import PackedBatch, lay_row
from clone.finetune.sequences import Sequences
from clone.lm.weights import adapter_parameters


@dataclass(frozen=True, slots=True)
class Step:
    """The rows of an optimizer step, laid."""

    rows: list[tuple[PackedBatch, bool]]  # what this device does, and whether it counts
    n_learned: int  # graded tokens of the whole step, on all devices
    n_tokens: int  # and tokens


class Learner:
    """A model, its adapter's optimizer, and the steps that they make.

    A step whose loss or gradient is not a number changes nothing.
    """

    def __init__(
        self, fabric: Fabric, model: PackedModel, peak_rate: float, *, weight_decay: float = 0.0, clip_norm: float = 1.0
    ) -> None:
        self.fabric, self.model, self.clip_norm = fabric, model, clip_norm
        self.parameters = adapter_parameters(model.model)
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=peak_rate, betas=(0.9, 0.95), weight_decay=weight_decay, fused=True
        )
        self.trained = fabric.setup_module(model)

    def lay(self, sequences: Sequences, steps: Iterable[list[list[int]]], row_tokens: int) -> Iterator[Step]:
        """Yield the rows of sequences of each step as what goes through the model."""
        fabric, lengths, costs = self.fabric, sequences.lengths.tolist(), sequences.costs.tolist()
        for rows in steps:
            mine = passes(deal(costs, rows, row_tokens, fabric.world_size), fabric.global_rank)
            which = [i for row in rows for i in row]
            yield Step(
                [(self.model.ready(lay_row(sequences, row)), counts) for row, counts in mine],
                sequences.count_learned(which),
                sum(lengths[i] for i in which),
            )

    def learn(self, step: Step, rate: float, is_asked: bool = False) -> Tensor:
        """Make a step at a learning rate.

        Returns, on the device: the loss in nats a graded token, the share of the processes that ask to stop, and the
        norm of the gradient.
        """
        fabric = self.fabric
        weight = fabric.world_size / step.n_learned  # gradients are averaged over the devices
        loss = torch.zeros((), device=fabric.device)
        for i, (batch, counts) in enumerate(step.rows):
            with fabric.no_backward_sync(self.trained, enabled=i < len(step.rows) - 1):
                summed = self.trained(batch) * (weight if counts else 0.0)
                fabric.backward(summed)
                loss += summed.detach()
        average_gradients(fabric, self.parameters.values())
        asking = torch.full((), float(is_asked), device=fabric.device)  # made there: a copy would wait for all before
        told = cast(Tensor, fabric.all_reduce(torch.stack([loss, asking]), reduce_op="mean"))
        norm = self._optimize(rate, told[0])
        return torch.cat([told, norm[None]])

    def _optimize(self, rate: float, loss: Tensor) -> Tensor:
        """Clip the gradients and take the optimizer's step, if loss and gradients are numbers; return their norm."""
        gradients = _gradients(self.parameters.values())
        norm = torch.nn.utils.get_total_norm(gradients)
        is_number = torch.isfinite(loss) & torch.isfinite(norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # What torch's GradScaler tells a fused optimizer: divide by this, and do nothing at all where that is 1.
        self.optimizer.grad_scale = (norm / self.clip_norm).clamp(min=1)  # type: ignore[attr-defined]
        self.optimizer.found_inf = (~is_number).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm


def _gradients(parameters: Iterable[torch.nn.Parameter]) -> Sequence[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
