"""Take note of which jobs were drawn with a taste code, so that who deletes a profile sees what depends on it."""

from __future__ import annotations

from ...engine.spec import GenerationSpec
from ...engine.styles.names import taste_of
from ..store.domains.taste import TasteUseRow
from ..store.rows import JobRow
from ..store.writes import Put, Write


def uses_of(row: JobRow, spec: GenerationSpec) -> list[Write]:
    """Return the writes that say which codes a new job is drawn with."""
    codes = [code for use in spec.adapters if (code := taste_of(use.adapter)) is not None]
    return [Put(TasteUseRow(code=code, job=row.job, account=row.account, made_ms=row.made_ms)) for code in codes]
