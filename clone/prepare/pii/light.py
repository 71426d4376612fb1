"""Import Presidio without the deep-learning libraries that it tries for engines which are not used here.

With torch and transformers installed that import takes 5 s and 300 MB, in every process that scrubs. Import this before
anything of Presidio's.
"""

from __future__ import annotations

import sys

_UNUSED = ("torch", "transformers", "stanza", "flair", "gliner", "spacy_stanza", "spacy_huggingface_pipelines")

_hidden = [name for name in _UNUSED if name not in sys.modules]
for _name in _hidden:
    sys.modules[_name] = None  # type: ignore[assignment]  # makes `import` raise ImportError, as where it is missing
try:
    import presidio_analyzer  # noqa: F401
finally:
    for _name in _hidden:
        del sys.modules[_name]
