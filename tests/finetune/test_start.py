"""How a run starts: what is imported, and what is done side by side before the first step."""

from __future__ import annotations

import subprocess
import sys


def test_the_stage_imports_nothing_that_the_first_step_does_not_need() -> None:
    script = (
        "import sys, clone.finetune.stage\n"
        "needless = {'lightning', 'torchmetrics', 'transformers', 'peft', 'litgpt', 'matplotlib', 'scipy', 'sklearn',\n"
        "    'pandas', 'tensorboard', 'huggingface_hub', 'requests'}\n"
        "print(sorted(needless & set(sys.modules)))\n"
        "import torchmetrics\n"  # Lightning's question about it leaves it as it is
        "from lightning_utilities.core.imports import compare_version\n"
        "import operator\n"
        "print(compare_version('torchmetrics', operator.ge, '0.1'))\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["[]", "True"]
