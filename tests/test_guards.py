"""Each guard against a fault is needed: without it, the test that stands for it fails.

In a copy of the project the guard is taken out, and the test is run there.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS_FAILED = 1  # pytest's exit code; any other one but 0 says that the test could not be run


@dataclass(frozen=True)
class Guard:
    """A piece of code that is replaced by another, and the test that must see it."""

    name: str
    file: str
    code: str
    without: str
    test: str

    def __str__(self) -> str:
        return self.name


SRC = "src/reinforce_lite"
GUARDS = [
    Guard(
        "checksum of a checkpoint", f"{SRC}/learning/checkpoint.py",
        'if hashlib.file_digest(handle, "sha256").hexdigest() != sha256:', "if False:",
        "learning/test_checkpoint.py::test_a_flipped_bit_in_any_file_is_found",
    ),
    Guard(
        "the checkpoint before a damaged one", f"{SRC}/learning/progress.py",
        "self._good = [*self._good, path][-KEPT:]", "self._good = [path]",
        "learning/test_progress.py::test_of_a_damaged_checkpoint_the_one_before_is_used",
    ),
    Guard(
        "a full disk costs a checkpoint, not the training", f"{SRC}/learning/progress.py",
        '_warn(f"no checkpoint after {self._completed} steps: {error.strerror}; the one before it is kept")', "raise",
        "learning/test_progress.py::test_on_a_full_disk_it_goes_on_with_a_warning",
    ),
    Guard(
        "key of a training", f"{SRC}/learning/progress.py",
        "self._check_key(candidate)", "pass",
        "learning/test_progress.py::test_another_key_is_refused_and_named",
    ),
    Guard(
        "the file of an own reward is in the key", f"{SRC}/resources/keys.py",
        '"reward": Path(training.reward).name, **own.sums(training.reward)}', '"reward": Path(training.reward).name}',
        "learning/test_own_reward.py::test_a_changed_file_is_another_training_and_is_refused_by_its_name",
    ),
    Guard(
        "an own reward has to give the same again", f"{SRC}/experiment/rewards.py",
        "if (again := own.scores(function, text, problem)) != given[-1]:", "if (again := given[-1]) != given[-1]:",
        "experiment/test_own_function.py::test_preflight_refuses_what_would_fail_or_differ",
    ),
    Guard(
        "no question stands in train and test", f"{SRC}/tasks/rows.py",
        "if same in asked:", "if False:",
        "tasks/test_jsonl.py::test_a_question_of_the_test_that_stands_in_train_is_named",
    ),
    Guard(
        "state of the optimiser", f"{SRC}/learning/checkpoint.py",
        'restore_optimizer(optimizer, self._part("optimizer"))', "pass",
        "learning/test_resume.py::test_killed_without_a_word",
    ),
    Guard(
        "a signal waits until a step is whole", f"{SRC}/learning/progress.py",
        "if self._at_boundary:", "if True:",
        "learning/test_progress.py::test_an_interrupt_inside_the_whole_of_a_step_keeps_the_checkpoint_before",
    ),
    Guard(
        "a step that is not finite moves nothing", f"{SRC}/learning/update.py",
        "skipped=not (math.isfinite(norm) and math.isfinite(total.loss))", "skipped=False",
        "learning/test_resume.py::test_nan_from_the_policy_itself_ends_the_training",
    ),
    Guard(
        "nor does a critic that is not finite", f"{SRC}/learning/critic.py",
        '"skipped": result.skipped or not finite', '"skipped": result.skipped',
        "learning/test_critic.py::test_where_its_gradient_is_not_finite_nothing_moves",
    ),
    Guard(
        "a checkpoint holds the critic too", f"{SRC}/learning/loop.py",
        "progress.resumed(learner.kept, learner.optimizer)", "progress.resumed(policy, learner.optimizer)",
        "learning/test_resume.py::test_killed_without_a_word",
    ),
    Guard(
        "adapters and a critic are refused", f"{SRC}/config.py",
        'if self.networks > 1 and self.weights == "lora":', "if False:",
        "test_config.py::test_bad_values_name_the_key",
    ),
    Guard(
        "an end to steps that are not finite", f"{SRC}/learning/checks.py",
        "if self._count >= self._limit:", "if False:",
        "learning/test_resume.py::test_too_many_in_a_row_end_the_training",
    ),
    Guard(
        "sum of a journal's line", f"{SRC}/io/journal.py",
        'if not line.endswith(b"\\n") or crc != b"%08x" % zlib.crc32(text):', "if False:",
        "evaluation/test_written.py::test_a_torn_line_is_a_batch_to_be_done_again",
    ),
    Guard(
        "key of an evaluation", f"{SRC}/evaluation/written.py",
        "if any(change.setting for change in changes):", "if False:",
        "evaluation/test_written.py::test_of_another_model_nothing_is_read",
    ),
    Guard(
        "what was not measured well enough decides nothing", f"{SRC}/evaluation/detector_accuracy.py",
        "decides=enough and right,", "decides=True,",
        "evaluation/test_detector_accuracy.py::test_what_decides_a_claim",
    ),
    Guard(
        "an attempt in the word world is rejected by its sums", f"{SRC}/evaluation/behaviours.py",
        "return taken_back(text) or ", "return ",
        "evaluation/test_behaviours.py::test_in_the_word_world_the_style_is_recognised",
    ),
    Guard(
        "results are written beside their place", f"{SRC}/io/files.py",
        'temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")', "temporary = path",
        "io/test_files.py::test_a_failed_write_leaves_the_old_file_and_nothing_else",
    ),
    Guard(
        "MLflow's view is made from the ledger", f"{SRC}/experiment/ledger_command.py",
        "{rebuild(settings)}", "0",
        "experiment/test_ledger_command.py",
    ),
    Guard(
        "a torn line of the ledger stays a line", f"{SRC}/budget/chain.py",
        'line = b"\\n" + line', "pass",
        "budget/test_events.py::test_the_next_writer_ends_a_torn_line_of_any_kind",
    ),
    Guard(
        "lock of the ledger", f"{SRC}/budget/events.py",
        "fcntl.flock(descriptor, fcntl.LOCK_EX)", "pass",
        "budget/test_events.py::test_a_writer_waits_for_its_turn",
    ),
    Guard(
        "chain of the ledger's rows", f"{SRC}/budget/chain.py",
        "if everything.hexdigest()[:DIGITS] != chain:", "if False:",
        "budget/test_chain.py::test_every_flipped_bit_is_noticed_by_whoever_sums_up",
    ),
    Guard(
        "head of the ledger", f"{SRC}/budget/reader.py",
        "if known is not None and known.bytes and not met:", "if False:",
        "budget/test_chain.py::test_rows_that_are_cut_off_at_the_end",
    ),
    Guard(
        "results without a ledger", f"{SRC}/budget/reader.py",
        "self._look_for_results()\n", "pass\n",
        "budget/test_chain.py::test_of_a_ledger_and_a_head_that_are_gone_the_results_tell",
    ),
    Guard(
        "a writer knows its own row", f"{SRC}/budget/events.py",
        "if after is not None and not after.stands(descriptor):", "if False:",
        "budget/test_chain.py::test_a_ledger_destroyed_in_mid_stage_is_noticed_by_the_stage_and_stops_the_next",
    ),
    Guard(
        "MLflow's parent is of one ledger", f"{SRC}/experiment/mlflow_runs.py",
        "found, free = by_ledger.get(ledger), by_ledger.get(None)",
        "found = free = next(iter(by_ledger.values()), None)",
        "experiment/test_rebuild.py::test_after_its_results_were_deleted_an_experiment_costs_only_what_its_ledger_says",
    ),
    Guard(
        "a clock that cannot be set", f"{SRC}/budget/books.py",
        "if first.boot == second.boot:", "if False:",
        "budget/test_ledger.py::test_setting_the_wall_clock_back_changes_no_duration",
    ),
    Guard(
        "what the full disk had no room for is kept", f"{SRC}/experiment/attempt.py",
        "return Ledger(path, spare=lock.keep)", "return Ledger(path)",
        "budget/test_full_disk.py::test_a_stage_whose_end_has_no_room_keeps_its_results_and_its_cost",
    ),
    Guard(
        "signs of life", f"{SRC}/experiment/attempt.py",
        "self._ledger.touch(self.attempt.id)", "pass",
        "experiment/test_watch.py::test_it_gives_signs_of_life_and_stops_at_the_end",
    ),
    Guard(
        "steps that are taken again count once", f"{SRC}/budget/standing.py",
        "or self._followed[job].cut()", "or False",
        "experiment/test_status_command.py::test_steps_that_are_taken_again_are_counted_once",
    ),
    Guard(
        "a stage does not depend on MLflow", f"{SRC}/experiment/tracking.py",
        "        except Exception as problem:\n            self._paused_until",
        "        except ZeroDivisionError as problem:\n            self._paused_until",
        "experiment/test_rebuild.py::test_a_stage_goes_on_while_mlflow_is_locked_and_its_run_is_made_later",
    ),
    Guard(
        "lock of the device", f"{SRC}/budget/device_lock.py",
        "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass",
        "budget/test_device_lock.py::test_many_processes_have_it_one_after_the_other",
    ),
    Guard(
        "no job beside itself", f"{SRC}/budget/device_lock.py",
        "twins = [other for other in there if other.stage == holder.stage]", "twins = []",
        "budget/test_side_by_side.py::test_the_same_job_is_not_beside_itself",
    ),
    Guard(
        "the limit holds for the sum of what runs", f"{SRC}/budget/gate.py",
        "(until_now(other) if runs else other.usd)", "other.usd",
        "budget/test_side_by_side.py::test_the_meter_counts_what_runs_beside_up_to_now",
    ),
    Guard(
        "nothing runs beside preflight", f"{SRC}/config.py",
        'if self.side_by_side and stage != "preflight" else', "if self.side_by_side else",
        "budget/test_side_by_side.py::test_preflight_takes_both_and_pays_for_both",
    ),
    Guard(
        "results of an orphan are taken", f"{SRC}/experiment/attempt.py",
        "if lock.adopts and finished is not None and finished():", "if False:",
        "budget/test_running.py::test_results_made_by_the_process_waited_for_are_adopted",
    ),
    Guard(
        "what was kept stays until its results are taken", f"{SRC}/learning/progress.py",
        "write_json(self.folder / FINISHED, self._key)", "shutil.rmtree(self.folder)",
        "workflow/test_death.py::test_what_an_orphan_did_unseen_is_not_done_again[train-4 steps]",
    ),
    Guard(
        "SIGTERM ends in a checkpoint", f"{SRC}/learning/progress.py",
        "            if self._at_boundary:\n                self._save()\n", "",
        "test_kill.py::test_told_to_leave",
    ),
    Guard(
        "results of two Snakemakes", "workflow/Snakefile",
        "    lock_results()\n", "",
        "workflow/test_death.py::test_two_at_once_are_one_too_many",
    ),
    Guard(
        "Snakemake passes SIGTERM on", "workflow/Snakefile",
        "    pass_on_sigterm()\n", "",
        "workflow/test_death.py::test_sigterm_of_snakemake_reaches_the_job",
    ),
    Guard(
        "SIGTERM does not wait for a lock of its own thread", "workflow/rules/processes.smk",
        "target=wait_for_jobs, args=(number, None), daemon=True", "target=wait_for_jobs(number, None), daemon=True",
        "workflow/test_death.py::test_sigterm_while_a_job_is_finished",
    ),
    Guard(
        "no lock that outlives Snakemake", "profiles/default/profile.v9+.yaml",
        "nolock: true\n", "",
        "workflow/test_death.py::test_a_killed_snakemake_needs_no_unlocking",
    ),
    Guard(
        "the gate after each step", f"{SRC}/budget/gate.py",
        "return allowed.share_usd is None or", "return True or",
        "budget/test_gate.py",
    ),
    Guard(
        "a device's name, whatever the experiment", f"{SRC}/budget/device_lock.py",
        "for device in names:", "for device in []:",
        "budget/test_device_lock.py::test_another_experiment_on_the_same_device_waits_and_says_for_whom",
    ),
    Guard(
        "the end of a terminal is a notice", f"{SRC}/io/interrupt.py",
        "signal.SIGINT, signal.SIGHUP)", "signal.SIGINT)",
        "budget/test_device_lock.py::test_a_signal_ends_a_waiting_process_at_once",
    ),
    Guard(
        "the import system keeps no lock", f"{SRC}/io/interrupt.py",
        "if frame is not None and frame", "if False and frame",
        "io/test_interrupt.py::test_the_import_system_is_not_interrupted_between_a_lock_and_its_release",
    ),
    Guard(
        "a limit that holds from outside", f"{SRC}/experiment/watch.py",
        "if now >= end + LATE_SECONDS and noticed > now:", "if False:",
        "experiment/test_watch.py::test_what_hangs_is_ended_when_its_money_is_spent[step]",
    ),
    Guard(
        "a stage dies with its watch", f"{SRC}/experiment/watch.py",
        "ctypes.CDLL(None).prctl(1, signal.SIGKILL)", "pass",
        "experiment/test_watch.py::test_a_killed_parent_takes_its_child_along",
    ),
    Guard(
        "one dear step says nothing of the next", f"{SRC}/budget/gate.py",
        "sorted(self._recent)[-2:][0]", "max(self._recent)",
        "budget/test_gate.py::test_a_machine_that_stood_still_says_nothing_of_the_next_step",
    ),
    Guard(
        "what computes is in the key", f"{SRC}/resources/keys.py",
        "found[COMPUTED_WITH] = computing(config, job)", "pass",
        "experiment/test_keys.py::test_what_computes_otherwise_is_refused_named_and_accepted",
    ),
    Guard(
        "a finished result is not bought again for another machine", f"{SRC}/io/keyed.py",
        "if name != COMPUTED_WITH}", "}",
        "experiment/test_keys.py::test_what_computes_otherwise_is_refused_named_and_accepted",
    ),
    Guard(
        "what is saved is loaded again", f"{SRC}/experiment/ends.py",
        "if not moved <= TOLERANCE[chosen.dtype]:", "if False:",
        "experiment/test_ends.py::test_a_policy_that_cannot_be_saved_is_refused",
    ),
    Guard(
        "the report is rehearsed", f"{SRC}/experiment/ends.py",
        "build.build(few, few.folder)", "return",
        "experiment/test_ends.py::test_an_error_in_a_template_of_the_page_is_named",
    ),
    Guard(
        "how to generate is saved in a valid form", f"{SRC}/policy/load.py",
        "policy.model.generation_config = savable(policy.model.generation_config)", "pass",
        "experiment/test_ends.py::test_a_policy_with_settings_of_no_sampling_is_saved",
    ),
    Guard(
        "results without times are adopted", "workflow/Snakefile",
        "refused(adopt_results)", "pass",
        "workflow/test_adopted.py::test_a_copy_without_times_is_adopted",
    ),
    Guard(
        "a change is seen where Snakemake has no records", f"{SRC}/experiment/adopt.py",
        "records.disown(results.outputs(job), reason)", "pass",
        "workflow/test_adopted.py::test_a_change_is_seen_whatever_the_times",
    ),
    Guard(
        "an answer ends where the chat template ends it", f"{SRC}/policy/turns.py",
        "return Stops(known | {end}, True, f", "return Stops(known, False, f",
        "policy/test_turns.py::test_a_policy_stops_there_and_is_taught_to",
    ),
    Guard(
        "a file of weights is whole", f"{SRC}/policy/files.py",
        "if size != needed:", "if False:",
        "policy/test_weight_files.py::test_a_file_cut_short_is_named",
    ),
    Guard(
        "what was downloaded is all there", f"{SRC}/policy/fetch.py",
        "    files.weights(hub.snapshot(settings))", "    pass",
        "policy/test_weight_files.py::test_offline_a_cache_with_holes_is_refused_and_counted",
    ),
    Guard(
        "code that comes with a model is never run", f"{SRC}/policy/load.py",
        "AutoConfig.from_pretrained(name, trust_remote_code=False, **source)",
        "AutoConfig.from_pretrained(name, **source)",
        "policy/test_weight_files.py::test_code_that_comes_with_a_model_is_never_run",
    ),
    Guard(
        "results of another experiment are not written into", "workflow/rules/common.smk",
        "refused(check_experiment)\n", "",
        "workflow/test_refused.py::test_another_experiment_s_results_are_not_written_into",
    ),
    Guard(
        "a path that leads nowhere is told by a dry run", "workflow/rules/common.smk",
        "refused(check_paths)\n", "",
        "workflow/test_refused.py::test_a_path_that_leads_nowhere_is_named_before_any_job",
    ),
    Guard(
        "a price without its source is not another card's", f"{SRC}/config.py",
        "key for key in PRICE if key not in hardware]", "key for key in PRICE[:1] if key not in hardware]",
        "io/test_layers.py::test_a_price_without_its_source_is_the_other_card_s",
    ),
    Guard(
        "no secret in a configuration", f"{SRC}/config.py",
        "if leaks := list(secrets.found(config)):", "if leaks := []:",
        "test_config.py::test_secrets_are_refused_and_not_repeated",
    ),
    Guard(
        "a puzzle of a file has one solution", f"{SRC}/tasks/knights_puzzles.py",
        "if len(found) != 1:", "if not found:",
        "tasks/test_knights_knaves.py::test_a_bad_puzzle_of_a_folder_is_named_by_file_and_line",
    ),
    Guard(
        "a perturbed puzzle has another solution", f"{SRC}/tasks/knights_puzzles.py",
        " and assignments(table, people) != [old]", "",
        "tasks/test_knights_puzzles.py::test_a_perturbed_puzzle_is_new_and_has_one_solution",
    ),
    Guard(
        "no statements stand in two splits", f"{SRC}/tasks/knights_knaves.py",
        "taken.add(puzzle.statements)", "pass",
        "tasks/test_knights_knaves.py::test_splits_share_no_statements_and_depend_on_the_seed",
    ),
    Guard(
        "a name stands once", f"{SRC}/tasks/knights_text.py",
        "if lower.count(name.lower()) > 1:", "if False:",
        "tasks/test_knights_puzzles.py::test_a_text_that_is_no_puzzle_is_named",
    ),
    Guard(
        "two roles for a person are not paid", f"{SRC}/tasks/knights_answers.py",
        "if len(people) > len(set(people)):", "if False:",
        "tasks/test_knights_answers.py::test_an_answer_names_one_role_for_each_person_or_the_reason_is_a_score",
    ),
    Guard(
        "Logic-RL pays no list of both roles", f"{SRC}/tasks/knights_answers.py",
        "if sum(content.count(role) for role in pair) != len(gold):", "if False:",
        "tasks/test_knights_answers.py::test_the_reward_of_logic_rl",
    ),
    Guard(
        "no words that turn an answer round", f"{SRC}/tasks/knights_answers.py",
        "if words == in_order else", "if words else",
        "tasks/test_knights_answers.py::test_an_answer_names_one_role_for_each_person_or_the_reason_is_a_score",
    ),
    Guard(
        "a rejected case is checked by the puzzle", f"{SRC}/tasks/knights_answers.py",
        "rejected + (not possible)", "rejected + 1",
        "tasks/test_knights_answers.py::test_cases_are_counted_by_the_puzzle_and_not_by_words_alone",
    ),
    Guard(
        "no more is read than the longest thinking", f"{SRC}/tasks/knights_answers.py",
        "text[:LONGEST_THINKING].partition", "text.partition",
        "tasks/test_knights_answers.py::test_the_work_grows_no_faster_than_the_text",
    ),
    Guard(
        "a stage that is switched off", f"{SRC}/stages.py",
        "if not stage.switch or getattr(settings.evaluation, stage.switch)]", "]",
        "test_stages.py::test_a_stage_that_is_switched_off_has_no_jobs",
    ),
    Guard(
        "no number after an override of the direction of writing", f"{SRC}/tasks/numbers.py",
        "if _OVERRIDE.search(text):", "if False:", "tasks/test_readings.py::test_a_row_in_both_readers",
    ),
    Guard(
        "AdamW takes no square root of MKL's where machines should agree", f"{SRC}/optim/optimizer.py",
        "for weight in weights) or are_common()", "for weight in weights)",
        "io/test_instructions.py::test_the_square_root_of_adamw_is_then_the_cpus_own",
    ),
    Guard(
        "a user of a bare number", "workflow/rules/common.smk",
        "refused(check_folders)\nname_user()\n", "refused(check_folders)\n",
        "workflow/test_hostile.py::test_a_user_without_a_name_and_a_bare_environment",
    ),
    Guard(
        "a puzzle is in one split only", f"{SRC}/tasks/countdown_data.py",
        "(barred is not None and drawn[0].key in barred)", "False",
        "tasks/test_countdown_data.py::test_splits_share_no_multiset_with_its_target",
    ),
    Guard(
        "a row of train that is one of the test", f"{SRC}/tasks/countdown_data.py",
        "if puzzle.key not in seen:", "if True:",
        "tasks/test_countdown_data.py::test_a_file_is_taken_in_its_order",
    ),
    Guard(
        "a puzzle of a file can be solved", f"{SRC}/tasks/countdown_data.py",
        "if solution is None:\n            raise", "if False:\n            raise",
        "tasks/test_countdown_data.py::test_a_bad_row_is_named",
    ),
    Guard(
        "each number of a puzzle exactly once", f"{SRC}/tasks/countdown.py",
        "sorted(map(abs, found[0].numbers)) != sorted(puzzle.numbers)", "False",
        "tasks/test_countdown.py::test_an_answer_is_judged_with_a_reason",
    ),
    Guard(
        "a result behind an equals sign", f"{SRC}/tasks/countdown.py",
        "if any(other != value for other in stated):", "if False:",
        "tasks/test_countdown.py::test_an_answer_is_judged_with_a_reason",
    ),
    Guard(
        "a power of millions of digits", f"{SRC}/tasks/tinyzero.py",
        "if whole and base.bit_length() * exponent > MOST_BITS:", "if whole and base.bit_length() * exponent > 10**6:",
        "tasks/test_tinyzero.py::test_of_what_stands_in_the_tag",
    ),
    Guard(
        "an attempt with a wrong result is none", f"{SRC}/tasks/attempts.py",
        "value is not None and value == stated:", "value is not None:",
        "tasks/test_attempts.py::test_attempts_that_are_given_up",
    ),
    Guard(
        "a closed vocabulary", f"{SRC}/report/evidence.py",
        "if scratch and vocabulary else None", "if False else None",
        "report/test_claims.py::test_what_a_closed_vocabulary_cannot_say_is_not_applicable",
    ),
    Guard(
        "the noise floor of a claim", f"{SRC}/report/verdicts.py",
        'if noise is None or abs(delta) > noise.ci95[1] or verdict.kind not in ("supported", "contradicted"):',
        "if True:", "report/test_verdicts.py::test_a_claim_needs_more_than_noise",
    ),
    Guard(
        "a detector that is wrong too often", f"{SRC}/report/appearance.py",
        "if not decides:", "if False:",
        "report/test_claims.py::test_a_behaviour_that_is_not_measured_well_enough_decides_nothing",
    ),
    Guard(
        "every seed of the flexible parser", f"{SRC}/report/reinforce_lite_claims.py",
        "if over := evidence.over_seeds_by(parser, model):", "if over := None:",
        "report/test_seeds.py::test_the_flexible_half_of_reasoning_uses_every_seed",
    ),
    Guard(
        "what the flexible parser misses", f"{SRC}/report/reinforce_lite_claims.py",
        "if evidence.summary.models[model].under_read:", "if False:",
        "report/test_claims.py::test_what_the_flexible_parser_misses_counts_for_the_claim_on_format",
    ),
    Guard(
        "a coin beside every search", f"{SRC}/report/tinyzero_claims.py",
        "if len(others) < 2:", "if False:",
        "report/test_other_articles.py::test_search_is_measured_by_the_tasks_own_check_against_base_and_coin",
    ),
    Guard(
        "what was trained on is not out of distribution", f"{SRC}/report/logic_rl_claims.py",
        "kinds = [kind for kind in asked if kind not in trained]", "kinds = asked",
        "report/test_other_articles.py::test_accuracy_by_kind_and_out_of_distribution",
    ),
    Guard(
        "a perturbation that was trained on is not asked", f"{SRC}/evaluation/memorisation.py",
        "if other is not None and other.question not in known and", "if other is not None and",
        "evaluation/test_memorisation.py::test_a_perturbation_that_stands_in_train_itself_is_left_out",
    ),
    Guard(
        "problems of train are in the key of what asks them", f"{SRC}/resources/keys.py",
        '**({"train.jsonl, sha256": sum_of(train)} if chosen.memorisation else {}),', "",
        "experiment/test_memorisation_asked.py::test_without_problems_of_train_nothing_depends_on_them",
    ),
    Guard(
        "answers to problems of train are judged again", f"{SRC}/report/verification/derive.py",
        "derived |= self._memorisation(folder, target)", "pass",
        "report/test_memorised.py::test_an_edited_file_is_found",
    ),
    Guard(
        "LiMem that is equal decides nothing", f"{SRC}/report/logic_rl_claims.py",
        'return verdicts.sided(*sides, why, "more problems or more seeds")', "return one.more(over, sides[-1])",
        "report/test_memorised.py::test_the_claim_compares_limem_on_the_same_problems[none]",
    ),
    Guard(
        "an algorithm that was not run is not judged", f"{SRC}/report/tinyzero_claims.py",
        "if algorithm(settings, name) is None]", "if False]",
        "report/test_other_articles.py::test_all_algorithms_have_to_be_run_to_be_judged",
    ),
    Guard(
        "a key is computed again", f"{SRC}/report/verification/keys.py",
        'if made["key"] not in derived:', 'if False:',
        "report/test_frauds.py::test_a_fraud_is_named[one byte of the trained weights, rebuilt]",
    ),
    Guard(
        "results hold the head of the ledger", f"{SRC}/budget/reader.py",
        "if not chain.holds(", "if False and not chain.holds(",
        "report/test_frauds.py::test_a_fraud_is_named[all prices halved, chain and report anew]",
    ),
    Guard(
        "advantages follow from rewards", f"{SRC}/report/verification/derive.py",
        'one["advantage"] = weight', 'pass',
        "report/test_frauds.py::test_a_fraud_is_named[advantages doubled, with the sums]",
    ),
    Guard(
        "the budget's decisions are read", f"{SRC}/report/verification/records.py",
        'check.differences += _decision(experiment, layout, job)', 'pass',
        "report/test_frauds.py::test_a_fraud_is_named[a training called stopped]",
    ),
    Guard(
        "the configuration is what preflight saw", f"{SRC}/report/verification/records.py",
        'yield from _differing(now, then)', 'yield from ()',
        "report/test_frauds.py::test_a_fraud_is_named[name of the hardware]",
    ),
    Guard(
        "the sums of the crate are read", f"{SRC}/report/verification/sealed.py",
        'check.differences += _sums(folder, sums, sum_of)', 'pass',
        "report/test_frauds.py::test_a_fraud_is_named[the copied workflow, resealed]",
    ),
    Guard(
        "a published root is compared", f"{SRC}/report/verification/sealed.py",
        'check.differences += differing(NAME, "", known.root, published, "root")', 'pass',
        "report/test_signature.py::test_a_published_root",
    ),
    Guard(
        "a commit that is no hash is no command", f"{SRC}/report/page.py",
        'return found and found[1]', 'return commit',
        "report/test_unseen.py::test_a_commit_that_is_no_hash_becomes_no_command",
    ),
    Guard(
        "what is not seen is shown on the page", f"{SRC}/report/page.py",
        'else shown(value),', 'else value,',
        "report/test_unseen.py::test_characters_of_an_answer_are_shown_on_the_page",
    ),
    Guard(
        "a skipped step is a gap", f"{SRC}/report/plots.py",
        'math.nan if row.get("skipped") or', 'math.nan if',
        "report/test_plots.py::test_a_step_that_was_skipped_is_a_gap_and_no_spike",
    ),
    Guard(
        "no zero has a sign", f"{SRC}/report/numbers.py",
        'return f"{100 * share:+z.1f}"', 'return f"{100 * share:+.1f}"',
        "report/test_numbers_shown.py::test_no_exponent_and_no_zero_below_zero",
    ),
    Guard(
        "another experiment's description", f"{SRC}/config.py",
        'return {key: nothing[key] for key, one in said.items() if is_another(one)}', 'return {}',
        "test_config.py::test_another_experiment_has_its_own_description_and_claims",
    ),
    Guard(
        "who verifies reads nothing outside", f"{SRC}/io/sums.py",
        'if not self._trusting and not path.resolve().is_relative_to(self._folder.resolve()):', 'if False:',
        "io/test_remembered_sums.py::test_who_verifies_reads_nothing_outside",
    ),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_without_its_guard_a_fault_is_seen(guard: Guard, tmp_path: Path) -> None:
    for name in ("src", "tests", "config", "workflow", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    file = tmp_path / guard.file
    before = file.read_text()
    assert before.count(guard.code) == 1, f"{guard.file} has changed: say here what its guard is now"
    file.write_text(before.replace(guard.code, guard.without))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--timeout",
        "240",
        f"tests/{guard.test}",
    ]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src"), "SHARED_RUNS": ""}  # made with the guard
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == TESTS_FAILED, done.stdout[-3000:]
    assert re.search(r"\d+ failed", done.stdout)
