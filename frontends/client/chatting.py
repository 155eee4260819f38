"""Define the requests of conversations about pictures, once for both clients.

Every method may raise `Unsupported` (the server knows no conversations) besides what all requests raise; see
`errors.py`.
"""

from __future__ import annotations

from ..wire import messages as m
from .flavours import Flavour, operation
from .making import new_key
from .older import unsupported
from .steps import Steps, asked, call


class ChatCommands(Flavour):
    """The conversations of the account.

    said = client.chat.say("a red apple")
    said = client.chat.say("make it blue", chat=said.chat)
    print(said.turn.prompt)
    client.job(said.turn.job).save("outputs")
    """

    @operation
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
        previews: int = 0,
        key: str | None = None,
    ) -> Steps[m.ChatSaid]:
        """Take a turn: what is said rewrites the prompt of the turn before, and a draft of it is drawn.

        Args:
            text: what is said, such as "make it blue"; of the first turn a prompt of the language.
            chat: number of the conversation; 0: a new one.
            turn: number of the turn that it goes on from; 0: the last.
            prompt: what is to be drawn, in place of what would be written.
            job: of a new conversation, the job whose prompt it begins with.
            private: whether other accounts see nothing of the job.
            rules: whether the operator's language model is not asked.
            run: False: what would be drawn is told, and nothing is kept.
            previews: solver steps between previews; 0: none.
            key: the same key means the same turn, however often it is sent. None: a random one.

        Raises:
            NotFound: there is no such conversation, turn or job.
            Invalid: nothing is said, or a prompt cannot be read.
        """
        request = m.ChatSay(
            key=new_key() if key is None else key, text=text, chat=chat, turn=turn, prompt=prompt, job=job,
            private=private, rules=rules, run=run, preview_every=previews,
        )  # fmt: skip
        request = asked(request, preview_every="previews")  # what is wrong is refused without a server
        yield from self._want_chats()
        return (yield from call(self._core, request, m.ChatSaid, self._timeout_s))

    @operation
    def list(self, before: int = 0, limit: int = 50) -> Steps[m.Chats]:
        """Return a page of conversations, the latest first; `before`: `next` of the page before."""
        yield from self._want_chats()
        return (yield from call(self._core, m.ListChats(before=before, limit=limit), m.Chats, self._timeout_s))

    @operation
    def show(self, chat: int, after: int = 0, limit: int = 50) -> Steps[m.ChatTurns]:
        """Return a conversation, with the turns behind number `after`. Raise NotFound if there is none."""
        yield from self._want_chats()
        request = m.ShowChat(chat=chat, after=after, limit=limit)
        return (yield from call(self._core, request, m.ChatTurns, self._timeout_s))

    @operation
    def delete(self, chat: int) -> Steps[bool]:
        """Delete a conversation; its jobs and pictures stay. Raise NotFound if there is none."""
        yield from self._want_chats()
        return (yield from call(self._core, m.DeleteChat(chat=chat), m.Done, self._timeout_s)).changed

    def _want_chats(self) -> Steps[None]:
        if "chat" not in (yield from self._welcome()).features:
            raise unsupported("conversations")
