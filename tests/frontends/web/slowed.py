"""A page on a slow machine, far from its server: `SALON_SLOW_PAGE=6 pytest tests/frontends/web` finds tests, and the
page itself, that take what is usually quick for granted."""

from __future__ import annotations

import os
from typing import Any

TIMES = float(os.environ.get("SALON_SLOW_PAGE", "1"))  # that a page's scripts take longer
FAR = """(() => {
    const wait = most => new Promise(resolve => setTimeout(resolve, Math.random() * most));
    const near = window.fetch;
    window.fetch = async (...asked) => {  // answers come in another order than they were asked for
        await wait(200);
        const answer = await near(...asked);
        await wait(500);
        return answer;
    };
    const Near = window.EventSource;
    window.EventSource = class extends Near {  // events keep their order, and come before or after answers
        told = Promise.resolve();
        addEventListener(kind, act) {
            super.addEventListener(kind, event => {
                this.told = this.told.then(() => wait(200)).then(() => this.readyState === 2 || act(event));
            });
        }
    };
})()"""


def slow(page: Any) -> None:
    """Slow a page that has not been opened yet, if the environment asks for it."""
    if TIMES > 1:
        page.add_init_script(FAR)
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": TIMES})
