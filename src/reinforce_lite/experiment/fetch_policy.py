"""The stage that brings a policy to the device, and gives it its supervised start."""

from reinforce_lite.experiment.frame import Paid
from reinforce_lite.experiment.run import Run
from reinforce_lite.io.files import write_json, write_jsonl
from reinforce_lite.io.provenance import sums
from reinforce_lite.learning.progress import Progress
from reinforce_lite.learning.supervised import supervised_start
from reinforce_lite.policy import fetch, load
from reinforce_lite.tasks.prepare import load_demonstrations


def run(run: Run, paid: Paid) -> None:
    """Fetch a policy at its pinned revision, and give it its supervised start if the configuration has one."""
    settings, model, start = run.settings, run.job.model, run.policy.start
    load.prepare_torch(settings.hardware)
    policy = fetch.materialise(run.policy, run.task.vocabulary, start.seed if start else 0, settings.hardware.device)
    provenance = {"model": model, **fetch.describe(policy, run.policy)}
    provenance["start"] = start.model_dump(mode="json") if start else None
    if start is None:
        write_json(run.path(), {"weights": fetch.weights_source(run.policy), **provenance, **run.provenance()})
        return
    demonstrations = load_demonstrations(run.layout.data)
    progress = Progress(run.layout.resume(run.job), run.key, settings.checkpoint)
    paid.gate.begin(start.steps)
    history = supervised_start(
        policy, demonstrations, run.task, settings.task.prompt, start, progress,
        stop=paid.gate.stop, on_step=lambda done: paid.show(done, start.steps),
    )  # fmt: skip
    paid.gate.complete()
    write_jsonl(run.path("start"), history)
    own = {"sums": sums(run.path("start")), **run.provenance(progress.accepted)}
    load.save(policy, run.path().parent, {**provenance, **own})
    progress.finish()
