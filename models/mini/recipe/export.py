"""Stage `export`: the trained parts as the folder that ships: bf16 weights, text statistics, `salon.json`, licences.

    python -m salon.models.mini.recipe.export --work DIR --out FOLDER

FOLDER may be `models/mini` itself: text encoder, tokenizer and scheduler configuration in it stay as they are.
Every file is written beside its place and moved; `weights.json` has size and SHA-256 of each.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import hashlib
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from safetensors.torch import load_file, save

from .adapter import DEFAULT_STYLE
from .autoencoder import save_model
from .captions import SLOTS
from .card import card
from .config import Run, parser, run_of
from .errors import SpaceError
from .looks import BACKGROUNDS, FINISHES, PALETTES
from .sets import BY_NAME, SETS
from .store import atomic, open_stage, read_json, write_json
from .vocabulary import read_vocabulary

LIMIT = 60_000_000  # bytes of all weights but the text encoder's
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


def salon_json(run: Run, plan: dict[str, Any], version: str) -> dict[str, Any]:
    """The text pipeline as data, default settings and the vocabulary."""
    concepts = {c.name: c for c in read_vocabulary()}

    def table(words: list[str]) -> dict[str, list[str]]:
        return {w: [*SPOKEN.get(w, ())] for w in words if w}

    styles = {w: [f"{w} style", *forms] for w, forms in table([s.words for s in SETS]).items()}
    slots = [{"name": n, "tokens": t} | ({"form": f} if f != "{}" else {}) for n, t, f in SLOTS]
    size, config = run.recipe.data.size, run.recipe.evaluate
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
            "backgrounds": list(BACKGROUNDS),
            "finishes": table(list(FINISHES.values())),
        },
        "defaults": {
            "width": size,
            "height": size,
            "steps": config.steps,
            "guidance_scale": config.guidance,
            "solver": "euler",
        },
        "style_vectors": {"rows": [s.words for s in SETS], "default": BY_NAME[DEFAULT_STYLE].words},
        "vocabulary": {
            "concepts": [{"name": n, "synonyms": list(concepts[n].synonyms)} for n in plan["concepts"]],
        },
    }


def export(run: Run, out: Path, version: str) -> dict[str, Any]:
    """Write the folder and return `weights.json`'s content. Raises SpaceError when the weights are over their limit."""
    import numpy as np

    out.mkdir(parents=True, exist_ok=True)
    plan = open_stage(run.work, "plan").json("plan.json")
    facts = open_stage(run.work, "latents").json("latents.json")
    autoencoder = AutoencoderKL.from_pretrained(open_stage(run.work, "autoencoder").folder / "model")
    autoencoder.register_to_config(scaling_factor=facts["scale"], shift_factor=facts["shift"])
    save_model(autoencoder.to(torch.bfloat16), out / "vae")
    trained = run.work / "transformer" / "model"
    save_model(FluxTransformer2DModel.from_pretrained(trained).to(torch.bfloat16), out / "transformer")
    with np.load(open_stage(run.work, "text").folder / "text.npz") as t:
        names = {
            "token_mean": "mean",
            "token_std": "deviation",
            "pooled_mean": "pooled_mean",
            "pooled_std": "pooled_deviation",
        }
        stats = {k: torch.from_numpy(t[f"stats_{v}"]).float() for k, v in names.items()}
    with atomic(out / "text_stats.safetensors") as f:
        f.write(save(stats, {"format": "np"}))
    if (run.work / "adapter" / "stage.json").is_file():
        done = open_stage(run.work, "adapter")
        for name in ("adapter.safetensors", "style_encoder.safetensors"):
            halved = {k: v.to(torch.bfloat16) for k, v in load_file(done.folder / name).items()}
            with atomic(out / name) as f:
                f.write(save(halved, {"format": "pt"}))
    fetched = open_stage(run.work, "fetch")
    write_json(out / "drawings.json", fetched.json("licences.json"))
    with atomic(out / "ATTRIBUTION.md") as f:
        f.write((fetched.folder / "ATTRIBUTION.md").read_bytes())
    write_json(out / "salon.json", salon_json(run, plan, version))
    weights = {}
    for path in sorted(out.rglob("*.safetensors")):
        name = str(path.relative_to(out))
        if not name.startswith("text_encoder"):
            data = path.read_bytes()
            weights[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    total = sum(w["bytes"] for w in weights.values())
    if total > LIMIT:
        raise SpaceError(f"the weights are {total / 1e6:.1f} MB, allowed are {LIMIT / 1e6:.0f}: train a smaller model")
    write_json(out / "weights.json", weights)
    report = run.work / "evaluate" / "report.json"
    with atomic(out / "CARD.md") as f:
        f.write(card(run, plan, weights, read_json(report) if report.is_file() else None).encode())
    return weights


if __name__ == "__main__":
    options = parser(__doc__.split("\n")[0])
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--version", default="1")
    args = options.parse_args()
    for name, entry in export(run_of(args), args.out, args.version).items():
        print(f"{entry['bytes'] / 1e6:8.2f} MB  {entry['sha256'][:16]}  {name}")
