"""How the main process of Snakemake lives and dies beside its jobs; no rules."""

import atexit
import contextlib
import fcntl
import re
import shlex
import signal
import sys
import threading
import time

import psutil
from snakemake.exceptions import WorkflowError

# Whatever signals the whole group (a terminal's Ctrl-C or its end, Slurm) must not end the shell and `tee` around a job
# before the job has written its checkpoint. The job itself listens again; to SIGHUP unless Snakemake ignores it (nohup),
# so the shell catches that one, and only `tee` ignores it.
shell.prefix("set -euo pipefail; trap '' INT TERM; trap : HUP; ")
TEE = "(trap '' HUP; exec tee {log:q})"


def lock_results():
    """Hold these results for as long as this process lives.

    Snakemake's own lock is a file that outlives a kill and then refuses the very command that would go on; the profile
    turns it off (`nolock`). This one the kernel gives back.
    """
    global RESULTS_LOCK  # keeps the file open
    RESULTS_LOCK = open(f"{RESULTS}/.workflow.lock", "a+")
    # `reinforce-lite status` shares it for an instant, to see whether it is held.
    for tries_left in (2, 1, 0):
        try:
            fcntl.flock(RESULTS_LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.1 * bool(tries_left))
    else:
        RESULTS_LOCK.seek(0)
        raise WorkflowError(
            f"another Snakemake works on {RESULTS} ({RESULTS_LOCK.readline().strip() or 'unknown'})\n"
            "  fix: let it finish, or stop it (kill its process) and run the same command again"
        )
    RESULTS_LOCK.truncate(0)
    RESULTS_LOCK.write(
        f"process {os.getpid()} on {os.uname().nodename}\n"
        f"{shlex.join(['snakemake', *sys.argv[1:]])}\n"
    )
    RESULTS_LOCK.flush()


def pass_on_sigterm():
    """Tell the jobs when Snakemake is told to stop, by SIGTERM or by the end of its terminal.

    By itself it waits for them on SIGTERM and tells them nothing; on SIGHUP it dies.
    """
    wait_for_jobs = signal.getsignal(signal.SIGTERM)

    def handler(number, frame):
        threading.Thread(target=stop_jobs, daemon=True).start()
        # Not here: it takes a lock that this very thread may hold (Snakemake 9.27, while it finishes a job).
        if callable(wait_for_jobs):
            threading.Thread(
                target=wait_for_jobs, args=(number, None), daemon=True
            ).start()

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def stop_jobs():
    """Send SIGTERM to the package's own commands until they have left: one that just starts may not listen yet."""
    while True:
        for process in psutil.Process().children(recursive=True):
            try:
                line = process.cmdline()
                if any(os.path.basename(word) == "reinforce-lite" for word in line[:2]):
                    process.terminate()
            except psutil.Error:
                continue
        time.sleep(1)


def last_words(logs=()):
    """Say last, after all that Snakemake says, why a job failed, and what the machine costs from now on.

    Args:
        logs: Snakemake's own, of a call that failed.
    """
    hardware, lines = config["hardware"], [one for log in logs for one in reasons(log)]
    count = hardware.get("count", 1)
    usd = hardware["usd_per_hour"] * count
    if usd:
        lines.append(
            f"{f'{count} x ' * (count > 1)}{hardware['name']} still costs ${usd:g} an hour until you give it back"
        )
    atexit.register(print, *lines, sep="\n", end="\n" * bool(lines), file=sys.stderr)


def reasons(log):
    """What each failed job's own log ends with: the line that begins with the command's name, and those behind it."""
    failed = re.findall(
        r"Error in rule\s.*?\n    log: (.+?) \(check", text_of(log), re.DOTALL
    )
    lines = []
    for path in dict.fromkeys(failed):
        said = re.search(
            r".*(?:\A|[\r\n])(reinforce-lite [a-z-]+: .*)", text_of(path), re.DOTALL
        )
        own = said[1].splitlines() if said else []
        lines += [one for one in own if "still costs" not in one]
    return lines


def text_of(path):
    """A file's text; none if it cannot be read."""
    with contextlib.suppress(OSError), open(path, errors="replace") as handle:
        return handle.read()
    return ""


def expected_cost():
    """What the whole experiment is expected to cost by its last plan; `in_all` in the package's budget/outlook.py."""
    path, plans = f"{RESULTS}/plan.json", []
    if os.path.exists(path):
        try:
            with open(path) as handle:
                plans = json.load(handle).get("plans", [])
        except ValueError as error:
            return f"cost: not known: {path} is not valid JSON ({error}); delete it, and preflight plans anew"
    if not plans:
        return "cost: not known yet: `reinforce-lite estimate` prices it"
    plan, devices = plans[-1], config["hardware"].get("count", 1)
    usd, seconds = plan["spent_usd"], 0
    for job in plan["jobs"]:
        if job["state"] == "pending":
            expected, share = job["usd"]["expected"], job["share_usd"]
            part = 1 if share is None or share >= expected else share / expected
            usd += part * expected
            seconds += part * job["device_seconds"]["expected"] / devices
    # Cents above a dollar, as `dollars` in the package's budget/plan.py.
    total, limit = (
        f"${sum:,.2f}" if sum >= 1 else f"${sum:,.4f}"
        for sum in (usd, plan["limit_usd"])
    )
    return f"cost: the plan expects {total} in all, of {limit}, and {seconds / 3600:.2f} hours for the rest"
