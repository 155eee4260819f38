"""Ask the operator's policies before a job is accepted and before a picture is seen, and keep what they blocked.

Used on the event loop's thread; policies are called on threads of their own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from ...engine.files.lora import LoraFile
from ...engine.guidance import unconditional_weight
from ...engine.spec import GenerationSpec
from ...errors import SalonError, complaint
from ..errors import StoreError
from ..moderation.opening import OpenPolicy
from ..moderation.types import ALLOW, PICTURES, PROMPT, UPLOAD, BroughtLora, Decision, PolicyRequest, block, checked
from ..store.domains.moderation import BlockRow
from ..store.rows import JobRow
from ..store.writes import Put, Remove, SetMeta
from ..threads import thread_pool
from .context import ServiceContext
from .errors import PolicyBlocked, PolicyDown, PolicyTimeout
from .taste_account import ACCOUNT
from .waits import Waits

LOG = logging.getLogger("salon.service")
THREADS: Final = 8  # calls of policies at a time
PLANNED: Final = 4  # of these, for what is only planned: anybody may plan as much as they like, and jobs do not wait
PAGE: Final = 500
KEEP_MS: Final = 30 * 86_400_000  # how long decisions are kept
SAID: Final = 100  # texts of a LoRA's metadata that a policy gets
MAX_SAID: Final = 2_000  # characters of each
DOWN_RULE: Final = "policy-down"
TIMEOUT_RULE: Final = "repeated-blocks"
LIFTED: Final = "policy_lifted"  # key of the store: when an account's timeout was lifted, by account
WITHHELD: Final = "no previews: this server looks at pictures before anybody sees them"
_DOWN: Final = block(DOWN_RULE, "The service that looks at requests here does not answer; try again later.")


class BlockPage(NamedTuple):
    """A page of decisions that blocked, newest first. `next` is the `before` of the next page; 0: there is none."""

    blocks: tuple[BlockRow, ...]
    next: int = 0


class Strikes:
    """Count the blocks of accounts, and say who has to wait.

    Args:
        most: blocks within the window after which an account has to wait; 0: none ever has.
        window_ms: of the blocks.
        pause_ms: how long it waits.
    """

    def __init__(self, most: int, window_ms: int, pause_ms: int) -> None:
        self._most, self._window_ms, self._pause_ms = most, window_ms, pause_ms
        self._times: dict[str, deque[int]] = {}
        self._until: dict[str, int] = {}

    def add(self, account: str, at_ms: int) -> None:
        """Count a block of an account. Calls come in the order of their times."""
        times = self._times.setdefault(account, deque())
        while times and times[0] <= at_ms - self._window_ms:
            times.popleft()
        times.append(at_ms)
        if self._most and len(times) >= self._most:
            self._until[account] = at_ms + self._pause_ms
            del self._times[account]

    def until(self, account: str, now_ms: int) -> int:
        """Return the time until which an account has to wait, UTC ms; 0: it need not."""
        until = self._until.get(account, 0)
        if until and until <= now_ms:
            del self._until[account]
            return 0
        return until

    def lift(self, account: str) -> None:
        """Forget what an account was blocked for."""
        self._times.pop(account, None)
        self._until.pop(account, None)


class Moderator:
    """The policies of a service.

    Args:
        context: an open context; it has the policies.
        waits: waits for reads and writes.

    Attributes:
        answers: how many there were since the start, by (stage, "allow", "block" or "down").
    """

    def __init__(self, context: ServiceContext, waits: Waits) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self._context, self._waits = context, waits
        self._policies = context.policies
        self._pool: ThreadPoolExecutor | None = None
        self._planned = asyncio.Semaphore(PLANNED)
        options = context.options
        window_ms, pause_ms = round(1e3 * options.policy_window_s), round(1e3 * options.policy_pause_s)
        self._strikes = Strikes(options.policy_blocks, window_ms, pause_ms)
        self._last = self._load(window_ms + pause_ms)

    def judges(self, stage: str) -> bool:
        """Return whether a policy is asked in a stage."""
        return any(stage in policy.stages for policy in self._policies)

    async def want_allowed(self, account: str, requests: Iterable[PolicyRequest], *, kept: bool = True) -> None:
        """Return if all of these are allowed; see `prompt_request` and `upload_request`.

        Args:
            kept: whether a block is kept and counts towards a timeout; False for what is only planned.

        Raises:
            PolicyTimeout: the account has been blocked too often.
            PolicyBlocked: one of them is blocked.
            PolicyDown: a policy does not answer, and the operator wants nothing accepted then.
        """
        if not self._policies or account == ACCOUNT:  # what the server itself says
            return
        self._want_no_timeout(account)
        wanted = [request for request in dict.fromkeys(requests) if self.judges(request.stage)]
        decide = self.decide if kept else self._decide_planned
        for start in range(0, len(wanted), THREADS):
            part = wanted[start : start + THREADS]
            for request, decision in zip(part, await asyncio.gather(*map(decide, part)), strict=True):
                if decision.rule == DOWN_RULE:
                    raise PolicyDown(complaint("policy", "no answer", "one", "try again later"))
                if decision.blocks:
                    if kept:
                        await self._keep(request, decision)
                    raise _blocked(request, decision)

    async def finished(self, request: PolicyRequest) -> Decision:
        """Return what is decided about finished pictures or texts. A block is kept."""
        decision = await self.decide(request)
        if decision.blocks:
            await self._keep(request, decision)
        return decision

    async def decide(self, request: PolicyRequest) -> Decision:
        """Return the first decision that blocks, or `ALLOW`. A policy that is down blocks, by `DOWN_RULE`, or allows,
        as the operator wants it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._context.options.policy_timeout_s
        for policy in self._policies:
            if request.stage not in policy.stages:
                continue
            decision = await self._ask(policy, request, end - loop.time())
            if decision.blocks:
                return decision
        return ALLOW

    def timeout_of(self, account: str) -> int:
        """Return the time until which an account has to wait, UTC ms; 0: it need not."""
        return self._strikes.until(account, self._context.now_ms()) if self._policies else 0

    async def lift(self, account: str) -> bool:
        """End the timeout of an account, and forget its blocks of before, also over a restart; the list of decisions
        stays. Return whether it had to wait. StoreError: it may come back with the next start."""
        waited = bool(self.timeout_of(account))
        self._strikes.lift(account)
        LOG.info("a timeout was lifted", extra={"account": account})
        await self._waits.write([SetMeta(f"{LIFTED}.{account}", str(self._context.now_ms()))])
        return waited

    async def page(self, account: str = "", before: int = 0, limit: int = 50) -> BlockPage:
        """Return a page of decisions that blocked, newest first; `account`: only of that one."""
        store, equal = self._context.store, {"account": account} if account else {}
        after = (before,) if before else ()

        def look() -> tuple[BlockRow, ...]:
            return store.rows(BlockRow, after=after, newest=True, limit=limit + 1, **equal)

        found = await self._waits.read(look)
        return BlockPage(tuple(found[:limit]), found[limit - 1].number if len(found) > limit else 0)

    def sweep(self) -> None:
        """Remove decisions that are older than `KEEP_MS`. On a thread."""
        store, before = self._context.store, self._context.now_ms() - KEEP_MS
        while rows := [row for row in store.rows(BlockRow, limit=PAGE) if row.at_ms < before]:
            store.write([Remove(BlockRow, (row.number,)) for row in rows])

    def close(self) -> None:
        """End the threads; policies that are being asked are not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    # ---- inside ----------------------------------------------------------------------------------------------------

    async def _decide_planned(self, request: PolicyRequest) -> Decision:
        """Return what `decide` does, with less than all threads."""
        async with self._planned:
            return await self.decide(request)

    async def _ask(self, policy: OpenPolicy, request: PolicyRequest, left_s: float) -> Decision:
        """Return what a policy says within so many seconds."""
        options = self._context.options
        try:
            if self._pool is None:
                self._pool = thread_pool(THREADS, "salon-policy")
            answer = asyncio.get_running_loop().run_in_executor(self._pool, policy.ask, request)
            decision = checked(await asyncio.wait_for(answer, max(0.0, left_s)))
        except Exception as error:  # a policy is the operator's own code, and may raise anything
            why = f"no answer within {options.policy_timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
            expected = isinstance(error, TimeoutError | SalonError)
            fields = {"policy": policy.name, "stage": request.stage, "then": options.policy_down}
            LOG.error("a policy is down: %s", why, extra=fields, exc_info=None if expected else error)
            self.answers[request.stage, "down"] += 1
            return _DOWN if options.policy_down == "block" else ALLOW
        self.answers[request.stage, decision.decision] += 1
        return decision

    def _want_no_timeout(self, account: str) -> None:
        now = self._context.now_ms()
        if not (until := self._strikes.until(account, now)):
            return
        options = self._context.options
        got = f"{options.policy_blocks} blocked requests within {options.policy_window_s / 60:g} min"
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(until / 1000))
        text = complaint("this account", got, "fewer", f"wait until {when}")
        raise PolicyTimeout(text, TIMEOUT_RULE, until - now)

    async def _keep(self, request: PolicyRequest, decision: Decision) -> None:
        """Log a decision that blocks, count it, and store it. One of a policy that is down counts for nothing."""
        fields = {"stage": request.stage, "rule": decision.rule, "account": request.account, "job": request.job}
        LOG.info("blocked", extra=fields)
        if decision.rule == DOWN_RULE:
            return
        self._last += 1
        row = BlockRow(number=self._last, at_ms=self._context.now_ms(), message=decision.message, **fields)
        if _is_strike(row):
            self._strikes.add(row.account, row.at_ms)
        try:
            await self._waits.stored([Put(row)])
        except StoreError as error:  # it is blocked all the same
            LOG.error("a decision could not be stored: %s", error)

    def _load(self, back_ms: int) -> int:
        """Count the stored blocks of the last `back_ms`. Return the number of the last one."""
        store, since = self._context.store, self._context.now_ms() - back_ms
        recent, last, after = list[BlockRow](), 0, tuple[int, ...]()
        while rows := store.rows(BlockRow, after=after, newest=True, limit=PAGE):
            last, after = last or rows[0].number, (rows[-1].number,)
            recent += [row for row in rows if row.at_ms > since]
            if rows[-1].at_ms <= since:
                break
        lifted = {account: int(store.meta(f"{LIFTED}.{account}") or 0) for account in {row.account for row in recent}}
        for row in reversed(recent):
            if _is_strike(row) and row.at_ms > lifted[row.account]:
                self._strikes.add(row.account, row.at_ms)
        return last


def _is_strike(row: BlockRow) -> bool:
    """Return whether a block counts towards a timeout of its account: not what the server itself asks for, nor texts
    that a model has made of what policies had allowed (the only words that are of a job)."""
    return row.account != ACCOUNT and not (row.stage == PROMPT and row.job)


def prompt_request(row: JobRow, spec: GenerationSpec) -> PolicyRequest:
    """Return what policies are asked about a job before it is accepted."""
    return PolicyRequest(stage=PROMPT, account=row.account, private=row.private, kind=row.kind, **_words(spec))


def picture_request(row: JobRow, spec: GenerationSpec, files: Sequence[bytes]) -> PolicyRequest:
    """Return what policies are asked about the finished pictures of a job; `files`: PNG, without the grid."""
    return PolicyRequest(
        stage=PICTURES, account=row.account, private=row.private, kind=row.kind, job=row.job, pictures=tuple(files),
        **_words(spec),
    )  # fmt: skip


def upload_request(account: str, data: bytes) -> PolicyRequest:
    """Return what policies are asked about a picture that an account brings."""
    return PolicyRequest(stage=UPLOAD, account=account, private=True, pictures=(data,))


def lora_request(account: str, digest: str, file: LoraFile) -> PolicyRequest:
    """Return what policies are asked about a LoRA that an account brings, which lies on disk already."""
    said = tuple((name[:MAX_SAID], text[:MAX_SAID]) for name, text in sorted(file.metadata.items())[:SAID])
    size, path = file.path.stat().st_size, str(file.path)
    lora = BroughtLora(digest=digest, size=size, metadata=said, path=path)
    return PolicyRequest(stage=UPLOAD, account=account, private=True, lora=lora)


def text_request(row: JobRow, texts: Sequence[str]) -> PolicyRequest:
    """Return what policies are asked about the texts that a job has made, as about a prompt."""
    return PolicyRequest(
        stage=PROMPT, account=row.account, private=row.private, kind=row.kind, job=row.job, texts=tuple(texts)
    )


def reason_of(decision: Decision) -> str:
    """Return what a user reads of pictures that are blocked."""
    return f"{decision.message} (rule {decision.rule}; nothing was charged)"


def _blocked(request: PolicyRequest, decision: Decision) -> PolicyBlocked:
    remedy = "bring another" if request.stage == UPLOAD else "say something else"
    what = "prompt" if request.stage == PROMPT else "picture" if request.lora is None else "LoRA"
    text = f"{what}: {decision.message.rstrip('.')} (rule {decision.rule}); {remedy}"
    return PolicyBlocked(text, decision.rule)


def _words(spec: GenerationSpec) -> dict[str, Any]:
    """Return the words of a spec for a policy. Guidance that is weak follows the negative prompt: at 0 it alone is
    drawn."""
    drawn = tuple(term.text for term in spec.terms if term.weight > 0)
    avoided = tuple(term.text for term in spec.terms if term.weight <= 0)
    if spec.negative_prompt:
        if unconditional_weight(spec.guidance_scale, spec.prompt_weight, spec.acting_terms) > 0:
            drawn = (*drawn, spec.negative_prompt)
        else:
            avoided = (spec.negative_prompt, *avoided)
    return {"prompt": spec.prompt, "texts": drawn, "negative_texts": avoided}
