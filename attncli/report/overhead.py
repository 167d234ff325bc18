"""Tables of what mechanisms cost: placed ones against the plain network, whole networks by their own figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from attncli.literature import published
from attncli.literature.published import ParameterMatch, PublishedNetwork, PublishedRow
from attncli.measure.overhead import Overhead
from attncli.recipe.image_size import format_image_size
from attncli.records import Cost, Speed
from attncli.report.table import (
    HOST_MARK,
    MISSING,
    Column,
    render_csv,
    render_latex_table,
    render_markdown_table,
    render_text_table,
)
from attncli.system.other_work import QUIET_CORES
from attncli.system.terminal import fill_text

MIB = 2**20


@dataclass(frozen=True)
class MeasuredOverheads:
    """Measured costs, with the backbone, number of classes, size (H, W) of the images, and frames per clip."""

    rows: Sequence[Overhead]
    backbone: str
    classes: int
    size: tuple[int, int]
    frames: int

    @property
    def placed_rows(self) -> list[tuple[Overhead, Cost]]:
        """The mechanisms in the backbone, and the plain network if it was requested."""
        return [(row, row.cost) for row in self.rows if row.cost and row.site != "model"]

    @property
    def whole_network_rows(self) -> list[tuple[Overhead, Cost]]:
        """The mechanisms that are the whole network."""
        return [(row, row.cost) for row in self.rows if row.cost and row.site == "model"]

    @property
    def clip_mechanisms(self) -> list[str]:
        """The mechanisms that were measured on clips."""
        return [row.attn for row, _ in self.placed_rows if row.site.startswith("frames")]

    @property
    def is_timed(self) -> bool:
        """Whether anything was timed."""
        return any(row.speed for row in self.rows)


def render_overheads(measured: MeasuredOverheads, width: int) -> str:
    """Return both tables, then what does not fit and why, then the published parameter counts that are equal."""
    parts = []
    if measured.placed_rows:
        parts.append(
            render_text_table(_list_placed_columns(measured.is_timed), measured.placed_rows, width=width).strip("\n")
        )
    if measured.whole_network_rows:
        parts.append(_render_whole_networks(measured, width))
    parts += [
        fill_text(f"{row.attn} is {'not timed' if row.cost else 'left out'}: {row.problem}", width)
        for row in measured.rows
        if row.problem
    ]
    if speeds := _render_process_speeds(measured, width):
        parts.append(speeds)
    if agreements := _format_agreements(measured):
        parts.append(fill_text(agreements, width))
    return "\n\n".join(parts)


def _render_process_speeds(measured: MeasuredOverheads, width: int) -> str:
    """Return the ratios of speed with their intervals over several processes, "" if one process timed them."""
    rows = [(row.attn, row.speed) for row in measured.rows if row.speed and row.speed.processes > 1]
    if not rows:
        return ""

    def format_interval(speed: Speed, name: str) -> str:
        low, high = getattr(speed, f"{name}_low"), getattr(speed, f"{name}_high")
        return f"{getattr(speed, name):.2f} ({low:.2f} to {high:.2f})"

    columns: list[Column[tuple[str, Speed]]] = [
        Column("speed", lambda row: row[0], right=False),
        Column("train", lambda row: format_interval(row[1], "train_ratio")),
        Column("infer", lambda row: format_interval(row[1], "infer_ratio")),
    ]
    return render_text_table(columns, rows, width=width).strip("\n")


OverheadLine = tuple[Overhead, Cost]


def _list_placed_columns(timed: bool) -> list[Column[OverheadLine]]:
    """Return the columns for placed mechanisms; element-wise work is always there, as some mechanisms add no MACs."""
    columns: list[Column[OverheadLine]] = [
        Column("attn", lambda line: line[0].attn, right=False),
        Column("site", lambda line: line[0].site, right=False),
        Column("added", lambda line: f"{line[1].params - line[1].baseline_params:+,}"),
        Column("params", _make_percent_cell("params", is_short=timed)),
        Column("MACs", _make_percent_cell("macs", is_short=timed)),
        Column("elem.", _make_percent_cell("elementwise", is_short=timed)),
        Column("memory", _make_percent_cell("activation_bytes", is_short=timed)),
    ]
    if timed:
        columns += [Column("train", _make_ratio_cell("train_ratio")), Column("infer", _make_ratio_cell("infer_ratio"))]
    return columns


def _make_percent_cell(name: str, *, is_short: bool) -> Callable[[OverheadLine], str]:
    """Return the cell of a cost in percent; a short one, beside the columns of speed, has fewer digits."""

    def format_cell(line: OverheadLine) -> str:
        percent = line[1].compute_overhead(name)
        if percent is None:
            return "-"
        digits = (0 if abs(percent) >= 100 else 1) if is_short else (2 if abs(percent) < 10 else 1)
        return f"{percent:+.{digits}f}%"

    return format_cell


def _make_ratio_cell(name: str) -> Callable[[OverheadLine], str]:
    return lambda line: format_speed_ratio(line[0].speed, name) if line[0].speed else "-"


def format_speed_ratio(speed: Speed, name: str) -> str:
    """Return the `train_ratio` or `infer_ratio` of a speed, with a mark if the host was the limit and not the GPU."""
    limit = getattr(speed, name.replace("ratio", "limit"))
    return f"{getattr(speed, name):.2f}{HOST_MARK if limit == 'host' else ''}"


def _render_whole_networks(measured: MeasuredOverheads, width: int) -> str:
    """Return the table of whole networks: they have no backbone, so the plain network is shown for scale."""
    _, first = measured.whole_network_rows[0]
    rows: list[tuple[str, Cost, Speed | None]] = [(f"{measured.backbone}, plain", _baseline_cost(first), None)]
    rows += [(row.attn, cost, row.speed) for row, cost in measured.whole_network_rows]
    unit, letter = _choose_macs_unit(first)
    columns: list[Column[tuple[str, Cost, Speed | None]]] = [
        Column("whole network", lambda row: row[0], right=False),
        Column("params", lambda row: f"{row[1].params:,}"),
        Column(f"{letter}MACs", lambda row: f"{row[1].macs / unit:,.3f}"),
        Column("M elem.", lambda row: f"{row[1].elementwise / 1e6:,.2f}"),
        Column("MiB", lambda row: f"{row[1].activation_bytes / MIB:,.2f}"),
    ]
    if measured.is_timed:
        columns += [
            Column("train", lambda row: format_speed_ratio(row[2], "train_ratio") if row[2] else "1"),
            Column("infer", lambda row: format_speed_ratio(row[2], "infer_ratio") if row[2] else "1"),
        ]
    return render_text_table(columns, rows, width=width).strip("\n")


def _choose_macs_unit(cost: Cost) -> tuple[float, str]:
    """Return the unit for MACs and its letter, by those of the plain network."""
    return (1e9, "G") if cost.baseline_macs >= 1e9 else (1e6, "M")


def _baseline_cost(cost: Cost) -> Cost:
    """Return the plain network's own figures."""
    return replace(
        cost,
        params=cost.baseline_params,
        macs=cost.baseline_macs,
        elementwise=cost.baseline_elementwise,
        activation_bytes=cost.baseline_activation_bytes,
    )


def _format_agreements(measured: MeasuredOverheads) -> str:
    """Return which of these counts equal published ones, each as precisely as it is printed anywhere."""
    agreements = []
    for row, cost in (*measured.placed_rows, *measured.whole_network_rows):
        agreeing = [p for p in _find_published_rows(row, measured) if published.agrees_with_print(p, cost.params)]
        if agreeing:
            agreements.append(f"{row.attn} {max(map(_format_printed_parameters, agreeing), key=_count_digits)}")
    return f"In print, in millions of parameters, equal to these: {', '.join(agreements)}." if agreements else ""


def _count_digits(figure: str) -> int:
    """Return the number of digits of a figure; a figure in another unit counts less than any other."""
    return -1 if " " in figure else len(figure)


def _find_published_rows(row: Overhead, measured: MeasuredOverheads) -> list[PublishedRow]:
    """Return the published rows about this network: same classes, image size and options."""
    frames = measured.frames if row.attn in measured.clip_mechanisms else None
    side, width = measured.size
    if side != width:
        return []
    network = PublishedNetwork(
        backbone=measured.backbone, attn=row.attn, classes=measured.classes, size=side, frames=frames
    )
    return [
        p
        for p in published.load_published_rows()
        if isinstance(p.match, ParameterMatch)
        and not p.match.plus
        and (
            p.match.network == network
            or (row.site == "model" and _without_backbone(p.match.network) == _without_backbone(network))
        )
    ]


def _without_backbone(network: PublishedNetwork) -> PublishedNetwork:
    """Return the network without its backbone, which is only a label for a whole network."""
    return replace(network, backbone="")


def _format_printed_parameters(row: PublishedRow) -> str:
    assert isinstance(row.match, ParameterMatch)
    if "params" in row.figures:
        return f"{row.figures['params'] / 1e6:.6f}"
    return f"{row.figures['params_m']}{' (of 2^20)' if row.match.unit == MIB else ''}"


def describe_overhead_columns(measured: MeasuredOverheads) -> str:
    """Return what the columns mean and what they are compared with."""
    sentences = [f"Images of {format_image_size(measured.size)} px."]
    baseline_cost = next((c for r, c in measured.placed_rows if r.attn not in measured.clip_mechanisms), None)
    if measured.placed_rows:
        sizes = ""
        if baseline_cost:
            unit, letter = _choose_macs_unit(baseline_cost)
            macs = f"{baseline_cost.baseline_macs / unit:.3f} {letter}MACs"
            sizes = f" ({baseline_cost.baseline_params:,} parameters, {macs})"
        sentences.append(
            f"Over plain {measured.backbone}{sizes}: parameters added, then the increase of parameters, "
            "multiply-accumulates, elements written by other operations, and memory kept for the backward pass."
        )
    if measured.clip_mechanisms:
        sentences.append(
            f"{' and '.join(measured.clip_mechanisms)}: of clips of {measured.frames} frames, "
            "over the same network averaging "
            "its frames."
        )
    if measured.whole_network_rows:
        sentences.append(
            f"Whole networks have no backbone: their own figures, with plain {measured.backbone} for scale."
        )
    if measured.is_timed:
        sentences.append(
            f"train and infer: throughput over that of plain {measured.backbone}, timed in turn; below 1 is slower."
        )
        processes = max((row.speed.processes for row in measured.rows if row.speed), default=1)
        sentences.append(
            f"Intervals of 95 %, over {processes} processes, know the rounds within a process and how processes "
            "differ; another hour or machine they do not."
            if processes > 1
            else "One process timed them; the next may differ by one or two percent: --processes 5 gives intervals."
        )
    others = max((row.speed.cores_used_by_others or 0.0 for row in measured.rows if row.speed), default=0.0)
    if others > QUIET_CORES:
        sentences.append(
            f"Other programs kept up to {others:.1f} cores busy meanwhile: time again when the machine is quiet."
        )
    if any("host" in (row.speed.train_limit, row.speed.infer_limit) for row in measured.rows if row.speed):
        sentences.append(
            f"{HOST_MARK} The host, which starts the kernels, was the limit and not the GPU: such a ratio "
            "says more about the number of kernels than about their cost."
        )
    return " ".join(sentences)


def render_absolute_overheads(rows: Sequence[Overhead], format_: str) -> str:
    """Return absolute figures of each mechanism, in csv (everything, unrounded), markdown or latex.

    Mechanisms that do not fit are left out of markdown and latex.
    """
    if format_ == "csv":
        return render_csv([row.to_json_dict() for row in rows])
    columns: list[Column[Overhead]] = [
        Column("attention", lambda r: r.attn, right=False),
        Column("Params (M)", lambda r: f"{r.cost.params / 1e6:.4f}" if r.cost else MISSING),
        Column("+Params", lambda r: f"{r.cost.params - r.cost.baseline_params:+,}" if r.cost else MISSING),
        Column("MACs (G)", lambda r: f"{r.cost.macs / 1e9:.4f}" if r.cost else MISSING),
        Column("+MACs", lambda r: f"{r.cost.macs - r.cost.baseline_macs:+,}" if r.cost else MISSING),
        Column("ms/image", lambda r: f"{1000 / r.speed.infer_images_per_s:.3g}" if r.speed else MISSING),
    ]
    fitting_rows = [row for row in rows if row.cost is not None]
    render = render_latex_table if format_ == "latex" else render_markdown_table
    return render(columns, fitting_rows)
