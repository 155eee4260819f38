"""Define what a policy is asked, and what it answers.

A policy is the operator's: any callable that takes a `PolicyRequest` and returns `ALLOW` or `block(...)`. It is called
on a thread, several calls at a time.

    from salon.studio.moderation.types import ALLOW, block

    def no_cats(request):
        return block("no-cats", "Cats are not drawn here.") if "cat" in request.prompt else ALLOW

An attribute `stages` of the callable, some of `STAGES`, says when it is asked; without one it is asked in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ...bounds import POLICY_STAGES
from ...errors import complaint
from ..errors import PolicyError

PROMPT: Final = "prompt"
UPLOAD: Final = "upload"
PICTURES: Final = "pictures"
STAGES: Final = POLICY_STAGES

MAX_MESSAGE: Final = 300  # characters of a decision's sentence
_RULE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class BroughtLora(msgspec.Struct, frozen=True, kw_only=True):
    """A LoRA that an account brings.

    Attributes:
        digest: SHA-256 (hex) of its file.
        size: bytes of the file.
        metadata: what the file says of itself, as pairs of a name and a text: at most 100, of up to 2,000 characters.
        path: where the file lies on this machine while the policy is asked; empty in JSON.
    """

    digest: str
    size: int
    metadata: tuple[tuple[str, str], ...] = ()
    path: str = ""


class PolicyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy is asked about: a request before its job is accepted, a file, or finished pictures.

    Attributes:
        stage: "prompt", "upload" or "pictures".
        account: id of the account that asks.
        private: whether only this account will see the pictures. Private pictures pass the same policies.
        kind: of job, such as "imagine"; empty for an upload.
        job: id of the job whose pictures, or texts, these are; empty before there is one.
        prompt: the words to draw, with all that the account's settings and lists of words have put into them.
        texts: further texts that are drawn beside the prompt.
        negative_texts: texts that the picture is led away from.
        pictures: files, PNG or what was brought, as bytes; base64 in JSON.
        lora: of an upload, a LoRA in place of a picture.
    """

    stage: str
    account: str
    private: bool = False
    kind: str = ""
    job: str = ""
    prompt: str = ""
    texts: tuple[str, ...] = ()
    negative_texts: tuple[str, ...] = ()
    pictures: tuple[bytes, ...] = ()
    lora: BroughtLora | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy answers; make one by `ALLOW` and `block`.

    Attributes:
        decision: "allow" or "block".
        rule: name of the rule that blocks: 1 to 64 letters, digits, '.', '_' or '-'.
        message: a sentence for the user, up to 300 characters.
    """

    decision: Literal["allow", "block"]
    rule: str = ""
    message: str = ""

    @property
    def blocks(self) -> bool:
        """Whether it blocks."""
        return self.decision == "block"


Policy: TypeAlias = Callable[[PolicyRequest], Decision]
ALLOW: Final = Decision(decision="allow")


def block(rule: str, message: str) -> Decision:
    """Return the decision that blocks.

    Args:
        rule: name of the rule, which the user, the log and the operator's list of decisions get.
        message: a sentence for the user.

    Raises:
        PolicyError: the name or the sentence is none.
    """
    return checked(Decision(decision="block", rule=rule, message=message))


def checked(decision: Any) -> Decision:
    """Return what a policy answered, its sentence on one line. PolicyError: it is no decision."""
    if not isinstance(decision, Decision) or decision.decision not in ("allow", "block"):
        got = type(decision).__name__
        raise PolicyError(complaint("policy", f"the answer {got}", "ALLOW or block(...)", "return one of them"))
    if not decision.blocks:
        return ALLOW
    rule, message = str(decision.rule), " ".join(str(decision.message).split())
    if not _RULE.fullmatch(rule):
        allowed = "1 to 64 letters, digits, '.', '_' or '-'"
        raise PolicyError(complaint("policy", f"a rule called {rule[:80]!r}", allowed, "name the rule so"))
    if not message or len(message) > MAX_MESSAGE or not message.isprintable():
        got = f"a message of {len(message)} characters for rule {rule}"
        raise PolicyError(complaint("policy", got, f"1 to {MAX_MESSAGE} that can be printed", "write a sentence"))
    return Decision(decision="block", rule=rule, message=message)


def stages_of(policy: Policy) -> tuple[str, ...]:
    """Return when a policy is asked. PolicyError: its `stages` are none."""
    return checked_stages(getattr(policy, "stages", STAGES))


def checked_stages(stages: Any) -> tuple[str, ...]:
    """Return stages in their order. PolicyError: there are none, or one that does not exist."""
    found = (stages,) if isinstance(stages, str) else tuple(stages)
    if not found or any(stage not in STAGES for stage in found):
        got = ", ".join(map(repr, found)) or "none"
        raise PolicyError(complaint("policy stages", got, "some of " + ", ".join(STAGES), "name those"))
    return tuple(stage for stage in STAGES if stage in found)
