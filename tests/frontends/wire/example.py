"""The worked example of docs/wire.md: a session, frame by frame. `python -m tests.frontends.wire.example` prints it."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from salon.frontends.wire import messages as m
from salon.frontends.wire.frames import read_reply, read_request, reply_frames, request_frames

FILE: Final = b"a picture"  # in place of a PNG
PICTURE: Final = m.Picture(index=0, digest=sha256(FILE).hexdigest(), size=len(FILE), width=128, height=128)
JOB: Final = m.JobInfo(job="j1", account="local", prompt="a red apple", images=1, made_ms=1_700_000_000_000)
AGAIN: Final = m.Failure(
    code="not_found", kind="UnknownJob", text="job: got 'j2', allowed a job of yours; see `salon jobs`"
)
SESSION: Final[tuple[tuple[bytes, m.Request | m.Reply, bytes | None], ...]] = (
    (b"\x01", m.Hello(features=("previews", "private"), client="example"), None),
    (b"\x01", m.Welcome(version=1, features=("previews", "private"), server="salon", account="local"), None),
    (b"\x02", m.Submit(key="k1", prompt="a red apple", images=1), None),
    (b"\x02", m.Accepted(job=JOB), None),
    (b"\x03", m.Watch(job="j1"), None),
    (b"\x03", m.Event(number=1, kind="queued"), None),
    (b"\x03", m.Event(number=9, kind="image", picture=PICTURE), None),
    (b"\x03", m.Event(number=10, kind="done"), None),
    (b"\x03", m.Watched(last=10), None),
    (b"\x04", m.Fetch(job="j1", index=0, credit=1), None),
    (b"\x04", m.Chunk(offset=0, total=9, digest=PICTURE.digest), FILE[:5]),
    (b"", m.Credit(fetch=b"\x04"), None),
    (b"\x04", m.Chunk(offset=5, total=9, digest=PICTURE.digest), FILE[5:]),
    (b"\x05", m.Show(job="j2"), None),
    (b"\x05", AGAIN, None),
    (b"", m.Bye(), None),
)


def session() -> str:
    """The text: who speaks, the record, the frames in hex, 32 bytes a line. What it shows has been read back."""
    lines = []
    for id, record, payload in SESSION:
        if isinstance(record, m.Request):
            frames = request_frames(id, record)
            assert read_request(frames) == (id, record)
        else:
            frames = reply_frames(id, record, payload)
            assert read_reply(frames) == (id, record, payload)
        who = "client" if isinstance(record, m.Request) else "server"
        lines.append(f"{who}  {record.__struct_config__.tag}")
        for number, frame in enumerate(frames, 1):
            rows = [frame[at : at + 32].hex() for at in range(0, len(frame), 32)] or ["(empty)"]
            lines.extend(f"  {number if row is rows[0] else ' '}  {row}" for row in rows)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(session(), end="")
