"""Which of our models computes what a `config.json` of Hugging Face describes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from resnetbk.errors import StorageError, UserError, nearest, one_line
from resnetbk.files import accessing, read_file
from resnetbk.spec.spec import keyed
from resnetbk.toml_write import inline
from resnetbk_plugins.channel_mixer.mlp import MLP
from resnetbk_plugins.channel_mixer.swiglu import SwiGLU
from resnetbk_plugins.embedding.learned_positions import LearnedPositions
from resnetbk_plugins.embedding.table import Table
from resnetbk_plugins.sequence_mixer.attention import Attention

if TYPE_CHECKING:
    from resnetbk.spec import Model

CONFIG = "config.json"
COMPONENTS = {
    "attention": Attention,
    "mlp": MLP,
    "swiglu": SwiGLU,
    "table": Table,
    "learned-positions": LearnedPositions,
}
FREE = {"dropout", "std"}
"""Keys of components that no weight depends on."""
ACTIVATIONS = {
    "gelu_new": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
}
Config = Mapping[str, Any]


def read_config(folder: Path) -> dict[str, Any]:
    """Raises StorageError when it is missing or damaged, UserError for a model of another kind."""
    path = folder / CONFIG
    with accessing(path, "read"):
        try:
            config: dict[str, Any] = json.loads(read_file(path, 1 << 20))
            kind, _ = config["model_type"], config["vocab_size"]
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path}: is no configuration of a language model ({error})") from None
    if kind not in TABLES:
        raise UserError(f"{path}: weights of {kind!r} are not read{nearest(str(kind), TABLES)}")
    return config


def model_table(config: Config) -> dict[str, Any]:
    """The `[model]` table of a spec. Raises UserError with all that our layers do not have."""
    try:
        table, unknown = TABLES[config["model_type"]](config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"{CONFIG} of the weights is incomplete or damaged ({one_line(error)})") from None
    mistakes = [f"the weights need {key} = {value!r}, which no component here has" for key, value in unknown]
    if mistakes:
        raise UserError(*mistakes)
    return table


def misfits(model: Model, table: Mapping[str, Any]) -> Iterator[str]:
    """A line for each key of `model` that is not as in `table`, with what to write."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    for key, value in ({"wiring": "sequential"} | plain).items():
        given = getattr(model, key)
        if given != value:
            instead = "" if given is None else f", not {inline(given)}"
            yield f"the weights need model.{key} = {inline(value)}{instead}"
    for key in (key for key in table if key not in plain):
        options = dict(table[key])
        wanted = COMPONENTS[options.pop("use")](**options)
        for _, part in keyed("", getattr(model, key)):
            if type(part.component) is not type(wanted):
                differing = [f"not {part.name!r}"]
            else:
                given, needed = _settings(part.component), _settings(wanted)
                differing = [f"not {k} = {inline(v)}" for k, v in given.items() if v != needed[k]]
            if differing:
                yield f"the weights need model.{key} = {inline(table[key])}, {', '.join(differing)}"


def _settings(component: Any) -> dict[str, Any]:
    """What its weights are used for depends on these."""
    settings = {key: value for key, value in attrs.asdict(component).items() if key not in FREE}
    if "kv_heads" in settings and settings["kv_heads"] == settings["heads"]:
        settings["kv_heads"] = None
    return settings


def _gpt2(config: Config) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    width = config["n_embd"]
    said = {"activation_function": "gelu_new", "tie_word_embeddings": True, **config}
    table = {
        "width": width,
        "depth": config["n_layer"],
        "norm": "layer-bias",
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "tie": said["tie_word_embeddings"],
        "mixer": {"use": "attention", "heads": config["n_head"], "rope": False, "bias": True},
        "channel": {
            "use": "mlp",
            "expansion": (config.get("n_inner") or 4 * width) / width,
            "activation": ACTIVATIONS.get(said["activation_function"]),
            "bias": True,
        },
        "embedding": {"use": "learned-positions", "length": config["n_positions"]},
    }
    needed = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False}
    return table, _unknown(config, needed, "activation_function")


def _llama(config: Config) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    rotation = config.get("rope_parameters") or config.get("rope_scaling") or {}
    table = {
        "width": width,
        "depth": config["num_hidden_layers"],
        "norm": "rms",
        "norm_eps": config.get("rms_norm_eps", 1e-6),
        "tie": config.get("tie_word_embeddings", False),
        "mixer": {
            "use": "attention",
            "heads": heads,
            "kv_heads": config.get("num_key_value_heads") or heads,
            "rope_base": float(rotation.get("rope_theta") or config.get("rope_theta") or 10000.0),
            "bias": config.get("attention_bias", False),
        },
        "channel": {
            "use": "swiglu",
            "expansion": 1.5 * config["intermediate_size"] / width,
            "activation": ACTIVATIONS.get(config.get("hidden_act", "silu")),
            "bias": config.get("mlp_bias", False),
        },
        "embedding": {"use": "table"},
    }
    unknown = _unknown(config, {"head_dim": width // heads}, "hidden_act")
    kind = rotation.get("rope_type", rotation.get("type", "default"))
    unknown += [("rope_type", kind)] if kind != "default" else []
    if config["intermediate_size"] % 8:
        unknown.append(("intermediate_size", config["intermediate_size"]))
    return table, unknown


def _unknown(config: Config, needed: Config, activation: str) -> list[tuple[str, Any]]:
    """What is not as needed, of the keys that are there."""
    differing = [(key, config[key]) for key, value in needed.items() if config.get(key) not in (None, value)]
    function = config.get(activation)
    return differing + ([(activation, function)] if function not in (None, *ACTIVATIONS) else [])


TABLES: dict[str, Callable[[Config], tuple[dict[str, Any], list[tuple[str, Any]]]]] = {
    "gpt2": _gpt2,
    "llama": _llama,
}
