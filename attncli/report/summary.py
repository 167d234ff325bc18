"""The card that ends a run: what was reached, what it cost, where it lies, what to do next."""

from pathlib import Path

from attncli.records import Result


def summary(result: Result, runs: Path) -> str:
    """A finished run in a few lines of plain text."""
    over = f"plain {result.baseline}"
    lines = [
        f"{_network(result)} on {result.dataset}, seed {result.seed}",
        f"  test top-1    {_percent(result.test_top1)}   top-5 {_percent(result.test_top5)}   "
        f"after {result.epochs} epochs, {result.seconds:.0f} s",
        f"  parameters    {_over(result.params, result.baseline_params, over)}",
        f"  MACs          {_over(result.macs, result.baseline_macs, over)}   (multiply-accumulates of one image)",
    ]
    if result.train_images_per_s is not None:
        plain = result.attn == "none"  # whose ratio to itself is noise
        lines += [
            f"  training      {_speed(result.train_images_per_s, None if plain else result.train_ratio, over)}",
            f"  inference     {_speed(result.infer_images_per_s, None if plain else result.infer_ratio, over)}",
        ]
    lines += [
        f"  on            {result.device}, {result.precision}",
        f"  files         {result.folder}",
        "",
        _next(result, runs),
    ]
    return "\n".join(lines)


def _network(result: Result) -> str:
    whole = result.attn == result.backbone
    return result.attn if whole else f"{result.backbone} + {result.attn}" if result.attn != "none" else result.backbone


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _over(value: int | None, baseline: int | None, over: str) -> str:
    """A count and what it adds to the baseline."""
    if value is None or not baseline:
        return "-"
    added = value - baseline
    return f"{value:,}" if not added else f"{value:,}   {added:+,} ({added / baseline:+.3%}) over {over}"


def _speed(images_per_s: float | None, ratio: float | None, over: str) -> str:
    told = "-" if images_per_s is None else f"{images_per_s:,.0f} images/s"
    return told if ratio is None else f"{told}   {ratio:.2f} x {over}"


def _next(result: Result, runs: Path) -> str:
    """The command that makes most of this run."""
    where = "" if str(runs) == "runs" else f" --runs {runs}"
    if result.attn != "none":
        return f"Next: the same with --attn none and other seeds, then `attncli compare{where}`; `attncli ui{where}`"
    return f"Next: the same with --attn eca, then `attncli compare{where}`"
