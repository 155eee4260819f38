"""Stage `text`: every clause of every caption through the frozen text encoder, normalised.

    python -m salon.models.mini.recipe.text --work DIR

Each clause is encoded on its own with all-MiniLM-L6-v2 ([CLS] and [SEP] dropped) and z-scored per dimension over the
vocabulary's bare names; the pooled vector is the z-scored mean of the subject clause alone. Rows without a token are
zero, and so is the unconditional text. Writes `text.npz`.
"""

# mypy: disable-error-code="misc,untyped-decorator,no-any-return"
# (torch is untyped to the checker: its classes and decorators are Any)

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .captions import SLOTS, background_clause, finish_clause, palette_clause, style_clause, subject_forms
from .config import Run, parser, run_of
from .errors import CacheError, VocabularyError
from .looks import BACKGROUNDS, FINISHES, PALETTES
from .plan import stage as plan_stage
from .progress import Progress
from .sets import STYLES
from .store import Done, Stage, file_digest, open_stage
from .torch_tools import set_up
from .vocabulary import FILE, Concept, read_vocabulary

WIDTH = 384


def stage(run: Run) -> Stage:
    words = [style_clause(s) for s in STYLES]
    weights = MODEL / "text_encoder" / "model.safetensors"
    if not weights.is_file():
        raise CacheError(f"{weights} is missing: the text encoder ships with the model, restore it from the repository")
    config = {"slots": SLOTS, "styles": words, "encoder": file_digest(weights), "vocabulary": FILE.read_text()}
    return Stage(run.work, "text", config, {"plan": plan_stage(run).key})


MODEL = Path(__file__).parents[1]  # the text encoder that ships with the model: what users' prompts go through


class TextEncoder:
    """Frozen token states of all-MiniLM-L6-v2."""

    def __init__(self) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from transformers import AutoTokenizer, BertModel

        self.tokenizer: Any = AutoTokenizer.from_pretrained(MODEL / "tokenizer")
        self.model = BertModel.from_pretrained(MODEL / "text_encoder").float().eval()

    @torch.no_grad()
    def states(self, texts: list[str]) -> list[np.ndarray]:
        """Return token states [tokens, 384] of each text, without [CLS] and [SEP]."""
        out = []
        for at in range(0, len(texts), 128):
            batch = self.tokenizer(texts[at : at + 128], padding=True, return_tensors="pt")
            states = self.model(**batch).last_hidden_state.float().numpy()
            lengths = batch["attention_mask"].sum(1).tolist()
            out += [s[1 : n - 1] for s, n in zip(states, lengths, strict=True)]
        return out


class ClauseEncoder:
    """Clauses to normalised slots. `stats`: token mean and deviation, pooled mean and deviation, each [384]."""

    def __init__(self, encoder: TextEncoder, stats: dict[str, np.ndarray]) -> None:
        self.encoder, self.stats = encoder, stats

    def slot(self, name: str, texts: list[str]) -> np.ndarray:
        """Return [len(texts), tokens of the slot, 384] float32; an empty text is all zeros.

        Raises VocabularyError when a text has more tokens than its slot.
        """
        room = {n: t for n, t, _ in SLOTS}[name]
        out = np.zeros((len(texts), room, WIDTH), np.float32)
        for i, (text, states) in enumerate(zip(texts, self.encoder.states([t or "x" for t in texts]), strict=True)):
            if not text:
                continue
            if len(states) > room:
                raise VocabularyError(f"{name} clause {text!r} has {len(states)} tokens, its slot has {room}")
            out[i, : len(states)] = (states - self.stats["mean"]) / self.stats["deviation"]
        return out

    def pooled(self, subjects: list[str]) -> np.ndarray:
        """Return [len(subjects), 384]: the normalised mean of each subject's token states; zero for an empty
        subject."""
        means = np.stack([s.mean(0) for s in self.encoder.states([t or "x" for t in subjects])])
        out = (means - self.stats["pooled_mean"]) / self.stats["pooled_deviation"]
        return (out * np.array([[bool(t)] for t in subjects])).astype(np.float32)


def statistics(states: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return mean and deviation per dimension; a dimension that never moves keeps deviation 1 (MiniLM has three)."""
    tokens, means = np.concatenate(states), np.stack([s.mean(0) for s in states])

    def deviation(x: np.ndarray) -> np.ndarray:
        d = x.std(0)
        return np.where(d < 1e-3, 1, d).astype(np.float32)

    return {
        "mean": tokens.mean(0),
        "deviation": deviation(tokens),
        "pooled_mean": means.mean(0),
        "pooled_deviation": deviation(means),
    }


LEAST = 0.3  # cosine at which a known name stands in for other words: of the kept-back synonyms 9 in 10 reach it


def nearest(names: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return for pooled vectors of words [W, 384] the row of the nearest of names [N, 384] in angle, -1 below
    `LEAST`.

    An engine whose model has no table of nouns replaces subjects that it does not know by the same rule
    (`engine/text/neighbours.py`)."""
    names, words = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6) for x in (names, words))
    cosines = words @ names.T
    return np.where(cosines.max(1) >= LEAST, cosines.argmax(1), -1)


def bare_names(forms: list[str], concepts: list[Concept]) -> list[int]:
    """Return the rows of the subject table of every concept's names, in that order."""
    at: dict[str, int] = {}
    for i, form in enumerate(forms):
        at.setdefault(form, i)
    return [at[name] for concept in concepts for name in concept.names]


def nearest_share(table: dict[str, np.ndarray], names: list[int]) -> float:
    """Measure the share of the kept-back synonyms whose nearest name is their own concept's."""
    pooled, words = (table[k].astype(np.float32) for k in ("subject_pooled", "held_pooled"))
    near = nearest(pooled[names], words)
    return float(((table["subject_concept"][names][near] == table["held_concept"]) & (near >= 0)).mean())


def run_stage(run: Run) -> Done:
    s = stage(run)
    if s.is_done():
        return open_stage(run.work, s.name)
    set_up(run, 0)
    plan = open_stage(run.work, "plan", key=plan_stage(run).key).json("plan.json")
    concepts = {c.name: c for c in read_vocabulary()}
    every = sorted({n for c in concepts.values() for n in c.names})  # the whole vocabulary, whatever the preset
    bar = Progress("text", 6)
    encoder = TextEncoder()
    stats = statistics(encoder.states(every))
    bar.step()
    clauses = ClauseEncoder(encoder, stats)
    forms = [(f, i) for i, c in enumerate(plan["concepts"]) for f in subject_forms(concepts[c].names)]
    held = [(f, i) for i, c in enumerate(plan["concepts"]) for f in concepts[c].held]
    table: dict[str, np.ndarray] = {f"stats_{k}": v for k, v in stats.items()}
    for name, rows in (("subject", forms), ("held", held)):
        texts = [t for t, _ in rows] or [""]
        table[name] = clauses.slot("subject", texts).astype(np.float16)
        table[f"{name}_pooled"] = clauses.pooled(texts).astype(np.float16)
        table[f"{name}_concept"] = np.array([i for _, i in rows] or [-1])
        bar.step()
    table["style"] = clauses.slot("style", [style_clause(x) for x in STYLES])
    table["background"] = clauses.slot("background", [background_clause(x) for x in BACKGROUNDS])
    table["palette"] = clauses.slot("palette", [palette_clause(x) for x in PALETTES])
    bar.step(2)
    table["finish"] = clauses.slot("finish", [finish_clause(x) for x in FINISHES])
    s.write_with("text.npz", lambda f: np.savez(f, **table))  # type: ignore[arg-type]
    s.write_json("texts.json", {"subject": [t for t, _ in forms], "held": [t for t, _ in held]})
    names = bare_names([t for t, _ in forms], [concepts[c] for c in plan["concepts"]])
    bare = table["subject_pooled"].astype(np.float32)
    first = np.array([int(np.argmax(table["subject_concept"] == i)) for i in range(len(plan["concepts"]))])
    unit = bare[first] / np.linalg.norm(bare[first], axis=1, keepdims=True)
    off = (unit @ unit.T)[~np.eye(len(first), dtype=bool)]
    s.finish(
        forms=len(forms),
        held=len(held),
        mean_cosine_between_concepts=float(off.mean()),
        synonyms_nearest_to_their_concept=nearest_share(table, names) if held else None,
    )
    bar.step()
    return open_stage(run.work, s.name)


if __name__ == "__main__":
    run_stage(run_of(parser(__doc__.split("\n")[0]).parse_args()))
