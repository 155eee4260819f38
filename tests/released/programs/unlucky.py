"""A user's program whose jobs end without pictures: `unlucky.py ADDRESS JobFailed|JobBlocked WORDS`.

It was written for the released client.
"""

from __future__ import annotations

import sys

import pytest

import salon
from salon.frontends.client import errors


def main(address: str, name: str, words: str) -> None:
    """The job ends with that error and these words; an operator tries a failed one again, in vain."""
    kind: type[errors.NoPictures] = getattr(errors, name)
    with salon.Client(address, timeout_s=60) as client:
        job = client.imagine("a red apple", images=1, steps=2)
        for again in (False, True):
            if again and kind is errors.JobFailed:
                assert client.ops.retry(job.id).job == job.id
                job = client.job(job.id)
            with pytest.raises(kind) as info:
                job.wait(timeout_s=60)
            assert info.value.info.state == name.removeprefix("Job").lower()
            assert words in info.value.reason


if __name__ == "__main__":
    main(*sys.argv[1:])
