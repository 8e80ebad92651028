"""The command `reinforce-lite`: one subcommand for each rule of the DAG, and some that only look.

`estimate` tells what it would cost on another GPU, `ledger` what was spent, `power` what a comparison can see, `traces`
how the policies reason, `verify` whether a report follows from its files.

Imports of torch, lm-eval and MLflow are inside the subcommands, so that `--help` and errors come at once.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from reinforce_lite import __version__, estimate_command, interrupt, keys, settings, untrained
from reinforce_lite.accounting import ledger_command, same_cost
from reinforce_lite.errors import UserError
from reinforce_lite.evaluation import power_command
from reinforce_lite.files import read_json, write_json, write_jsonl
from reinforce_lite.interrupt import Interrupted
from reinforce_lite.layout import Layout
from reinforce_lite.precision import evaluation_of, training_of
from reinforce_lite.preflight import require_preflight
from reinforce_lite.report import traces_command, verify_command

Arguments = argparse.Namespace


def preflight(arguments: Arguments) -> None:
    """Check everything before anything is spent, then rehearse a few steps and plan what the rest may cost."""
    from reinforce_lite import preflight as checks
    from reinforce_lite.accounting import verdict
    from reinforce_lite.accounting.provenance import environment
    from reinforce_lite.foresight import foresee

    config = settings.load(arguments.config)
    passed = checks.preflight(config)
    for check in passed:
        print(f"{check['name']:>9}: {check['detail']}", file=sys.stderr)
    plan = foresee(config, lambda name: checks.to_download(config.policies[name]))
    found = {"checks": passed, "checked": checks.digest(config), "environment": environment(), "plan": plan}
    layout, refused = Layout.of(config), plan["refused"]
    write_json(layout.preflight, found)
    verdict.write(layout.verdict("preflight"), config, arguments.round, refused, "not run" if refused else None)
    if refused:
        print(refused, file=sys.stderr)


def prepare_dataset(arguments: Arguments) -> None:
    """Write the splits, the demonstrations and a manifest with counts, sums and source."""
    from reinforce_lite.tasks.prepare import prepare

    config = settings.load(arguments.config)
    manifest = prepare(config.task, Layout.of(config).data)
    print(f"{config.task.name}: {manifest['counts']}", file=sys.stderr)


def fetch_policy(arguments: Arguments) -> None:
    """Fetch a policy at its pinned revision, and give it its supervised start if the configuration has one."""
    from reinforce_lite.accounting.forecast import Job
    from reinforce_lite.budgeted import budgeted

    config = settings.load(arguments.config)
    require_preflight(config)
    chosen, layout, job = config.policies[arguments.model], Layout.of(config), Job("fetch_policy", arguments.model)
    with budgeted(config, job, arguments.round) as (account, gate):
        from reinforce_lite.accounting.provenance import origin
        from reinforce_lite.policy import fetch, load
        from reinforce_lite.policy.progress import Progress
        from reinforce_lite.policy.start import supervised_start
        from reinforce_lite.tasks.prepare import load_demonstrations

        folder, start = layout.policy(arguments.model), chosen.start
        load.prepare_torch(config.hardware)
        policy = fetch.materialise(chosen, start.seed if start else 0, config.hardware.device)
        provenance = {"model": arguments.model, **fetch.describe(policy, chosen)}
        provenance["start"] = start.model_dump(mode="json") if start else None
        key = keys.start_key(config, arguments.model)
        provenance |= {"made_with": origin(), "key": keys.digest(key)}
        account.log_params(provenance)
        if start is None:
            write_json(folder / "policy.json", {"weights": fetch.weights_source(chosen), **provenance})
            return
        demonstrations = load_demonstrations(layout.data)
        if not demonstrations:
            raise UserError(
                f"policies.{arguments.model}.start needs demonstrations, and task.demonstrations is 0",
                "set task.demonstrations, or start: null",
            )
        account.log_dataset(layout.data / "demonstrations.jsonl", "demonstrations")
        progress = Progress(layout.start_progress(arguments.model), key, config.checkpoint)
        gate.begin(start.steps)
        history = supervised_start(policy, demonstrations, config.task.prompt, start, progress, stop=gate.stop)
        gate.complete()
        account.log_metrics(history)
        write_jsonl(folder / "start.jsonl", history)
        load.save(policy, folder, provenance)
        progress.finish()


def evaluate(arguments: Arguments) -> None:
    """Evaluate a policy greedily on the test split with lm-eval; the baseline, or a trained one with --variant."""
    from reinforce_lite.accounting.forecast import Job
    from reinforce_lite.budgeted import budgeted

    config = settings.load(arguments.config)
    require_preflight(config)
    layout, model = Layout.of(config), arguments.model
    evaluation = evaluation_of(config, model)
    run = {"variant": arguments.variant, "seed": arguments.seed}
    name = "evaluate_baseline" if arguments.variant is None else "evaluate_trained"
    job = Job(name, model, **run)
    with budgeted(config, job, arguments.round) as (account, gate):
        from reinforce_lite.accounting.provenance import origin, sums
        from reinforce_lite.accounting.rebuild import evaluation_metrics
        from reinforce_lite.evaluation import avg_at_k, harness, sampling
        from reinforce_lite.evaluation.sampling import opened_for
        from reinforce_lite.evaluation.written import Written
        from reinforce_lite.policy.load import load, prepare_torch
        from reinforce_lite.tasks.prepare import load_split

        source = layout.policy(model) if arguments.variant is None else layout.train(model, **run)
        prepare_torch(config.hardware)
        policy = load(source, config.policies[model], config.hardware.device)
        problems = load_split(layout.data, "test")[: config.evaluation.limit]
        account.log_dataset(layout.data / "test.jsonl", "test")
        key, prompt = keys.evaluation_key(config, model, arguments.variant, source), config.prompt(arguments.variant)
        written = Written(layout.evaluation_progress(model, **run) / "completions.jsonl", key)
        greedy = -(-len(problems) // evaluation.size)
        gate.begin(greedy + evaluation.sampled_batches(len(problems)), "batch")
        folder = layout.evaluation(model, **run)
        files = [folder / "items.jsonl"]
        sampling.remove(folder)
        # One engine for both kinds of answers: vLLM cannot be opened twice in a process.
        with opened_for(policy, evaluation) as engine:
            summary, items = harness.evaluate(policy, problems, prompt, evaluation, written, gate.check, engine)
            if config.evaluation.cross_check:
                summary["cross_check"] = harness.cross_check(policy, evaluation)
            write_jsonl(folder / "items.jsonl", items)
            if evaluation.samples:
                drawn = Written(layout.evaluation_progress(model, **run) / sampling.SAMPLES, key)

                def check(done: int) -> None:
                    gate.check(greedy + done)

                samples = sampling.sample(policy, problems, prompt, evaluation, drawn, check, engine)
                write_jsonl(folder / sampling.SAMPLES, samples)
                files.append(folder / sampling.SAMPLES)
                summary["sampled"] = avg_at_k.figures(samples)
        provenance = read_json(source / "policy.json")
        made = {"policy": provenance, "engine": evaluation.engine, "made_with": origin(), "key": keys.digest(key)}
        summary["sums"] = sums(*files)
        write_json(folder / "evaluation.json", {"model": model, **run, **summary, **made})
        account.log_params({"model": model, **run, "evaluation": evaluation.model_dump(mode="json")})
        account.log_summary(evaluation_metrics(summary))
        for path in files:
            account.log_artifact(path)
        print(f"{name} {model}: strict {summary['strict']:.1%} of {summary['n']}", file=sys.stderr)


def train(arguments: Arguments) -> None:
    """Train a policy with Reinforce-Lite; one of several processes if accelerate launch has started them."""
    if int(os.environ.get("RANK", "0")):
        _follow(arguments)
    elif int(os.environ.get("WORLD_SIZE", "1")) == 1:
        _train(arguments)
    else:
        from reinforce_lite.learning import parallel

        with parallel.leading():
            _train(arguments)


def _follow(arguments: Arguments) -> None:
    """Take the steps of a training with the first process, which keeps the books."""
    os.environ["TQDM_DISABLE"] = "1"  # one progress bar is enough
    from reinforce_lite.learning import parallel
    from reinforce_lite.learning.loop import train as learn
    from reinforce_lite.policy.load import load, prepare_torch
    from reinforce_lite.tasks.prepare import load_split

    interrupt.ignore()  # the first process is told too, and these end with it
    config = settings.load(arguments.config)
    if not parallel.invited():
        return
    layout, run = Layout.of(config), (arguments.model, arguments.variant, arguments.seed)
    training = training_of(config, *run[:2])
    prepare_torch(config.hardware, training.deterministic_update)
    device = parallel.device(config.hardware.device)
    policy = load(layout.policy(arguments.model), config.policies[arguments.model], device)
    learn(
        policy, load_split(layout.data, "train"), config.prompt(run[1]), training, arguments.seed,
        stop=parallel.agreed(lambda completed: None), progress=parallel.Follower(layout.training_progress(*run)),
    )  # fmt: skip


def _train(arguments: Arguments) -> None:
    from reinforce_lite.accounting.forecast import Job
    from reinforce_lite.budgeted import budgeted

    config = settings.load(arguments.config)
    require_preflight(config)
    layout, model, variant, seed = Layout.of(config), arguments.model, arguments.variant, arguments.seed
    training = training_of(config, model, variant)
    job = Job("train", model, variant, seed)
    with budgeted(config, job, arguments.round) as (account, gate):
        from reinforce_lite.accounting.provenance import origin, sums
        from reinforce_lite.curves import training_summary
        from reinforce_lite.learning import parallel
        from reinforce_lite.learning.loop import Step
        from reinforce_lite.learning.loop import train as learn
        from reinforce_lite.policy.load import load, prepare_torch, save
        from reinforce_lite.tasks.prepare import load_split

        if training.steps == 0:
            return untrained.record(config, model, variant, seed)
        parallel.invite()
        prepare_torch(config.hardware, training.deterministic_update)
        policy = load(layout.policy(model), config.policies[model], parallel.device(config.hardware.device))
        account.log_params({"model": model, "variant": variant, "seed": seed, **training.model_dump(mode="json")})
        account.log_dataset(layout.data / "train.jsonl", "train")
        folder = layout.train(model, variant, seed)
        key = keys.training_key(config, model, variant, seed)
        progress = parallel.Leader(layout.training_progress(model, variant, seed), key, config.checkpoint)
        problems, prompt = load_split(layout.data, "train"), config.prompt(variant)
        gate.begin(training.steps)

        def log(step: Step) -> None:
            account.log_metrics([step.metrics])

        matched = same_cost.rule(config, job, account.attempt, gate.stop)
        stop = parallel.agreed(matched or gate.stop)
        learn(policy, problems, prompt, training, seed, log, stop=stop, progress=progress)
        rows, made_with = progress.rows(), origin()
        metrics = [row["metrics"] for row in rows]
        write_jsonl(folder / "metrics.jsonl", metrics)
        write_jsonl(folder / "completions.jsonl", (completion for row in rows for completion in row["completions"]))
        summary = {**training_summary(metrics, training), "stopped": gate.reason, "checkpoint": progress.cost()}
        summary["same_cost"] = matched and matched.reached
        summary["processes"] = parallel.processes()
        summary["sums"] = sums(folder / "metrics.jsonl", folder / "completions.jsonl")
        write_json(folder / "training.json", {**summary, "made_with": made_with})
        account.log_artifact(folder / "metrics.jsonl")
        account.log_artifact(folder / "completions.jsonl")
        provenance = read_json(layout.policy(model) / "policy.json")
        provenance |= {"variant": variant, "seed": seed, "training": training.model_dump(mode="json")}
        provenance |= {"made_with": made_with, "key": keys.digest(key)}
        del provenance["weights"]
        save(policy, folder, provenance)
        if gate.reason is None:  # else a larger budget goes on from there
            progress.finish()


def compare(arguments: Arguments) -> None:
    """Compare a trained policy with its baseline, question by question."""
    from reinforce_lite.report.compare import compare_evaluations
    from reinforce_lite.report.summary import BOOTSTRAP_SEED

    config = settings.load(arguments.config)
    layout, run = Layout.of(config), (arguments.model, arguments.variant, arguments.seed)
    sides = layout.evaluation(arguments.model), layout.evaluation(*run)
    result = compare_evaluations(*sides, resamples=config.evaluation.bootstrap_resamples, seed=BOOTSTRAP_SEED)
    write_json(layout.comparison(*run), {"model": run[0], "variant": run[1], "seed": run[2], **result})


def report(arguments: Arguments) -> None:
    """Write report.html for people, and summary.json, verdicts.json and traces.json for machines."""
    from reinforce_lite.accounting.tracking import stage_seconds
    from reinforce_lite.handover import forget_evaluations
    from reinforce_lite.report.build import build

    config = settings.load(arguments.config)
    forget_evaluations(config)
    build(config, Layout.of(config).root, stage_seconds(config))
    _publish(config)
    print(f"report: {Layout.of(config).root / 'report.html'}", file=sys.stderr)


def _publish(config: settings.Settings) -> None:
    """Show the result of a finished report on MLflow's parent run."""
    from reinforce_lite.accounting.tracking import publish
    from reinforce_lite.report import note

    layout = Layout.of(config)
    summary, verdicts = read_json(layout.root / "summary.json"), read_json(layout.verdicts)
    files = [layout.root / name for name in ("report.html", "summary.json")] + [layout.verdicts]
    publish(config, note.markdown(summary, verdicts["claims"]), note.figures(summary), files)


def claims(arguments: Arguments) -> int:
    """Show the claims table; exit code 4 if a claim is contradicted, else 3 if one is undecidable, else 0."""
    from reinforce_lite.report import claims_command

    return claims_command.run(settings.load(arguments.config))


def crate(arguments: Arguments) -> None:
    """Describe the results and where they came from as an RO-Crate: ro-crate-metadata.json."""
    from reinforce_lite.report.crate import METADATA, build

    config = settings.load(arguments.config)
    build(config, Layout.of(config).root, arguments.workflow)
    print(f"crate: {Layout.of(config).root / METADATA}", file=sys.stderr)


def ledger(arguments: Arguments) -> None:
    """Show what was spent, attempt by attempt; or check the ledger, or make MLflow's view anew from it."""
    config = settings.load(arguments.config)
    ledger_command.run(config, arguments)
    if arguments.rebuild_mlflow and (Layout.of(config).root / "summary.json").exists():
        _publish(config)


def estimate(arguments: Arguments) -> None:
    """Show what every stage would take and cost on a GPU that is not here, and what would fit into the budget."""
    estimate_command.run(settings.load(arguments.config), arguments)


def power(arguments: Arguments) -> None:
    """Show how small a gain the comparison can see, before money is spent on it."""
    power_command.run(settings.load(arguments.config), arguments)


def traces(arguments: Arguments) -> None:
    """Count behaviours such as verification and backtracking in the completions, before and after training."""
    traces_command.run(arguments)


def verify(arguments: Arguments) -> None:
    """Derive every number of a finished report again, from the per-item files up, and say what differs."""
    verify_command.run(arguments)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(
        prog="reinforce-lite",
        description="One subcommand for each rule of the workflow. Snakemake calls them in order "
        "(snakemake --cores 1 --configfile config/tiny.yaml); by hand they do the same. `estimate` tells what it would "
        "cost on a GPU that is not here, `ledger` what was spent, `power` what a comparison can see, `traces` how the "
        "policies reason, `verify` whether a report follows from its files.",
    )
    root.add_argument("--version", action="version", version=f"reinforce-lite {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(function: Callable[[Arguments], int | None], *options: str) -> argparse.ArgumentParser:
        """A subcommand that calls a function; its name and help are the function's."""
        name, summary = function.__name__.replace("_", "-"), (function.__doc__ or "").strip()
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(function=function)
        if "folder" in options:
            return command
        command.add_argument(
            "--config",
            type=Path,
            nargs="+",
            required=True,
            metavar="FILE",
            help="results/<experiment>/config.json, or YAML files, each laid over the one before",
        )
        if "model" in options:
            command.add_argument("--model", required=True, help="a name under `policies`")
        if "budget" in options:
            command.add_argument("--round", type=int, help="how often the budget was changed; the workflow counts")
        if "run" in options:
            needed = function is not evaluate
            command.add_argument("--variant", required=needed, help="a name under `training_variants`")
            command.add_argument("--seed", type=int, required=needed, help="training seed")
        return command

    add(preflight, "budget")
    add(prepare_dataset)
    add(fetch_policy, "model", "budget")
    add(evaluate, "model", "run", "budget")
    add(train, "model", "run", "budget")
    add(compare, "model", "run")
    add(report)
    add(claims)
    where = "folder of the Snakefile that was run; a copy of it becomes part of the crate"
    add(crate).add_argument("--workflow", type=Path, default=Path("workflow"), metavar="FOLDER", help=where)
    estimate_command.add_options(add(estimate))
    ledger_command.add_options(add(ledger))
    power_command.add_options(add(power))
    traces_command.add_options(add(traces))
    verify_command.add_options(add(verify, "folder"))
    return root


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; a user's error is one screen on stderr and exit code 2, being told to leave is code 75."""
    arguments = parser().parse_args(argv)
    interrupt.install()
    try:
        _check_names(arguments)
        return arguments.function(arguments) or 0
    except UserError as error:
        print(f"reinforce-lite {arguments.command}: {error}", file=sys.stderr)
        return 2
    except Interrupted:
        with contextlib.suppress(OSError):  # whoever read our output may have been told to leave before us
            print(f"reinforce-lite {arguments.command}: interrupted; the same command continues", file=sys.stderr)
        return interrupt.EXIT_CODE


def entry() -> None:
    """Entry point of the console command.

    Leaves at once when all is written: taking torch and MLflow apart would cost another second of rented time a rule.
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _check_names(arguments: Arguments) -> None:
    """Refuse a model or variant that the configuration does not have."""
    if "model" not in arguments:
        return
    config = settings.load(arguments.config)
    for key, catalogue in (("model", config.policies), ("variant", config.training_variants)):
        name = getattr(arguments, key, None)
        if name is not None and name not in catalogue:
            raise UserError(f"--{key} {name} is unknown", f"use one of {', '.join(sorted(catalogue))}")
    if getattr(arguments, "variant", None) is not None and arguments.seed is None:
        raise UserError("--variant comes with --seed", "add --seed 0")


if __name__ == "__main__":
    entry()
