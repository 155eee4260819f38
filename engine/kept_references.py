"""Keep keys and values of references in the arena, for models that compute them once for all steps.

They depend on the pictures and on the LoRAs alone, so jobs that look at the same ones share them. What a generation
uses stays as long as it is open. Where the arena has no room, they are computed at every step, with the same bits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from .adapters.arena import copied
from .denoiser import KeepsReferences, KeptReferences
from .errors import LimitError
from .generation import Generation
from .kept_keys import KeptKeys


@dataclass(eq=False)
class ReferenceKeys(KeptKeys[KeepsReferences]):
    """The keys and values of references of one engine. Arguments: see `KeptKeys`."""

    _names: dict[int, str] = field(default_factory=dict, init=False)  # generation -> its name in the arena

    def pin(self, generation: Generation) -> None:
        """Compute what an open generation looks at, unless it is there, and keep it until `unpin`."""
        if not generation.references:
            return
        found = KeptReferences(generation.references, generation.reference_tokens, generation.loras)
        spec = generation.spec
        said = repr((spec.references, [(use.digest, use.weight) for use in spec.loras]))
        name = f"references:{hashlib.sha256(said.encode()).hexdigest()}"
        try:
            self.arena.pin(name, len(found), copied(self.ops, self.denoiser.reference_keys(self.ops, found)))
        except LimitError:
            pass
        else:
            self._names[generation.number] = name
            found = replace(found, rows=self.arena.rows(name))
        generation.kept_references = found

    def unpin(self, generation: Generation) -> None:
        """Undo `pin`; nothing of the generation may have been pinned."""
        name = self._names.pop(generation.number, None)
        if name is not None:
            self.arena.unpin(name)
