"""Put prompts into the chat templates with which language models were shown them when image models were trained.

The templates are those that diffusers' pipelines apply, written out. Salon does not run the template of a folder, which
is a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .tokenizer import PromptTokenizer, Tokens

_FLUX2_SYSTEM: Final = (
    "You are an AI that reasons about image descriptions. You give structured responses focusing on object "
    "relationships, object\nattribution and actions without speculation."
)


@dataclass(frozen=True)
class Template:
    """How a pipeline shows a prompt to its language model, and which of its states the image model reads.

    Attributes:
        encoder: the language model, for notes.
        before, after: what stands around the prompt.
        layers: the states, as `language.encode` numbers them, side by side.
        padded: whether the image model reads the padding too.
        dropped: words that are left out of prompts, since the tokenizer takes them for pictures.
    """

    encoder: str
    before: str
    after: str
    layers: tuple[int, ...]
    padded: bool
    dropped: str = ""


TEMPLATES: Final = {
    "flux2": Template(
        encoder="Mistral",
        before=f"<s>[SYSTEM_PROMPT]{_FLUX2_SYSTEM}[/SYSTEM_PROMPT][INST]",
        after="[/INST]",
        layers=(10, 20, 30),
        padded=True,
        dropped="[IMG]",
    ),
    "flux2_klein": Template(
        encoder="Qwen3",
        before="<|im_start|>user\n",
        after="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        layers=(9, 18, 27),
        padded=True,
    ),
    "z_image": Template(
        encoder="Qwen3",
        before="<|im_start|>user\n",
        after="<|im_end|>\n<|im_start|>assistant\n",
        layers=(-2,),
        padded=False,
    ),
}


class ChatTokenizer:
    """A tokenizer whose texts stand in a template.

    Args:
        tokenizer: of the checkpoint.
        template: the template.
    """

    def __init__(self, tokenizer: PromptTokenizer, template: Template) -> None:
        self.tokenizer = tokenizer
        self.template = template

    def encode(self, text: str, max_length: int, *, pad: bool = False) -> Tokens:
        """Tokenize a prompt in its template, as `PromptTokenizer.encode` does a text.

        Padding stands behind, also where the tokenizer's own stands before. `Tokens.cut` has words of the prompt alone.
        """
        template = self.template
        if template.dropped:
            text = text.replace(template.dropped, "")
        whole = f"{template.before}{text}{template.after}"
        tokens = self.tokenizer.encode(whole, max_length, pad=pad, special=False)
        if not tokens.cut:
            return tokens
        tail = template.after.strip()
        cut = tokens.cut.removesuffix(tail).strip() if len(tokens.cut) > len(tail) else ""
        return Tokens(tokens.ids, tokens.count, cut)
