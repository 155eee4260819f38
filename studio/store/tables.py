"""The tables of schema version 6; `migrations.py` leads here from older ones.

Every write names the columns by the fields of the rows. `usage` is the sum of an account's pictures' sizes. `listed`
says of every job that is not deleted what lists and searches of many ask, in rows so narrow that all of an account are
read in a moment; writes of jobs keep it.
"""

from __future__ import annotations

from typing import Final

from ...parameters.job_request import IMAGINE
from .rows import AccountRow, JobRow, PictureRow
from .sql import sa

VERSION: Final = 6
METADATA: Final = sa.MetaData()

# Texts compare by code point in both databases, as in Python, so that a page of accounts begins where the last ended.
TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
# INTEGER in SQLite, so that a primary key is the row's own number there.
WHOLE: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, TEXT, nullable=nullable)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, WHOLE, nullable=False)


META: Final = sa.Table("meta", METADATA, sa.Column("key", TEXT, primary_key=True), _text("value"))

JOBS: Final = sa.Table(
    "jobs",
    METADATA,
    sa.Column("seq", WHOLE, primary_key=True, autoincrement=False),
    sa.Column("job", TEXT, nullable=False, unique=True),
    _text("account"),
    _text("key"),
    sa.Column("request", sa.LargeBinary, nullable=False),
    sa.Column("spec", sa.LargeBinary, nullable=False),
    sa.Column("work", sa.LargeBinary, nullable=False),
    _text("prompt"),
    _text("lane"),
    _text("asked_lane"),
    sa.Column("private", sa.Boolean, nullable=False),
    _whole("preview_every"),
    _text("state"),
    _text("note"),
    _text("reason"),
    _text("failure"),
    _whole("made_ms"),
    _whole("started_ms"),
    _whole("ended_ms"),
    _whole("charged_ms"),
    _whole("last_event"),
    _whole("steps"),
    _whole("step"),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Column("kind", TEXT, nullable=False, server_default=IMAGINE),
    sa.Column("sources", TEXT, nullable=False, server_default=""),
    sa.Column("notes", TEXT, nullable=False, server_default=""),
    sa.Column("texts", TEXT, nullable=False, server_default=""),
    sa.UniqueConstraint("account", "key"),
)
# These indices leave out tombstones: lists do not show them, and there may be many more of them than of jobs.
LIVE: Final = ~JOBS.c.deleted
for _name, _columns in {
    "jobs_of_account": ("account", "seq"),
    "jobs_of_account_in_state": ("account", "state", "seq"),
    "jobs_in_state": ("state", "seq"),
    "jobs_by_end": ("ended_ms", "seq"),
    "jobs_live": ("seq",),
}.items():
    sa.Index(_name, *(JOBS.c[column] for column in _columns), sqlite_where=LIVE, postgresql_where=LIVE)

PICTURES: Final = sa.Table(
    "pictures",
    METADATA,
    sa.Column("job", TEXT, sa.ForeignKey("jobs.job"), primary_key=True),
    sa.Column("index", WHOLE, primary_key=True, autoincrement=False),
    sa.Column("digest", TEXT, nullable=False, index=True),
    _whole("size"),
    _whole("width"),
    _whole("height"),
    _text("media_type"),
    _text("recipe", nullable=True),
)

LISTED: Final = sa.Table(
    "listed",
    METADATA,
    sa.Column("account", TEXT, primary_key=True),
    sa.Column("seq", WHOLE, primary_key=True, autoincrement=False),
    sa.Column("job", TEXT, nullable=False),
    _whole("made_ms"),
    _text("kind"),
    _text("lane"),
    _text("state"),
    sa.Column("private", sa.Boolean, nullable=False),
    _whole("pictures"),  # without the grid
    _text("model"),  # its name and version; empty: of a job from before this table
    _text("words", nullable=True),  # that searches find, as the caller wrote them; None: not written yet
    sqlite_with_rowid=False,  # one walk along an account's rows reads nothing else
)
SHOWN: Final = ~LISTED.c.private
sa.Index("listed_by_job", LISTED.c.job, unique=True)
sa.Index("listed_public", LISTED.c.seq, sqlite_where=SHOWN, postgresql_where=SHOWN)

ACCOUNTS: Final = sa.Table(
    "accounts",
    METADATA,
    sa.Column("account", TEXT, primary_key=True),
    _text("name"),
    _text("role"),
    _text("plan", nullable=True),
    _whole("anchor_ms"),
    sa.Column("blocked", sa.Boolean, nullable=False),
    _whole("made_ms"),
    _whole("quota_bytes"),
)

ENTRIES: Final = sa.Table(
    "entries",
    METADATA,
    sa.Column("seq", WHOLE, primary_key=True, autoincrement=False),
    _whole("at_ms"),
    _text("account"),
    _text("kind"),
    _whole("amount_ms"),
    _whole("grant"),
    _text("job"),
    _whole("last"),
    _text("source", nullable=True),
    _whole("expires_ms"),
    _whole("use_ms"),
    _whole("relax_ms"),
    sa.Index("entries_of_account", "account", "seq"),
)

USAGE: Final = sa.Table("usage", METADATA, sa.Column("account", TEXT, primary_key=True), _whole("bytes"))

for _table, _row in ((JOBS, JobRow), (PICTURES, PictureRow), (ACCOUNTS, AccountRow)):
    assert set(_table.c.keys()) == set(_row.__struct_fields__), _table.name
