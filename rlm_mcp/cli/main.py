"""The group of commands, and how each of them ends."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

import rlm_mcp
from rlm_mcp import programs
from rlm_mcp.cli.exit_codes import BAD_USE, INTERRUPTED, exit_code_of, print_error
from rlm_mcp.errors import did_you_mean

COMMANDS = {
    "serve": "serve",
    "ask": "ask",
    "contexts": "contexts_command",
    "runs": "runs_command",
    "install": "install",
    "uninstall": "install",
    "doctor": "doctor_command",
    "trust": "trust_command",
}
"""Every command, and the module of this room that has it."""


class LazyCommands(click.Group):
    """Imports a command when it is asked for: all cost 20 ms, which a server never needs."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command:
        if name not in COMMANDS:
            context.fail(f"There is no command {name!r}.{did_you_mean(name, COMMANDS)}")
        module = importlib.import_module(f"rlm_mcp.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, name)
        return command


@click.group(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(rlm_mcp.__version__, prog_name="rlm-mcp")
def command_line() -> None:
    """Reason over codebases, history, sessions and logs far larger than a model's window."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    # What comes with numpy for linear algebra, which nothing here does, starts threads that spin
    # for 100 ms when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Whatever a library starts by name is not taken from the opened project either. On Windows
    # the current folder is searched before the PATH, unless this variable is set.
    os.environ["PATH"] = programs.search_path()
    os.environ["NODEFAULTCURRENTDIRECTORYINEXEPATH"] = "1"
    sys.exit(run_command(sys.argv[1:] if arguments is None else list(arguments)))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code. Prints what went wrong as one sentence."""
    try:
        result = command_line.main(list(arguments), prog_name="rlm-mcp", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return BAD_USE
    except click.UsageError as error:
        hint = f" Try: {error.ctx.command_path} --help" if error.ctx is not None else ""
        print_error(f"{error.format_message()}{hint}")
        return BAD_USE
    except click.ClickException as error:
        print_error(error.format_message())
        return BAD_USE
    except (click.Abort, KeyboardInterrupt):
        print_error("Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away; Python would complain again at exit.
        sys.stderr.close()
        return 0
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        print_error(str(error))
        return code
    return result if isinstance(result, int) else 0
