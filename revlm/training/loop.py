"""The training loop: a generator of records, which the command line shows and the journal keeps."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from revlm.corpus import open_corpus, pinned, require_undamaged
from revlm.errors import Interrupted, StorageError
from revlm.launch import launch_of
from revlm.model import resolve_model
from revlm.ops.heap import keep_large_blocks_apart
from revlm.planning import Plan, out_of_memory_explained, require_memory
from revlm.recipe import Data, Recipe, Stream, load_recipe
from revlm.recipe import Model as ModelRecipe
from revlm.recipe.of_run import TRAINED_IN, trained_in
from revlm.runs import (
    MemoryMeter,
    RunFolder,
    describe_environment,
    end_save,
    list_checkpoints,
    load_checkpoint,
    memory_snapshot_on_failure,
    newest_checkpoint,
    require_room,
    require_trackers,
    save_checkpoint,
    step_of,
)
from revlm.storage import FolderLock
from revlm.training.checkpoint_schedule import CheckpointSchedule
from revlm.training.process_group import joined
from revlm.training.ranks import Ranks
from revlm.training.run_log import RunLog, open_run_log
from revlm.training.schedule import Schedule, jump_notice
from revlm.training.settings import require_same_checkpoint, require_same_settings
from revlm.training.trainer import Record, Stop, Stopped, Trainer

Message = Callable[[str], object]


def train(
    recipe: Recipe,
    message: Message = lambda text: None,
    stop: Stop = lambda: None,
    *,
    dry_run: bool = False,
    allow_change: bool = False,
) -> Iterator[Record]:
    """Trains as the recipe says, yielding each record of the journal, those of evaluations with their `samples`.

    It goes on where the run stands.

    As one of several processes, which `torchrun` or `srun` has started, it trains with the others: each learns from its
    part of every step's examples, the first one writes, and all yield the same records but for times. What ends one of
    them ends all, at the same step.

    `stop` is asked between examples, and while evaluating; once it names what asks for it, the run is saved. With
    `dry_run`, one step is done from the beginning and nothing is written. With `allow_change` a run goes on also where
    the recipe, the tokenizer or the tokens are not those of its checkpoint.

    Raises:
        DataError: a token folder is not whole, or a file in it has changed since it was written.
        RemoteRankError: another process failed, which raises its own error.
        Interrupted: a stop was asked for; the same call goes on. Of several processes the first one raises it.
        NonFiniteError: a loss, a gradient or a stream left the finite numbers.
        RankError: another process has ended, or does not answer.
        ResourceError: a step would need more memory than `memory.limit` or what there is, or memory ran out.
        StorageError: the run folder is in use, cannot be written, has no room for the checkpoints to come, or holds
            those of other settings.
        UsageError: a tracker of `logging.backends` is not installed, or there are more processes than examples of a
            step.
    """
    with joined(launch_of(os.environ)) as ranks:
        yield from _train(recipe, message if ranks.is_first else _keep_silent, stop, ranks, dry_run, allow_change)


def _train(
    recipe: Recipe, message: Message, stop: Stop, ranks: Ranks, dry_run: bool, allow_change: bool
) -> Iterator[Record]:
    per_step = recipe.train.gradient_accumulation_steps
    if ranks.run_on_all(lambda: ranks.numbers(per_step)) and per_step % ranks.count:
        message(
            f"the {per_step} examples of a step are not a multiple of the {ranks.count} processes: some take one more, "
            "while the others wait"
        )
    trackers = ranks.run_on_all(lambda: require_trackers(recipe.logging.backends))
    device = ranks.run_on_all(lambda: ranks.device(recipe.train.device))
    recipe = recipe.model_copy(update={"model": _resolved_model(recipe, ranks), "data": _pinned_data(recipe, ranks)})
    ranks.run_on_all(lambda: _require_undamaged_tokens(recipe, ranks, stop))
    corpus = ranks.run_on_all(lambda: open_corpus(recipe.data, recipe.seed, message, verified=True))
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
            try:
                yield trainer.train_step()
            except Stopped as stopped:
                said = f"the dry run was stopped by {stopped.name}: nothing was written"
                ranks.run_on_rank0(lambda: _interrupt(said))
        return
    folder = RunFolder(recipe.output_dir)
    ranks.run_on_rank0(lambda: RunFolder.create(recipe.output_dir))
    snapshot = folder.memory_snapshot if device.type == "cuda" and recipe.memory.snapshot_on_oom else None
    with (
        ranks.held_by_rank0(folder.lock) as lock,
        out_of_memory_explained(plan, recipe, vocab_size, device, meter.attainable_bytes, snapshot, ranks.launch),
        Trainer(recipe, corpus, ranks, device, meter, stop) as trainer,
    ):
        ranks.run_on_rank0(folder.remove_unfinished)
        is_going_on = _go_on(trainer, folder, message, allow_change)
        saving = CheckpointSchedule(recipe, trainer.step, trainer.step if is_going_on else None)
        ranks.run_on_rank0(lambda: _prepare(folder, trainer, saving, plan))
        with (
            ranks.held_by_rank0(lambda: open_run_log(trackers, folder, recipe, trainer.step, message)) as log,
            memory_snapshot_on_failure(snapshot),
        ):
            yield from _records(trainer, folder, lock, log, saving)


def _resolved_model(recipe: Recipe, ranks: Ranks) -> ModelRecipe:
    """The recipe's model; a number of buckets that is to be derived is that of its run where one stands."""
    if recipe.model.n_buckets == "auto" and (stored := ranks.broadcast(lambda: _stored_buckets(recipe.output_dir))):
        return recipe.model.model_copy(update={"n_buckets": stored})
    return resolve_model(recipe.model, recipe.data.seq_len)


def _stored_buckets(run: Path) -> int | None:
    """The number of buckets in the newest checkpoint whose state is whole; None where there is none."""
    for path in reversed(list_checkpoints(run)):
        with suppress(StorageError):  # `newest_checkpoint` reports it
            stored: int = load_checkpoint(path, groups=()).state["settings"]["model.n_buckets"]
            return stored
    return None


def _pinned_data(recipe: Recipe, ranks: Ranks) -> Data:
    """The recipe's data; a dataset of the hub at the commit of its run where that stands, else at today's."""
    stream = recipe.data.stream
    if stream is None:
        return recipe.data
    revision = ranks.broadcast(lambda: _pinned(stream, recipe.output_dir).revision)
    return recipe.data.model_copy(update={"stream": stream.model_copy(update={"revision": revision})})


def _pinned(stream: Stream, output_dir: Path) -> Stream:
    written = RunFolder(output_dir).recipe
    if stream.revision is None and written.is_file():
        of_run = load_recipe(written).data.stream
        if of_run is not None and of_run.model_copy(update={"revision": None, "errors": stream.errors}) == stream:
            stream = stream.model_copy(update={"revision": of_run.revision})
    return pinned(stream)


def _require_undamaged_tokens(recipe: Recipe, ranks: Ranks, stop: Stop) -> None:
    """Verifies the token folders, once on each machine."""
    for tokens in recipe.data.paths if ranks.is_first_of_machine else ():
        require_undamaged(tokens, lambda n_bytes, name: _heed_early(stop))


def _go_on(trainer: Trainer, folder: RunFolder, message: Message, allow_change: bool) -> bool:
    """Takes up the newest whole checkpoint on every rank; returns whether there is one."""
    ranks, options = trainer.ranks, trainer.recipe.checkpoint
    newest = ranks.broadcast(lambda: None if (path := newest_checkpoint(folder, message)) is None else str(path))
    if newest is None:
        return False
    checkpoint = ranks.run_on_all(lambda: load_checkpoint(newest))
    require_same_checkpoint(checkpoint, ranks)
    changed = ranks.run_on_all(lambda: trainer.load(checkpoint, allow_change=allow_change))
    ranks.run_on_rank0(lambda: end_save(folder, trainer.step, options.keep_last, options.keep_every))
    message(_where_it_stands(trainer, folder))
    before = Schedule.of_settings(checkpoint.state["settings"])
    if before is not None and (notice := jump_notice(before, Schedule.of(trainer.recipe), trainer.step)):
        message(notice)
    if changed:
        message(f"with other settings than {newest} was trained with: {'; '.join(changed)}")
    return True


def _where_it_stands(trainer: Trainer, folder: RunFolder) -> str:
    step, max_steps = trainer.step, trainer.recipe.train.max_steps
    if step < max_steps:
        return f"going on from step {step} of {folder}"
    ended = "is finished" if step == max_steps else f"is beyond train.max_steps, which is {max_steps},"
    return (
        f"{folder} {ended} at step {step}, so nothing is left to train: raise train.max_steps and pass --allow-change "
        "to go on, or give another output_dir for a new run"
    )


def _prepare(folder: RunFolder, trainer: Trainer, saving: CheckpointSchedule, plan: Plan) -> None:
    """Asks for room for the checkpoints to come, and writes what a run folder says of its run."""
    require_room(
        folder,
        saving.checkpoints_to_come([step_of(each) or 0 for each in list_checkpoints(folder)]),
        trainer.state_bytes,
        "lower checkpoint.keep_last, or give another output_dir",
    )
    folder.write_recipe(trainer.recipe.to_yaml())
    trainer.corpus.tokenizer.save(folder.path)
    folder.write_environment(
        describe_environment(trainer.device) | {"processes": trainer.ranks.count, TRAINED_IN: trained_in(folder.path)}
    )
    folder.write_plan(plan.to_json())


def _records(
    trainer: Trainer, folder: RunFolder, lock: FolderLock, log: RunLog, saving: CheckpointSchedule
) -> Iterator[Record]:
    """Yields the records of what is left to do, each of them logged, saving as the recipe says."""
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
            if ranks.broadcast(lambda: saving.is_due(trainer.step)):
                _save(trainer, folder, lock, log, saving)
            if is_last:
                return
            record = trainer.train_step()
            _log(log, record, ranks)
            yield record
    except Stopped as stopped:
        if saving.saved_step != trainer.step:
            _save(trainer, folder, lock, log, saving)
        said = (
            f"stopped by {stopped.name} with {folder} saved at step {trainer.step} of {recipe.train.max_steps}: "
            "run the same command again to go on"
        )
        ranks.run_on_rank0(lambda: _interrupt(said))


def _log(log: RunLog, record: Record, ranks: Ranks, samples: Sequence[Mapping[str, str]] = ()) -> None:
    ranks.run_on_rank0(lambda: log.append(record, samples))


def _is_due(step: int, every: int, is_last: bool) -> bool:
    return every > 0 and (is_last or step % every == 0)


def _save(trainer: Trainer, folder: RunFolder, lock: FolderLock, log: RunLog, saving: CheckpointSchedule) -> None:
    options = trainer.recipe.checkpoint
    tensors, state = trainer.state()

    def save() -> None:
        lock.require_held()
        log.sync()
        save_checkpoint(folder, trainer.step, tensors, state, options.keep_last, options.keep_every)
        log.require_there()

    trainer.ranks.run_on_rank0(save)
    saving.done(trainer.step)


def _interrupt(said: str) -> NoReturn:
    raise Interrupted(said)


def _keep_silent(text: str) -> None:
    """Takes the messages of the ranks that do not speak."""


def _heed_early(stop: Stop) -> None:
    """Raises Interrupted where a stop is asked for before there is anything to save."""
    if (name := stop()) is not None:
        raise Interrupted(f"stopped by {name} while the tokens were verified: run the same command again to go on")
