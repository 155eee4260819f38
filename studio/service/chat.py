"""Conversations about pictures: each turn rewrites the prompt of the turn before, and runs a job of it.

Used on the event loop's thread; a language model is asked on threads of its own.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import gcd
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ...errors import SalonError, complaint
from ...parameters.job_request import JobRequest, Source
from ...parameters.language.options import options_of
from ...parameters.language.printing import printed
from ...parameters.language.prompt import Prompt, Term
from ...parameters.language.reading import parse_one
from ..chat.model import ModelRewriter
from ..chat.rules import rewrite as by_rules
from ..chat.types import MODEL, RULES, USER, Rewrite, Scene
from ..store.domains.chat import ChatRow, TurnRow
from ..store.writes import Put, Remove, Write
from ..threads import thread_pool
from .errors import TooMany, TooSlow, UnknownChat, UnknownJob, WrongValue
from .job_record import JobRecord
from .packing import pack_sources
from .submitted import reused

if TYPE_CHECKING:
    from .service import Service

LOG = logging.getLogger("salon.service")
THREADS: Final = 4
WAITING: Final = 16  # questions to the model at a time; beyond, rules answer
MAX_SAID: Final = 1_000  # characters of a sentence
MAX_TURNS: Final = 200  # of a conversation
MAX_CHATS: Final = 1_000  # of an account
TITLE: Final = 100  # characters
PAGE: Final = 200
LANE: Final = "draft"


class Say(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says; see `ChatService.say`."""

    key: str
    text: str = ""
    chat: int = 0
    turn: int = 0
    prompt: str | None = None
    job: str = ""
    private: bool = False
    rules: bool = False
    run: bool = True
    preview_every: int = 0


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn of a conversation.

    Attributes:
        number: of the turn, from 1; 0: it was not run.
        at_ms: when, UTC ms.
        behind: number of the turn that it goes on from; 0: of none.
        text: what the user said.
        prompt: what is drawn, as a prompt of the language; it may be changed and said again.
        by: what wrote it: "rules", "model" or "user".
        notes: what was not understood, or why rules answered, one sentence each.
        source: the picture that is varied; None: it is drawn anew.
        job: id of its job; empty: there is none yet.
    """

    number: int
    at_ms: int
    behind: int
    text: str
    prompt: str
    by: str
    notes: tuple[str, ...] = ()
    source: Source | None = None
    job: str = ""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `Say`: the conversation's number, and the turn. `existing`: it was there already, by its key."""

    chat: int
    turn: Turn
    existing: bool = False


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation: its number, the first that was said, the prompt of its last turn, and how many turns it has."""

    chat: int
    title: str
    prompt: str
    turns: int
    made_ms: int
    changed_ms: int


class ChatService:
    """The conversations of all accounts.

    Args:
        service: carries the jobs out.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._waits, self._context = service, service.waits, service.context
        self._model = self._context.rewriter
        self._pool: ThreadPoolExecutor | None = None
        self._asking = 0
        self._locks: dict[str, asyncio.Lock] = {}

    async def say(self, account: str, said: Say) -> Said:
        """Take a turn, once for each key. It is on disk, and its job accepted, when this returns.

        Args:
            account: whose conversation it is.
            said: `key` names the turn and its job; `text` is what is said, of the first turn a prompt of the language;
                `chat` the conversation, 0 for a new one; `turn` the number of the turn that it goes on from, 0 for the
                last; `prompt` what the user wants drawn instead of what would be written; `job` of a new conversation a
                job whose prompt it begins with; `rules`: the language model is not asked; `run`: False tells what would
                be drawn, and keeps nothing.

        Raises:
            UnknownChat: there is no such conversation or turn.
            UnknownJob: there is no such job.
            WrongValue: nothing is said, or more than is allowed.
            KeyReused: something else was said under the key.
            PromptRefused, and as `Service.submit`: the prompt cannot be drawn; nothing is kept.
        """
        if not said.text.strip() and said.prompt is None and not (said.job and not said.chat):
            raise WrongValue(
                complaint("chat", "nothing", "a sentence, or a prompt", 'say something, like "make it blue"')
            )
        if len(said.text) > MAX_SAID and (said.chat or said.job):
            got = f"{len(said.text):,} characters"
            raise WrongValue(complaint("chat", got, f"up to {MAX_SAID:,}", "say it shorter, or give the prompt"))
        if said.job and said.chat:
            raise WrongValue(complaint("chat", "a job and a conversation", "one of them", "leave one out"))

        if "\0" in said.text or "\0" in (said.prompt or ""):
            raise WrongValue(complaint("chat", "text with a NUL", "text without", "leave it out"))

        async def locked() -> Said:
            async with self._lock(account):
                return await self._say(account, said)

        return await self._waits.outlast(self._waits.begin(locked()))

    async def page(self, account: str, before: int = 0, limit: int = 50) -> tuple[tuple[Chat, ...], int]:
        """Return a page of conversations, the latest first, and the `before` of the next page (0: there is none)."""
        store, after = self._context.store, (account, before) if before else ()

        def look() -> tuple[ChatRow, ...]:
            return store.rows(ChatRow, after=after, newest=True, limit=limit + 1, account=account)

        rows = await self._waits.read(look)
        shown = tuple(msgspec.convert(row, Chat, from_attributes=True) for row in rows[:limit])
        return shown, shown[-1].chat if len(rows) > limit else 0

    async def show(
        self, account: str, chat: int, after: int = 0, limit: int = 50
    ) -> tuple[Chat, tuple[Turn, ...], bool]:
        """Return a conversation, its turns behind number `after`, and whether more follow. Raises UnknownChat."""
        row, turns = await self._waits.read(lambda: self._load(account, chat))
        found = [turn for turn in turns if turn.number > after]
        shown = tuple(map(_view, found[:limit]))
        return msgspec.convert(row, Chat, from_attributes=True), shown, len(found) > limit

    async def delete(self, account: str, chat: int) -> None:
        """Delete a conversation; its jobs and pictures stay. UnknownChat: there is none."""

        async def locked() -> None:
            async with self._lock(account):  # a turn that is being taken would come back without its conversation
                _, turns = await self._waits.read(lambda: self._load(account, chat))
                await self._waits.stored(_removal(account, chat, turns))

        await self._waits.outlast(self._waits.begin(locked()))

    def sweep(self, before_ms: int) -> None:
        """Delete conversations in which nothing was said since then. On a thread."""
        store, last = self._context.store, tuple[Any, ...]()
        while rows := store.rows(ChatRow, after=last, limit=PAGE):
            last = rows[-1].account, rows[-1].chat
            for row in [row for row in rows if row.changed_ms < before_ms]:
                store.write(_removal(row.account, row.chat, self._load(row.account, row.chat)[1]))

    def close(self) -> None:
        """End the threads; a model that is being asked is not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _lock(self, account: str) -> asyncio.Lock:
        """Return what is held while an account's conversations change."""
        return self._locks.setdefault(account, asyncio.Lock())

    async def _say(self, account: str, said: Say) -> Said:
        store = self._context.store
        known = await self._waits.read(lambda: store.rows(TurnRow, account=account, key=said.key, limit=1))
        if known:
            row = known[0]
            if row.text != said.text or said.chat not in (0, row.chat):
                raise reused(said.key)
            return Said(chat=row.chat, turn=_view(row if row.job else await self._run(row, said)), existing=True)
        chat, turns = None, tuple[TurnRow, ...]()
        if said.chat:
            chat, turns = await self._waits.read(lambda: self._load(account, said.chat))
        if len(turns) >= MAX_TURNS:
            raise TooMany(complaint("chat", f"{len(turns)} turns", f"up to {MAX_TURNS}", "begin a new conversation"))
        behind = said.turn or (turns[-1].number if turns else 0)
        scene = await self._scene(account, turns, behind) if behind else await self._begun(account, said.job)
        rewrite, by = await self._rewritten(scene, said)
        now, private = self._context.now_ms(), said.private or (bool(turns) and turns[-1].private)
        turn = TurnRow(
            account=account, chat=said.chat, number=turns[-1].number + 1 if turns else 1, key=said.key, at_ms=now,
            behind=behind, text=said.text, prompt=printed(rewrite.prompt), by=by, note="\n".join(rewrite.notes),
            source=pack_sources((rewrite.source,) if rewrite.source is not None else ()), private=private,
        )  # fmt: skip
        if not said.run:
            return Said(chat=said.chat, turn=msgspec.structs.replace(_view(turn), number=0))
        if chat is None:
            number = await self._waits.read(lambda: self._free(account))
            turn = msgspec.structs.replace(turn, chat=number)
        title = chat.title if chat is not None else " ".join((said.text or turn.prompt).split())[:TITLE]
        made = now if chat is None else chat.made_ms
        after = ChatRow(
            account=account, chat=turn.chat, title=title, prompt=turn.prompt, turns=len(turns) + 1, made_ms=made,
            changed_ms=now,
        )  # fmt: skip
        await self._waits.stored([Put(after), Put(turn)])
        try:
            turn = await self._run(turn, said)
        except TooSlow:  # its job may be there; the same key finds it
            raise
        except SalonError:
            undo: Write = Remove(ChatRow, (account, turn.chat)) if chat is None else Put(chat)
            await self._waits.stored([undo, Remove(TurnRow, (account, turn.chat, turn.number))])
            raise
        return Said(chat=turn.chat, turn=_view(turn))

    async def _run(self, turn: TurnRow, said: Say) -> TurnRow:
        """Submit the job of a turn, and return the turn once it is on disk with it."""
        prompt, source = parse_one(turn.prompt), _view(turn).source
        beside: dict[str, Any] = {} if "lane" in prompt.said else {"lane": LANE}
        if turn.private and "private" not in prompt.said:
            beside["private"] = True
        request = JobRequest(
            key=turn.key, prompt=turn.prompt, parameters=beside, language=True, preview_every=said.preview_every,
            kind=Rewrite(prompt=prompt, source=source).kind, sources=() if source is None else (source,),
        )  # fmt: skip
        (done,) = await self._service.submit_all(turn.account, request)
        turn = msgspec.structs.replace(turn, job=done.job.job, seed=done.job.seed)
        await self._waits.stored([Put(turn)])
        return turn

    async def _rewritten(self, scene: Scene | None, said: Say) -> tuple[Rewrite, str]:
        """Return what a turn draws, and what wrote that."""
        if said.prompt is not None or scene is None:
            prompt = parse_one(said.text if said.prompt is None else said.prompt)
            shaped = {"aspect", "width", "height"} & prompt.said.keys()
            return Rewrite(prompt=prompt, source=None if scene is None or shaped else scene.source), USER
        if not said.text.strip():
            return Rewrite(prompt=scene.prompt, source=scene.source), USER
        rewrite, note = None, ""
        if self._model is not None and not said.rules and not said.text.lstrip().startswith("--"):
            rewrite, note = await self._asked(self._model, scene, said.text)
        if rewrite is not None:
            return rewrite, MODEL
        rewrite = by_rules(scene, said.text)
        return (replace(rewrite, notes=(note, *rewrite.notes)) if note else rewrite), RULES

    async def _asked(self, model: ModelRewriter, scene: Scene, text: str) -> tuple[Rewrite | None, str]:
        """Return what the language model makes of a turn; or None, and what to tell the user."""
        if self._asking >= WAITING:
            return None, "the language model has too much to do, so rules wrote this prompt"
        if self._pool is None:
            self._pool = thread_pool(THREADS, "salon-chat")
        self._asking += 1
        try:
            loop, most = asyncio.get_running_loop(), self._context.options.chat_timeout_s + 1
            return await asyncio.wait_for(loop.run_in_executor(self._pool, model.rewrite, scene, text), most), ""
        except (SalonError, TimeoutError) as error:
            LOG.warning("the language model did not answer: %s", error or "too late")
            return None, "the language model gave no answer that can be used, so rules wrote this prompt"
        finally:
            self._asking -= 1

    async def _scene(self, account: str, turns: tuple[TurnRow, ...], number: int) -> Scene:
        """Return what a turn goes on from. UnknownChat: there is no turn of this number."""
        rows = {row.number: row for row in turns}
        if (row := rows.get(number)) is None:
            got, allowed = f"turn {number}", f"1 to {max(rows, default=0)}"
            raise UnknownChat(complaint("chat", got, allowed, "name one that is there"))
        scenes: list[Scene] = []
        for each in (rows.get(row.behind), row):  # "undo" goes back by one turn
            if each is not None:
                job, pictures = each.job, 0
                try:
                    pictures = (await self._service.find(job, account)).images if job else 0
                except UnknownJob:  # it was deleted
                    job = ""
                prompt, earlier = _pinned(parse_one(each.prompt), each.seed), scenes[-1] if scenes else None
                source = _view(each).source
                scenes.append(Scene(prompt=prompt, source=source, job=job, pictures=pictures, earlier=earlier))
        return scenes[-1]

    async def _begun(self, account: str, job: str) -> Scene | None:
        """Return what a new conversation about a job begins with; None: it is about none."""
        if not job:
            return None
        record = await self._service.find(job, account)
        return Scene(prompt=_prompt_of(record), job=job, pictures=record.images)

    def _load(self, account: str, chat: int) -> tuple[ChatRow, tuple[TurnRow, ...]]:
        """Return a conversation with its turns. On a thread. UnknownChat: there is none."""
        store = self._context.store
        row = store.row(ChatRow, account, chat)
        if row is None:
            raise UnknownChat(complaint("chat", f"number {chat}", "one of yours", "see `salon chat --list`"))
        return row, store.rows(TurnRow, limit=MAX_TURNS + 1, account=account, chat=chat)

    def _free(self, account: str) -> int:
        """Return the number of a new conversation. On a thread. TooMany: there are too many."""
        rows = self._context.store.rows(ChatRow, newest=True, limit=MAX_CHATS, account=account)
        if len(rows) >= MAX_CHATS:
            raise TooMany(complaint("chat", f"{len(rows):,} conversations", f"up to {MAX_CHATS:,}", "delete some"))
        return rows[0].chat + 1 if rows else 1


def _view(row: TurnRow) -> Turn:
    sources = msgspec.json.decode(row.source, type=tuple[Source, ...]) if row.source else ()
    return Turn(
        number=row.number, at_ms=row.at_ms, behind=row.behind, text=row.text, prompt=row.prompt, by=row.by,
        notes=tuple(row.note.splitlines()), source=sources[0] if sources else None, job=row.job,
    )  # fmt: skip


def _removal(account: str, chat: int, turns: tuple[TurnRow, ...]) -> list[Write]:
    return [Remove(ChatRow, (account, chat)), *(Remove(TurnRow, (account, chat, turn.number)) for turn in turns)]


def _pinned(prompt: Prompt, seed: int) -> Prompt:
    """Return a prompt with the seed that its picture has, so that a change of words changes no more than it has to."""
    if "seed" in prompt.said or "repeat" in prompt.said:
        return prompt
    return replace(prompt, said=MappingProxyType({**prompt.said, **options_of({"seed": seed})}))


def _prompt_of(record: JobRecord) -> Prompt:
    """Return a prompt of what a job has drawn: its words, its shape and its seed."""
    terms = [Term(record.prompt, round(record.prompt_weight, 4))] if record.prompt else []
    terms += [Term(text, round(weight, 4)) for text, weight in record.terms.items()]
    if not terms:
        got, remedy = f"job {record.job!r}, which has no words", "begin with words of your own"
        raise WrongValue(complaint("chat", got, "a job that has a prompt", remedy))
    unit = gcd(record.width, record.height)
    said = {"aspect": (record.width // unit, record.height // unit), "seed": record.seed}
    return Prompt(tuple(terms), MappingProxyType(options_of(said)))
