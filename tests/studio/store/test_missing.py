"""What is said where a package of the extras is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .conftest import TIMEOUT


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr


def test_no_sqlalchemy() -> None:
    run(
        "import sys\n"
        "sys.modules['sqlalchemy'] = None\n"
        "from salon.studio.errors import StoreMissing\n"
        "import salon.studio.store.rows, salon.studio.store.writes, salon.studio.store.writer\n"
        "import salon.studio.store.blobs, salon.studio.store.folder_blobs\n"
        "try:\n"
        "    import salon.studio.store.store\n"
        "except StoreMissing as error:\n"
        '    assert "install Salon again: pip install ." in str(error), error\n'
        "else:\n"
        "    raise SystemExit('no error')\n"
    )


def test_no_psycopg(tmp_path: Path) -> None:
    run(
        "import sys\n"
        "from pathlib import Path\n"
        "sys.modules['psycopg'] = None\n"
        "from salon.studio.errors import StoreMissing\n"
        "from salon.studio.store.store import Store\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "try:\n"
        "    Store.open('postgresql://localhost/x', folder)\n"
        "except StoreMissing as error:\n"
        "    assert \"pip install 'salon[postgres]'\" in str(error), error\n"
        "else:\n"
        "    raise SystemExit('no error')\n"
        "Store.open(None, folder).close()\n"
    )
