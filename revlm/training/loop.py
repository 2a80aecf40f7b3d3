"""The training loop: a generator of records, which the command line displays and the journal stores."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from revlm.corpus import open_corpus, require_undamaged
from revlm.errors import Interrupted
from revlm.launch import launch_of
from revlm.ops.heap import keep_large_blocks_apart
from revlm.planning import out_of_memory_explained, require_memory
from revlm.recipe import Recipe
from revlm.recipe.of_run import TRAINED_IN, trained_in
from revlm.records import MemoryPlan
from revlm.records.files import STARTED_FROM
from revlm.runs import (
    MemoryMeter,
    RunFolder,
    Start,
    describe_environment,
    finish_save,
    list_checkpoints,
    load_checkpoint,
    memory_snapshot_on_failure,
    newest_checkpoint,
    require_room,
    require_trackers,
    save_checkpoint,
    step_of,
    trained_settings,
)
from revlm.storage import FolderLock
from revlm.training.checkpoint_schedule import CheckpointSchedule
from revlm.training.optimization import Schedule, jump_notice
from revlm.training.ranks import Ranks, join_ranks
from revlm.training.resolving import resolved
from revlm.training.run_log import RunLog, open_run_log
from revlm.training.settings import require_same_checkpoint, require_same_settings
from revlm.training.trainer import Record, Stop, Stopped, Trainer
from revlm.training.warm_up import warm_up

Message = Callable[[str], object]


def train(
    recipe: Recipe,
    message: Message = lambda text: None,
    stop: Stop = lambda: None,
    *,
    dry_run: bool = False,
    allow_change: bool = False,
) -> Iterator[Record]:
    """Trains a recipe, or resumes its run from the newest checkpoint; yields each record of the journal.

    The record of an evaluation comes with its `samples`.

    Under `torchrun` or `srun`, every rank trains on its share of each step's examples; with `train.sequence_parallel`
    above 1, that many ranks share each example. Only rank 0 writes files; all ranks yield the same records, except for
    times. An error or a stop on one rank ends all of them, at the same step.

    `stop` is called between examples and during evaluation; once it returns a name, such as that of a signal, the run
    saves a checkpoint and ends. With `dry_run`, one step runs from scratch and nothing is written. With `allow_change`,
    a run resumes even if its recipe, tokenizer or tokens differ from those of its checkpoint.

    Raises:
        DataError: a token store is incomplete, or a file in it has changed since it was written.
        RemoteRankError: another rank failed; that rank raises its own error.
        Interrupted: a stop was requested; the same call resumes. On several ranks, only rank 0 raises it.
        NonFiniteError: a loss, a gradient or a stream is not finite.
        RankError: another rank has ended, or does not respond.
        ResourceError: a step would need more memory than `memory.limit` allows or the device has, or memory ran out.
        StorageError: the run folder is in use, cannot be written, has no room for the checkpoints ahead, or holds
            checkpoints that were trained with other settings; or `train.start_from` names no weights.
        UsageError: a tracker of `logging.backends` is not installed, the ranks do not divide into groups of
            `train.sequence_parallel`, there are more groups than examples in a step, or the weights of
            `train.start_from` do not fit the model.
    """
    with join_ranks(launch_of(os.environ), recipe.train.sequence_parallel) as ranks:
        yield from _train(recipe, message if ranks.is_rank0 else _discard, stop, ranks, dry_run, allow_change)


def _train(
    recipe: Recipe, message: Message, stop: Stop, ranks: Ranks, dry_run: bool, allow_change: bool
) -> Iterator[Record]:
    per_step = recipe.train.gradient_accumulation_steps
    if ranks.run_on_all(lambda: ranks.example_indices(per_step)) and per_step % ranks.data_size:
        among = f"{ranks.data_size} {'ranks' if ranks.sequence.size == 1 else 'groups of ranks'}"
        message(
            f"the {per_step} examples of a step do not divide evenly among {among}: some compute one more while the "
            "others wait"
        )
    trackers = ranks.run_on_all(lambda: require_trackers(recipe.logging.backends))
    device = ranks.run_on_all(lambda: ranks.device(recipe.train.device))
    recipe, start = resolved(recipe, device, ranks, message)
    ranks.run_on_all(lambda: _require_undamaged_tokens(recipe, ranks, stop))
    corpus = ranks.run_on_all(lambda: open_corpus(recipe.data, recipe.seed, message, verified=True, stop=stop))
    require_same_settings(recipe, corpus, ranks)
    for notice in corpus.notices:
        message(notice)
    vocab_size = corpus.tokenizer.vocab_size
    plan = ranks.run_on_all(lambda: require_memory(recipe, vocab_size, device, corpus.longest_example, ranks.launch))
    keep_large_blocks_apart()
    meter = MemoryMeter(device)
    if dry_run:
        with (
            out_of_memory_explained(plan, recipe, vocab_size, device, meter.attainable_bytes, launch=ranks.launch),
            Trainer(recipe, corpus, ranks, device, meter, stop) as trainer,
        ):
            _start(trainer, start, message)
            _warm_up(trainer, message)
            try:
                yield trainer.train_step()
            except Stopped as stopped:
                cause = f"the dry run was stopped by {stopped.name}: nothing was written"
                ranks.run_on_rank0(lambda: _interrupt(cause))
        return
    folder = RunFolder(recipe.output_dir)
    ranks.run_on_rank0(lambda: RunFolder.create(recipe.output_dir))
    snapshot = folder.memory_snapshot if device.type == "cuda" and recipe.memory.snapshot_on_oom else None
    with (
        ranks.open_on_rank0(folder.lock) as lock,
        out_of_memory_explained(plan, recipe, vocab_size, device, meter.attainable_bytes, snapshot, ranks.launch),
        Trainer(recipe, corpus, ranks, device, meter, stop) as trainer,
    ):
        ranks.run_on_rank0(folder.remove_unfinished)
        is_resumed = _resume(trainer, folder, message, allow_change)
        if not is_resumed:
            _start(trainer, start, message)
        checkpoint_schedule = CheckpointSchedule(recipe, trainer.step, trainer.step if is_resumed else None)
        ranks.run_on_rank0(lambda: _write_run_files(folder, trainer, checkpoint_schedule, plan))
        with (
            ranks.open_on_rank0(lambda: open_run_log(trackers, folder, recipe, trainer.step, message)) as log,
            memory_snapshot_on_failure(snapshot),
        ):
            _warm_up(trainer, message)
            yield from _records(trainer, folder, lock, log, checkpoint_schedule)


def _require_undamaged_tokens(recipe: Recipe, ranks: Ranks, stop: Stop) -> None:
    """Verifies the token stores, once on each machine."""
    for tokens in recipe.data.paths if ranks.is_local_rank0 else ():
        require_undamaged(tokens, lambda n_bytes, name: _raise_if_stopped(stop))


def _resume(trainer: Trainer, folder: RunFolder, message: Message, allow_change: bool) -> bool:
    """Loads the newest intact checkpoint on every rank; returns whether there is one."""
    ranks, options = trainer.ranks, trainer.recipe.checkpoint
    newest = ranks.broadcast(lambda: None if (path := newest_checkpoint(folder, message)) is None else str(path))
    if newest is None:
        return False
    checkpoint = ranks.run_on_all(lambda: load_checkpoint(newest))
    require_same_checkpoint(checkpoint, ranks)
    changed = ranks.run_on_all(lambda: trainer.load(checkpoint, allow_change=allow_change))
    ranks.run_on_rank0(lambda: finish_save(folder, trainer.step, options.keep_last, options.keep_every))
    message(_resume_message(trainer, folder))
    before = Schedule.of_settings(trained_settings(checkpoint))
    if before is not None and (notice := jump_notice(before, Schedule.of(trainer.recipe), trainer.step)):
        message(notice)
    if changed:
        message(f"settings that differ from those of {newest}: {'; '.join(changed)}")
    return True


def _start(trainer: Trainer, start: Start | None, message: Message) -> None:
    """Loads, on every rank, the weights that the recipe starts from, if any."""
    if start is not None:
        trainer.ranks.run_on_all(lambda: trainer.start_from(start))
        message(f"starting from the weights of {start.path}, trained for {start.step:,} steps")


def _warm_up(trainer: Trainer, message: Message) -> None:
    """Compiles, on every rank, the kernels of the steps ahead."""
    if trainer.step < trainer.recipe.train.max_steps:
        trainer.ranks.run_on_all(lambda: warm_up(trainer.model, trainer.recipe.train.precision, message))


def _resume_message(trainer: Trainer, folder: RunFolder) -> str:
    step, max_steps = trainer.step, trainer.recipe.train.max_steps
    if step < max_steps:
        return f"resuming {folder} from step {step}"
    ended = "has finished" if step == max_steps else f"is past train.max_steps, which is {max_steps},"
    return (
        f"{folder} {ended} at step {step}: nothing is left to train; raise train.max_steps and pass --allow-change to "
        "resume, or give another output_dir for a new run"
    )


def _write_run_files(
    folder: RunFolder, trainer: Trainer, checkpoint_schedule: CheckpointSchedule, plan: MemoryPlan
) -> None:
    """Requires room for the checkpoints ahead; writes recipe, tokenizer, environment and plan into the run folder."""
    require_room(
        folder,
        checkpoint_schedule.checkpoints_ahead([step_of(each) or 0 for each in list_checkpoints(folder)]),
        trainer.state_bytes,
        "lower checkpoint.keep_last, or give another output_dir",
    )
    folder.write_recipe(trainer.recipe.to_yaml())
    trainer.corpus.tokenizer.save(folder.path)
    folder.write_environment(
        describe_environment(trainer.device)
        | {"processes": trainer.ranks.world_size, TRAINED_IN: trained_in(folder.path)}
        | ({} if trainer.started_from is None else {STARTED_FROM: trainer.started_from})
    )
    folder.write_plan(plan.model_dump(mode="json"))


def _records(
    trainer: Trainer, folder: RunFolder, lock: FolderLock, log: RunLog, checkpoint_schedule: CheckpointSchedule
) -> Iterator[Record]:
    """Runs the remaining steps and evaluations; logs and yields each record, and saves checkpoints when due."""
    recipe, ranks = trainer.recipe, trainer.ranks
    evaluated_step = ranks.broadcast(lambda: log.evaluated_step)
    try:
        while True:
            is_last = trainer.step >= recipe.train.max_steps
            if trainer.step > evaluated_step and _is_due(trainer.step, recipe.evaluate.every, is_last):
                record, samples = trainer.evaluate()
                _log(log, record, ranks, samples)
                evaluated_step = trainer.step
                yield {**record, "samples": samples}
            if ranks.broadcast(lambda: checkpoint_schedule.is_due(trainer.step)):
                _save(trainer, folder, lock, log, checkpoint_schedule)
            if is_last:
                return
            record = trainer.train_step()
            _log(log, record, ranks)
            yield record
    except Stopped as stopped:
        if checkpoint_schedule.saved_step != trainer.step:
            _save(trainer, folder, lock, log, checkpoint_schedule)
        cause = (
            f"stopped by {stopped.name}; {folder} is saved at step {trainer.step} of {recipe.train.max_steps}: "
            "run the same command again to resume"
        )
        ranks.run_on_rank0(lambda: _interrupt(cause))


def _log(log: RunLog, record: Record, ranks: Ranks, samples: Sequence[Mapping[str, Any]] = ()) -> None:
    ranks.run_on_rank0(lambda: log.append(record, samples))


def _is_due(step: int, every: int, is_last: bool) -> bool:
    return every > 0 and (is_last or step % every == 0)


def _save(
    trainer: Trainer, folder: RunFolder, lock: FolderLock, log: RunLog, checkpoint_schedule: CheckpointSchedule
) -> None:
    options = trainer.recipe.checkpoint
    tensors, state = trainer.state()

    def save() -> None:
        lock.require_held()
        log.sync()
        save_checkpoint(folder, trainer.step, tensors, state, options.keep_last, options.keep_every)
        log.require_not_replaced()

    trainer.ranks.run_on_rank0(save)
    checkpoint_schedule.mark_saved(trainer.step)


def _interrupt(cause: str) -> NoReturn:
    raise Interrupted(cause)


def _discard(text: str) -> None:
    """Discards a message: only rank 0 prints."""


def _raise_if_stopped(stop: Stop) -> None:
    """Raises Interrupted if a stop is requested before there is anything to save."""
    if (name := stop()) is not None:
        raise Interrupted(f"stopped by {name} while verifying the tokens: run the same command again to resume")
