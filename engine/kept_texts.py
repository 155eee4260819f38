"""Keep keys and values of texts in the arena, for models that read a text by attention to it alone.

They depend on the text's states, and on the LoRAs that change the layers that make them. So they are computed once,
when the first generation that reads the text is opened, and not again when others join or leave its batch; generations
that read the same text share them. What open generations read goes only when adapters need its pages. Where the arena
has no room, a batch computes them in its layout, with the same bits.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from .adapters.arena import copied
from .denoiser import KeepsTexts, KeptText
from .errors import LimitError
from .generation import Generation
from .kept_keys import KeptKeys
from .text.pipeline import TextEncoding


@dataclass(eq=False)
class TextKeys(KeptKeys[KeepsTexts]):
    """The keys and values of texts of one engine. Arguments: see `KeptKeys`."""

    # generation -> id of a text that it reads -> its name in the arena
    _names: dict[int, dict[int, str]] = field(default_factory=dict, init=False)
    # name -> texts of open generations; the first of them pins it
    _readers: Counter[str] = field(default_factory=Counter, init=False)

    def pin(self, generation: Generation) -> None:
        """Compute what an open generation reads, unless it is there, and keep it until `unpin`."""
        if generation.position >= len(generation.evaluations):
            return
        names = self._names[generation.number] = {}
        said = self._acting(generation)
        for text in generation.texts_read:
            if id(text) not in names and len(text.tokens):
                name = names[id(text)] = _name(text, said)
                self._readers[name] += 1
                self._reside(name, text, generation)

    def unpin(self, generation: Generation) -> None:
        """Undo `pin`; nothing of the generation may have been pinned."""
        for name in self._names.pop(generation.number, {}).values():
            self._readers[name] -= 1
            if not self._readers[name]:
                del self._readers[name]
                if self.arena.pins(name):
                    self.arena.unpin(name)

    def kept(self, generation: Generation, text: TextEncoding) -> KeptText | None:
        """Return where a text of a generation lies; None: the arena has no room for it.

        What went for an adapter comes back, as soon as there is room.
        """
        name = self._names.get(generation.number, {}).get(id(text))
        if name is None or not self._reside(name, text, generation):
            return None
        return KeptText(self.arena.rows(name), self.arena)

    def _reside(self, name: str, text: TextEncoding, generation: Generation) -> bool:
        """Make a text resident and pinned, if there is room; return whether it is."""
        if self.arena.pins(name):
            return True
        layers = self.denoiser.text_keys(self.ops, text, generation.loras)
        try:
            self.arena.pin(name, len(text.tokens), copied(self.ops, layers), yields=True)
        except LimitError:
            return False
        return True

    def _acting(self, generation: Generation) -> list[tuple[str, float]]:
        """Return digests and weights of the LoRAs that change keys and values of texts."""
        uses = [use for use in generation.spec.loras if use.weight]
        acting = zip(uses, generation.loras, strict=True)
        return [(use.digest, use.weight) for use, (lora, _) in acting if self.denoiser.changes_texts(lora)]


def _name(text: TextEncoding, said: list[tuple[str, float]]) -> str:
    """Return what a text that is read through LoRAs is called in the arena: the same for the same states."""
    digest = hashlib.sha256(repr((text.tokens.shape, said)).encode())
    digest.update(text.tokens.tobytes())
    return f"text:{digest.hexdigest()}"
