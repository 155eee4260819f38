"""The text of the completion scripts.

What they have in common: they walk the words typed so far, skip flags and their values, and so find the command; a
table of `case` branches has the rest.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .completion import Command, Flag

_KINDS = {"file": "-f", "folder": "-d"}
_BASH = """\
# bash completion for salon. Now: source <(salon completion bash)
# Always: salon completion bash > ~/.local/share/bash-completion/completions/salon
_salon() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} at= i word
    COMPREPLY=()
    if [[ $cur == = ]]; then cur=; prev=${{COMP_WORDS[COMP_CWORD-1]}}
    elif [[ $prev == = ]]; then prev=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        case "$at:$word" in
            {commands}) at=${{at:+$at }}$word ;;
        esac
    done
    case "$at:$prev" in
{values}    esac
    if [[ $cur == -* ]]; then
        case "$at" in
{flags}        esac
        return
    fi
    case "$at" in
{words}    esac
}}
complete -F _salon salon
"""

_ZSH = """\
#compdef salon
# zsh completion for salon: salon completion zsh > FOLDER/_salon, with FOLDER in $fpath before compinit runs.
_salon() {{
    local cur=$words[CURRENT] prev=$words[CURRENT-1] at= word
    local -i i
    for ((i = 2; i < CURRENT; i++)); do
        word=$words[i]
        case "$at:$word" in
            {commands}) at=${{at:+$at }}$word ;;
        esac
    done
    case "$at:$prev" in
{values}    esac
    local -a found
    if [[ $cur == -* ]]; then
        case "$at" in
{flags}        esac
        _describe flag found
        return
    fi
    case "$at" in
{words}    esac
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _salon "$@"; else compdef _salon salon; fi
"""

_FISH = """\
# fish completion for salon: salon completion fish > ~/.config/fish/completions/salon.fish
function __salon_at
    set -l at
    for word in (commandline -opc)[2..-1]
        switch "$at:$word"
            case {commands}
                set at (string trim "$at $word")
        end
    end
    test "$at" = "$argv[1]"
end
complete -c salon -f
"""


def bash(commands: Sequence[Command]) -> str:
    """Write the script for bash 4 or later."""
    return _BASH.format(
        commands=_commands(commands),
        values="".join(_bash_values(commands)),
        flags="".join(
            f"            {_quote(command.path)}) {_bash_words_of(_names(command.flags))} ;;\n" for command in commands
        ),
        words="".join(_bash_words(commands)),
    )


def _bash_values(commands: Iterable[Command]) -> Iterator[str]:
    for pattern, flag in _valued(commands):
        yield f"        {pattern}) {_bash_reply(flag)}return ;;\n"


def _bash_words(commands: Iterable[Command]) -> Iterator[str]:
    for command in commands:
        choices = [*command.below, *(value for flag in command.flags if not flag.names for value in flag.values)]
        if choices:
            yield f"        {_quote(command.path)}) {_bash_words_of(choices)} ;;\n"


def _bash_words_of(words: Iterable[str]) -> str:
    return f'COMPREPLY=($(compgen -W {_quote(" ".join(words))} -- "$cur"))'


def _bash_reply(flag: Flag) -> str:
    if flag.values:
        return f"{_bash_words_of(flag.values)}; "
    if flag.kind:
        return f'compopt -o filenames; mapfile -t COMPREPLY < <(compgen {_KINDS[flag.kind]} -- "$cur"); '
    return ""


def zsh(commands: Sequence[Command]) -> str:
    """Write the script for zsh 5 or later."""
    return _ZSH.format(
        commands=_commands(commands),
        values="".join(_zsh_values(commands)),
        flags="".join(
            f"            {_quote(command.path)}) found=({' '.join(_zsh_flag(command.flags))}) ;;\n"
            for command in commands
        ),
        words="".join(_zsh_words(commands)),
    )


def _zsh_values(commands: Iterable[Command]) -> Iterator[str]:
    for pattern, flag in _valued(commands):
        if flag.values:
            act = f"compadd -- {' '.join(map(_quote, flag.values))}; "
        else:
            act = {"file": "_files; ", "folder": "_files -/; ", "": ""}[flag.kind]
        yield f"        {pattern}) {act}return ;;\n"


def _zsh_flag(flags: Iterable[Flag]) -> Iterator[str]:
    for flag in flags:
        for name in flag.names:
            yield _zsh_entry(name, flag.text)


def _zsh_entry(name: str, text: str) -> str:
    """Write an entry for `_describe`: name, colon, help."""
    return _quote(f"{name}:{_short(text)}".replace("\\", "\\\\"))


def _zsh_words(commands: Iterable[Command]) -> Iterator[str]:
    for command in commands:
        values = [value for flag in command.flags if not flag.names for value in flag.values]
        if command.below:
            below = " ".join(_zsh_entry(name, text) for name, text in command.below.items())
            yield f"        {_quote(command.path)}) found=({below}); _describe command found ;;\n"
        elif values:
            yield f"        {_quote(command.path)}) compadd -- {' '.join(map(_quote, values))} ;;\n"


def fish(commands: Sequence[Command]) -> str:
    """Write the script for fish 3 or later."""
    at = " ".join(_quote(f"{command.path}:{name}") for command in commands for name in command.below)
    return _FISH.format(commands=at) + "".join(_fish_lines(commands))


def _fish_lines(commands: Iterable[Command]) -> Iterator[str]:
    for command in commands:
        condition = f"complete -c salon -n {_fish(f'__salon_at {_fish(command.path)}')}"
        for name, text in command.below.items():
            yield f"{condition} -a {_fish(name)} -d {_fish(_short(text))}\n"
        for flag in command.flags:
            words = [f"-s {name[1:]}" if len(name) == 2 else f"-l {name[2:]}" for name in flag.names]
            if flag.values:
                words.append(f"-x -a {_fish(' '.join(flag.values))}")
            elif flag.kind:
                words.append({"file": "-r -F", "folder": "-x -a '(__fish_complete_directories)'"}[flag.kind])
            elif flag.names and flag.takes:
                words.append("-x")
            if words:
                yield f"{condition} {' '.join(words)} -d {_fish(_short(flag.text))}\n"


def _commands(commands: Iterable[Command]) -> str:
    """Write a `case` pattern of every step from a command to one below it."""
    return "|".join(_quote(f"{command.path}:{name}") for command in commands for name in command.below)


def _valued(commands: Iterable[Command]) -> Iterator[tuple[str, Flag]]:
    """List (a `case` pattern of "command:flag", the flag) of all flags that a value follows."""
    for command in commands:
        for flag in command.flags:
            if flag.takes and flag.names:
                yield "|".join(_quote(f"{command.path}:{name}") for name in flag.names), flag


def _names(flags: Iterable[Flag]) -> list[str]:
    return [name for flag in flags for name in flag.names]


def _quote(text: str) -> str:
    """Quote a text for bash and zsh."""
    return shlex.quote(text)


def _fish(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _short(text: str) -> str:
    """Cut a text to what a menu has room for."""
    return text.partition(";")[0][:70]
