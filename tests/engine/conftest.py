"""A tiny random checkpoint in diffusers layout, written without torch, and an engine on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from salon.engine.engine import Engine
from salon.engine.limits import Limits
from salon.engine.spec import GenerationSpec
from salon.engine.start import PictureForm, PictureUse, start_forms
from salon.kernels import backends

TEXT = 12  # width of the text encoder
HEADS, HEAD = 2, 8
WIDTH = HEADS * HEAD
LATENTS = 4  # channels of the autoencoder's latents; packed 2x2: 16
LEVELS = (8, 8)  # one halving: a token is 4 x 4 pixels
SENTENCE = "a red green blue apple cat dog house big small on the in of 3d render style teal pink background neon"
WORDS = SENTENCE.split()

Weights = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


class Random:
    """Named random weights of a given size."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.weights: Weights = {}

    def linear(self, name: str, outputs: int, inputs: int, scale: float = 1.0) -> None:
        self.normal(f"{name}.weight", (outputs, inputs), scale / np.sqrt(inputs))
        self.normal(f"{name}.bias", (outputs,), 0.1 * scale)

    def conv(self, name: str, outputs: int, inputs: int, size: int = 3) -> None:
        self.normal(f"{name}.weight", (outputs, inputs, size, size), 1 / np.sqrt(inputs * size * size))
        self.normal(f"{name}.bias", (outputs,), 0.1)

    def norm(self, name: str, width: int, bias: bool = True) -> None:
        self.weights[f"{name}.weight"] = (1 + 0.1 * self.rng.standard_normal(width)).astype(np.float32)
        if bias:
            self.normal(f"{name}.bias", (width,), 0.1)

    def normal(self, name: str, shape: tuple[int, ...], scale: float) -> None:
        self.weights[name] = (scale * self.rng.standard_normal(shape)).astype(np.float32)


def transformer(guidance_embeds: bool) -> tuple[dict[str, Any], Weights]:
    r = Random(1)
    d, channels = WIDTH, 4 * LATENTS
    r.linear("x_embedder", d, channels)
    r.linear("context_embedder", d, TEXT)
    for name, width in (("timestep", 256), ("text", TEXT), *((("guidance", 256),) if guidance_embeds else ())):
        r.linear(f"time_text_embed.{name}_embedder.linear_1", d, width)
        r.linear(f"time_text_embed.{name}_embedder.linear_2", d, d)
    for i in range(2):
        at = f"transformer_blocks.{i}"
        for name in ("norm1", "norm1_context"):
            r.linear(f"{at}.{name}.linear", 6 * d, d, 0.5)
        for name in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
            r.linear(f"{at}.attn.{name}", d, d)
        for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            r.norm(f"{at}.attn.{name}", HEAD, bias=False)
        for name in ("ff", "ff_context"):
            r.linear(f"{at}.{name}.net.0.proj", 4 * d, d)
            r.linear(f"{at}.{name}.net.2", d, 4 * d)
    at = "single_transformer_blocks.0"
    r.linear(f"{at}.norm.linear", 3 * d, d, 0.5)
    r.linear(f"{at}.proj_mlp", 4 * d, d)
    r.linear(f"{at}.proj_out", d, 5 * d)
    for name in ("to_q", "to_k", "to_v"):
        r.linear(f"{at}.attn.{name}", d, d)
    for name in ("norm_q", "norm_k"):
        r.norm(f"{at}.attn.{name}", HEAD, bias=False)
    r.linear("norm_out.linear", 2 * d, d, 0.5)
    r.linear("proj_out", channels, d)
    config = {
        "_class_name": "FluxTransformer2DModel",
        "attention_head_dim": HEAD,
        "axes_dims_rope": [4, 2, 2],
        "guidance_embeds": guidance_embeds,
        "in_channels": channels,
        "joint_attention_dim": TEXT,
        "num_attention_heads": HEADS,
        "num_layers": 2,
        "num_single_layers": 1,
        "out_channels": None,
        "patch_size": 1,
        "pooled_projection_dim": TEXT,
    }
    return config, r.weights


def autoencoder() -> tuple[dict[str, Any], Weights]:
    r = Random(2)

    def resnet(at: str, inputs: int, outputs: int) -> None:
        r.norm(f"{at}.norm1", inputs)
        r.conv(f"{at}.conv1", outputs, inputs)
        r.norm(f"{at}.norm2", outputs)
        r.conv(f"{at}.conv2", outputs, outputs)
        if inputs != outputs:
            r.conv(f"{at}.conv_shortcut", outputs, inputs, 1)

    for side, start, end in (("encoder", 3, 2 * LATENTS), ("decoder", LATENTS, 3)):
        levels = LEVELS if side == "encoder" else LEVELS[::-1]
        r.conv(f"{side}.conv_in", levels[0], start)
        r.conv(f"{side}.conv_out", end, levels[-1])
        r.norm(f"{side}.conv_norm_out", levels[-1])
        for j in range(2):
            middle = LEVELS[-1]
            resnet(f"{side}.mid_block.resnets.{j}", middle, middle)
        width = levels[0]
        for i, out in enumerate(levels):
            block, count, sampler = ("down", 1, "downsamplers") if side == "encoder" else ("up", 2, "upsamplers")
            for j in range(count):
                resnet(f"{side}.{block}_blocks.{i}.resnets.{j}", width if j == 0 else out, out)
            if i < len(levels) - 1:
                r.conv(f"{side}.{block}_blocks.{i}.{sampler}.0.conv", out, out)
            width = out
    config = {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": list(LEVELS),
        "down_block_types": ["DownEncoderBlock2D"] * len(LEVELS),
        "force_upcast": True,
        "in_channels": 3,
        "latent_channels": LATENTS,
        "layers_per_block": 1,
        "mid_block_add_attention": False,
        "norm_num_groups": 4,
        "out_channels": 3,
        "sample_size": 16,
        "scaling_factor": 0.7,
        "shift_factor": 0.05,
        "up_block_types": ["UpDecoderBlock2D"] * len(LEVELS),
        "use_post_quant_conv": False,
        "use_quant_conv": False,
    }
    return config, r.weights


def text_encoder(vocabulary: int) -> tuple[dict[str, Any], Weights]:
    r = Random(3)
    for name, count in (("word", vocabulary), ("position", 32), ("token_type", 2)):
        r.normal(f"embeddings.{name}_embeddings.weight", (count, TEXT), 1.0)
    r.norm("embeddings.LayerNorm", TEXT)
    at = "encoder.layer.0"
    for name in ("query", "key", "value"):
        r.linear(f"{at}.attention.self.{name}", TEXT, TEXT)
    r.linear(f"{at}.attention.output.dense", TEXT, TEXT)
    r.linear(f"{at}.intermediate.dense", 4 * TEXT, TEXT)
    r.linear(f"{at}.output.dense", TEXT, 4 * TEXT)
    r.norm(f"{at}.attention.output.LayerNorm", TEXT)
    r.norm(f"{at}.output.LayerNorm", TEXT)
    r.linear("pooler.dense", TEXT, TEXT)
    config = {
        "architectures": ["BertModel"],
        "hidden_act": "gelu",
        "hidden_size": TEXT,
        "intermediate_size": 4 * TEXT,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 32,
        "model_type": "bert",
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "vocab_size": vocabulary,
    }
    return config, r.weights


def tokenizer() -> Any:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(WORDS), *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(dict.fromkeys(words))}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


SALON = {
    "format": 1,
    "name": "tiny",
    "version": "1",
    "text": {
        "pipeline": "clauses",
        "version": 1,
        "stats": "text_stats.safetensors",
        "slots": [
            {"name": "subject", "tokens": 4},
            {"name": "style", "tokens": 3, "form": "{} style"},
            {"name": "background", "tokens": 2, "form": "{} background"},
        ],
        "styles": {"3d render": ["3d"]},
        "backgrounds": ["teal", "pink"],
    },
    "defaults": {"width": 16, "height": 16, "steps": 3, "guidance_scale": 3.0, "solver": "euler"},
}

SCHEDULER = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 1.0}


def write_tiny(folder: Path, *, guidance_embeds: bool = False) -> Path:
    """Write the checkpoint; one token is 4 x 4 pixels, 9 text rows a prompt."""

    def put(
        component: str, config: dict[str, Any], name: str, weights: Weights | None, file: str = "config.json"
    ) -> None:
        (folder / component).mkdir(parents=True)
        (folder / component / file).write_text(json.dumps(config))
        if weights is not None:
            save_file(weights, folder / component / name, {"format": "pt"})

    put("transformer", *_with_name(transformer(guidance_embeds), "diffusion_pytorch_model.safetensors"))
    put("vae", *_with_name(autoencoder(), "diffusion_pytorch_model.safetensors"))
    tokens = tokenizer()
    put("text_encoder", *_with_name(text_encoder(tokens.get_vocab_size()), "model.safetensors"))
    put("scheduler", SCHEDULER, "", None, "scheduler_config.json")
    put("tokenizer", {"tokenizer_class": "BertTokenizer"}, "", None, "tokenizer_config.json")
    tokens.save(str(folder / "tokenizer" / "tokenizer.json"))
    rng = np.random.default_rng(4)
    stats = {f"{x}_mean": 0.1 * rng.standard_normal(TEXT) for x in ("token", "pooled")}
    stats |= {f"{x}_std": 1 + 0.1 * rng.random(TEXT) for x in ("token", "pooled")}
    save_file({name: value.astype(np.float32) for name, value in stats.items()}, folder / "text_stats.safetensors")
    (folder / "salon.json").write_text(json.dumps(SALON))
    index = {
        "_class_name": "FluxPipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "BertModel"],
        "tokenizer": ["transformers", "BertTokenizer"],
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


THINGS = ("apple", "cat", "dog", "big house", "house")


def write_asked(folder: Path) -> Path:
    """Write the checkpoint with a list of its words, so that it answers inquiries."""
    write_tiny(folder)
    concepts = [{"name": name, "synonyms": []} for name in THINGS]
    (folder / "salon.json").write_text(json.dumps(SALON | {"vocabulary": {"concepts": concepts}}))
    return folder


def _with_name(part: tuple[dict[str, Any], Weights], name: str) -> tuple[dict[str, Any], str, Weights]:
    return part[0], name, part[1]


def branch_weights(seed: int = 9) -> Weights:
    """An adapter branch for the tiny transformer, in diffusers' Flux IP-Adapter layout."""
    r = Random(seed)
    for i in range(2):
        for name in ("to_k_ip", "to_v_ip"):
            r.linear(f"{i}.{name}", WIDTH, TEXT, 1.5)
    return r.weights


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


def _backends() -> list[str]:
    """The reference, and the compiled backend where it is built."""
    try:
        backends.create("cpu")
    except ImportError:
        return ["reference"]
    return ["reference", "cpu"]


ADAPTERS = {"short": 1, "page": 4, "long": 9, "null": 2}  # name -> tokens


def make_engine(folder: Path, backend: str = "reference", **limits: int) -> Engine:
    """An engine on the tiny checkpoint with four registered adapters."""
    engine = Engine.load(folder, backend=backend, limits=Limits(**limits))
    engine.add_branch(branch_weights())
    for name, count in ADAPTERS.items():
        rng = np.random.default_rng([*name.encode()])
        engine.register_adapter(name, 2 * rng.standard_normal((count, TEXT)).astype(np.float32))
    return engine


def start_pixels(request: GenerationSpec) -> dict[PictureForm, Any]:
    """What a request starts from: pictures that follow from digest and size; of masks the left third is white."""
    found: dict[PictureForm, Any] = {}
    for form in start_forms(request):
        assert form.size is not None
        width, height = form.size
        rng = np.random.default_rng(int(form.digest[:8], 16))
        found[form] = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        if form.use is PictureUse.MASK:
            found[form] = np.zeros((height, width), np.uint8)
            found[form][:, : max(1, width // 3)] = 255
    return found


def add_pictures(engine: Engine, request: GenerationSpec) -> GenerationSpec:
    """Add what a request starts from to an engine."""
    for form, pixels in start_pixels(request).items():
        engine.add_picture(form, pixels)
    return request


@pytest.fixture(scope="session", params=_backends())
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def engine(tiny_model: Path, backend: str) -> Engine:
    """Shared by tests that leave no generation open and no limit changed."""
    return make_engine(tiny_model, backend)


@pytest.fixture
def new_engine(tiny_model: Path, backend: str) -> Callable[..., Engine]:
    """Makes engines of the test's own, with limits given by name."""

    def make(**limits: int) -> Engine:
        return make_engine(tiny_model, backend, **limits)

    return make
