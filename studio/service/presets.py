"""Keep parameters that accounts have named, on disk. Used on the service's thread."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...bounds import MAX_PRESETS, PRESET
from ...errors import complaint
from ...parameters.errors import ParameterError
from ...values import shown
from ..prompt.presets import checked_preset, typed
from ..store.domains.organize import PresetRow
from ..store.writes import Put, Remove
from .errors import WrongValue
from .organized import Preset

if TYPE_CHECKING:
    from .context import ServiceContext
    from .waits import Waits


class PresetKeeper:
    """The presets of all accounts.

    Args:
        context: of the service.
        waits: for the store.
    """

    def __init__(self, context: ServiceContext, waits: Waits) -> None:
        self._context, self._waits = context, waits
        self._lock = asyncio.Lock()  # held while presets are counted and one is added

    async def listed(self, account: str) -> tuple[Preset, ...]:
        """Return the presets of an account, by name."""
        store = self._context.store
        rows = await self._waits.read(lambda: store.rows(PresetRow, account=account, limit=MAX_PRESETS))
        return tuple(Preset(name=row.name, parameters=row.parameters, made_ms=row.made_ms) for row in rows)

    async def of(self, account: str) -> Callable[[str], str]:
        """Return what finds the parameters of a preset by its name, or raises ParameterError."""
        kept = {one.name: one.parameters for one in await self.listed(account)}

        def find(name: str) -> str:
            if name not in kept:
                allowed = f"one of yours ({', '.join(sorted(kept)[:8])})" if kept else "one of yours (there is none)"
                raise ParameterError(complaint("--preset", shown(name), allowed, "see `salon preset list`"))
            return kept[name]

        return find

    async def put(
        self, account: str, name: str, parameters: str = "", values: Mapping[str, Any] = MappingProxyType({})
    ) -> Preset:
        """Keep parameters, as they are typed or by their names, under a name, in place of any that it had. They are on
        disk when this returns.

        Raises:
            WrongValue: the name is none, or there are too many presets.
            PromptRefused, ParameterError: see `checked_preset`.
        """
        if not re.fullmatch(PRESET, name):
            allowed = "letters, digits, _ and -, up to 64"
            raise WrongValue(complaint("preset", shown(name)[:80], allowed, "choose another name"))
        text = checked_preset(" ".join(filter(None, [parameters.strip(), typed(values)])))
        row = PresetRow(account=account, name=name, parameters=text, made_ms=self._context.now_ms())
        await self._waits.outlast(self._waits.begin(self._put(row)))
        return Preset(name=name, parameters=text, made_ms=row.made_ms)

    async def _put(self, row: PresetRow) -> None:
        async with self._lock:
            others = [one for one in await self.listed(row.account) if one.name != row.name]
            if len(others) >= MAX_PRESETS:
                got = f"{len(others) + 1} presets"
                raise WrongValue(complaint("preset", got, f"up to {MAX_PRESETS}", "delete one first"))
            await self._waits.stored([Put(row)])

    async def delete(self, account: str, name: str) -> bool:
        """Forget a preset. Return whether there was one."""
        there = any(one.name == name for one in await self.listed(account))
        if there:
            await self._waits.write([Remove(PresetRow, (account, name))])
        return there
