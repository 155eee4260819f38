"""`salon settings`: what an account's prompts mean where they say nothing."""

from __future__ import annotations

import argparse
from typing import Any

from ...errors import complaint
from ...parameters.known import flags, parameters
from ...parameters.language.data import plain
from ...parameters.language.options import as_typed
from ...parameters.language.printing import print_said
from ...parameters.language.prompt import Said
from . import exits
from .connection import connected
from .flags_parameters import said
from .parsing import UsageError
from .tables import print_json


def settings(options: argparse.Namespace) -> int:
    """Change what was asked for, and show the settings."""
    changes: dict[str, Any] = {name: plain(one) for name, one in said(options).items()}
    for flag in filter(None, (options.drop or "").split(",")):
        if f"--{flag.strip().lstrip('-')}" not in flags():
            raise UsageError(complaint("--drop", repr(flag), "flags of parameters", "see docs/parameters.md"))
        changes[flags()[f"--{flag.strip().lstrip('-')}"].parameter.name] = None
    with connected(options) as client:
        if options.reset:
            client.settings.reset()
        told = client.settings.show()
        if changes or options.suffix is not None:
            told = client.settings.change(options.suffix, **changes)
    if options.json:
        print_json(told)
        return exits.DONE
    values = {name: value for name, value in told.parameters.items() if name in parameters()}  # it may be newer
    shown = [print_said(Said(name, "", as_typed(name, value))) for name, value in values.items()]
    print("settings", " ".join(filter(None, shown)) or "none")
    print("suffix  ", told.suffix or "none")
    return exits.DONE
