"""The subcommand `ui`: MLflow's server on the runs' database, and the addresses that open on figures."""

import argparse
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from reinforce_lite.config import NAMED, named
from reinforce_lite.errors import UserError
from reinforce_lite.experiment.mlflow_runs import VIEW, VIEW_TAG
from reinforce_lite.io.interrupt import Interrupted
from reinforce_lite.stages import Job, Layout

HOST = "127.0.0.1"
QUIET = {"PYTHONWARNINGS": "ignore", "MLFLOW_LOGGING_LEVEL": "WARNING", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""What MLflow (3.17) and its libraries say at every start is nothing that a user can act on."""


def add_options(command: argparse.ArgumentParser) -> None:
    """Give the subcommand its options."""
    which = command.add_mutually_exclusive_group()
    which.add_argument("--results", type=Path, default=Path("results"), help="where mlflow.db lies")
    which.add_argument("--config", type=Path, nargs="+", metavar="FILE", help=NAMED)
    command.add_argument("--port", type=int, default=5000, help="of the server, which only this machine reaches")
    command.add_argument("--auth", action="store_true", help="ask for a user and a password (mlflow[auth])")


def run(arguments: argparse.Namespace) -> None:
    """Serve MLflow's pages until Ctrl-C; the addresses are printed once the server answers.

    Raises:
        UserError: there is no database, the port is taken, the extra for passwords is missing, or the server ended.
    """
    results: Path = named(arguments.config).results if arguments.config else arguments.results
    database = results.absolute() / "mlflow.db"
    _check(database, arguments)
    if not arguments.auth:
        print("note: any user of this machine may read and change what this server shows; --auth asks for a password")
    command = [
        sys.executable, "-m", "mlflow", "server", *(["--app-name", "basic-auth"] if arguments.auth else []),
        *(f"--{which}-store-uri=sqlite:///{database}" for which in ("backend", "registry")),
        "--artifacts-destination", str(database.parent / "mlartifacts"),
        "--host", HOST, "--port", str(arguments.port), "--workers", "1", "--uvicorn-opts", "--log-level warning",
    ]  # fmt: skip
    server = subprocess.Popen(command, env={**os.environ, **QUIET})
    try:
        _wait(server, f"http://{HOST}:{arguments.port}")
        print("\n".join(addresses(database, arguments.port)), flush=True)
        server.wait()
    except Interrupted:  # Ctrl-C is the way to leave
        return
    finally:
        server.terminate()
        server.wait()


def _check(database: Path, arguments: argparse.Namespace) -> None:
    """See that a server can start."""
    if not database.exists():
        raise UserError(f"{database} does not exist: nothing has been run", "run make tiny first, or name --results")
    if arguments.auth and find_spec("flask_wtf") is None:
        raise UserError("MLflow asks for passwords only with its extra", "install mlflow[auth] into this environment")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, arguments.port))
        except OSError as error:
            raise UserError(f"port {arguments.port} is taken ({error.strerror})", "name another --port") from error


def _wait(server: "subprocess.Popen[bytes]", address: str) -> None:
    """Until the server answers."""
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (OSError, urllib.error.URLError):
            if server.poll() is not None:
                raise UserError(f"MLflow's server ended with exit code {server.returncode}", "see above") from None
            time.sleep(0.2)


def addresses(database: Path, port: int) -> Iterator[str]:
    """For each experiment, the last one first, the address of its list of runs, and of its report if there is one."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        query = (
            "SELECT name, e.experiment_id, t.key FROM experiments e LEFT JOIN experiment_tags t "
            "ON e.experiment_id = t.experiment_id AND t.key = ? WHERE e.lifecycle_stage = 'active' AND EXISTS "
            "(SELECT 1 FROM runs r WHERE r.experiment_id = e.experiment_id) ORDER BY e.creation_time DESC"
        )
        found = connection.execute(query, (VIEW_TAG,)).fetchall()
    for name, number, shared in found:
        view = f"viewStateShareKey={VIEW}&" if shared else ""
        yield f"{name}: http://{HOST}:{port}/#/experiments/{number}/runs?{view}workflowType=machine_learning"
        report = Layout(database.parent / name).path(Job("report"), "html")
        if report.exists():
            yield f"{' ' * len(name)}  {report.as_uri()}"
