"""The door to Lightning Fabric, which starts processes and moves tensors between them.

Fabric is imported from its own package: `import lightning` would bring Lightning's trainer as well. And its one
question about torchmetrics (for a detector of loss spikes, which is not used here) is answered without importing that,
and with it matplotlib, scipy and transformers where they are installed. Together that is three of five seconds, and
more from a cold disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning_utilities.core import imports


@contextmanager
def _without_torchmetrics() -> Iterator[None]:
    """Let Lightning find no torchmetrics while it is imported."""
    compare = imports.compare_version

    def compare_others(package: str, *args: Any, **kwargs: Any) -> bool:
        return package != "torchmetrics" and compare(package, *args, **kwargs)

    imports.compare_version = compare_others
    try:
        yield
    finally:
        imports.compare_version = compare


with _without_torchmetrics():
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

__all__ = ["DDPStrategy", "Fabric", "ModelParallelStrategy"]
