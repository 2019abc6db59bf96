"""The command line.

Exit codes: 0 done, 1 failed, 2 wrong input, 75 try again (nothing is wrong; it may work later).
"""

from __future__ import annotations

import gc
import os
import sys

import typer

from pipeline.errors import ModelrailError, explain_os_error
from pipeline.ui.commands import ci, clusters, data, machine, models, monitoring, provenance, releases, serving, upkeep

_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 wrong input, 75 try again."

app = typer.Typer(
    name="modelrail",
    help="From a Git commit to a model in production, on plain Airflow, MLflow and Kubernetes.",
    epilog=f"{_EXIT_CODES} Begin with: modelrail check",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for subject in (models, serving, releases, provenance, monitoring, machine, upkeep, data, clusters, ci):
    for group in (subject.app, *(each.typer_instance for each in subject.app.registered_groups)):
        for command in group.registered_commands if group else ():
            command.epilog = f"{command.epilog}\n\n{_EXIT_CODES}"
    app.add_typer(subject.app)


def main() -> None:
    """Run the command line; errors of the user or of the work are told without a traceback."""
    gc.set_threshold(50_000, 20, 100)  # by default a third of a large plan is spent looking for garbage
    try:
        app()
    except models.ChangesExit:
        raise
    except SystemExit as ended:  # of wrong usage, among others
        sys.exit(_keep_detailed(ended.code))
    except ModelrailError as error:
        typer.echo(f"modelrail: {error}", err=True)
        sys.exit(_keep_detailed(error.exit_code))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that may not be written
        typer.echo(f"modelrail: {explain_os_error(error)}", err=True)
        sys.exit(ModelrailError.exit_code)


def _keep_detailed(code: str | int | None) -> str | int | None:
    """Reserve exit code 2 for a plan that changes something, where asked to: every error is 1 then, as in Terraform."""
    return 1 if "--detailed-exitcode" in sys.argv and code not in (0, None) else code


if __name__ == "__main__":
    main()
