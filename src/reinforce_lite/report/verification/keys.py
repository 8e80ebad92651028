"""Whether each result belongs to the weights, the data and the configuration that lie beside it: its key, once more."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reinforce_lite import __version__
from reinforce_lite.config import Settings
from reinforce_lite.errors import UserError
from reinforce_lite.io.keyed import ASKED, Key
from reinforce_lite.policy.files import weight_files
from reinforce_lite.report.verification.difference import ABSENT, RESTORE, Check, Difference, Row, record_of
from reinforce_lite.report.verification.experiment import Experiment
from reinforce_lite.resources import keys
from reinforce_lite.stages import POLICY, STAGES, Job, Layout, jobs
from reinforce_lite.tasks import own

DECIDED = ("weights", "engine", "rollout_batch", "kv_cache_gib")
"""Settings of a training that may be `auto`; what they were decided to be on the machine that ran it is recorded."""

Sum = Callable[[Path], str]


def keyed(experiment: Experiment, sum_of: Sum) -> Check:
    """The key of every job on the device, computed again from what lies in the folder.

    Raises:
        UserError: a policy.json points out of the folder.
    """
    check, count = Check("keys"), 0
    settings = located(experiment)
    for job in jobs(settings):
        path = Layout.of(settings).path(job, STAGES[job.stage].keyed)
        file, made = str(path.relative_to(experiment.folder)), record_of(path)
        if "not_run" in made:
            continue
        count += 1
        if "key" not in made:
            lacks(check, experiment, file, "key", "weights and configuration")
        else:
            _compare(check, experiment, decided(settings, job, made), job, made, sum_of)
    check.differences = list({(one.file, one.key): one for one in check.differences}.values())
    check.looked_at = f"{count} results, by weights, tokenizer, data and configuration"
    return check


def located(experiment: Experiment) -> Settings:
    """The configuration with the folder where it lies now, and the sizes of its policies as they were recorded."""
    folder, settings = experiment.folder, experiment.settings
    here = settings.model_copy(update={"results": folder.parent, "experiment": folder.name})
    unknown = [name for name in here.models if here.policies[name].billions is None]
    counted = {name: _size(record_of(Layout(folder).policy(name) / POLICY)) for name in unknown}
    policies = {name: here.policies[name].counted(size) for name, size in counted.items()}
    task = own.kept(here.task, Layout(folder).data)
    return here.model_copy(update={"policies": {**here.policies, **policies}, "task": task})


def lacks(check: Check, experiment: Experiment, file: str, what: str, unbound: str) -> None:
    """Record that something is absent which every result of this version has; those of an earlier one may lack it."""
    if experiment.version == __version__ and experiment.recorded("manifest") is not None:
        check.differences.append(Difference(file, "", what, ABSENT, f"recorded by {__version__} with every result"))
    else:
        check.unverified.append(f"{file}: no {what} recorded by its version, so {unbound} could not be checked")


def _size(policy: Row) -> int:
    parameters = policy.get("parameters", 0)
    return parameters if isinstance(parameters, int) else 0


def decided(settings: Settings, job: Job, made: Mapping[str, Any]) -> Settings:
    """The settings with each `auto` of this job as it was decided where it ran, which may be another machine.

    A reward of the user's own is the copy that lies with the training.
    """
    if job.stage == "train":
        training, recorded = settings.variant(str(job.variant)), made.get("training") or {}
        chosen = {key: recorded[key] for key in DECIDED if getattr(training, key) == "auto" and key in recorded}
        chosen["reward"] = own.in_folder(training.reward, Layout.of(settings).folder(job))
        variants = settings.training_variants
        changed = {**variants, str(job.variant): {**variants[str(job.variant)], **chosen}}
        return settings.model_copy(update={"training_variants": changed})
    if settings.evaluation.engine == "auto" and "engine" in made:
        evaluation = settings.evaluation.model_copy(update={"engine": made["engine"]})
        return settings.model_copy(update={"evaluation": evaluation})
    return settings


def _compare(
    check: Check, experiment: Experiment, settings: Settings, job: Job, made: Mapping[str, Any], sum_of: Sum
) -> None:
    file = str(Layout.of(settings).path(job, STAGES[job.stage].keyed).relative_to(experiment.folder))
    asked, place = made.get(ASKED), _weights(experiment, settings, job)
    if asked is not None and Key(asked).digest != made["key"]:
        check.differences.append(Difference(file, "", ASKED, Key(asked).digest, made["key"]))
        asked = None
    if place is not None and not place.resolve().is_relative_to(experiment.folder.resolve()):
        check.notes.append(f"{file}: its policy lies outside of the folder ({place}), and was not read")
        return
    try:
        if place is not None and place.is_dir() and not weight_files(place):
            raise UserError(f"{place} holds no weights", RESTORE)
        derived = list(keys.digests(settings, job, dict(made), sum_of))
    except (UserError, OSError) as error:
        problem = error.problem if isinstance(error, UserError) else str(error)
        check.differences.append(Difference(_relative(place, experiment), "", "weights", ABSENT, problem))
        return
    if made["key"] not in derived:
        now = keys.asked(settings, job, sum_of)
        named = list(_named(asked, now, _relative(place, experiment))) if asked else []
        check.differences += named or [Difference(file, "", "key", made["key"], derived[0])]


def _weights(experiment: Experiment, settings: Settings, job: Job) -> Path | None:
    """Where the policy lies that a job reads; None if it reads none, or one of the hub.

    Raises:
        UserError: policy.json leads out of the folder, or to another place than the configuration.
    """
    if job.stage == "fetch_policy":
        return settings.policies[job.model].path
    file = Layout.of(settings).needs(job)["policy"]
    weights = record_of(file, weights=dict).get("weights", {})
    if "folder" in weights:
        place = file.parent / str(weights["folder"])
        if not place.resolve().is_relative_to(experiment.folder.resolve()):
            raise UserError(f"{file}: its weights lie outside of {experiment.folder}", RESTORE)
        return place
    if "path" not in weights:
        return None
    if settings.policies[job.model].path is None:
        raise UserError(f"{file}: its weights have a path, and config.json has none", RESTORE)
    return Path(str(weights["path"]))


def _relative(place: Path | None, experiment: Experiment) -> str:
    if place is None:
        return "config.json"
    return str(place.resolve().relative_to(experiment.folder.resolve()))


def _named(asked: Mapping[str, Any], now: Key, place: str) -> Iterator[Difference]:
    """The entries of a key that are others now: a file's by its sum, a setting by its name."""
    for change in Key(now).changes({**asked}):
        present, recorded = (ABSENT if value is None else value for value in (change.now, change.there))
        split, suffix, _ = change.name.partition(", sha256")
        owner, _, rest = change.name.partition("policy ")
        if suffix and split.endswith(".py"):
            yield Difference(Path(split.removeprefix("training.")).name, "", "SHA-256", recorded, present)
        elif suffix:
            yield Difference(f"data/{split}", "", "SHA-256", recorded, present)
        elif owner not in ("", "start ") or not rest:
            yield Difference("config.json", "", change.name, present, recorded)
        elif " " in rest:
            file, key = rest.split(" ", 1)
            yield Difference(f"{place}/{file}", "", key, present, recorded)
        else:
            yield Difference(f"{place}/{rest}", "", "SHA-256", recorded, present)
