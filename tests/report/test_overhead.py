"""The tables of `attncli measure`: what they hold, that they fit, and what they say they are over."""

from dataclasses import replace

import pytest

from attncli import attention
from attncli.measure.overhead import Overhead
from attncli.records import Cost, Speed
from attncli.report.overhead import MeasuredOverheads, describe_overhead_columns, render_overheads

PLAIN = Cost(
    params=25_557_032,
    baseline_params=25_557_032,
    macs=4_089_184_256,
    baseline_macs=4_089_184_256,
    elementwise=26_650_000,
    baseline_elementwise=26_650_000,
    activation_bytes=86_000_000,
    baseline_activation_bytes=86_000_000,
    image_size=224,
)
SPEED = Speed(
    train_images_per_s=10.0,
    infer_images_per_s=30.0,
    baseline_train_images_per_s=20.0,
    baseline_infer_images_per_s=40.0,
    train_ratio=0.5,
    train_ratio_low=0.4,
    train_ratio_high=0.6,
    infer_ratio=0.75,
    infer_ratio_low=0.7,
    infer_ratio_high=0.8,
    batch_size=16,
    repeats=7,
    precision="fp32",
    device="cpu",
    threads=1,
)


def measured(*attns: str, added: int = 0, speed: Speed | None = None, problem: str = "") -> MeasuredOverheads:
    """Mechanisms on resnet50 at 224 px that add so many parameters and double all the rest."""
    cost = replace(
        PLAIN, params=PLAIN.params + added, macs=2 * PLAIN.macs, elementwise=7 * PLAIN.elementwise,
        activation_bytes=5 * PLAIN.activation_bytes,
    )  # fmt: skip
    rows = []
    for attn in attns:
        site = attention.describe_mechanism(attn).card.site if attn != "none" else "-"
        given = None if problem else cost
        rows.append(Overhead(attn, "resnet50", "channel", site, given, speed if given else None, problem))
    return MeasuredOverheads(rows, "resnet50", 1000, (224, 224), 8)


@pytest.mark.parametrize("speed", [None, SPEED], ids=["counted", "timed"])
def test_everything_fits_80_columns(speed: Speed | None) -> None:
    """All mechanisms with large figures, each on a line of its own."""
    text = render_overheads(measured("none", *attention.mechanism_names(), added=49_557_528, speed=speed), 80)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for name in ("none", *attention.mechanism_names()):
        assert sum(shown.split()[:1] == [name] for shown in lines) == 1, name


def test_a_placed_mechanism_is_told_as_overhead() -> None:
    """Parameters added, and percentages over the plain network; ratios of speed where it was timed."""
    row = render_overheads(measured("se", added=2_514_944), 80).splitlines()[2].split()
    assert row == ["se", "gate", "+2,514,944", "+9.84%", "+100.0%", "+600.0%", "+400.0%"]
    row = render_overheads(measured("se", added=2_514_944, speed=SPEED), 80).splitlines()[2].split()
    assert row == ["se", "gate", "+2,514,944", "+9.8%", "+100%", "+600%", "+400%", "0.50", "0.75"]


def test_a_ratio_that_the_host_limits_is_marked() -> None:
    """The cell has a star, and the text below says what it means; an unmarked table does not."""
    limited = replace(SPEED, train_host_share=0.97, infer_host_share=0.2)
    table = measured("se", speed=limited)
    assert render_overheads(table, 80).splitlines()[2].split()[-2:] == ["0.50*", "0.75"]
    assert "* The host" in describe_overhead_columns(table)
    assert "* The host" not in describe_overhead_columns(measured("se", speed=SPEED))
    figures = table.rows[0].to_json_dict()
    assert (figures["train_limit"], figures["infer_limit"]) == ("host", "device")


@pytest.mark.parametrize(("cores", "is_said"), [(1.52, True), (0.05, False), (None, False)])
def test_a_busy_machine_is_named(cores: float | None, is_said: bool) -> None:
    """Ratios that were timed beside other work are said to be so."""
    table = measured("se", speed=replace(SPEED, cores_used_by_others=cores))
    assert ("1.5 cores" in describe_overhead_columns(table)) == is_said


def test_a_whole_network_is_told_by_its_own_figures() -> None:
    """It has no backbone to be overhead over: no percentages, and the plain network on a line before it."""
    text = render_overheads(measured("vit", added=-20_000_000), 80)
    assert "%" not in text
    plain, vit = text.splitlines()[2:4]
    assert plain.split()[:4] == ["resnet50,", "plain", "25,557,032", "4.089"]
    assert vit.split()[:3] == ["vit", "5,557,032", "8.178"]
    told = describe_overhead_columns(measured("vit"))
    assert "no backbone" in told
    assert "Over plain" not in told


def test_what_does_not_fit_is_listed_with_the_reason() -> None:
    """No mechanism that was asked for goes missing."""
    assert render_overheads(measured("fca", problem="24 channels cannot be split"), 80) == (
        "fca is left out: 24 channels cannot be split"
    )


def test_clips_are_said_to_be_clips() -> None:
    """Mechanisms on frames are over another baseline, so the caption names them."""
    assert "tam: of clips of 8 frames" in describe_overhead_columns(measured("se", "tam"))
    assert "clips" not in describe_overhead_columns(measured("se"))


def test_published_parameters_stand_beside_equal_counts_only() -> None:
    """The most precise figure in print is shown where it is our count, and not where the count is another."""
    assert render_overheads(measured("cbam", added=2_532_592), 80).endswith("equal to these: cbam 28.089624.")
    assert render_overheads(measured("cbam", added=2_532_593), 80).endswith("equal to these: cbam 28.09.")
    assert "In print" not in render_overheads(measured("cbam", added=3_000_000), 80)
