"""Open the server's own account, whose jobs are pictures to rank and questions about pictures, at no one's cost."""

from __future__ import annotations

from typing import Final

from ...bounds import TASTE
from ...errors import complaint
from ...scheduler.plans import AccountPlan
from ...scheduler.tickets import Lane
from ..errors import TasteRefused
from ..store.rows import AccountRow
from .context import ServiceContext

ACCOUNT: Final = TASTE
_QUOTA: Final = 2**50  # bytes: no bound


def lane_of_own(context: ServiceContext) -> Lane:
    """Return the lane of the account's jobs, and open the account if it is not there yet.

    Raises:
        TasteRefused: no plan of this server lets anything be drawn without time.
    """
    plans = context.books.book.plans.values()
    row = context.accounts.rows.get(ACCOUNT)
    plan = context.books.book.plans.get(row.plan or "") if row is not None else None
    if plan is None or not _serves(plan):
        plan = next(
            filter(_serves, sorted(plans, key=lambda plan: (plan.monthly_ms is not None, not plan.relax))), None
        )
        if plan is None:
            got, allowed = "plans that all charge for it", "one with Relax, or without a limit of time"
            raise TasteRefused(complaint("taste", got, allowed, "have the operator add one (salon serve --plans)"))
        if row is None:
            own = AccountRow(account=ACCOUNT, name="pictures to rank", plan=plan.name, quota_bytes=_QUOTA)
            context.accounts.open(own)
    return Lane.RELAX if plan.relax else Lane.FAST


def _serves(plan: AccountPlan) -> bool:
    return plan.relax or plan.monthly_ms is None
