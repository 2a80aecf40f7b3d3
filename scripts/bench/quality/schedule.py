"""Decides which models are trained, and in which order: first the search of settings, then the comparison."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.alone import measure_alone
from bench.quality.rivals import RIVALS, Settings
from bench.quality.texts import write_texts
from bench.quality.worker import Task
from revlm.corpus import open_corpus
from revlm.recipe import load_recipe

# On a machine that others use too, a process may take this many times its processor time.
_WAITING, _LEAST_SECONDS = 20, 600
_MEMORY_LIMIT_BYTES = 8 * 10**9
_SEARCH_HELD_OUT_TOKENS = 32_768


@dataclass(frozen=True)
class Plan:
    """The comparison: rivals, seeds, and the budget of each model, one of `seconds` and `tokens`.

    The settings of a rival are searched with the first seed and `search_share` of the budget each.
    """

    rivals: Sequence[str]
    seeds: Sequence[int]
    seconds: float | None
    tokens: int | None
    search_share: float
    held_out_tokens: int
    recipe: str
    store: str


@dataclass(frozen=True)
class Run:
    """One model: its `phase` is "search" or "comparison"."""

    phase: str
    rival: str
    seed: int
    settings: Settings

    def key(self, plan: Plan) -> dict[str, Any]:
        """Returns what must be equal in a file of results for the run to count as done."""
        share = plan.search_share if self.phase == "search" else 1.0
        return {
            "phase": self.phase,
            "rival": self.rival,
            "seed": self.seed,
            "settings": dict(self.settings),
            "seconds": None if plan.seconds is None else plan.seconds * share,
            "tokens": None if plan.tokens is None else round(plan.tokens * share),
            "held_out_tokens": _SEARCH_HELD_OUT_TOKENS if self.phase == "search" else plan.held_out_tokens,
        }


Measured = dict[str, Any]
"""The key of a run, and its result."""


def searches(plan: Plan) -> list[Run]:
    """Returns the runs of the search: of each rival that has several settings, one with each of them."""
    return [
        Run("search", rival, plan.seeds[0], settings)
        for rival in plan.rivals
        for settings in RIVALS[rival].searched
        if len(RIVALS[rival].searched) > 1
    ]


def comparisons(plan: Plan, searched: Sequence[Measured]) -> list[Run]:
    """Returns the runs of the comparison, with the settings that were best in the search.

    The rivals take turns, so that busy hours of the machine affect all of them.
    """
    best = {rival: _best(rival, searched) for rival in plan.rivals}
    return [Run("comparison", rival, seed, best[rival]) for seed in plan.seeds for rival in plan.rivals]


def measurements(
    plan: Plan, runs: Sequence[Run], done: Sequence[Measured], tell: Callable[[Run, Sequence[Run]], object]
) -> Iterator[Measured]:
    """Yields the measurement of each run: those that are `done` as they are, the others as they end.

    `tell` is called before a run starts, with the runs that are left after it.
    """
    open_runs = [run for run in runs if _already(run.key(plan), done) is None]
    with ExitStack() as stack:
        folders: dict[tuple[int, int], Path] = {}
        for run in runs:
            key = run.key(plan)
            measured = _already(key, done)
            if measured is None:
                open_runs.remove(run)
                tell(run, open_runs)
                measured = {**key, **_trained(run, key, plan, folders, stack)}
            yield measured


def _trained(
    run: Run, key: Measured, plan: Plan, folders: dict[tuple[int, int], Path], stack: ExitStack
) -> dict[str, Any]:
    """The result of a run; the texts of a seed are written once."""
    if not RIVALS[run.rival].is_installed:
        return {"status": "not_tried", "cause": f"{RIVALS[run.rival].requires} is not installed"}
    place = (run.seed, key["held_out_tokens"])
    if place not in folders:
        folders[place] = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        recipe = load_recipe(plan.recipe, [f"data.path={plan.store}", f"seed={run.seed}"])
        write_texts(folders[place], open_corpus(recipe.data, run.seed), key["held_out_tokens"])
    budget = {name: key[name] for name in ("settings", "seconds", "tokens", "held_out_tokens")}
    task = Task(run.rival, run.seed, **budget, recipe=plan.recipe, store=plan.store, texts=str(folders[place]))
    return measure_alone(
        task,
        seconds_limit=_LEAST_SECONDS + _WAITING * (key["seconds"] or _LEAST_SECONDS),
        memory_limit_bytes=_MEMORY_LIMIT_BYTES,
        worker="bench.quality.worker",
    )


def _best(rival: str, searched: Sequence[Measured]) -> Settings:
    of_rival = [measured for measured in searched if measured["rival"] == rival and measured["status"] == "done"]
    if not of_rival:
        return RIVALS[rival].searched[0]
    settings: Settings = min(of_rival, key=lambda measured: measured["bits_per_byte"])["settings"]
    return settings


def _already(key: Measured, done: Sequence[Measured]) -> Measured | None:
    for measured in done:
        if measured["status"] == "done" and all(measured.get(name) == value for name, value in key.items()):
            return measured
    return None
