"""Carry out requests, whichever way they came: over ZeroMQ or over HTTP. A record comes in, a record goes out.

What goes on for longer than one answer (watches, fetches) is each way's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from ...studio.service.repeats import Repeat
from ..wire import messages as m
from . import views
from .chat import Chat
from .entry import Entry
from .failures import RequestRefused
from .ops import Ops
from .organize import Organize
from .taste import Taste

if TYPE_CHECKING:
    from .server import Server

# what one connection has to itself: who speaks, what it watches, and what it is being sent
OF_A_CONNECTION: Final = (m.Hello, m.Ping, m.Bye, m.Watch, m.Unwatch, m.Fetch, m.Credit)


class Answers:
    """The requests of all accounts, each of which gets one record. Used on the event loop's thread.

    Args:
        server: the server whose service carries them out.
    """

    def __init__(self, server: Server) -> None:
        self._server, self._service = server, server.service
        ops = self._ops = Ops(server)
        # what is answered by a method of (account, request); further ones are joined with |
        entry = Entry(server)
        self._acts: dict[type[m.Record], Callable[[str, Any], Awaitable[m.Record]]] = {
            **Taste(server.service.taste).acts,
            **Chat(server.service.chat).acts,
            **Organize(server.service.organize).acts,
            m.NewLink: entry.link,
            m.NewToken: entry.token,
            m.ListEntries: entry.list,
            m.EndEntry: entry.end,
        }
        self._operator: dict[type[m.Record], Callable[[Any], Awaitable[m.Record]]] = {
            m.OpsStatus: ops.status,
            m.OpsPause: ops.pause,
            m.OpsResume: ops.resume,
            m.OpsDrain: ops.drain,
            m.OpsWorkers: ops.workers,
            m.OpsAccounts: ops.accounts,
            m.OpsGrant: ops.grant,
            m.OpsLedger: ops.ledger,
            m.OpsRetry: ops.retry,
            m.OpsBlocks: ops.blocks,
            m.OpsLift: ops.lift,
        }

    async def answer(self, request: m.Request, account: str, *, operator: bool) -> m.Record:
        """Carry out a request, and return the answer.

        Args:
            request: none of `OF_A_CONNECTION`.
            account: that asks.
            operator: whether that is an operator's.

        Raises:
            RequestRefused: it is for operators only.
            As the method of the service that carries it out.
        """
        service = self._service
        if (act := self._operator.get(type(request))) is not None:
            _want_operator(request, operator=operator)
            return await act(request)
        if isinstance(request, m.NewLink) and (request.new or request.account not in ("", account)):
            _want_operator(request, "new" if request.new else "account", operator=operator)
        if (do := self._acts.get(type(request))) is not None:
            return await do(account, request)
        if isinstance(request, m.OpsSetAccount):
            _want_operator(request, operator=operator)
            return await self._ops.set_account(request, account)
        if isinstance(request, m.Submit):
            done = await service.submit_all(account, request)
            first, *more = [views.job_info(one.job) for one in done]
            return m.Accepted(job=first, existing=done[0].existing, more=tuple(more))
        if isinstance(request, m.Again):
            wanted = Repeat(request.key, request.job, request.seed, request.preview_every)
            one = await service.again(account, wanted)
            return m.Accepted(job=views.job_info(one.job), existing=one.existing)
        if isinstance(request, m.Plan):
            asked = m.Submit(
                key="plan", prompt=request.prompt, parameters=request.parameters, kind=request.kind,
                sources=request.sources, language=True,
            )  # fmt: skip
            return views.planned(await service.plan(account, asked))
        if isinstance(request, m.ListParameters):
            return views.parameter_list()
        if isinstance(request, m.GetSettings):
            return views.settings_info(await service.prompts.settings(account))
        if isinstance(request, m.ChangeSettings):
            kept = await service.prompts.change_settings(
                account, request.parameters, request.suffix, reset=request.reset
            )
            return views.settings_info(kept)
        if isinstance(request, m.ListWildcards):
            if not request.name:
                return m.Wildcards(lists=await service.prompts.wildcards())
            return views.wildcards(await service.prompts.wildcard(request.name), request.after)
        if isinstance(request, m.Upload):
            references = service.jobs.references
            receive = references.loras.upload if request.lora else references.upload
            received = await receive(account, request.digest, request.size, request.offset, request.data)
            return m.Uploaded(received=received)
        if isinstance(request, m.Show):
            return views.job_info(await service.show(request.job, account, operator=operator))
        if isinstance(request, m.ListJobs):
            everybody = request.account == "*" or (request.public and not request.account)
            if request.account not in ("", account) and not request.public:
                _want_operator(request, "account", operator=operator)
            page = await service.page(
                None if everybody else request.account or account,
                viewer=account,
                before=request.before,
                limit=request.limit,
                states=request.states,
                public=request.public,
            )
            return m.JobList(jobs=tuple(map(views.job_info, page.jobs)), next=page.next)
        if isinstance(request, m.Cancel):
            return m.Done(changed=await service.cancel(request.job, account, operator=operator))
        if isinstance(request, m.Delete):
            changed = await service.delete(request.job, account, operator=operator)
            self._server.forget(request.job)
            return m.Done(changed=changed)
        if isinstance(request, m.Words):
            return views.word_list(await service.words(request.like))
        if isinstance(request, m.Info):
            if request.account not in ("", account):
                _want_operator(request, "account", operator=operator)
            return await self._ops.account(request.account or account)
        raise AssertionError(f"no way to answer {type(request).__name__}")


def _want_operator(request: m.Record, field: str = "", *, operator: bool) -> None:
    """Raise RequestRefused unless an operator asks.

    Args:
        field: the field that only operators may set, such as another account; "": the whole request is for them.
    """
    if not operator:
        name = field or type(request).__struct_config__.tag
        remedy = "leave it out, or ask one" if field else "ask one"
        raise RequestRefused("forbidden", f"{name}: for operators only; {remedy}", kind="OperatorsOnly")
