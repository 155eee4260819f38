"""Open generations, step any set of them together, and take the pictures.

Long because it is one role: the only writer of generations, each method a step of their life. What a step computes, and
what is admitted, pinned or decoded, stands in modules of their own.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import complaint
from ..kernels import backends
from ..kernels.accelerator import Accelerator, accelerator_of
from ..kernels.ops import Dtype, Ops
from ..values import whole_of
from . import parking, pictures
from .adapters.adapters import AdapterBranch, Adapters, names_used
from .adapters.arena import Arena
from .admission import Admission
from .batch import Batch
from .checkpoint import EMBEDDED as EMBEDDED
from .copies import fetch
from .defaults import complete
from .denoiser import KeepsReferences, KeepsTexts
from .device import fitted, loading_on, on_device
from .errors import NumericalError, SpecError, StateError, UnknownArchitecture, UnknownBackend
from .evaluations import evaluations_of
from .files.opening import ModelPath
from .generation import INQUIRE, Generation, ParkedGeneration, State, StepReport
from .graphs import StepGraphs
from .info import BackendInfo, ModelInfo
from .inquiries import Question, course_of, probes_of
from .kept_references import ReferenceKeys
from .kept_texts import TextKeys
from .limits import Limits, want_limits
from .loading import Model, load_model
from .loras import Loras
from .memory import free_memory, weight_bytes
from .probing import Probing, encoder_of
from .progressive import enlarged_preview, grow, half, is_due
from .projection import projected
from .reading import read_spec, want_strict
from .recorded import RecordedSteps, runs_graphs
from .references import reference_grids
from .regions import compose
from .spec import AdapterUse, GenerationSpec, check_guidance, size_for_aspect
from .spread import all_adapters, check_spread
from .start import PictureForm, PictureUse
from .start_pictures import StartPictures
from .styles import names as style_names
from .styles.space import vector_of
from .text.pipeline import ShownPicture, TextEncoding, TextLoras
from .text.reader import PromptReader, ReadsPrompts
from .weights.ip_adapter import IpAdapter
from .windows import windows_of

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]


class Engine:
    """A model on a backend, and the generations that are open on it. Not thread-safe: one thread drives an engine.

    Same spec, same picture: on one model, backend, instruction set and dtype a picture is the same to the bit. It
    depends neither on what else is stepped with it, nor on the order, nor on whether it was parked and resumed. What
    runs kernels of others (`GraphOps`) does not promise that, and its `notes` say so.

    Attributes:
        ops: the backend.
        model: the loaded checkpoint.
        limits: the bounds of what the engine takes on.
        adapters: the registered adapters.
        start_pictures: what generations start from.
        loras: the LoRAs that were added.
        reference_keys: keys and values of references; None: the model keeps none.
        text_keys: those of texts, likewise.
        admission: the limits applied to the model, with estimates for planning.
        backend: name and compute dtype of the backend.
        device: the device that the backend computes on, if that has memory of its own; None: it is the host.
        unloaded: whether its weights are in the host's memory, see `unload`.
        graphs: replays evaluations of the model on such a device; None: ops are called one by one.
        recorded: evaluates the model by ONNX graphs, on a backend that runs them; None: the backend does not.
    """

    def __init__(self, ops: Ops[Any, Any], model: Model, limits: Limits) -> None:
        self.ops = ops
        self.device: Accelerator | None = accelerator_of(ops)
        self.unloaded = False
        self.graphs = (
            None if self.device is None or self.device.streams else StepGraphs(ops, model.denoiser, self.device)
        )
        self.model = model
        self.limits = limits
        self.backend = BackendInfo(name=ops.name, compute=ops.compute)
        sizes = model.architecture
        self.admission = Admission(sizes, model.memory(self.backend.itemsize), limits)
        own = None if model.pictured is None else model.pictured.adapter.branch
        widths = (own.widths if own is not None else ()) or (sizes.adapter_width,) * sizes.adapter_layers
        self._adapter_widths = () if model.reference_widths else widths  # of the layers that adapters enter
        self.recorded: RecordedSteps | None = None
        if runs_graphs(ops):
            joined, kept = own is not None and bool(own.head), model.reference_widths
            layers = self._adapter_widths
            self.recorded = RecordedSteps(ops, model.denoiser, sizes, layers, joined=joined, kept=kept)
        widths = model.reference_widths or model.text_widths or widths
        arena = Arena(ops, len(widths), widths, limits.arena_bytes)
        derive = self._derived if model.styles or model.pictured else None
        self.adapters = Adapters(ops, arena, limits.max_registered, derive, styled=model.styles is not None)
        self.start_pictures = StartPictures(
            lambda pixels: pictures.encode(self.ops, self.model.denoiser.codec, pixels), sizes.granularity
        )
        self.loras = Loras(ops, model.denoiser, model.family, limits.lora_bytes, text=model.text)
        self.reference_keys: ReferenceKeys | None = None
        if model.reference_widths and isinstance(model.denoiser, KeepsReferences):
            self.reference_keys = ReferenceKeys(ops, model.denoiser, arena)
        self.text_keys = TextKeys(ops, model.denoiser, arena) if isinstance(model.denoiser, KeepsTexts) else None
        self._branches: dict[str, AdapterBranch] = {}
        if model.styles is not None:
            self._branches[style_names.STYLE_BRANCH] = model.styles.adapter.branch
        elif own is not None:
            self._branches[style_names.STYLE_BRANCH] = own
        self._open: dict[int, Generation] = {}
        self._numbers = itertools.count()
        self._batch: Batch | None = None

    @classmethod
    def load(
        cls,
        model: str | Path | ModelPath | None = None,
        *,
        text_encoder: Sequence[str | Path] = (),
        vae: str | Path | None = None,
        ip_adapter: str | Path | None = None,
        image_encoder: str | Path | None = None,
        backend: str = backends.DEFAULT,
        isa: str | None = None,
        dtype: Dtype | None = None,
        threads: int | None = None,
        device: str | None = None,
        providers: Sequence[backends.Provider] | None = None,
        limits: Limits | None = None,
        require_text: bool = False,
    ) -> Engine:
        """Load a model.

        Args:
            model: a folder in diffusers' layout, or a single safetensors file; None: the embedded model.
            text_encoder, vae, ip_adapter, image_encoder: parts that are named apart, see `ModelPath`.
            backend, isa, dtype, threads, device, providers: see `kernels.backends.create`.
            limits: the bounds of what the engine takes on; None: `Limits()`.
            require_text: refuse a model that reads no prompts, before its weights are packed.

        Raises:
            CheckpointError: the model cannot be loaded, or this machine has too little memory for it.
            UnknownBackend: this machine lacks the backend, device, instruction set or dtype, or `providers` is no list.
            SpecError: `limits` is not of `Limits`.
            LimitError: the model does not fit into the device's memory.
            DeviceLost: the device stopped working meanwhile.
        """
        want_limits(limits)
        try:
            ops = backends.create(backend, isa=isa, dtype=dtype, threads=threads, device=device, providers=providers)
        except ValueError as error:
            raise UnknownBackend(str(error)) from error
        except ImportError as error:
            got, allowed = f"no module {error.name!r}", "the packages that it computes with"
            raise UnknownBackend(complaint(f"backend {backend!r}", got, allowed, backends.remedy(backend))) from error
        where, there = ModelPath.of(model, text_encoder, vae, ip_adapter, image_encoder), accelerator_of(ops)
        with loading_on(there):
            loaded = load_model(ops, where, limits or Limits(), require_text=require_text)
            itemsize = BackendInfo(name=ops.name, compute=ops.compute).itemsize
            limits = limits or loaded.limits(itemsize)
            if there is not None:
                limits = fitted(limits, there, sum(weight_bytes(loaded.components, itemsize).values()))
            return cls(ops, loaded, limits)

    @cached_property
    def info(self) -> ModelInfo:
        """The facts by which other processes admit and weigh requests without this engine.

        The first use reads the whole checkpoint, for its digest.
        """
        model = self.model
        return ModelInfo(
            identity=model.identity,
            backend=self.backend,
            architecture=model.architecture,
            memory=self.admission.memory,
            limits=self.limits,
            text_rows=0 if model.text is None else model.text.num_rows,
            unconditional_rows=0 if model.text is None else model.text.num_rows,
            defaults=dict(model.defaults),
            draft=dict(model.draft),
            styles=model.style_info,
            taught=model.taught,
            family=model.family,
            words=model.word_counts,
            taste=model.taste,
        )

    # ---- requests --------------------------------------------------------------------------------------------------

    def make_spec(
        self,
        prompt: str,
        *,
        draft: bool = False,
        quality: int = 1,
        aspect: tuple[float, float] | None = None,
        strict: bool = False,
        **fields: Any,
    ) -> GenerationSpec:
        """Return a spec as `ModelInfo.make_spec` does, without the digest of the checkpoint that `info` needs.

        PromptError: a term is to be drawn, and nothing of it would be; or `strict`, and anything of its texts would be
        left out or replaced.
        """
        model = self.model
        spec = complete(
            prompt,
            fields,
            defaults=model.defaults,
            draft=model.draft if draft else None,
            quality=quality,
            aspect=aspect,
            granularity=model.architecture.granularity,
            styles=model.style_info,
            references=model.architecture.references,
        )
        want_strict(strict, read_spec(self.reader, spec) if strict or spec.terms else ())
        return spec

    @property
    def reader(self) -> ReadsPrompts | None:
        """What reads prompts without weights; None: the model's text pipeline has no such part."""
        reader: ReadsPrompts | None = getattr(self.model.text, "reader", None)
        return reader

    def size_for_aspect(self, width: float, height: float) -> tuple[int, int]:
        """Return (width, height) in pixels for an aspect, at the model's default area. Raise SpecError beyond 14:1."""
        pixels = self.model.defaults["width"] * self.model.defaults["height"]
        return size_for_aspect(width, height, pixels=pixels, granularity=self.model.architecture.granularity)

    @on_device
    def open(
        self, spec: GenerationSpec, *, text: TextEncoding | None = None, negative: TextEncoding | None = None
    ) -> Generation:
        """Start a generation: encode its prompt, pin its adapters, draw its noise, encode the picture it starts from.

        Args:
            text: an encoding to use in place of the spec's prompt, which is then not read.
            negative: an encoding to use in place of the unconditional input. A generation with either cannot be parked.

        Raises:
            SpecError: a side is no multiple of the model's granularity, an adapter or a LoRA is unknown, the prompt or
                a term cannot be read, a negative prompt comes without guidance, terms come at guidance 0, a start
                picture or a reference was not added, a mask leaves nothing to draw, or the model takes no such
                references.
            LimitError: the generation exceeds a limit. The engine has allocated nothing then.
            CheckpointError: the file of a LoRA was changed, or an array of it cannot be used.
        """
        check_guidance(spec)
        check_spread(spec, self.model.style_info)
        generation = self._new(spec, text, negative)
        for use in all_adapters(
            spec, self.adapters.styled
        ):  # also those of weight 0, which no step reads: a name may be misspelt
            for name in (use.adapter, use.unconditional):
                if name is not None:
                    self.adapters.digest(name)
        with self._admitted(generation):
            start = self._noise(generation)
            generation.latents = self.ops.array(self.start_pictures.begin(generation, start), "float32")
            generation.region = self.start_pictures.region(
                self.ops, generation, start, held=not self.model.architecture.fills
            )
            self._look(generation)
            if spec.inquiry:
                generation.probing = self._probing(generation)
        if not generation.evaluations and not spec.inquiry:
            generation.state = State.DONE
        return generation

    @on_device
    def step(self, generations: Sequence[Generation]) -> list[StepReport]:
        """Take one model evaluation for each of the given generations, in one ragged batch.

        They may differ in everything. If the numbers of one become NaN or infinite, it fails alone: its report carries
        the `NumericalError`, and the pictures of the others stay the same to the bit.

        Raises:
            StateError: a generation is not running, belongs to another engine, or is given more than once.
            LimitError: the step takes more rows or memory than the limits allow.
            OutputError: the backend runs graphs, and the folder for temporary files has no room for the model's.
        """
        if not generations:
            return []
        for generation in generations:
            self._own(generation)
            generation.want("step", State.RUNNING)
        if len({id(generation) for generation in generations}) != len(generations):
            raise StateError(complaint("step", "a generation twice", "each generation once", "leave it out"))
        self.admission.check_step(generations)
        for generation in filter(is_due, generations):
            grow(self.ops, self.model.denoiser.codec, self.model.architecture, generation)
        if self._batch is None or not self._batch.holds(generations):
            self._batch = Batch(
                self.ops, self.model.denoiser, self.adapters, generations, self.graphs, recorded=self.recorded,
                texts=self.text_keys, rescaled=self.model.architecture.rescaled_guidance,
            )  # fmt: skip
        batch = self._batch
        batch.step()
        for generation, finite in zip(generations, batch.finite(), strict=True):
            if not finite:
                self._fail(generation)
            elif generation.position == len(generation.evaluations):
                generation.state = State.DONE
        if any(generation.state is not State.RUNNING for generation in generations):
            self._batch = None
        return [StepReport(g, g.position, len(g.evaluations), g.step, g.state, g.error) for g in generations]

    @on_device
    def inquire(self, generation: Generation) -> None:
        """Take the next piece of an inquiry. After the last one it is done, and `Generation.texts` is the answer.

        Raises:
            StateError: the generation draws, is not running, or belongs to another engine.
            NumericalError: the model made NaN or infinity. The generation has failed.
        """
        self._own(generation)
        generation.want(INQUIRE, State.RUNNING)
        assert generation.probing is not None, "an inquiry without its state"
        try:
            generation.probing.advance()
        except NumericalError as error:
            generation.error = error
            generation.release(State.FAILED)
            raise
        generation.position = generation.probing.position
        if generation.probing.answer is not None:
            generation.state = State.DONE

    @on_device
    def preview(self, generation: Generation) -> UInt8:
        """Return the pictures as they look at this step: uint8 [images, height, width, 3].

        A preview decodes the estimate of the clean latents by the last velocity (`Evaluation.clean`): blurred at first,
        and equal to `finish` once the generation is done. It costs a decoding and no model evaluation.

        Raises:
            StateError: the generation is neither running nor done, or has not taken a step yet.
            NumericalError: the autoencoder made NaN or infinity of its latents.
        """
        self._own(generation)
        generation.want("preview", State.RUNNING, State.DONE)
        if not generation.evaluations:
            return self.finish(generation)
        if generation.velocity is None:
            raise StateError(complaint("preview", "a generation at step 0", "one that took a step", "step it first"))
        arrived = fetch(self.ops, (generation.latents, generation.velocity))
        taken = generation.evaluations[generation.position - 1]
        drawn = generation.noise(taken.step + 1) if taken.noise else None
        now, velocity = arrived()
        assert now is not None, "no latents"
        assert velocity is not None, "no velocity"
        latents = taken.clean(now, velocity, drawn)
        seen = self._decode(generation, self.ops.array(latents, "float32"), generation.spec.images)
        return seen if generation.whole is None else enlarged_preview(seen, generation.spec)

    @on_device
    def finish(self, generation: Generation) -> UInt8:
        """Return the pictures, uint8 [images, height, width, 3]. The generation stays open until `close`.

        Raises:
            StateError: the generation is not done.
            NumericalError: the autoencoder made NaN or infinity of its latents.
        """
        self._own(generation)
        generation.want("finish", State.DONE)
        return self._decode(generation, generation.latents, generation.spec.images)

    @on_device
    def decode(self, generation: Generation, image: int) -> UInt8:
        """Return one picture of `finish`, the same to the bit: uint8 [height, width, 3].

        A caller that shares a device among many decodes image by image, since decoding all images of a generation may
        take as long as several steps.

        Raises:
            StateError: the generation is not done, or has no such image.
            NumericalError: the autoencoder made NaN or infinity of its latents.
        """
        self._own(generation)
        generation.want("decode", State.DONE)
        which = whole_of(image)
        if which is None or not 0 <= which < generation.spec.images:
            allowed = f"0 to {generation.spec.images - 1}"
            raise StateError(complaint("decode", f"image {image!r}", allowed, "name one that was asked for"))
        start = which * generation.rows
        latents = self.ops.rows(generation.latents, start, start + generation.rows)
        picture: UInt8 = self._decode(generation, latents, 1)[0]
        return picture

    @on_device
    def park(self, generation: Generation) -> ParkedGeneration:
        """Turn a generation into plain data and free its arrays and pins.

        Raises:
            StateError: the generation is neither running nor done, or was opened with an encoding of its own.
        """
        self._own(generation)
        generation.want("park", State.RUNNING, State.DONE)
        if generation.own_text:
            remedy = "finish it, or open it with a prompt alone"
            raise StateError(complaint("park", "a generation with its own text encoding", "one with a prompt", remedy))

        arrived = fetch(self.ops, (generation.latents, generation.velocity, generation.base, *generation.kept))
        digest = self.model.digest
        adapters = {name: self.adapters.digest(name) for name in names_used(self._uses(generation.spec))}
        latents, velocity, base, *kept = map(parking.to_data, arrived())
        parked = ParkedGeneration(
            spec=generation.spec,
            model=digest,
            adapters=adapters,
            position=generation.position,
            latents=latents,
            velocity=velocity,
            base=base,
            kept=tuple(kept),
            numbers=b"" if generation.probing is None else generation.probing.to_data(),
        )
        self._leave(generation, State.PARKED)
        return parked

    @on_device
    def resume(self, parked: ParkedGeneration) -> Generation:
        """Go on with a parked generation, here or in another engine.

        On the same backend the picture is the same to the bit.

        Raises:
            StateError: it was parked on another model, with other adapters under the same names, or is damaged.
            SpecError, LimitError: as `open`.
        """
        spec = parked.spec
        if parked.model != self.model.digest:
            got, allowed = f"one of model {parked.model[:12]}", f"model {self.model.digest[:12]}"
            raise StateError(complaint("parked generation", got, allowed, "load the model it was parked on"))
        generation = self._new(spec, None, None)
        for name in names_used(self._uses(spec)):
            if self.adapters.digest(name) != parked.adapters.get(name):
                remedy = "register the tokens it was parked with"
                raise StateError(complaint(f"adapter {name!r}", "other tokens", "those of the parked one", remedy))
        parking.set_size(parked, generation)
        arrays = parking.read_arrays(parked, generation)
        with self._admitted(generation):
            generation.position = parked.position
            generation.latents, generation.velocity, generation.base, *kept = (
                None if values is None else self.ops.array(values, "float32") for values in arrays
            )
            generation.kept = tuple(kept)
            if spec.start is not None and spec.start.masked:
                generation.region = self.start_pictures.region(
                    self.ops, generation, self._noise(generation), held=not self.model.architecture.fills
                )
            self._look(generation)
            if spec.inquiry:
                generation.probing = self._probing(generation)
                generation.probing.resume(parked.numbers)
                generation.position = generation.probing.position
        if not generation.texts and spec.inquiry:
            return generation
        if spec.inquiry or parked.position == len(generation.evaluations):
            generation.state = State.DONE
        return generation

    def close(self, generation: Generation) -> None:
        """Free what a generation holds. Closing a closed or parked generation changes nothing."""
        if generation.state in (State.CLOSED, State.PARKED):
            generation.state = State.CLOSED
            return
        self._own(generation)
        self._leave(generation, State.CLOSED)

    # ---- adapters --------------------------------------------------------------------------------------------------

    @on_device
    def add_branch(self, weights: Mapping[str, NDArray[Any]] | IpAdapter, name: str = "default") -> None:
        """Pack an adapter branch under a name.

        Args:
            weights: the branch's arrays, laid out as `ip_adapter.load_adapter_branch` says. Or the result of
                `Denoiser.adapter_file` for this engine's `ops` and model.

        Raises:
            CheckpointError: the shapes are not the model's.
        """
        if isinstance(weights, IpAdapter):
            layers = len(self._adapter_widths)
            if len(weights.branch.keys) != layers:
                raise UnknownArchitecture(
                    "an adapter of another form than the engine was loaded for", path=self.model.checkpoint.path,
                    expected=f"{layers} layers", found=f"{len(weights.branch.keys)}",
                    remedy="name its file where the engine is loaded (ip_adapter)",
                )  # fmt: skip
            self._branches[name] = weights.branch
        else:
            self._branches[name] = self.model.denoiser.adapter_branch(self.ops, weights)

    def register_adapter(self, name: str, tokens: NDArray[Any], *, branch: str = "default") -> None:
        """Make an adapter known by its tokens, float32 [n, token_width].

        The engine computes keys and values at the first use.

        Raises:
            SpecError: the branch is unknown, the name is empty, or the tokens are wrong.
            LimitError: too many adapters are known, or this one is larger than the arena.
            StateError: the name belongs to other tokens that an open generation uses.
        """
        if branch not in self._branches:
            known = " or ".join(map(repr, self._branches)) or "none (the model has no adapter branch)"
            raise SpecError(complaint("adapter branch", repr(branch), known, "call add_branch first"))
        self.adapters.register(name, tokens, self._branches[branch])

    def add_style_picture(self, digest: str, pixels: UInt8) -> str:
        """Make the style of a picture usable, and return the name of its adapter.

        The engine keeps it as long as generations use it, and then until `adapters.MAX_DERIVED` other styles were used.

        Args:
            digest: SHA-256 (hex) of the picture's file, by which requests refer to it.
            pixels: uint8 [height, width, 3]; the sides are multiples of the model's granularity, or with an IP-Adapter
                both `StyleInfo.side`.

        Raises:
            SpecError: the model has no styles, the digest is none, or the pixels have another shape or dtype.
        """
        name, styles, unit = style_names.of_picture(digest), self.model.styles, self.model.architecture.granularity
        pictured = self.model.pictured
        if styles is None and pictured is None:
            allowed = "none (the model has no style adapter)"
            raise SpecError(complaint("style reference", f"picture {digest[:12]}", allowed, "leave it out"))
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            got = f"{pixels.dtype} {list(pixels.shape)}"
            raise SpecError(complaint("style reference", got, "uint8 [height, width, 3]", "convert it"))
        if pictured is not None:
            side = pictured.info.side
            if pixels.shape[:2] != (side, side):
                got = " x ".join(str(each) for each in pixels.shape[1::-1])
                raise SpecError(complaint("style reference", got, f"{side} x {side}", "resize it"))
            if name not in self.adapters:
                self.adapters.keep(name, pictured.of_picture(self.ops, pixels), pictured.adapter.branch)
            return name
        assert styles is not None, "no styles"
        if any(side % unit for side in pixels.shape[:2]):
            got = " x ".join(str(side) for side in pixels.shape[1::-1])
            raise SpecError(complaint("style reference", got, f"sides that are multiples of {unit}", "resize it"))
        if name not in self.adapters:
            codec = self.model.denoiser.codec
            tokens = pictures.encode(self.ops, codec, pixels)
            grid = pixels.shape[0] // unit, pixels.shape[1] // unit
            vector = styles.encoder.vector(self.ops, codec.latents(tokens, grid))
            self.adapters.keep(name, styles.tokens(self.ops, vector), styles.adapter.branch)
        return name

    def add_taste(self, code: str, vector: Float32) -> str:
        """Make the style of a taste code usable, and return the name of its adapter. It stays as long as an open
        generation uses it, and a while beyond.

        Args:
            code: the code (`styles.names.of_taste`).
            vector: float32 [W], the style vector that it stands for.

        Raises:
            SpecError: the code is malformed, the vector is of another shape or not finite, or the model has no style
                adapter.
        """
        name, styles = style_names.of_taste(code), self.model.styles
        if styles is None:
            got, allowed = f"code {code}", "none (the model has no style adapter)"
            raise SpecError(complaint("taste code", got, allowed, "leave it out"))
        if vector.dtype != np.float32 or vector.shape != styles.null.shape or not np.isfinite(vector).all():
            got, allowed = f"a vector {vector.dtype} {list(vector.shape)}", f"finite float32 {list(styles.null.shape)}"
            raise SpecError(complaint(f"taste code {code}", got, allowed, "make the code again with this model"))
        if name not in self.adapters:
            self.adapters.keep(name, styles.tokens(self.ops, vector), styles.adapter.branch)
        return name

    @on_device
    def add_picture(self, form: PictureForm, pixels: UInt8) -> None:
        """Make a picture, a mask, a taste code or a LoRA usable, for generations whose spec refers to it. It stays as
        long as one does, and a while beyond.

        Args:
            form: whose it is and what as, of `start.forms_of` a spec.
            pixels: uint8 [height, width, 3]; of a mask [height, width]; of a taste code the bytes [4 W] of its vector;
                of a LoRA the bytes of its file's path.

        Raises:
            SpecError: pixels of another shape or dtype; of a style also as `add_style_picture`, of a taste code as
                `add_taste`.
            CheckpointError, LimitError: of a LoRA as `add_lora`.
        """
        if form.use is PictureUse.STYLE:
            self.add_style_picture(form.digest, pixels)
        elif form.use is PictureUse.TASTE:
            self.add_taste(form.digest, vector_of(form.label, pixels))
        elif form.use is PictureUse.LORA:
            self.add_lora(form.digest, os.fsdecode(pixels.tobytes()))
        else:
            self.start_pictures.add(form, pixels)

    def add_lora(self, digest: str, path: str | Path) -> None:
        """Make a LoRA usable, for generations whose spec refers to it. Its arrays are read at the first use, and stay
        packed as long as a generation uses them, and a while beyond.

        Args:
            digest: SHA-256 (hex) of the file.
            path: the file, which stays where it is.

        Raises:
            CheckpointError: the file is no LoRA, or one for another model.
            LimitError: it has more bytes than `Limits.lora_bytes`.
        """
        self.loras.add(digest, path)

    def forget_adapter(self, name: str) -> None:
        """Undo `register_adapter`. Raise StateError while an open generation uses the adapter."""
        self.adapters.forget(name)

    @property
    def num_open(self) -> int:
        """Number of generations that are neither parked nor closed."""
        return len(self._open)

    def step_rows(self, generations: Sequence[Generation]) -> int:
        """Return the text and image rows, of all samples, that a step of these generations takes."""
        return self.admission.step_rows(generations)

    def step_bytes(self, generations: Sequence[Generation]) -> int:
        """Estimate the activation memory of a step of these generations, in bytes."""
        return self.admission.step_bytes(generations)

    def make_room(self) -> None:
        """Give back what memory the device can spare: captured graphs, and what the backend keeps for later."""
        self._batch = None
        if self.graphs is not None:
            self.graphs.clear()
        if self.device is not None:
            self.device.trim()

    def unload(self) -> int:
        """Give the device's memory back to others while nothing is to be computed: weights move to the host's memory.

        The next call that computes brings them back, and no picture depends on it. Open generations stay as they are.

        Returns:
            Bytes that were given back; 0: the backend has no device with memory of its own, or the host has no room.
        """
        free = free_memory()
        if self.device is None or self.unloaded or (free is not None and free < self.device.weight_bytes):
            return 0
        self.make_room()
        freed = self.device.unload()
        self.unloaded = True
        self.device.trim()
        return freed

    @on_device
    def wake(self) -> None:
        """Bring weights back that were unloaded, as every call that computes does by itself.

        Raises:
            DeviceFull: others took the memory meanwhile.
        """

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _derived(self, name: str) -> tuple[Float32, AdapterBranch]:
        """Make the tokens of a style of the model from its adapter's name. Raise SpecError for a name of no style."""
        styles, pictured = self.model.styles, self.model.pictured
        if pictured is not None:
            return pictured.derived(self.ops, name), pictured.adapter.branch
        assert styles is not None, "no styles"
        return styles.tokens(self.ops, styles.vector(name)), styles.adapter.branch

    def _text(self) -> Any:
        if self.model.text is None:
            remedy = "pass `text` to open, or use a model with salon.json"
            raise SpecError(complaint("prompt", "a prompt", "encoded text (the model has no text pipeline)", remedy))
        return self.model.text

    def _encoded(
        self, names: tuple[str, str], given: TextEncoding | None, prompt: str, loras: TextLoras | None,
        seen: Sequence[ShownPicture],
    ) -> TextEncoding:  # fmt: skip
        """Return the encoding that was given, else that of the prompt, else the model's own for an empty prompt.

        Args:
            names: the argument's and the spec field's name, for errors.
            loras: the LoRAs through which prompts are read; None: there are none.
            seen: what the text encoder sees beside a prompt.
        """
        if given is not None:
            return self.admission.take_text(given, names[0])
        if prompt or seen:
            encoding = self._read(prompt or None, names[1], loras, seen, beside=names[0] == "negative")
        else:
            encoding = self.model.unconditional if loras is None else self._text().encode_with(loras, None)
        self.admission.check_text(encoding, names[0])
        return encoding

    def _read(
        self, prompt: str | None, field: str, loras: TextLoras | None, seen: Sequence[ShownPicture], *, beside: bool
    ) -> TextEncoding:
        """Return the encoding of a prompt that is not empty (but for None with pictures), read through LoRAs or beside
        pictures where there are some. No text encoder has both."""
        text, how = self._text(), {"beside": True} if beside else {}
        if seen:
            encoding: TextEncoding = text.encode_shown(seen, prompt, field, **how)
        elif loras is None:
            encoding = text.encode(prompt, field, **how)
        else:
            encoding = text.encode_with(loras, prompt, field, **how)
        return encoding

    def _new(self, spec: GenerationSpec, text: TextEncoding | None, negative: TextEncoding | None) -> Generation:
        """Return a generation without arrays, once it is within all limits."""
        self.admission.check_spec(spec, len(self._open))
        self.start_pictures.want(spec)
        self.loras.want(spec.loras)
        taught = () if self.model.taught is None else self.model.taught.notes(spec.width, spec.height)
        own_text = text is not None or negative is not None
        loras, seen = self.loras.reading(spec.loras), self.start_pictures.shown(spec)
        text = self._encoded(("text", "prompt"), text, spec.prompt, loras, seen)
        fields = "negative", "negative_prompt"
        negative = self._encoded(fields, negative, spec.negative_prompt, loras, seen) if spec.guided else None
        terms = tuple(self._read(term.text, "term", loras, seen, beside=True) for term in spec.acting_terms)
        for encoding in terms:
            self.admission.check_text(encoding, "term")
        sizes = self.model.architecture
        unit = sizes.granularity
        grid = (spec.height // unit, spec.width // unit)
        evaluations = evaluations_of(spec, sizes)
        generation = Generation(
            spec=spec,
            number=next(self._numbers),
            text=text,
            negative=negative,
            terms=terms,
            own_text=own_text,
            notes=(*taught, *self.loras.notes(spec.loras)),
            evaluations=evaluations,
            noise_scale=sizes.noise_scale(spec.solver, evaluations),
            grid=grid,
            channels=sizes.token_channels,
            embedded_guidance=sizes.embedded_guidance if spec.embedded_guidance is None else spec.embedded_guidance,
            latents=None,
            windows=windows_of(spec, unit, self.model.defaults["width"] * self.model.defaults["height"]),
            references=reference_grids(spec, unit),
            keeps_references=self.reference_keys is not None,
        )
        self.admission.check_step([generation.largest])
        if spec.small_steps:
            generation.grid, generation.whole = half(grid), grid
        return generation

    def _probing(self, generation: Generation) -> Probing:
        """Return the beginning of a generation's inquiry. SpecError: the model has no list of its words, or no style
        encoder for an inquiry that is about nothing else."""
        spec, model, sizes = generation.spec, self.model, self.model.architecture
        rows = 0 if model.text is None else model.text.num_rows
        course = course_of(spec, sizes.granularity, rows, model.word_counts)
        clean = None if spec.start is None else self.start_pictures.begin(generation, self._noise(generation))
        near, vector = dict[str, float](), None
        if clean is not None and model.styles is not None:
            latents = model.denoiser.codec.latents(clean, generation.grid)
            vector = model.styles.encoder.vector(self.ops, latents)
            near = model.styles.near(vector) if model.encodes_styles else near
        if vector is None and not probes_of(spec.inquiry):
            got, allowed = "a model without a style encoder", "one with it"
            raise SpecError(complaint(spec.inquiry, got, allowed, "use a checkpoint that ships its styles"))
        reader = self.reader if isinstance(self.reader, PromptReader) else None
        return Probing(
            self.ops, model.denoiser, encoder_of(model.text, model.unconditional), spec,
            Question(spec.prompt, reader, model.words, near, vector), course,
            grid=generation.grid, guidance=generation.embedded_guidance,
            clean=clean,
            channels=generation.channels,
        )  # fmt: skip

    def _uses(self, spec: GenerationSpec) -> tuple[AdapterUse, ...]:
        """Return every adapter that acts on an image of a spec."""
        return all_adapters(spec, self.adapters.styled)

    def _look(self, generation: Generation) -> None:
        """Encode what a generation looks at, or fills, while it is drawn, and compute what is kept of this and of its
        texts."""
        if self.model.architecture.fills:
            generation.beside = self.start_pictures.beside(generation.spec)
        tokens = self.start_pictures.references(generation.spec)
        generation.reference_tokens = None if tokens is None else self.ops.array(tokens, "float32")
        if self.reference_keys is not None:
            self.reference_keys.pin(generation)
        if self.text_keys is not None:
            self.text_keys.pin(generation)

    def _noise(self, generation: Generation) -> Float32:
        """Return the noise [images * rows, C] that a generation's images begin with."""
        return generation.noise(0)

    @contextmanager
    def _admitted(self, generation: Generation) -> Iterator[None]:
        """Pin LoRAs, adapters and pictures and count the generation as open; if what follows raises, undo all."""
        loras = self.loras.pin(generation.spec.loras)
        try:
            self.adapters.pin(self._uses(generation.spec))
        except BaseException:
            self.loras.unpin(generation.spec.loras)
            raise
        generation.loras = loras
        self.start_pictures.pin(generation.spec)
        self._open[generation.number] = generation
        try:
            yield
        except BaseException:
            self._leave(generation, State.CLOSED)
            raise

    def _own(self, generation: Generation) -> None:
        if self._open.get(generation.number) is not generation and generation.state not in (State.PARKED, State.CLOSED):
            raise StateError(complaint("generation", "one of another engine", "one of this engine", "open it here"))

    def _fail(self, generation: Generation) -> None:
        sigma = generation.evaluations[generation.position - 1].sigma
        generation.error = NumericalError(
            f"generation {generation.number}: NaN or infinity in the latents after evaluation {generation.position} "
            f"(sigma {sigma:.4g}); lower guidance_scale or adapter weights, or check the model's weights"
        )
        generation.release(State.FAILED)

    def _leave(self, generation: Generation, state: State) -> None:
        self.loras.unpin(generation.spec.loras)
        self.adapters.unpin(self._uses(generation.spec))
        self.start_pictures.unpin(generation.spec)
        if self.reference_keys is not None:
            self.reference_keys.unpin(generation)
        if self.text_keys is not None:
            self.text_keys.unpin(generation)
        del self._open[generation.number]
        if self._batch is not None and generation.batch is self._batch:
            self._batch = None
        generation.release(state)

    def _decode(self, generation: Generation, latents: Any, images: int) -> UInt8:
        """Return the pictures [images, height, width, 3] of latents [images * rows, C] of a generation."""
        if not generation.evaluations:  # nothing was drawn: the start picture itself, which no codec gives back exactly
            return np.repeat(self.start_pictures.pixels(generation.spec)[None], images, axis=0)
        together = max(1, self.limits.max_decode_bytes // max(1, self.admission.decode_bytes(generation.spec)))
        codec, region, tile = self.model.denoiser.codec, generation.region, generation.spec.tile
        made = pictures.decode(self.ops, codec, latents, images, generation.grid, together, wrap=tile)
        if generation.spec.start is not None and generation.spec.start.project:
            made = projected(made, self.start_pictures.source(generation.spec))
        return made if region is None else compose(made, region)
