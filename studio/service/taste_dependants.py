"""Say what names a profile, for its owner who may delete it. Used on the loop's thread."""

from __future__ import annotations

from typing import Final

from ..store.domains.taste import TasteProfileRow, TasteUseRow
from ..store.rows import JobRow
from ..taste.types import Dependants
from .context import ServiceContext
from .prompts import Prompts
from .taste_code_rows import code_rows, shown_code
from .waits import Waits

LISTED: Final = 100  # jobs that are named
PAGE: Final = 1_000


class TasteDependants:
    """What names profiles.

    Args:
        context: of the service.
        waits: for the store.
        prompts: know the accounts' settings.
    """

    def __init__(self, context: ServiceContext, waits: Waits, prompts: Prompts) -> None:
        self._context, self._waits, self._prompts = context, waits, prompts

    async def of(self, account: str, row: TasteProfileRow) -> Dependants:
        """Return what names an own profile or its codes."""
        context, store = self._context, self._context.store
        codes = await self._waits.read(lambda: code_rows(context, profile=row.profile))

        def look() -> list[TasteUseRow]:
            uses: list[TasteUseRow] = []
            for code in codes:
                after: tuple[str, ...] = ()
                while page := store.rows(TasteUseRow, after=after, limit=PAGE, code=code.code):
                    uses += page
                    after = page[-1].code, page[-1].job
            return uses

        uses = await self._waits.read(look)
        own = [job for _, job in sorted({(-use.made_ms, use.job) for use in uses if use.account == account})]
        there = await self._waits.read(lambda: [job for job in own[:LISTED] if _is_there(store.job(job))])
        return Dependants(
            profile=row.profile,
            codes=tuple(map(shown_code, codes)),
            jobs=tuple(there),
            num_jobs=len({use.job for use in uses}),
            settings=(account,) if await self._in_settings(account, row, {code.code for code in codes}) else (),
        )

    async def _in_settings(self, account: str, row: TasteProfileRow, codes: set[str]) -> bool:
        """Return whether the account's own settings name a profile, or one of its codes."""
        named = await self._prompts.profiles_in_settings(account)
        names = {name for name, _ in named} if named else {""} if named is not None else set()
        own = {row.profile, *codes, *([row.name] if row.name else [""])}
        return bool(names & own)


def _is_there(row: JobRow | None) -> bool:
    return row is not None and not row.deleted
