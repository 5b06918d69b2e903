"""The folders that `export` writes: aside first, then renamed, so that there is never half of one."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file

from resnetbk.files import accessing
from resnetbk.lock.lock import plain
from resnetbk.training.run import Run
from resnetbk_plugins.export.tokenizer_json import tokenizer_json

ABOUT = """# {name}

A language model of {parameters:,} parameters, trained by resnetbk {version}.
Its spec, with versions, is in `spec.lock.toml`.
{limits}
"""

TORCH = """`model.safetensors` is the state dict, `tokenizer_state.json` what the tokenizer remembers.
With `pip install resnetbk`:

```python
import json
from pathlib import Path

from resnetbk.lock.lock import read_lock
from resnetbk.model.assemble import assemble
from resnetbk.registry.lookup import Registry
from safetensors.torch import load_file

folder = Path("{folder}")
spec = read_lock(folder / "spec.lock.toml", Registry.discover())
state = json.loads((folder / "tokenizer_state.json").read_text())
tokenizer = spec.data.tokenizer.component.restore(state=state)
model = assemble(spec.model, vocabulary=tokenizer.vocabulary, seed=spec.seed)
model.load_state_dict(load_file(folder / "model.safetensors"))
model.eval()  # a torch.nn.Module: model(tokens).logits is (B, N, V)
```
"""

HF = """It opens in `transformers` without remote code, with `pip install "resnetbk[hf]"`:

```python
import resnetbk_plugins.hf  # registers the model's classes
from transformers import AutoModelForCausalLM{auto_tokenizer}

model = AutoModelForCausalLM.from_pretrained("{folder}")
{use}```

{cache}
"""

TOKENIZER_USE = """tokenizer = AutoTokenizer.from_pretrained("{folder}")
prompt = tokenizer("The", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=100)[0]))
"""

STREAMS = "`generate` carries the state from token to token, as its cache."
RECOMPUTES = "`generate` has no cache: it reads the last {window} tokens again for each new one."


def write_torch(run: Run, folder: Path) -> None:
    """model.safetensors, tokenizer_state.json, spec.lock.toml and a README.md that says how to load them."""
    with _new_folder(folder) as aside:
        save_file(
            {name: t.contiguous() for name, t in run.model.state_dict().items()}, aside / "model.safetensors"
        )
        (aside / "tokenizer_state.json").write_text(json.dumps(run.tokenizer.state()), encoding="utf-8")
        _about(run, aside, TORCH.format(folder=folder.as_posix()))


def write_hf(run: Run, folder: Path) -> None:
    """config.json, model.safetensors and so on, the tokenizer where `transformers` can have it,
    spec.lock.toml and a README.md. Logs a warning without a tokenizer."""
    from transformers import PreTrainedTokenizerFast

    from resnetbk_plugins.hf import ResnetBKConfig, ResnetBKForCausalLM

    spec = plain(run.spec, run.registry)
    needed = {key: spec[key] for key in ("name", "seed", "model")}
    needed["data"] = {key: spec["data"][key] for key in ("tokenizer", "window")}
    config = ResnetBKConfig(spec=needed, vocab_size=run.tokenizer.vocabulary)
    model = ResnetBKForCausalLM(config)
    model.model.load_state_dict(run.model.state_dict())
    saved = tokenizer_json(run.tokenizer)
    if saved is None:
        logging.getLogger("resnetbk").warning(
            "%s: no tokenizer in it: %r has none that transformers knows",
            folder,
            run.spec.data.tokenizer.name,
        )
    window = run.spec.data.window
    with _new_folder(folder) as aside:
        model.save_pretrained(aside)
        if saved is not None:
            (aside / "tokenizer.json").write_text(saved, encoding="utf-8")
            PreTrainedTokenizerFast(
                tokenizer_file=str(aside / "tokenizer.json"), clean_up_tokenization_spaces=False
            ).save_pretrained(aside)
        text = HF.format(
            folder=folder.as_posix(),
            auto_tokenizer=", AutoTokenizer" if saved else "",
            use=TOKENIZER_USE.format(folder=folder.as_posix()) if saved else "",
            cache=STREAMS if model.streams else RECOMPUTES.format(window=window),
        )
        _about(run, aside, text)


def _about(run: Run, aside: Path, how: str) -> None:
    """README.md and the lock; all files get their permissions."""
    from resnetbk import __version__

    shutil.copyfile(run.folder.spec_lock, aside / "spec.lock.toml")
    limits = f"It was trained on windows of {run.spec.data.window} tokens."
    about = ABOUT.format(
        name=run.spec.name, parameters=run.model.parameter_count(), version=__version__, limits=limits
    )
    readme = aside / "README.md"
    readme.write_text(f"{about}\n{how}", encoding="utf-8")
    for file in aside.iterdir():  # safetensors makes files that nobody else may read
        shutil.copymode(readme, file)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `folder` in the end. StorageError where it cannot be written."""
    aside = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    with accessing(folder):
        try:
            aside.mkdir(parents=True)
            yield aside
            if folder.exists():
                folder.rmdir()  # it is empty
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
