"""Ask a durable studio about conversations: every method is one of `ChatService`, and waits for its answer."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from ...bounds import LOCAL
from .chat import Chat, Said, Say, Turn
from .durable_job import ANSWER_S
from .given import checks_arguments

if TYPE_CHECKING:
    from .embedded import DurableStudio


@checks_arguments()
class DurableChat:
    """The conversations of a studio's user. Arguments and errors are those of `ChatService`; `timeout_s` is the longest
    wait for the answer, in seconds.

        said = studio.chat.say("a red apple")
        said = studio.chat.say("make it blue", chat=said.chat)
        studio.job(said.turn.job).pictures(60)

    Args:
        studio: answers.
    """

    def __init__(self, studio: DurableStudio) -> None:
        self._studio = studio

    def say(
        self,
        text: str = "",
        *,
        chat: int = 0,
        turn: int = 0,
        prompt: str | None = None,
        job: str = "",
        private: bool = False,
        rules: bool = False,
        run: bool = True,
        preview_every: int = 0,
        key: str | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Said:
        """Take a turn; see `ChatService.say`. `key`: None is a new one."""
        said = Say(
            key=uuid.uuid4().hex if key is None else key, text=text, chat=chat, turn=turn, prompt=prompt, job=job,
            private=private, rules=rules, run=run, preview_every=preview_every,
        )  # fmt: skip
        return self._studio._ask(self._studio._open.chat.say(LOCAL, said), timeout_s)

    def list(self, before: int = 0, limit: int = 50, *, timeout_s: float = ANSWER_S) -> tuple[Chat, ...]:
        """Return conversations, the latest first, of numbers below `before`; 0: of all."""
        return self._studio._ask(self._studio._open.chat.page(LOCAL, before, limit), timeout_s)[0]

    def turns(self, chat: int, after: int = 0, limit: int = 50, *, timeout_s: float = ANSWER_S) -> tuple[Turn, ...]:
        """Return turns of a conversation, behind number `after`. UnknownChat: there is none."""
        return self._studio._ask(self._studio._open.chat.show(LOCAL, chat, after, limit), timeout_s)[1]

    def delete(self, chat: int, *, timeout_s: float = ANSWER_S) -> None:
        """Delete a conversation; its jobs and pictures stay. UnknownChat: there is none."""
        self._studio._ask(self._studio._open.chat.delete(LOCAL, chat), timeout_s)
