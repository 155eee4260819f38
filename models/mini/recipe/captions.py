"""Captions, clause by clause: subject; style; background; palette; finish.

Every clause is encoded on its own and lies in its own slots, so that style words cannot swamp the subject.
"""

from dataclasses import dataclass

from .looks import FINISHES, PALETTES, Look
from .sets import BY_NAME

# name, tokens, wording of the training captions; in the order of the rows
SLOTS = (
    ("subject", 6, "{}"),
    ("style", 4, "{} style"),
    ("background", 3, "{} background"),
    ("palette", 3, "{}"),
    ("finish", 3, "{}"),
)
CLAUSES = tuple(name for name, _, _ in SLOTS)
ROWS = sum(tokens for _, tokens, _ in SLOTS)
_FORM = {name: form for name, _, form in SLOTS}


@dataclass(frozen=True)
class Caption:
    """One clause a slot, "" where the picture's text says nothing."""

    subject: str
    style: str = ""
    background: str = ""
    palette: str = ""
    finish: str = ""

    def text(self) -> str:
        """Return the caption as a person would type it."""
        clauses = (self.subject, self.style, self.background, self.palette, self.finish)
        return ", ".join(c for c in clauses if c)


def with_article(name: str) -> str:
    """Put an article before a name: 'an apple', 'a cat'; plurals ('jeans') stay as they are."""
    plural = name.endswith("s") and not name.endswith("ss")
    return name if plural else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def subject_forms(names: tuple[str, ...]) -> list[str]:
    """Return every way that training captions name a subject: each name, bare and with an article."""
    return list(dict.fromkeys(form for name in names for form in (name, with_article(name))))


def clause(slot: str, words: str) -> str:
    """Put words into the wording of a slot; no words, no clause."""
    return _FORM[slot].format(words) if words else ""


def style_clause(drawing_set: str) -> str:
    return clause("style", BY_NAME[drawing_set].words if drawing_set else "")


def background_clause(background: str) -> str:
    return clause("background", background)


def palette_clause(palette: str) -> str:
    return clause("palette", PALETTES[palette] if palette else "")


def finish_clause(finish: str) -> str:
    return clause("finish", FINISHES[finish] if finish else "")


def caption(subject: str, drawing_set: str, look: Look) -> Caption:
    """Return the full caption of a picture."""
    return Caption(
        subject,
        style_clause(drawing_set),
        background_clause(look.background),
        palette_clause(look.palette),
        finish_clause(look.finish),
    )
