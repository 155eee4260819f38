"""Taste where it cannot be: a model without a style space, plans that give the server no time of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.parameters.job_request import JobRequest
from salon.scheduler.plans import DEFAULT_FILE
from salon.studio.errors import TasteRefused
from salon.studio.service.service import Service
from salon.studio.service.taste_account import ACCOUNT, lane_of_own

from .conftest import Serve


def test_a_model_without_styles_ranks_nothing(serve: Serve) -> None:
    async def work(service: Service) -> None:
        assert service.context.studio.loop.model.taste is None
        with pytest.raises(TasteRefused, match="taste: got a model without a style encoder"):
            await service.taste.next_pair("local")
        with pytest.raises(TasteRefused, match=r"Not enough ratings \(0/200\)"):
            await service.plan("local", JobRequest(key="k", prompt="cat --p", language=True))
        assert ACCOUNT not in service.context.accounts.rows
        assert await service.taste.profiles("local") == ()
        assert await service.taste.events("local") == ()

    serve(work)


@pytest.mark.parametrize(
    ("relax", "monthly", "lane"), [("false", '"unlimited"', "fast"), ("true", "0", "relax"), ("false", "0", "")]
)
def test_the_servers_own_jobs_take_a_plan_that_costs_nothing(
    serve: Serve, tmp_path: Path, relax: str, monthly: str, lane: str
) -> None:
    text = DEFAULT_FILE.read_text()
    start = text.index("[plans.")
    end = text.index("# ms for so many images")
    least = 1 if relax == "true" else 0
    plan = f"""[plans.only]
monthly_ms = {monthly}
relax = {relax}
relax_video = false
stealth = true
running_fast = 3
running_relax = {least}
video_fast = 1
video_relax = 0
queued = 10
permutations = 4
permutations_in_relax = false

"""
    plans = tmp_path / "plans.toml"
    plans.write_text(text[:start].replace('default_plan = "unlimited"', 'default_plan = "only"') + plan + text[end:])

    async def work(service: Service) -> None:
        if not lane:
            with pytest.raises(TasteRefused, match="plans that all charge for it, allowed one with Relax"):
                lane_of_own(service.context)
            return
        assert lane_of_own(service.context) == lane
        assert lane_of_own(service.context) == lane, "the account is opened once"
        assert service.context.accounts.rows[ACCOUNT].plan == "only"

    serve(work, plans=plans)
