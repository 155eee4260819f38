"""Tiny random language models and their tokenizers, in the classes that pipelines of image models read prompts with."""

from __future__ import annotations

from typing import Any, Final

from .tiny_flux import WORDS

# The chat templates of Qwen3 and of Mistral Small 3 in what image models use of them: text of users and of the system.
QWEN3_TEMPLATE: Final = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{%- endif %}"
)
MISTRAL_TEMPLATE: Final = (
    "{{- bos_token }}{%- for message in messages %}"
    "{%- if message['role'] == 'system' %}"
    "{{- '[SYSTEM_PROMPT]' + message['content'][0]['text'] + '[/SYSTEM_PROMPT]' }}"
    "{%- else %}{{- '[INST]' }}{%- for block in message['content'] %}{{- block['text'] }}{%- endfor %}{{- '[/INST]' }}"
    "{%- endif %}{%- endfor %}"
)
QWEN3_TOKENS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
MISTRAL_TOKENS: Final = (
    *("<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"),
    *("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
)


def byte_pairs(special: tuple[str, ...], *, first: bool) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return a vocabulary of all bytes and some words, with special tokens at its start or its end, and the merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = sorted(ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in dict.fromkeys(WORDS):
        parts = list(f"Ġ{word}")
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts[:2] = [parts[0] + parts[1]]
            tokens.append(parts[0])
    tokens = [*dict.fromkeys(tokens)]
    tokens = [*special, *tokens] if first else [*tokens, *special]
    return {token: i for i, token in enumerate(tokens)}, [*dict.fromkeys(merges)]


def qwen3_tokenizer() -> Any:
    """Return a Qwen2Tokenizer with the tokens and the chat template of Qwen3."""
    from transformers import Qwen2Tokenizer

    vocab, merges = byte_pairs(QWEN3_TOKENS, first=False)
    made = Qwen2Tokenizer(
        vocab=vocab, merges=merges, additional_special_tokens=list(QWEN3_TOKENS[1:]), pad_token=QWEN3_TOKENS[0],
        eos_token="<|im_end|>",
    )  # fmt: skip
    made.chat_template = QWEN3_TEMPLATE
    return made


def mistral_tokenizer() -> Any:
    """Return a tokenizer with the tokens and the chat template of Mistral Small 3, which pads before a text."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    vocab, merges = byte_pairs(MISTRAL_TOKENS, first=True)
    library = Tokenizer(BPE(vocab, merges))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=library, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        additional_special_tokens=list(MISTRAL_TOKENS[4:]), padding_side="left",
    )  # fmt: skip
    made.chat_template = MISTRAL_TEMPLATE
    return made


def qwen3(layers: int, words: int) -> Any:
    """Return a Qwen3ForCausalLM of so many layers and words. Seed torch before."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=words, hidden_size=16, intermediate_size=24, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        rms_norm_eps=1e-6, tie_word_embeddings=True, initializer_range=0.3,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def mistral(layers: int, words: int) -> Any:
    """Return a Mistral3ForConditionalGeneration of so many layers and words. Seed torch before."""
    from transformers import Mistral3Config, Mistral3ForConditionalGeneration

    text = {
        **{"model_type": "mistral", "vocab_size": words, "hidden_size": 16, "intermediate_size": 24},
        **{"num_hidden_layers": layers, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128},
        **{"rope_parameters": {"rope_type": "default", "rope_theta": 1e9}, "rms_norm_eps": 1e-5},
        **{"sliding_window": None, "initializer_range": 0.3},
    }
    vision = {
        **{"model_type": "pixtral", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1},
        **{"num_attention_heads": 1, "head_dim": 8, "patch_size": 4, "image_size": 8},
    }
    return Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=vision))
