"""``archwright completion``: what the Tab key offers, through argcomplete.

The script that a shell loads is small: at each Tab it calls ``archwright`` itself with the line
so far, so names of devices, models and registered parts, a user's own included, are offered too.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from typing import Any

from archwright.cli.options import command

__all__ = ["complete", "names", "typed"]

_SHELLS = ("bash", "zsh", "fish")


def add(name: str, commands: Any, line: str) -> None:
    """Add the command."""
    parser = command(
        commands,
        name,
        line,
        _completion,
        'eval "$(archwright completion bash)"      # in ~/.bashrc; zsh alike in ~/.zshrc\n'
        "  archwright completion fish > ~/.config/fish/completions/archwright.fish",
    )
    parser.add_argument("shell", choices=_SHELLS, metavar="|".join(_SHELLS))


def _completion(options: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["archwright"], shell=options.shell).strip())
    return 0


def complete(parser_of: Callable[[str | None], argparse.ArgumentParser]) -> int:
    """Answer a shell that asks how the line so far may go on.

    Args:
        parser_of: gives the parser with one command, or with the names of all.
    """
    import argcomplete

    chosen = next((word for word in typed() if not word.startswith("-")), None)
    argcomplete.autocomplete(
        parser_of(chosen),
        validator=lambda name, prefix: name.lower().startswith(prefix.lower()),
    )
    return 0


def typed() -> list[str]:
    """Return the whole words of a line that a shell asks about; none where no shell asks."""
    if "_ARGCOMPLETE" not in os.environ:
        return []
    from argcomplete.lexers import split_line

    _, _, _, words, _ = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))
    return words[int(os.environ["_ARGCOMPLETE"]) :]


def names(group: str) -> Callable[..., Iterable[str]]:
    """Return a completer that offers the names of a group.

    Args:
        group: ``devices``, ``models``, ``papers``, or a group of the registry.
    """

    def completer(**_: Any) -> Iterable[str]:
        if group == "devices":
            from archwright.hardware.devices import devices

            return [device.name for device in devices()]
        if group == "models":
            from archwright.llm.transformers import transformers

            return [model.name for model in transformers()]
        if group == "papers":
            from archwright.papers import catalogue

            return [paper.slug for paper in catalogue() if paper.state == "works"]
        from archwright.registry import entries

        return entries(group)  # type: ignore[arg-type]

    return completer
