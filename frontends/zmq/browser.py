"""Open the page in a browser, without showing its link to other users of the machine."""

from __future__ import annotations

import atexit
import html
import logging
import os
import tempfile
import threading
import time
import webbrowser
from pathlib import Path
from typing import Final

LOG = logging.getLogger("salon.server")
LEAD_S: Final = 60.0  # after which the file that leads to the page is gone: it was opened long before
_LEAD: Final = """<!doctype html><meta charset="utf-8"><title>Salon</title>
<meta http-equiv="refresh" content="0;url={url}">
<p><a href="{url}">Salon</a></p>
"""


def open_page(url: str) -> threading.Thread:
    """Open an address in a browser, soon, on the thread that is returned. That there is no browser is logged.

    With a secret in it, a file that only this user can read leads there: everybody sees the words of a command.
    """
    thread = threading.Thread(target=_open, args=(url,), name="salon-browser", daemon=True)
    thread.start()
    return thread


def _open(url: str) -> None:
    lead: Path | None = None
    try:
        if "#" not in url:
            opened = webbrowser.open(url)
        else:
            file, name = tempfile.mkstemp(".html", "salon-")  # readable by its owner alone
            with os.fdopen(file, "w") as written:
                written.write(_LEAD.format(url=html.escape(url, quote=True)))
            lead = Path(name)
            atexit.register(lead.unlink, missing_ok=True)
            opened = webbrowser.open(lead.as_uri())
    except (OSError, webbrowser.Error) as error:
        LOG.warning("no browser: %s", error)
        return
    if not opened:
        LOG.warning("no browser: none is known here; open the page's address in one")
    if lead is not None:
        time.sleep(LEAD_S)
        lead.unlink(missing_ok=True)
