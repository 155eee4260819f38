"""Stage `export`: the trained parts as the folder that ships: bf16 weights, text statistics, `salon.json`, licences.

    python -m salon.models.mini.recipe.export --work DIR --out FOLDER

FOLDER may be `models/mini` itself: text encoder, tokenizer and scheduler configuration in it stay as they are.
Every file is written beside its place and moved; `licences.json` has size and SHA-256 of each, `README.md` is the card.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import hashlib
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from safetensors.torch import load_file, save

from . import nouns
from .autoencoder import save_model
from .captions import SLOTS
from .card import card
from .config import Run, parser, run_of
from .default_style import as_data
from .errors import SpaceError
from .evaluate import finished
from .looks import BACKGROUNDS, FINISHES, PALETTES
from .papers import licences_json, notice
from .sets import SETS
from .store import atomic, need_space, open_stage, write_json
from .text import LEAST, bare_names
from .vocabulary import read_vocabulary

LIMIT = 60_000_000  # bytes of all weights but the text encoder's
NEIGHBOURS = "neighbours.safetensors"  # where the known names lie in the text encoder's space
SPOKEN = {  # what people say -> the words of the training captions
    "soft shaded": ("soft shading", "softly shaded"),
    "flat cartoon": ("cartoon", "flat"),
    "clean modern": ("modern", "clean"),
    "3d render": ("3d", "3d rendering", "3d rendered", "rendered in 3d"),
    "bold ink": ("ink", "black ink", "ink drawing"),
    "storybook": ("story book", "storybook illustration"),
    "retro poster": ("retro", "poster"),
    "doodle": ("doodled", "hand drawn", "sketch"),
    "thin line": ("line drawing", "line art", "outline drawing"),
    "grey duotone": ("duotone", "gray duotone"),
    "bold blue": ("blue icon",),
    "woodcut": ("wood cut", "linocut", "silhouette"),
    "pastel colours": ("pastel", "pastel colors", "pastel palette", "pastels"),
    "monochrome": ("black and white", "grayscale", "greyscale", "monochrome palette"),
    "sepia tones": ("sepia", "sepia palette", "sepia tone"),
    "neon colours": ("neon", "neon colors", "neon palette"),
    "ocean blues": ("ocean palette", "ocean colours", "ocean colors", "blues"),
    "candy pinks": ("candy palette", "candy colours", "candy colors", "pinks"),
    "sticker outline": ("sticker", "white outline", "as a sticker"),
    "pixel mosaic": ("pixel art", "pixelated", "mosaic"),
    "halftone dots": ("halftone", "dots", "comic dots"),
}


BACKGROUND_SPOKEN = {
    "grey": ("gray",),
    "navy": ("dark blue", "navy blue"),
    "sky blue": ("light blue",),
    "cream": ("beige",),
    "purple": ("violet",),
    "sunset gradient": ("sunset",),
    "ocean gradient": ("ocean",),
    "mint gradient": ("mint",),
    "night gradient": ("night", "night sky"),
}
TAUGHT = {  # how long a picture makes sense; the figures are those of limits.md
    "aspect": 2.0,
    "words": "the model was taught up to 16:9, where three in four things come out right (at 1:1 all of them); "
    "beyond 2:1 expect nothing that can be recognised",
}
WORDS = {"finish": "finishes"}  # where a slot's known words stand, if not under its name with an s
ENDINGS = {
    "palette": ["palette", "colours", "colors", "tones"],
    "finish": ["outline", "finish", "texture"],
}  # last words that tell where an unknown clause belongs


def salon_json(run: Run, plan: dict[str, Any], version: str, report: dict[str, Any] | None) -> dict[str, Any]:
    """Return the text pipeline as data, default settings and the vocabulary.

    `report`: the evaluation's, which chose them.
    """
    concepts = {c.name: c for c in read_vocabulary()}

    def table(words: list[str]) -> dict[str, list[str]]:
        return {w: [*SPOKEN.get(w, ())] for w in words if w}

    styles = {w: [f"{w} style", *forms] for w, forms in table([s.words for s in SETS]).items()}
    slots = []
    for n, t, f in SLOTS:
        extra = {"form": f if f != "{}" else "", "words": WORDS.get(n), "endings": ENDINGS.get(n)}
        slots.append({"name": n, "tokens": t} | {k: v for k, v in extra.items() if v})
    size, config = run.recipe.data.size, run.recipe.evaluate
    guidance = report["details"]["sampler"]["guidance"] if report else config.guidances[0]
    return {
        "format": 1,
        "name": "salon-mini",
        "version": version,
        "text": {
            "pipeline": "clauses",
            "version": 1,
            "stats": "text_stats.safetensors",
            "slots": slots,
            "styles": styles,
            "palettes": table(list(PALETTES.values())),
            "natural_palette": ["natural", "natural colours", "natural colors"],
            "backgrounds": {b: list(BACKGROUND_SPOKEN.get(b, ())) for b in BACKGROUNDS},
            "finishes": table(list(FINISHES.values())),
            "neighbours": {"file": NEIGHBOURS, "tensor": "vectors", "least": LEAST},
            "nouns": {"file": nouns.FILE.name},
        },
        "taught": TAUGHT,
        "defaults": {
            "width": size,
            "height": size,
            "steps": config.steps,
            "guidance_scale": guidance,
            "solver": "euler",
        },
        "draft": report["details"]["draft"] if report else {},
        "style_vectors": {"file": "style_encoder.safetensors", "tensor": "styles", "rows": [s.words for s in SETS]},
        "default_style": as_data(),
        "vocabulary": {
            "concepts": [{"name": n, "synonyms": list(concepts[n].synonyms)} for n in plan["concepts"]],
        },
    }


def export(run: Run, out: Path, version: str) -> dict[str, Any]:
    """Write the folder and return size and hash of every weight file.

    Raises SpaceError when the weights are over their limit, LicenceError when what is kept there is not what it was.
    """
    import numpy as np

    drawings = open_stage(run.work, "fetch").json("licences.json")
    licences_json(out, drawings)  # a check, before anything is written
    need_space(out, 2 * LIMIT)  # the old weights stay until the new ones are whole
    plan = open_stage(run.work, "plan").json("plan.json")
    facts = open_stage(run.work, "transformer").figures  # shift and scale are those that it was trained with
    autoencoder = AutoencoderKL.from_pretrained(open_stage(run.work, "autoencoder").folder / "model")
    autoencoder.register_to_config(scaling_factor=facts["scale"], shift_factor=facts["shift"])
    save_model(autoencoder.to(torch.bfloat16), out / "vae")
    trained = open_stage(run.work, "transformer").folder / "model"
    save_model(FluxTransformer2DModel.from_pretrained(trained).to(torch.bfloat16), out / "transformer")
    with np.load(open_stage(run.work, "text").folder / "text.npz") as t:
        names = {
            "token_mean": "mean",
            "token_std": "deviation",
            "pooled_mean": "pooled_mean",
            "pooled_std": "pooled_deviation",
        }
        stats = {k: torch.from_numpy(t[f"stats_{v}"]).float() for k, v in names.items()}
        known = {c.name: c for c in read_vocabulary()}
        forms = open_stage(run.work, "text").json("texts.json")["subject"]
        pooled = torch.from_numpy(t["subject_pooled"][bare_names(forms, [known[c] for c in plan["concepts"]])]).float()
    with atomic(out / NEIGHBOURS) as f:
        f.write(save({"vectors": (pooled / pooled.norm(dim=1, keepdim=True)).bfloat16()}, {"format": "pt"}))
    with atomic(out / "text_stats.safetensors") as f:
        f.write(save(stats, {"format": "np"}))
    if (run.work / "adapter" / "stage.json").is_file():
        done = open_stage(run.work, "adapter")
        for name in ("adapter.safetensors", "style_encoder.safetensors"):
            halved = {k: v.to(torch.bfloat16) for k, v in load_file(done.folder / name).items()}
            with atomic(out / name) as f:
                f.write(save(halved, {"format": "pt"}))
    with atomic(out / "NOTICE") as f:
        f.write(notice(drawings).encode())
    taught = [name for concept in plan["concepts"] for name in known[concept].names]
    nouns.write(nouns.only(nouns.read(), taught), out / nouns.FILE.name)
    report = finished(run)
    write_json(out / "salon.json", salon_json(run, plan, version, report))
    weights = {}
    for path in sorted(out.rglob("*.safetensors")):
        name = str(path.relative_to(out))
        if not name.startswith("text_encoder"):
            data = path.read_bytes()
            weights[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    total = sum(w["bytes"] for w in weights.values())
    if total > LIMIT:
        raise SpaceError(f"the weights are {total / 1e6:.1f} MB, allowed are {LIMIT / 1e6:.0f}: train a smaller model")
    write_json(out / "licences.json", licences_json(out, drawings))
    with atomic(out / "README.md") as f:
        f.write(card(run, plan, weights, report, out).encode())
    return weights


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--version", default="1")
    args = options.parse_args()
    for name, entry in export(run_of(args), args.out, args.version).items():
        print(f"{entry['bytes'] / 1e6:8.2f} MB  {entry['sha256'][:16]}  {name}")
