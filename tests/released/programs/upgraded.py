"""A user's program that asks for its jobs of before the server was made anew: `upgraded.py ADDRESS`.

It was written for the released client; the jobs are those of `tests/studio/service/test_old_folder.py`.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import salon

WAIT_S = 60.0
SMALL: dict[str, Any] = {"images": 1, "width": 16, "height": 16, "steps": 2}


def main(address: str) -> None:
    """The same keys are the same jobs; what was done is there, and what was not is done."""
    with salon.Client(address, timeout_s=WAIT_S) as client:
        listed = client.jobs().jobs
        done = client.imagine("a red apple", key="done-1", seed=1, **SMALL)
        assert done.state == "done"
        assert [hashlib.sha256(done.picture()).hexdigest()] == [
            picture.digest for picture in done.info.pictures if picture.index == 0
        ]
        assert [event.kind for event in done.events(timeout_s=WAIT_S)] == ["image", "image", "done"]
        left = client.imagine("cat", key="open-1", seed=4, **SMALL)
        assert [job.job for job in listed] == [left.id, done.id]
        kinds = [event.kind for event in left.events(timeout_s=WAIT_S)]
        assert kinds[-3:] == ["image", "image", "done"]
        fresh = client.imagine("cat", key="fresh", seed=4, **SMALL)
        fresh.wait(timeout_s=WAIT_S)
        assert fresh.id != left.id
        assert left.images()[0].tobytes() == fresh.images()[0].tobytes()


if __name__ == "__main__":
    main(sys.argv[1])
