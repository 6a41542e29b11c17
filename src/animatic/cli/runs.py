"""Commands about runs: generate a benchmark's videos, and a page of what was scored."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..core.model_options import MODEL_OF_WORDS
from ..errors import AnimaticError
from ..media.encoding import FORMATS, check_format
from ..planning.planners import PlannerOptions
from ..request import FinishingOptions, GenerationRequest
from . import finish as cli_finish
from . import plan as cli_plan
from .console import bar, console, printable
from .requested import Choices, Sampling, Windows, requested


def generate(
    name: Annotated[str, typer.Argument(help="lmd, lvd, NAME:TASK, or a Python file that sets BENCHMARK.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run. The same command again resumes it.")],
    *,
    choices: Choices,
    sampling: Sampling,
    windows: Windows,
    limit: Annotated[int | None, typer.Option(help="Only so many prompts, a fair share of every task.")] = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only the I-th of N parts, from 0.")] = "0/1",
    cluster: Annotated[bool, typer.Option(help="Work on Ray: an actor per GPU, or per --threads cores.")] = False,
    retry: Annotated[bool, typer.Option(help="Also make again what had failed.")] = False,
    prompt_only: Annotated[
        bool | None, typer.Option(help="Show the model no plan; so for the method none, if not given.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Videos per prompt.")] = 1,
    then: Annotated[str, typer.Option(metavar=cli_finish.STAGE, help=cli_finish.STAGES)] = "",
    format: Annotated[str, typer.Option(help=f"{FORMATS}; mp4, of stills png, if not given.")] = "",
    batch: Annotated[int, typer.Option(help="Prompts rendered together.")] = 1,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of a worker; as the run was begun, or as many as torch takes.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; if not given one per --threads cores for a bundled model, else one."),
    ] = None,
    planner: cli_plan.Planner = "rules",
    cache: cli_plan.CacheFile = "",
    base_url: cli_plan.BaseUrl = "",
    template: cli_plan.Template = "",
    temperature: cli_plan.Temperature = 0.25,
) -> None:
    """Make a video of every prompt of a benchmark. Stop it as you like: the same command resumes.

    The seed is that of the first prompt; the next one has the next. Exit code 1 says that a job of the run has failed:
    it stays in the run, and counts as wrong when it is scored.
    """
    # what is wrong with the options, before anything is loaded
    part = _shard(shard)
    for label, value in (
        ("limit", limit),
        ("repeats", repeats),
        ("batch", batch),
        ("threads", threads),
        ("workers", workers),
    ):
        if value is not None and value < 1:
            raise AnimaticError(f"{label} is {value}; want at least 1")
    if cluster and workers is not None:
        raise AnimaticError("--workers is of this machine, and --cluster has its own workers; want one of both")
    if format:
        check_format(format)
    request = requested(GenerationRequest((), MODEL_OF_WORDS, method="lvd"), choices, sampling, windows)
    if then:
        from ..finishing.stages import stages_of

        stages_of(then)  # raises where one is unknown
    request = replace(request, finishing=FinishingOptions(then))
    with console().status("loading"):
        import torch

        from ..benchmarks import ray_workers as ray_cluster
        from ..benchmarks.generate import JobRenderer, RunPart, prepare, settings_of
        from ..benchmarks.processes import default_workers, work_together
        from ..benchmarks.registry import benchmark_named
        from ..benchmarks.run_store import Run

    # a run goes on with the threads that it was begun with: sums of floats depend on their number
    benchmark = benchmark_named(name)
    if threads is None:
        begun = (out / "manifest.json").exists()
        threads = Run(out).settings.threads if begun else torch.get_num_threads()
    settings = replace(
        settings_of(benchmark, name, request.model, request.method, planner),
        request=request,
        prompt_only=request.method == "none" if prompt_only is None else prompt_only,
        repeats=repeats,
        batch=batch,
        threads=threads,
        format=format,
    )

    # a fault of model or method is reported before anything is planned; on a cluster each worker loads its own model
    maker = None if cluster else JobRenderer(settings)
    options = PlannerOptions(
        benchmark.kind,
        template=template,
        cache=cli_plan.kept(cache),
        base_url=base_url,
        temperature=temperature,
        legacy=benchmark.name == "lmd",
    )
    with bar("planning") as tick:
        run = prepare(out, benchmark, settings, options, retry, tick)
    mine = RunPart(limit, part)
    try:
        with bar("rendering") as tick:
            if maker is None:
                ray_cluster.work(run, mine, tick)
            else:
                work_together(run, mine, maker, workers or default_workers(run, mine), tick)
    finally:
        # also after an interruption: how far it got
        failed = _print_states(out)
    if failed:
        raise typer.Exit(1)


def _print_states(out: Path) -> int:
    """Print how many jobs are in each state, and why those failed or were left out; returns how many failed."""
    from ..benchmarks.jobs import FAILED, LEFT_OUT
    from ..benchmarks.run_store import Run

    run = Run(out)
    jobs = run.jobs()
    counts = ", ".join(f"{count} {state}" for state, count in run.states().items())
    console().print(f"{len(jobs)} jobs in {out}: {counts}", highlight=False, soft_wrap=True)

    # the same reason once: a fault of the set-up fails every job alike
    for state in (FAILED, LEFT_OUT):
        reasons = [job.reason for job in jobs if job.state == state]
        for reason, count in Counter(reasons).items():
            console().print(printable(f"  {state}, {count} x {reason}"), highlight=False, soft_wrap=True, style="dim")
    failed = [job for job in jobs if job.state == FAILED]
    return len(failed)


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise AnimaticError(f"shard is {text!r}; want I/N with I from 0 to N - 1")
    return int(index), int(count)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of scored runs of one benchmark.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the page goes; a .md of the same name stands beside it.")
    ] = Path("report.html"),
    shown: Annotated[int, typer.Option(help="Passes and failures shown of each task and run.")] = 2,
) -> None:
    """One page of tables, bars and contact sheets, and a markdown table, of one or more scored runs."""
    from ..benchmarks.report import write

    for file in write(runs, out, shown):
        print(file)
