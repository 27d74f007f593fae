"""The ``gpumon`` command.

Each command is a module of this package, imported only when it is asked for: ``gpumon --help`` and
completion must not pay for what they do not use.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from gpumon import __version__
from gpumon.cli.printing import hush, say
from gpumon.errors import GpumonError, UsageError, printable

COMMANDS = {
    "agent": "Read this machine's GPUs and serve them to Prometheus.",
    "check": "Judge the GPUs: pass, warn or fail, with the evidence and the next step.",
    "completion": "Print the script that makes a shell complete gpumon's words with TAB.",
    "dashboards": "List, export, push and compare the Grafana dashboards.",
    "demo": "Show this machine's GPUs, or simulated ones, on a live page.",
    "doctor": "Check this installation: driver, permissions, agent, clock, servers.",
    "events": "List what happened on this node: Xids, states, resets, drivers, jobs, orders.",
    "explain": "Explain an alert, check, metric, Xid or throttle reason, and what to do about it.",
    "info": "Show everything known about the GPUs: each value, its metric, and where it was read.",
    "install": "Install the agent as a service that starts at boot: user, unit, settings.",
    "metrics": "List the metrics: name, type, unit, meaning.",
    "ps": "List the processes on the GPUs: user, job, memory and share of the SMs.",
    "record": "Record readings in a file that can be replayed.",
    "release": "Make this machine's agent release the GPUs, so that one can be reset.",
    "report": "Report who used how many joules and GPU hours, and what they cost.",
    "resume": "Make this machine's agent take back the GPUs that it released.",
    "rules": "List, export and check the recording and alert rules.",
    "simulate": "Serve a simulated fleet, with faults on demand, to Prometheus.",
    "site": "Serve a site's nodes, budgets, prices and factors to Prometheus.",
    "status": "Show whether anything is wrong, and every GPU once (the default command).",
    "top": "Show the GPUs, processes and jobs of a node live: graphs, sorting, zoom.",
    "uninstall": "Stop and remove the agent's service; its data stays unless it is purged.",
}
"""The commands with the first line of their help; a test holds it against theirs."""

COMPLETE_VARIABLE = "_GPUMON_COMPLETE"
"""Set by a shell that asks what a word could become."""

EXAMPLES = """
Examples:

\b
  gpumon                             this machine's GPUs
  gpumon status node17               another machine's GPUs, from its agent
  gpumon status sim:8xH100 -o json   simulated GPUs, as JSON
  gpumon agent                       serve /metrics on port 9842
"""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"gpumon.cli.{cmd_name}").command
        return command

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Complete a command's name, without importing every command for its help."""
        from click.shell_completion import CompletionItem

        names = [name for name in sorted(COMMANDS) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=COMMANDS[name]) for name in names]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from gpumon.errors import hint

            name = args[0]
            if ":" in name:
                raise click.UsageError(
                    f"{name!r} is a target: see gpumon status {name}", ctx
                ) from None
            message = error.message.rstrip(".") + (hint(name, sorted(COMMANDS)) or "")
            raise click.UsageError(f"{message}: see gpumon --help", ctx) from None


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXAMPLES,
)
@click.option(
    "--config",
    "config_file",
    envvar="GPUMON_CONFIG",
    metavar="FILE",
    help="Configuration file (TOML).  [default: /etc/gpumon/gpumon.toml if it is there]",
)
@click.option("--debug", is_flag=True, help="Log more, and show tracebacks.")
@click.version_option(__version__, "-V", "--version", prog_name="gpumon")
@click.pass_context
def cli(ctx: click.Context, /, **_options: Any) -> None:
    """Power, energy and health of NVIDIA GPUs, from one node to a site."""
    if ctx.invoked_subcommand is None:
        command = cli.get_command(ctx, "status")
        assert command is not None
        with command.make_context("status", [], parent=ctx) as context:
            command.invoke(context)


def main() -> None:
    """Run the command line and exit with one of the design's exit codes."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that does not take every character shows the others, instead of an error.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Run the command line; return 0 if fine, 1 trouble found, 2 wrong usage, 3 not known."""
    debug = "--debug" in argv
    if os.environ.get(COMPLETE_VARIABLE, "").startswith("bash"):
        import gpumon.cli.bash  # noqa: F401 - click takes it from now on
    try:
        result = _invoke(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (GpumonError, click.ClickException) as error:
        return _complain(*_explained(error))
    except KeyboardInterrupt:
        say("", err=True)  # the shell's prompt comes below ^C
        return 130
    except OSError as error:
        if isinstance(error, BrokenPipeError) and hush():
            return 0  # whoever read our output has seen enough
        if debug:
            raise
        # Closing the stream would try to write once more, and complain once more.
        sys.stdout = None
        return _complain(f"the system refused ({error}): free what it lacks and try again", 3)
    except Exception as error:
        if debug:
            raise
        return _complain(
            f"unexpected {type(error).__name__}: {error}"
            " (run again with --debug and report what it prints)",
            3,
        )
    return result if isinstance(result, int) else 0


def _invoke(argv: list[str]) -> Any:
    """Run a command and return what it returns.

    Not by ``cli.main``, which ends with 1 if a pipe is closed: here, that is trouble found.
    """
    if os.environ.get(COMPLETE_VARIABLE):
        cli.main(argv, prog_name="gpumon", complete_var=COMPLETE_VARIABLE)
    try:
        with cli.make_context("gpumon", argv) as ctx:
            return cli.invoke(ctx)
    except click.exceptions.Exit as ended:  # --help, --version
        return ended.exit_code


def _explained(error: GpumonError | click.ClickException) -> tuple[str, int]:
    """Return the one line that says what is wrong and what to do, and the exit code."""
    if isinstance(error, GpumonError):
        return str(error), error.exit_code
    message = error.format_message().rstrip(".").replace("\n", " ")
    if isinstance(error, click.UsageError) and "see gpumon" not in message:
        where = error.ctx.command_path if error.ctx else "gpumon"
        message += f": see {where} --help"
    return message, UsageError.exit_code


def _complain(message: str, code: int) -> int:
    say(f"gpumon: {printable(message)}", err=True)
    return code
