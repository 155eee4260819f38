"""Requests in the prompt language: the jobs that they ask for, with the account's settings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from ...parameters.job_request import JobRequest
from ...parameters.language.data import data_of
from ...parameters.language.options import prompts_of, words_of
from ..kinds import draws
from ..prompt.presets import Presets, no_presets
from ..prompt.request import ResolvedRequest
from ..prompt.requests import choices, keys_of, said_by
from ..prompt.resolve import PRESET, Facts, resolve
from ..prompt.settings import Settings, merged, said_in
from ..prompt.word_lists import FOLDER, WordLists
from ..store.domains.prompts import BatchRow, SettingsRow
from ..store.writes import Put, Remove, Write
from .presets import PresetKeeper

if TYPE_CHECKING:
    from ..store.store import Store
    from .context import ServiceContext
    from .waits import Waits

PAGE: Final = 500
OF_ALL: Final = ("lane", "private")  # what the jobs of one submit have in common


class Children(NamedTuple):
    """The requests that a submit stands for; `key`: of the submit."""

    key: str
    requests: tuple[JobRequest, ...]


class Prompts:
    """What accounts want said, and what becomes of their prompts.

    Args:
        context: of the service.
        waits: for the store.

    Attributes:
        lists: the words for `__name__` in prompts.
        presets: what accounts keep under names.
    """

    def __init__(self, context: ServiceContext, waits: Waits) -> None:
        self._context, self._waits = context, waits
        self.presets = PresetKeeper(context, waits)
        self.lists = WordLists(Path(context.options.data) / FOLDER)
        self._settings: dict[str, Settings] = {}  # of accounts that were asked for
        self._locks: dict[str, asyncio.Lock] = {}  # held while settings are read and then changed

    # ---- prompts -----------------------------------------------------------------------------------------------------

    def children(self, account: str, request: JobRequest) -> Children:
        """Return the requests for the jobs of a submit, one or several; each by itself stands for itself.

        Raises:
            PromptRefused: the prompt is not of the language, or its jobs differ in lane or privacy.
            ParameterError: wrong values beside it, or a key that is too long.
        """
        prompts = prompts_of(request.prompt, request.parameters or {})
        made = []
        for key, prompt in zip(keys_of(request.key, len(prompts)), prompts, strict=True):
            values = said_by(prompt, account, key)
            own = {name: values[name] for name in OF_ALL if name in values}
            made.append(msgspec.structs.replace(request, key=key, prompt=words_of(prompt), parameters=values, **own))
        return Children(request.key, tuple(made))

    async def resolve(self, account: str, request: JobRequest) -> tuple[JobRequest, ResolvedRequest]:
        """Return one of `children` as a request that says everything by parameters, the account's settings among them,
        and how it was understood. PromptRefused, ParameterError."""
        (prompt,) = prompts_of(request.prompt, request.parameters or {})
        model = self._context.studio.loop.model
        default_style = model.styles is not None and model.styles.has_default
        remakes = bool(request.sources) or not draws(request.kind)
        facts = Facts(default_style, model.family, request.kind, remakes)
        settings = None if facts.remakes else await self.settings(account)
        choose = choices(account, request.key, "resolve")
        names = {hole.name for term in prompt.terms for hole in term.holes}
        lists: dict[str, tuple[str, ...] | None] = {}
        if names:
            lists = await self._waits.read(lambda: {name: self.lists.words(name) for name in names})
        presets: Presets = no_presets
        if PRESET in prompt.said:
            presets = await self.presets.of(account)
        resolved = resolve(prompt, facts, settings, choose=choose, lists=lists.get, presets=presets)
        plain = msgspec.structs.replace(
            request,
            prompt=resolved.text,
            lane=resolved.lane,
            private=resolved.private,
            parameters=resolved.fields,
            language=False,
        )
        return plain, resolved

    # ---- words -------------------------------------------------------------------------------------------------------

    async def wildcards(self) -> dict[str, int]:
        """Return the number of words of every list, by name. ParameterError: see `WordLists.counts`."""
        return await self._waits.read(self.lists.counts)

    async def wildcard(self, name: str) -> tuple[str, ...]:
        """Return the words of a list. ParameterError: see `WordLists.listed`."""
        return await self._waits.read(lambda: self.lists.listed(name))

    # ---- settings ----------------------------------------------------------------------------------------------------

    async def settings(self, account: str) -> Settings:
        """Return the settings of an account."""
        known = self._settings.get(account)
        if known is None:
            row = await self._waits.read(lambda: self._context.store.row(SettingsRow, account))
            known = Settings()
            if row is not None:
                known = Settings(parameters=msgspec.msgpack.decode(row.parameters), suffix=row.suffix)
            known = self._settings.setdefault(account, known)  # they may have been changed meanwhile
        return known

    async def profiles_in_settings(self, account: str) -> tuple[tuple[str, float], ...] | None:
        """Return the taste profiles, each with its weight, that an account's settings name: none for its own global
        one. None: they name no profile at all."""
        settings = await self.settings(account)
        said = data_of(said_in(settings.suffix), choose=lambda: 0)
        found: Any = said.get("profile", settings.parameters.get("profile"))
        return None if found is None else tuple((str(name), float(weight)) for name, weight in found)

    async def change_settings(
        self, account: str, parameters: dict[str, Any], suffix: str | None, *, reset: bool
    ) -> Settings:
        """Change settings, and return them once they are on disk; see `settings.merged`. PromptRefused, ParameterError:
        nothing is changed."""

        async def work() -> Settings:
            async with self._locks.setdefault(account, asyncio.Lock()):
                before = Settings() if reset else await self.settings(account)
                after = merged(before, parameters, suffix)
                write: Write = Remove(SettingsRow, (account,))
                if after != Settings():
                    packed = msgspec.msgpack.encode(after.parameters)
                    write = Put(SettingsRow(account=account, parameters=packed, suffix=after.suffix))
                await self._waits.stored([write])
                self._settings[account] = after
                return after

        return await self._waits.outlast(self._waits.begin(work()))

    def sweep(self, before_ms: int) -> None:
        """Forget submits of several jobs from before then: their jobs are gone, too."""
        store: Store = self._context.store
        last: tuple[str, ...] = ()
        while rows := store.rows(BatchRow, after=last, limit=PAGE):
            last = rows[-1].account, rows[-1].key
            if old := [Remove(BatchRow, (row.account, row.key)) for row in rows if row.made_ms < before_ms]:
                store.write(old)
