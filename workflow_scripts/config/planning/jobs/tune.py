"""The job that gathers the scores of a tuning."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.outputs import of_seeds, output_path
from workflow_scripts.config.planning.registry import Job, job, on_request
from workflow_scripts.config.planning.tunings import written

MOST = 500  # scores of a tuning: their paths are on one command line, which takes 128 KiB


@job("tune")
def tune(plan: Context, dataset: str, tuning: str) -> Job:
    data, grid = plan.dataset(dataset), plan.config.grid(dataset, tuning)
    block = plan.block(dataset, "tunings", tuning)
    points, scores = [], []
    for point in grid.points:
        paths = of_seeds(point.stage, grid.seeds, dataset=dataset, **point.names)
        points.append({"values": [_plain(value) for value in point.values], "configured": point.configured})
        scores += paths
    if len(scores) > MOST:
        raise UserError(
            f"config: tunings.{tuning}.vary: {len(points)} points with {len(grid.seeds)} seeds are more than the {MOST} scores "
            "that are gathered at once; vary fewer values"
        )
    settings = {
        "dataset": dataset,
        "tuning": tuning,
        "keys": list(block.vary),
        "points": points,
        "seeds": list(grid.seeds),
        "split": grid.split,
        "reported": [] if block.allow_scored else sorted({data.use.masks, *data.use.evaluation}),
    }
    return Job({"index": plan.index(dataset), "scores": scores}, settings)


def _plain(value) -> int | float | str:
    """A value of a grid for table and picture: a number, 1 for 1.0, or as text."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value if isinstance(value, int) else written(value)


@on_request
def _requested(plan: Context, dataset: str) -> list[str]:
    return [output_path("tune", dataset=dataset, tuning=name) for name in plan.config.names(dataset, "tunings")]
