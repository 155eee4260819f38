"""A user's program that keeps a picture: `picture.py ADDRESS FILE`. It was written for the released client."""

from __future__ import annotations

import sys
from pathlib import Path

import salon


def main(address: str, file: str) -> None:
    """Make it and write it down."""
    with salon.Client(address, timeout_s=60) as client:
        job = client.imagine("a red apple, 3d render", aspect=(2, 1), images=1, steps=2, seed=7)
        job.wait(timeout_s=60)
        Path(file).write_bytes(job.picture())


if __name__ == "__main__":
    main(*sys.argv[1:])
