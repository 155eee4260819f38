"""Define what clients and the server say to each other: two closed, tagged unions of small records, in msgpack.

A message is two frames: an id chosen by the client, and the record, a map whose field `type` names its kind. Some
records of the server have a third frame, raw bytes. `docs/wire.md` has the whole protocol. New fields carry defaults
and unknown fields are skipped, so that both sides may be older or newer than the other.

Times are UTC ms, spans ms. Fields whose names end in `charged_ms`, `fast_ms` and the like are GPU time, as said there.

The module is long because it is one thing: the whole contract, to be read from top to bottom and compared with
`docs/wire.md`. Only what is about taste stands in `taste.py`, and what is about many jobs in `organize.py`.
"""

# mypy: disable-error-code="misc"
# (msgspec inherits `frozen`; the checker wants it said again in every record)

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from ...bounds import GRID as GRID
from ...bounds import MAX_UPLOAD_PART as MAX_UPLOAD_PART
from ...parameters.job_request import IMAGINE as IMAGINE
from ...parameters.job_request import JobRequest
from ...parameters.job_request import Source as Source
from .chat import Chat as Chat
from .chat import ChatReply, ChatRequest
from .chat import Chats as Chats
from .chat import ChatSaid as ChatSaid
from .chat import ChatSay as ChatSay
from .chat import ChatTurns as ChatTurns
from .chat import DeleteChat as DeleteChat
from .chat import ListChats as ListChats
from .chat import ShowChat as ShowChat
from .chat import Turn as Turn
from .entry import EndEntry as EndEntry
from .entry import Entries as Entries
from .entry import EntryInfo as EntryInfo
from .entry import EntryMade as EntryMade
from .entry import EntryReply, EntryRequest
from .entry import ListEntries as ListEntries
from .entry import NewLink as NewLink
from .entry import NewToken as NewToken
from .organize import ChangeJobs as ChangeJobs
from .organize import DeleteFolder as DeleteFolder
from .organize import DeletePreset as DeletePreset
from .organize import Folder as Folder
from .organize import Folders as Folders
from .organize import GetMarks as GetMarks
from .organize import JobsChanged as JobsChanged
from .organize import ListFolders as ListFolders
from .organize import ListNames as ListNames
from .organize import ListPresets as ListPresets
from .organize import Marks as Marks
from .organize import NameList as NameList
from .organize import NewFolder as NewFolder
from .organize import NotChanged as NotChanged
from .organize import OrganizeReply, OrganizeRequest
from .organize import Preset as Preset
from .organize import Presets as Presets
from .organize import PutPreset as PutPreset
from .organize import RenameFolder as RenameFolder
from .organize import ShowJobs as ShowJobs
from .record import Record as Record
from .taste import ChangeTasteProfile as ChangeTasteProfile
from .taste import DeleteTasteProfile as DeleteTasteProfile
from .taste import EventPicture as EventPicture
from .taste import GetTasteReport as GetTasteReport
from .taste import LeftOut as LeftOut
from .taste import Liked as Liked
from .taste import ListTasteCodes as ListTasteCodes
from .taste import ListTasteEvents as ListTasteEvents
from .taste import ListTasteProfiles as ListTasteProfiles
from .taste import NewTasteProfile as NewTasteProfile
from .taste import PairPicture as PairPicture
from .taste import Share as Share
from .taste import StyleWeight as StyleWeight
from .taste import TasteCode as TasteCode
from .taste import TasteCodes as TasteCodes
from .taste import TasteDependants as TasteDependants
from .taste import TasteEvent as TasteEvent
from .taste import TasteEvents as TasteEvents
from .taste import TasteLike as TasteLike
from .taste import TasteNext as TasteNext
from .taste import TastePair as TastePair
from .taste import TastePick as TastePick
from .taste import TasteProfile as TasteProfile
from .taste import TasteProfiles as TasteProfiles
from .taste import TasteRank as TasteRank
from .taste import TasteReply, TasteRequest
from .taste import TasteReport as TasteReport
from .taste import TasteRevoke as TasteRevoke
from .taste import TasteSwitch as TasteSwitch
from .taste import TasteTaught as TasteTaught
from .taste import TasteUndo as TasteUndo

VERSION: Final = 1  # of the protocol; raised only by what an older peer would misunderstand
FEATURES: Final = (
    "previews",
    "private",
    "ops",
    "parameters",
    "kinds",
    "language",
    "wildcards",
    "texts",
    "taste",
    "loras",
    "entry",
    "moderation",
    "chat",
    "organize",
    "again",
    "operate",
    "values",
)  # what this side knows beyond version 1's core


# ---- parts ---------------------------------------------------------------------------------------------------------


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The server's limits for one client, told in `Welcome`.

    Attributes:
        max_message: bytes of a record.
        chunk: bytes of every chunk of a picture but the last.
        max_credit: chunks that may be outstanding for one fetch.
        max_watches, max_fetches: watches and fetches at a time on one connection.
        rate, burst: requests a second over time, and at once.
        heartbeat_ms: the longest pause between messages; a silence of three times that ends the connection.
    """

    max_message: int = 1 << 16
    chunk: int = 1 << 18
    max_credit: int = 16
    max_watches: int = 256
    max_fetches: int = 16
    rate: float = 0.0
    burst: int = 0
    heartbeat_ms: int = 5000


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A stored picture of a job.

    `index` counts from 0; -1 (`GRID`) is all in one. `digest` is the sha256 (hex) of the file.
    """

    index: int
    digest: str
    size: int
    width: int
    height: int
    media_type: str = "image/png"


class Block(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision of a policy that blocked. No prompt and no picture is kept.

    Attributes:
        stage: prompt, upload or pictures.
        rule: name of the rule.
        message: the sentence that the user got.
        job: whose pictures were blocked.
    """

    number: int
    at_ms: int
    account: str
    stage: str
    rule: str
    message: str = ""
    job: str = ""


class JobText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text that a job made in place of pictures.

    `score` says how much speaks for it, 0 to 1. `role`: "prompt", a whole prompt, or "word", a word of the prompt that
    the job was about. `note` says why a word counts for nothing.
    """

    text: str
    score: float
    role: str = "prompt"
    note: str = ""


class JobInfo(Record, tag="job"):
    """A job as its owner sees it. Other accounts see nothing at all of a private job.

    Attributes:
        state: queued, running, paused, done, failed, cancelled, blocked.
        asked_lane: the lane that the request asked for.
        lane: the lane that serves the job; `note` says why it is another one.
        reason, failure: why the job has no pictures: in words, and by the name of the error; of a blocked one, of the
            rule.
        notes: what of the prompt is left out or replaced, one sentence each.
        styles: adapter -> how strongly the job is drawn in that style; see docs/parameters.md.
        terms, prompt_weight: how strongly guidance follows texts beside the prompt, text -> weight, and the prompt.
        charged_ms: GPU time that the job cost; 0 until it is done.
        last_event: number of its latest event.
        kind, sources (feature "kinds"): which kind of job, and the pictures that it started from.
        knobs: those of chaos, weird, experimental, stop, tile, progressive and quality that do something, by name.
        starts: SHA-256 (hex) of the files of pictures that it is drawn from, image prompts too.
        texts (feature "texts"): what it made in place of pictures, the best first.
    """

    job: str
    account: str = ""
    state: str = "queued"
    asked_lane: str = "fast"
    lane: str = "fast"
    note: str = ""
    reason: str = ""
    failure: str = ""
    private: bool = False
    prompt: str = ""
    negative_prompt: str = ""
    width: int = 0
    height: int = 0
    steps: int = 0
    seed: int = 0
    images: int = 0
    guidance_scale: float = 0.0
    solver: str = ""
    styles: dict[str, float] = {}
    terms: dict[str, float] = {}
    prompt_weight: float = 1.0
    step: int = 0
    made_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    charged_ms: int = 0
    pictures: tuple[Picture, ...] = ()
    last_event: int = 0
    kind: str = IMAGINE
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()
    knobs: dict[str, float] = {}
    starts: tuple[str, ...] = ()
    texts: tuple[JobText, ...] = ()


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A worker.

    Attributes:
        busy_share: share of the last minute in which it was busy.
        cost_error: mean relative error of its cost model.
    """

    name: str
    state: str
    started_jobs: int = 0
    steps: int = 0
    step_ms: float = 0.0
    busy_share: float = 0.0
    cost_error: float = 0.0
    restarts: int = 0


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the ledger of GPU time."""

    seq: int
    at_ms: int
    account: str
    kind: str
    amount_ms: int
    job: str = ""
    source: str = ""
    expires_ms: int = 0


class Near(msgspec.Struct, frozen=True, kw_only=True):
    """A name near to a word. `similarity`: up to 1, which is the same."""

    name: str
    similarity: float


class PlannedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a prompt would make.

    Attributes:
        prompt: with everything that the account's settings add.
        parameters: every value, by the names of `docs/parameters.md`; `sources`: where each comes from.
        cost_ms: GPU time that it would be charged.
        list_ms: the same for an account whose time is counted.
    """

    prompt: str
    parameters: dict[str, Any] = {}
    sources: dict[str, str] = {}
    lane: str = "fast"
    cost_ms: int = 0
    list_ms: int = 0


class ParameterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a request, as controls are drawn of it.

    Attributes:
        name: by which `parameters` has it; `flags`: by which prompts have it.
        kind: whole, number, text, choice, switch, aspect, interval, references, picture, profiles, or another word.
        low, high: of a whole or a number. `choices`: of a choice.
        values: flags that stand for one value each.
        missing: what has to be there before it can be used; empty: nothing.
        of_job: it says how the job is done, and nothing of its pictures.
    """

    name: str
    flags: tuple[str, ...] = ()
    kind: str = ""
    help: str = ""
    allowed: str = ""
    default: str = ""
    remedy: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    values: dict[str, Any] = {}
    many: bool = False
    conflicts: tuple[str, ...] = ()
    job_kinds: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    missing: str = ""
    of_job: bool = False


# ---- from the client -----------------------------------------------------------------------------------------------


class Hello(Record, tag="hello"):
    """The first message of a connection. Answer: Welcome.

    `version` is the newest that this side speaks, `oldest` the oldest.
    """

    version: int = VERSION
    oldest: int = 1
    features: tuple[str, ...] = ()
    client: str = ""


class Ping(Record, tag="ping"):
    """Ask for a sign of life. Answer: Pong."""


class Submit(JobRequest, Record, tag="submit"):
    """Make pictures. Answer: Accepted, once the job is on disk. The fields are those of `JobRequest`. What is None is
    the model's default; the seed: a random one below 2^32, which the answer tells.

    `key` makes it idempotent: the same key of the same account is the same job, however often it is sent.
    `preview_every`: solver steps between previews; 0: none.
    `parameters` (feature "parameters"): what the request says, by the names of `docs/parameters.md`, in place of all
    fields from `negative_prompt` to `shift`, which are not looked at then. Without it a request is one from before
    there were styles, and is drawn without the model's default style.
    `kind`, `sources` (feature "kinds"): which kind of job, and the pictures that it starts from.
    `language` (feature "language"): the prompt has words and parameters, as people type them, and may stand for
    several, which makes several jobs, all or none. `parameters` say the same beside it, lane and privacy among them;
    `lane` and `private` are not looked at. What both leave out, the account's settings say.
    """


class Again(Record, tag="again"):
    """Make a job of one's own once more, of any kind and in any state, as a new job at today's price (feature "again").
    Answer: Accepted.

    It has all that the job `job` was asked for by: words, parameters, styles, pictures, lane and privacy. `key`: as of
    `Submit`. `seed`: None: the same, where that job ended without pictures, else a random one; jobs of kinds without a
    seed take none. `preview_every`: as of `Submit`; None: as before.
    """

    key: str
    job: str
    seed: int | None = None
    preview_every: int | None = None


class Plan(Record, tag="plan"):
    """What a `submit` in the prompt language would do; makes and charges nothing (feature "language"). Answer:
    Planned."""

    prompt: str
    parameters: dict[str, Any] = {}
    kind: str = IMAGINE
    sources: tuple[Source, ...] = ()


class ListParameters(Record, tag="parameters"):
    """What a request can say (feature "language"). Answer: ParameterList."""


class GetSettings(Record, tag="settings"):
    """What the account wants said where its prompts say nothing (feature "language"). Answer: SettingsInfo."""


class ChangeSettings(Record, tag="settings.change"):
    """Change the account's settings (feature "language"). Answer: SettingsInfo. `parameters`: those that change; nil
    takes one away. `suffix`: a new one; None: as it is. `reset`: forget all others first."""

    parameters: dict[str, Any] = {}
    suffix: str | None = None
    reset: bool = False


class ListWildcards(Record, tag="wildcards"):
    """Ask for the lists of words that `__name__` in a prompt stands for (feature "wildcards"). Answer: Wildcards.

    `name`: a list, to be told its words from number `after` on, counted from 0; "": no words.
    """

    name: str = ""
    after: int = 0


class Upload(Record, tag="upload"):
    """Bring a picture's file, part by part, for `parameters` to refer to by its digest. Answer: Uploaded.

    `digest` is the sha256 (hex) of the file, which has `size` bytes; `data` are those from `offset` on. An upload
    without data asks how many bytes the server has. The server forgets a file that is not whole, when no further part
    comes for a while. With `lora` (feature "loras") it is a LoRA and no picture, for `parameters.loras`.
    """

    digest: str
    size: int
    offset: int = 0
    data: bytes = b""
    lora: bool = False


class Watch(Record, tag="watch"):
    """Tell what happens to a job, from after event number `after` (0: from the beginning).

    Answers: Event, ..., and Watched after the final event. With `previews`, preview events carry pictures; for a slow
    reader the server keeps only the latest one.
    """

    job: str
    after: int = 0
    previews: bool = False


class Unwatch(Record, tag="unwatch"):
    """End a watch early; `watch` is its id. Answer: Done; the watch gets its Watched."""

    watch: bytes


class Show(Record, tag="show"):
    """Ask for a job. Answer: JobInfo."""

    job: str


class ListJobs(Record, tag="list"):
    """Ask for the own jobs, newest first. Answer: JobList.

    `before` is the `next` of the page before; `states` leaves out jobs in other states. Operators may ask for
    `account`, or "*" for all; prompts of other accounts' private jobs are left out. With `public` (feature `taste`) the
    jobs of all accounts that are not private, or with `account` of that one; anybody may ask for them.
    """

    before: int = 0
    limit: int = 20
    states: tuple[str, ...] = ()
    account: str = ""
    public: bool = False


class Cancel(Record, tag="cancel"):
    """End exactly this job, queued or running. Answer: Done; `changed` says whether it had not ended yet."""

    job: str


class Delete(Record, tag="delete"):
    """Remove a finished job's pictures from disk and its prompt from the records. Answer: Done."""

    job: str


class Fetch(Record, tag="fetch"):
    """Send a picture from byte `offset` on.

    Answers: Chunk, ... with the bytes as third frame, at most `credit` ahead of what `Credit` has granted. The chunk
    that reaches `total` is the final one.
    """

    job: str
    index: int = GRID
    offset: int = 0
    credit: int = 4


class Credit(Record, tag="credit"):
    """Grant so many chunks more to a fetch; `fetch` is its id. A notice: it has an empty id and no answer."""

    fetch: bytes
    chunks: int = 1


class Info(Record, tag="info"):
    """Ask for the own account; operators may name another. Answer: AccountInfo."""

    account: str = ""


class Words(Record, tag="words"):
    """What the model draws, by the words for it. Answer: WordList. `like`: a word, to be told which names are near."""

    like: str = ""


class Bye(Record, tag="bye"):
    """Say that the client leaves. A notice."""


class OpsStatus(Record, tag="ops.status"):
    """Ask for an overview of the server. Answer: Status."""


class OpsPause(Record, tag="ops.pause"):
    """Start no further step, but accept jobs. Answer: Done."""


class OpsResume(Record, tag="ops.resume"):
    """End a pause or a drain. Answer: Done."""


class OpsDrain(Record, tag="ops.drain"):
    """Accept no further jobs and finish those that are open. Answer: Done. With `stop`, the server ends then."""

    stop: bool = False


class OpsWorkers(Record, tag="ops.workers"):
    """Ask for all workers. Answer: WorkerList."""


class OpsAccounts(Record, tag="ops.accounts"):
    """Ask for accounts, by name. Answer: AccountList. `after` is the last account of the page before."""

    after: str = ""
    limit: int = 50


class OpsSetAccount(Record, tag="ops.set_account"):
    """Open an account (64 hex digits of its public key), or change what is not None. Answer: AccountInfo."""

    account: str
    name: str | None = None
    plan: str | None = None
    role: str | None = None
    blocked: bool | None = None
    quota_bytes: int | None = None


class OpsGrant(Record, tag="ops.grant"):
    """Grant GPU time. Answer: AccountInfo.

    `source` is bought, bonus or operator; `expires_ms` is for operator only. `key` makes it idempotent.
    """

    account: str
    amount_ms: int
    key: str
    source: str = "bought"
    expires_ms: int = 0


class OpsLedger(Record, tag="ops.ledger"):
    """Ask for entries of an account ("": of all), from after entry `after`. Answer: LedgerPage. With `newest` (feature
    "operate") the newest come first, and the page goes back from before entry `after`; 0: from the end."""

    account: str = ""
    after: int = 0
    limit: int = 100
    newest: bool = False


class OpsRetry(Record, tag="ops.retry"):
    """Run a failed job again, under its own id. Answer: JobInfo."""

    job: str


class OpsBlocks(Record, tag="ops.blocks"):
    """Ask for decisions of policies that blocked, newest first (feature "moderation"). Answer: BlockList.

    `account`: only of that one; `before`: `next` of the page before.
    """

    account: str = ""
    before: int = 0
    limit: int = 50


class OpsLift(Record, tag="ops.lift"):
    """End the timeout of an account that policies have blocked too often, and forget these blocks (feature "operate").
    Answer: Done; `changed` says whether it had to wait."""

    account: str


Request: TypeAlias = (
    Hello
    | Ping
    | Submit
    | Again
    | Plan
    | ListParameters
    | GetSettings
    | ChangeSettings
    | ListWildcards
    | Upload
    | Watch
    | Unwatch
    | Show
    | ListJobs
    | Cancel
    | Delete
    | Fetch
    | Credit
    | Info
    | Words
    | Bye
    | OpsStatus
    | OpsPause
    | OpsResume
    | OpsDrain
    | OpsWorkers
    | OpsAccounts
    | OpsSetAccount
    | OpsGrant
    | OpsLedger
    | OpsRetry
    | OpsBlocks
    | OpsLift
    | TasteRequest
    | EntryRequest
    | ChatRequest
    | OrganizeRequest
)


# ---- from the server -----------------------------------------------------------------------------------------------


class Welcome(Record, tag="welcome"):
    """The answer to Hello.

    Both sides speak `version` from now on; `features` are those that both know. `server` is the server's version, for
    people.
    """

    version: int
    features: tuple[str, ...] = ()
    server: str = ""
    account: str = ""
    role: str = "user"
    model: str = ""
    limits: Limits = Limits()


class Pong(Record, tag="pong"):
    """The answer to Ping."""


class Accepted(Record, tag="accepted"):
    """The job is on disk, and will end. `existing` says whether it was there already, under this key. `more`: those
    after it, of a prompt that stands for several."""

    job: JobInfo
    existing: bool = False
    more: tuple[JobInfo, ...] = ()


class Planned(Record, tag="planned"):
    """What a prompt would do. `queue_position`: jobs that wait in its lane before it."""

    jobs: tuple[PlannedJob, ...]
    total_cost_ms: int = 0
    queue_position: int = 0


class ParameterList(Record, tag="parameters.known"):
    """What a request can say."""

    parameters: tuple[ParameterInfo, ...]


class SettingsInfo(Record, tag="settings.kept"):
    """What an account wants said. `suffix` wins over `parameters`, and what a prompt says over both."""

    parameters: dict[str, Any] = {}
    suffix: str = ""


class Wildcards(Record, tag="wildcards.kept"):
    """The lists of words, each with the number of them; or the words of one. `next` is for `ListWildcards.after`; 0:
    there are no more."""

    lists: dict[str, int] = {}
    words: tuple[str, ...] = ()
    next: int = 0


class Uploaded(Record, tag="uploaded"):
    """The server has `received` bytes of the file, from its beginning, and the next part goes on from there.

    Once it has all of them, requests can refer to the picture.
    """

    received: int


class Event(Record, tag="event"):
    """Something happened to a watched job. Numbers of a job's events rise, with gaps.

    `kind`: queued, note (`reason` says what of the prompt is left out or replaced), started, step, preview (third
    frame: a JPEG of the unfinished grid), image (`picture` can be fetched), paused, resumed, requeued (its worker
    died), or a final one: done, failed, cancelled, blocked. Skip kinds that you do not know. A slow reader misses steps
    and previews, never the others.
    """

    number: int
    kind: str
    at_ms: int = 0
    step: int = 0
    steps: int = 0
    reason: str = ""
    picture: Picture | None = None


class Watched(Record, tag="watched"):
    """The final answer to Watch. `last` is the number of the last event that was told."""

    last: int = 0


class JobList(Record, tag="jobs"):
    """A page of jobs. `next` is for `ListJobs.before`; 0: there are no more."""

    jobs: tuple[JobInfo, ...]
    next: int = 0


class Done(Record, tag="done"):
    """The request was carried out. `changed` says whether that changed anything."""

    changed: bool = True


class Chunk(Record, tag="chunk"):
    """A part of a picture, in the third frame: its bytes from `offset` on.

    The file has `total` bytes and sha256 `digest`.
    """

    offset: int
    total: int
    digest: str


class AccountInfo(Record, tag="account"):
    """Plan and GPU time (ms) of an account.

    `fast_ms` is by source; None: unlimited. `num_running` and `num_queued` count its jobs. `timeout_ms` (feature
    "operate"): until then nothing is accepted of it, since policies blocked too much; 0: it need not wait.
    """

    account: str
    name: str = ""
    role: str = "user"
    blocked: bool = False
    plan: str = ""
    renewal_ms: int = 0
    fast_ms: dict[str, int] | None = None
    held_ms: int = 0
    relax_ms: int = 0
    lifetime_ms: int = 0
    lifetime_jobs: int = 0
    num_running: int = 0
    num_queued: int = 0
    stored_bytes: int = 0
    quota_bytes: int = 0
    timeout_ms: int = 0


class WordList(Record, tag="vocabulary"):
    """`slots`: things, styles, ... -> entries, each a name and other words for the same. `drawn`: what is drawn for the
    word that was asked about; empty: nothing, or none was. `near`: names near to it, the nearest first."""

    slots: dict[str, tuple[tuple[str, ...], ...]] = {}
    drawn: str = ""
    near: tuple[Near, ...] = ()


class AccountList(Record, tag="accounts"):
    """A page of accounts. `more` says whether there are accounts after the last of these."""

    accounts: tuple[AccountInfo, ...]
    more: bool = False


class LedgerPage(Record, tag="ledger"):
    """A page of the ledger. `more` says whether there are entries beyond the last of these.

    `balance_ms` is that of the account asked for.
    """

    entries: tuple[LedgerEntry, ...]
    balance_ms: int = 0
    more: bool = False


class Status(Record, tag="status"):
    """An overview of the server. `state` is running, paused or draining. `queued` and `running` count jobs by lane.
    `clients` are connections of ZeroMQ, `http_clients` those of HTTP, on which there are `http_streams` of events."""

    state: str
    server: str = ""
    model: str = ""
    backend: str = ""
    up_ms: int = 0
    queued: dict[str, int] = {}
    running: dict[str, int] = {}
    clients: int = 0
    accepted: int = 0
    ended: dict[str, int] = {}
    steps: int = 0
    batch_jobs: float = 0.0
    stored_bytes: int = 0
    free_bytes: int = 0
    workers: tuple[WorkerInfo, ...] = ()
    http_clients: int = 0
    http_streams: int = 0


class WorkerList(Record, tag="workers"):
    """All workers."""

    workers: tuple[WorkerInfo, ...]


class BlockList(Record, tag="blocks"):
    """A page of decisions that blocked. `next` is for `OpsBlocks.before`; 0: there are no more."""

    blocks: tuple[Block, ...]
    next: int = 0


class Failure(Record, tag="failure"):
    """The final answer to a request that the server did not carry out, nor any part of it.

    `code`: invalid (correct it), refused (the plan or quota does not allow it), blocked (a policy does not allow it),
    not_found, forbidden (operators only), too_fast and busy (again after `retry_after_ms`), too_large, draining,
    unavailable (no space, no worker: again later), unsupported (unknown type, version or feature), hello (say hello
    first), internal (a bug). `kind`: name of the error. `text`: what came, what is allowed, what to do. `position`: of
    the character of the request's prompt that it speaks of, from 0; -1: of none. `rule` (feature "moderation"): name of
    the policy's rule.
    """

    code: str
    kind: str
    text: str
    retry_after_ms: int = 0
    position: int = -1
    rule: str = ""


class Closing(Record, tag="closing"):
    """A notice: the server ends this connection or itself. Connect again after `retry_after_ms`; -1: do not."""

    reason: str = ""
    retry_after_ms: int = 1000


Reply: TypeAlias = (
    Welcome
    | Pong
    | Accepted
    | Planned
    | ParameterList
    | SettingsInfo
    | Wildcards
    | Uploaded
    | JobInfo
    | Event
    | Watched
    | JobList
    | Done
    | Chunk
    | AccountInfo
    | WordList
    | AccountList
    | LedgerPage
    | Status
    | WorkerList
    | BlockList
    | Failure
    | Closing
    | TasteReply
    | EntryReply
    | ChatReply
    | OrganizeReply
)
