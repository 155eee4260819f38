"""A checkpoint folder becomes a `Model`: everything an engine needs, on one backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels.bfloat16 import widen
from ..kernels.ops import Ops
from .checkpoint import Checkpoint, Component, file_named
from .clauses import Slot, Vocabulary
from .config import Config, read_json
from .defaults import read_defaults
from .digests import STATS, architecture_digest, content_digest, shipped_files
from .errors import MalformedFile, MissingFile, UnreadableFile, WrongConfig, WrongShape, printable
from .info import Architecture, ModelIdentity
from .lfs import POINTER, refuse_pointer
from .limits import Limits
from .memory import MemoryCoefficients, flux_coefficients
from .models import bert, flux, vae
from .neighbours import load_neighbours
from .pipeline import want_flux_pipeline
from .safetensors_file import SafetensorsFile
from .sigmas import SigmaConfig
from .styles.space import StyleSpace, load_styles
from .text import Float32, TextEncoding, TextPipeline, TextStats, read_only

EMBEDDED_GUIDANCE = 3.5  # what FLUX.1 [dev] is documented with
FORMAT = 1  # of salon.json
SETTINGS = {  # keys of salon.json that loading passes over, and who reads them
    "name": "of the model, to be shown",
    "version": "of the model, to be shown",
    "text": "the text pipeline, below",
    "style_vectors": "engine/styles/space.py",
    "default_style": "engine/default_style.py",
}
WORDS = {  # keys of its "text" that are read elsewhere
    "slots": "below",
    "stats": "below",
    "neighbours": "engine/neighbours.py",
    "natural_palette": "engine/clauses.py",
    **dict.fromkeys(("styles", "backgrounds", "palettes", "finishes"), "known words, of a slot that a model may lack"),
}
MARKS = ("[CLS]", "[SEP]")  # tokens before and behind a text of BERT's


@dataclass
class Model:
    """A loaded checkpoint.

    Attributes:
        checkpoint: the folder.
        name, version: of the checkpoint's own choosing, or the folder's name and "".
        flux, transformer: config and weights of the velocity model.
        autoencoder_config, autoencoder: config and weights of the decoder.
        sigmas: how the checkpoint spaces its sigmas.
        text: the text pipeline, or None for a checkpoint without `salon.json`.
        defaults: fields of `GenerationSpec` that suit the model.
        draft: those that a quick draft has otherwise; empty: none.
        vocabulary: what `salon.json` says of the things it knows, for frontends to show.
        components: what was loaded of the folder's components, by name.
        salon: `salon.json`; without values for a folder that has none.
        files: what the model has beside them: `salon.json`, every file that it names, and the style adapter.
        styles: the styles that it ships, or None.
    """

    checkpoint: Checkpoint
    name: str
    version: str
    flux: flux.FluxConfig
    transformer: Any
    autoencoder_config: vae.AutoencoderConfig
    autoencoder: Any
    sigmas: SigmaConfig
    text: TextPipeline | None
    defaults: Mapping[str, Any]
    draft: Mapping[str, Any]
    vocabulary: Mapping[str, Any]
    components: Mapping[str, Component]
    salon: Config
    files: Sequence[Path]
    styles: StyleSpace | None

    @cached_property
    def architecture(self) -> Architecture:
        """The sizes that requests, text and adapters must fit."""
        return Architecture(
            granularity=_granularity(self.autoencoder_config),
            token_channels=self.flux.in_channels,
            text_width=self.flux.joint_attention_dim,
            pooled_width=self.flux.pooled_projection_dim,
            embedded_guidance=EMBEDDED_GUIDANCE if self.flux.guidance_embeds else None,
            adapter_layers=self.flux.num_double_blocks,
            adapter_width=self.flux.width,
            sigmas=self.sigmas,
        )

    def memory(self, itemsize: int) -> MemoryCoefficients:
        """What its activations take where a number of the compute dtype has `itemsize` bytes."""
        return flux_coefficients(
            width=self.flux.width,
            channels=self.flux.in_channels,
            modulations=self.flux.num_modulations,
            coder_channels=self.autoencoder_config.block_out_channels,
            itemsize=itemsize,
        )

    @property
    def identity(self) -> ModelIdentity:
        """Which model it is. Reads everything, as `digest` does."""
        parts = {name: part.content_hash for name, part in sorted(self.components.items())}
        return ModelIdentity(name=self.name, version=self.version, digest=self.digest, components=parts)

    @cached_property
    def digest(self) -> str:
        """Content hash of all that the model is made of: `components` and `files`. Reads everything, so it is made
        when first wanted."""
        return content_digest(self.checkpoint, self.components, self.files)

    @cached_property
    def architecture_digest(self) -> str:
        """Hash of what decides how much work the model is: sizes and tensors' shapes, not their values."""
        return architecture_digest(self.components, self.salon, self.files)

    @cached_property
    def unconditional(self) -> TextEncoding:
        """What the unconditional branch sees when no negative prompt is given: zeros."""
        if self.text is not None:
            return self.text.unconditional
        tokens = np.zeros((0, self.flux.joint_attention_dim), np.float32)
        return read_only(tokens, np.zeros(self.flux.pooled_projection_dim, np.float32))


def _granularity(config: vae.AutoencoderConfig) -> int:
    """One halving between levels of the autoencoder, and one by packing 2 x 2 latents into a token."""
    return int(2 ** len(config.block_out_channels))


def load_model(ops: Ops[Any, Any], path: Path, limits: Limits, *, require_text: bool = False) -> Model:
    """Load a checkpoint folder.

    Args:
        require_text: refuse a folder without a text pipeline, before any weight is packed.

    Raises:
        CheckpointError: anything wrong with the folder, with path and key.
    """
    checkpoint = Checkpoint(path)
    file = path / "salon.json"
    own = read_json(file) if file.exists() else {}
    salon = Config(file, own)
    salon.only("format", (FORMAT,), FORMAT)
    names = ("transformer", "vae", "scheduler", *(("text_encoder", "tokenizer") if "text" in own else ()))
    want_flux_pipeline(checkpoint, names)
    if require_text and "text" not in own:
        raise WrongConfig(
            "a model without a text pipeline", path=file, key="text", expected="how prompts are read", found="nothing",
            remedy="it draws what a program has encoded and passes to Engine.open; use a folder that reads prompts",
        )  # fmt: skip
    components = {name: checkpoint.component(name) for name in names}
    transformer, autoencoder = components["transformer"], components["vae"]
    scheduler = components["scheduler"].path / "scheduler_config.json"
    sigmas = SigmaConfig.read(Config(scheduler, read_json(scheduler)))
    _want_one_model(transformer, autoencoder)
    transformer_weights = flux.load_flux(ops, transformer)
    autoencoder_weights = vae.load_autoencoder(ops, autoencoder)
    defaults, draft = read_defaults(salon, _granularity(autoencoder_weights.config))
    vocabulary = salon.mapping("vocabulary")
    salon.finish(SETTINGS)
    return Model(
        checkpoint=checkpoint,
        name=str(own.get("name", printable(path.resolve().name))),
        version=str(own.get("version", "")),
        flux=transformer_weights.config,
        transformer=transformer_weights,
        autoencoder_config=autoencoder_weights.config,
        autoencoder=autoencoder_weights,
        sigmas=sigmas,
        text=_load_text(ops, components, salon, limits) if "text" in own else None,
        defaults=defaults,
        draft=draft,
        vocabulary=vocabulary,
        components=components,
        salon=salon,
        files=shipped_files(salon),
        styles=load_styles(
            ops, path, salon, partial(flux.load_ip_adapter, ops, transformer_weights),
            autoencoder_weights.config.latent_channels,
        ),
    )  # fmt: skip


def _want_one_model(transformer: Component, autoencoder: Component) -> None:
    """WrongConfig unless the autoencoder makes colours of what the transformer makes, before any weight is packed."""
    coder = vae.AutoencoderConfig.read(autoencoder.config)
    channels = flux.FluxConfig.read(transformer.config).in_channels
    if channels != 4 * coder.latent_channels:
        expected = f"{4 * coder.latent_channels}, 2 x 2 of the autoencoder's {coder.latent_channels} latent channels"
        transformer.config.refuse("in_channels", expected, channels)
    if coder.out_channels != 3:
        autoencoder.config.refuse("out_channels", "3, red, green and blue", coder.out_channels)


class BertEncoder:
    """The checkpoint's WordPiece tokenizer and BERT encoder. The tokenizer is read when first used.

    Args:
        ops, weights: backend and `bert.load_bert`.
        path: tokenizer.json.
    """

    def __init__(self, ops: Ops[Any, Any], weights: Any, path: Path) -> None:
        self.ops = ops
        self.weights = weights
        self.path = path
        refuse_pointer(path, self._bytes()[: len(POINTER)])

    def _bytes(self) -> bytes:
        """The file, read by its path as it is: the tokenizers library takes paths in UTF-8 only."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError as error:
            expected = "tokenizer.json of the tokenizers library"
            raise MissingFile("no tokenizer", path=self.path, expected=expected) from error
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            raise UnreadableFile(reason, path=self.path, remedy="check its rights") from error

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer  # an extension module of some megabytes: not before the first prompt

        data = self._bytes()
        try:
            tokenizer = Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises bare Exception
            raise MalformedFile(f"the tokenizer cannot be read ({error})", path=self.path) from error
        for token in MARKS:
            if tokenizer.token_to_id(token) is None:
                raise MalformedFile("the tokenizer lacks a token", path=self.path, key=token)
        known, size = self.weights.config.vocab_size, tokenizer.get_vocab_size()
        if size > known:
            expected = f"at most the text encoder's {known}"
            raise MalformedFile("other vocabulary", path=self.path, expected=expected, found=str(size))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def tokenize(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, clauses: Sequence[Sequence[int]]) -> list[Float32]:
        start, end = (self._tokenizer.token_to_id(token) for token in MARKS)
        ids = [np.array([start, *clause, end], np.int32) for clause in clauses]
        states = self.ops.numpy(bert.encode(self.ops, self.weights, ids))
        cuts = np.cumsum([len(part) for part in ids])[:-1]
        return [part[1:-1] for part in np.split(states, cuts)]


def _load_text(ops: Ops[Any, Any], components: Mapping[str, Component], salon: Config, limits: Limits) -> TextPipeline:
    text = salon.values["text"]
    settings = Config(salon.path, text if isinstance(text, dict) else {})
    settings.only("pipeline", ("clauses",))
    settings.only("version", (1,))
    stats_path = file_named(salon.path, "text.stats", settings.values.get("stats", STATS))
    encoder = BertEncoder(
        ops, bert.load_bert(ops, components["text_encoder"]), components["tokenizer"].path / "tokenizer.json"
    )
    try:
        slots = [Slot(**slot) for slot in text["slots"]]
        settings.finish(WORDS | {slot.table: "known words of a slot" for slot in slots})
        vocabulary = Vocabulary.from_json(text)
        stats = _load_stats(SafetensorsFile(stats_path), encoder.weights.config.hidden_size)
        neighbours = load_neighbours(salon, encoder.weights.config.hidden_size)
        _want_fitting_text(encoder.weights.config, slots, components["transformer"].config)
        return TextPipeline(
            encoder, slots, vocabulary, stats, neighbours=neighbours, max_chars=limits.max_prompt_chars,
            cache_size=limits.text_cache,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedFile(f"text pipeline: {error!r}", path=salon.path, key="text") from error


def _load_stats(file: SafetensorsFile, width: int) -> TextStats:
    """Statistics of a text encoder so wide."""
    stats = {name: widen(file.array(name), name) for name in TextStats.__dataclass_fields__}
    for name, values in stats.items():
        if values.shape != (width,):
            expected = f"[{width}], the width of the text encoder"
            found = str(list(values.shape))
            raise WrongShape("wrong statistics", path=file.path, key=name, expected=expected, found=found)
        if not np.isfinite(values).all() or (name.endswith("_std") and values.min() <= 0):
            raise MalformedFile("wrong statistics", path=file.path, key=name, expected="finite, deviations above 0")
    return TextStats(**stats)


def _want_fitting_text(encoder: bert.BertConfig, slots: Sequence[Slot], transformer: Config) -> None:
    """WrongConfig unless the transformer reads what the text pipeline makes."""
    config, width = flux.FluxConfig.read(transformer), encoder.hidden_size
    for key in ("joint_attention_dim", "pooled_projection_dim"):
        if getattr(config, key) != width:
            transformer.refuse(key, f"{width}, the width of the text encoder", getattr(config, key))
    longest, most = max(slot.tokens for slot in slots), encoder.max_position_embeddings - len(MARKS)
    if longest > most:
        raise ValueError(f"a slot of {longest} tokens, want at most {most} (the text encoder's positions)")
