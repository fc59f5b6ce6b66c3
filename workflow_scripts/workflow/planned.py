"""A run that cannot finish is refused when it is planned: what it lacks is told together, before anything is fetched or made.

Only what jobs read that would run counts: a job whose output is there needs nothing. A dry run shows its jobs first.
"""

from snakemake.exceptions import CliException
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.settings.enums import Quietness

from workflow_scripts.config.planning.needs import lines

HEAD = "What this run needs is not there, and no job makes it; nothing was run:"


def refuse_what_cannot_finish() -> None:
    """Make Snakemake's scheduler look at what the jobs need, of this workflow and of others that are modules beside it."""
    begin, schedule = JobScheduler.__init__, JobScheduler.schedule
    if getattr(begin, "refuses", False):
        return

    def begin_or_refuse(scheduler: JobScheduler, workflow, *arguments, **options) -> None:
        counts_alone = workflow.output_settings.quiet == {Quietness.RULES, Quietness.PROGRESS}
        own_packages = not workflow.deployment_settings.deployment_method  # else jobs have those of an environment
        scheduler.missing = [] if workflow.touch else missing(workflow.dag.needrun_jobs(), own_packages)
        if scheduler.missing and (not workflow.dryrun or counts_alone):
            raise refusal(scheduler.missing)
        begin(scheduler, workflow, *arguments, **options)

    def schedule_and_tell(scheduler: JobScheduler) -> bool:
        done = schedule(scheduler)
        if scheduler.missing:  # of a dry run
            raise refusal(scheduler.missing)
        return done

    begin_or_refuse.refuses = True  # type: ignore[attr-defined]
    JobScheduler.__init__, JobScheduler.schedule = begin_or_refuse, schedule_and_tell


def missing(jobs, own_packages: bool = True) -> list[str]:
    """A line for each thing that Snakemake's jobs of this workflow need and that is not there.

    Args:
        own_packages: jobs run with the packages of this Python.
    """
    needs = []
    for job in jobs:
        asked = getattr(dict(job.rule.params.items()).get("settings"), "needs", None)
        if asked is not None:
            needs += asked(job.wildcards)
    return lines(need for need in needs if own_packages or need.what != "package")


def refusal(told: list[str]) -> CliException:
    """Of a kind that Snakemake tells without a stack trace."""
    return CliException("\n".join([HEAD, *(f"error: {line}" for line in told)]))
