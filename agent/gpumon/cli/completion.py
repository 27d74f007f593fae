"""``gpumon completion``."""

from __future__ import annotations

import os

import click

from gpumon.cli.base import declare_unconfigured

SHELLS = ("bash", "zsh", "fish")

INSTALL = {
    "bash": "gpumon completion bash > ~/.local/share/bash-completion/completions/gpumon",
    "zsh": "gpumon completion zsh > ~/.zfunc/_gpumon   (with fpath+=~/.zfunc before compinit)",
    "fish": "gpumon completion fish > ~/.config/fish/completions/gpumon.fish",
}
"""Where each shell looks for it when it starts."""


@declare_unconfigured("completion", "\n".join(INSTALL.values()))
@click.argument("shell", required=False, type=click.Choice(SHELLS))
def completion(shell: str | None) -> None:
    """Print the script that makes a shell complete gpumon's words with TAB.

    Without a name it is for your shell ($SHELL). To try it in bash: eval "$(gpumon completion
    bash)".
    """
    from click.shell_completion import get_completion_class

    from gpumon.cli import COMPLETE_VARIABLE, cli

    shell = shell or _own_shell()
    made = get_completion_class(shell)
    assert made is not None  # click has a class for each of SHELLS
    click.echo(made(cli, {}, "gpumon", COMPLETE_VARIABLE).source())


def _own_shell() -> str:
    from gpumon.errors import UsageError

    name = os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119 - a word, and no file
    if name not in SHELLS:
        raise UsageError(
            f"there is no completion for {name or 'this shell'}", f"name one of {', '.join(SHELLS)}"
        )
    return name


command = completion
