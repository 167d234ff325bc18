"""Facts of the tables: they fit, they lose nothing, programs get what they can read."""

import csv
import io
import json
import math

import pytest

from attncli.errors import UserError
from attncli.report import table
from attncli.report.table import Column

ROWS = [
    {"name": "eca", "top1": 0.98765432, "seeds": (0, 1), "note": None},
    {"name": "a|b", "top1": math.nan, "seeds": (), "note": 'say "no", twice'},
]


def test_no_line_is_wider():
    """However long the names, no line is wider than asked, and every letter is there."""
    name = "a-mechanism-with-a-very-long-name" * 3
    columns = [Column("name", lambda r: r, right=False), Column("number", lambda _: "1234567890")]
    found = table.render_text_table(columns, [name], width=40)
    assert max(map(len, found.splitlines())) <= 40
    assert "1234567890" in found
    folded = "".join(line.split()[0] for line in found.splitlines()[2:] if not line.startswith(" ─"))
    assert folded == name


def test_texts_are_printed_as_they_are():
    """Square brackets, backslashes and names between colons mean nothing, in titles and headings neither."""
    text = r"[red]a\[b] :cat:"
    found = table.render_text_table([Column(text, lambda r: r, right=False)], [text], title=text)
    assert [row.strip() for row in found.splitlines() if "─" not in row and row.strip()] == [text] * 3


def test_names_are_broken_at_their_marks():
    """No word and no number is cut, as long as each fits; the names of another column stay whole."""
    columns = [Column("name", lambda r: r[0], right=False), Column("on", lambda r: r[1], right=False)]
    rows = [("my_zoo.eca_layer-small_resnet-s0", "mini-set"), ("cbam[ratio=0.25]-small_resnet-s0", "mini-set")]
    found = table.render_text_table(columns, rows, width=30)
    lines = [line.split() for line in found.splitlines()[2:] if "─" not in line]
    assert lines == [
        ["my_zoo.eca_layer-", "mini-set"],
        ["small_resnet-s0"],
        ["cbam[ratio=0.25]-", "mini-set"],
        ["small_resnet-s0"],
    ]


WIDE_ROWS = [(f"name-{i}", *(f"{1000 * i + j}.{j}" for j in range(8)), f"a remark on row {i}") for i in range(3)]
WIDE_COLUMNS = [
    Column("name", lambda r: r[0], right=False),
    *(Column(f"figure-{j}", lambda r, j=j: r[1 + j]) for j in range(8)),
    Column("remark", lambda r: r[9], right=False),
]


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_columns_that_do_not_fit_follow_below(width):
    """Each further table names its rows again; every cell is there whole, once, in the column of its heading."""
    found = table.render_text_table(WIDE_COLUMNS, WIDE_ROWS, width=width)
    assert max(map(len, found.splitlines())) <= width
    cells = {}
    for part in found.strip("\n").split("\n\n"):
        heading, _, *rows = part.splitlines()
        names = heading.split()
        assert names[0] == "name"
        assert len(names) > 1
        for row in rows:
            name, *values = row.split(maxsplit=len(names) - 1)
            for key, value in zip(names[1:], values, strict=True):
                assert cells.setdefault((name, key), value) == value
    assert cells == {(row[0], column.heading): column.cell(row) for row in WIDE_ROWS for column in WIDE_COLUMNS[1:]}


def test_the_columns_that_name_rows_can_be_chosen():
    """They begin each of several tables; a table that fits keeps its order."""
    wide = table.render_text_table(WIDE_COLUMNS, WIDE_ROWS, width=200, keys=(9,))
    assert wide.split()[0] == "name"
    narrow = table.render_text_table(WIDE_COLUMNS, WIDE_ROWS, width=50, keys=(9,))
    headings = [line.split() for line in narrow.splitlines() if "figure" in line]
    assert len(headings) > 1
    assert {words[0] for words in headings} == {"remark"}


def test_no_two_rows_of_a_part_have_one_name():
    """If the columns that name rows are not enough, further names follow; figures are none."""
    columns = [Column(n, lambda r, n=n: r[n], right=n in "xyz") for n in ("net", "x", "data", "y", "unit", "z")]
    rows = [
        dict.fromkeys("xyz", "1.234567890123") | {"net": "a", "unit": "%", "data": data} for data in ("c10", "pets")
    ]
    headings = [line.split() for line in table.render_text_table(columns, rows, width=30).splitlines() if "net" in line]
    assert len(headings) > 1
    assert {tuple(words[:2]) for words in headings} == {("net", "data")}


def test_text_is_wrapped_before_names_are_broken():
    """A name beside a long sentence stays whole, so that it can be copied; the sentence is broken at its spaces."""
    columns = [Column("name", lambda r: r[0], right=False), Column("what", lambda r: r[1], right=False)]
    sentence = "train eca-acc-r50 with --backbone resnet20 --dataset cifar10 and see what it would show"
    found = table.render_text_table(columns, [("eca-acc-r50", sentence), ("eca-params", "86 < 100")], width=50)
    assert max(map(len, found.splitlines())) <= 50
    lines = [line.split() for line in found.splitlines()[2:] if "─" not in line]
    assert [line[0] for line in lines if line[0].startswith("eca")] == ["eca-acc-r50", "eca-params"]
    assert [word for line in lines[:-1] for word in line][1:] == sentence.split()


def test_a_command_in_the_last_column_can_be_copied():
    """It stays in one line however narrow the terminal is, each in its row; texts beside it are still broken."""
    commands = [f"attncli claims run c{i} --backbone resnet20 --dataset cifar10 --data-root DIR" for i in range(3)]
    cells = [*commands, "a sentence that is longer than the room which the table has for it"]
    columns = [Column("claim", lambda r: r[0], right=False), Column("figures", lambda r: r[1], right=False)]
    lines = table.render_text_table(columns, [(f"c{i}", cell) for i, cell in enumerate(cells)], width=40).splitlines()
    assert [line.split(maxsplit=1) for line in lines if "attncli" in line] == [
        [f"c{i}", command] for i, command in enumerate(commands)
    ]
    assert max(len(line) for line in lines if "attncli" not in line) <= 40


def test_brackets_are_text():
    """What looks like markup is shown as it stands."""
    assert "eca stages=[3, 4]" in table.render_text_table(
        [Column("n", lambda r: r, right=False)], ["eca stages=[3, 4]"]
    )
    assert "[red]" in table.render_text_table([Column("n", lambda r: r, right=False)], ["[red]"])


def test_no_trailing_blanks_and_no_colour():
    """The text can be piped: no escape codes, no blanks at the ends of lines."""
    found = table.render_text_table(table.make_plain_columns(ROWS), ROWS)
    assert "\x1b" not in found
    assert all(line == line.rstrip() for line in found.splitlines())


def test_csv_gives_back_all_fields():
    """Nothing is rounded; quotes and commas survive; what is missing is empty."""
    found = list(csv.DictReader(io.StringIO(table.render_csv(ROWS))))
    assert found[0] == {"name": "eca", "top1": "0.98765432", "seeds": "0 1", "note": ""}
    assert found[1]["note"] == 'say "no", twice'


def test_json_is_json():
    """A list of objects that any reader takes: NaN is null."""
    found = json.loads(table.render_rows(ROWS, "json"), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert found[0]["top1"] == 0.98765432
    assert found[0]["seeds"] == [0, 1]
    assert found[1]["top1"] is None


def test_markdown_is_a_table():
    """Every line has the same number of cells, also where a cell holds a bar."""
    lines = table.render_markdown_table(table.make_plain_columns(ROWS), ROWS).splitlines()
    assert len(lines) == 4
    assert {line.replace("\\|", "").count("|") for line in lines} == {5}
    assert lines[1] == "| --- | ---: | --- | --- |"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (0.123456, "0.1235"),
        (9999.7, "10,000"),
        (1234567.8, "1,234,568"),
        (3, "3"),
        ((1, 2), "1 2"),
    ],
)
def test_values_for_people(value, text):
    """Four digits are enough to read; nothing is shown as a dash."""
    assert table.format_cell_value(value) == text


def test_unknown_format():
    """A format we do not have is an error with the nearest name."""
    with pytest.raises(UserError, match="unknown format: 'markdwon'") as caught:
        table.render_rows(ROWS, "markdwon")
    assert "did you mean 'markdown'?" in caught.value.hint


NO_ROWS = {
    "table": "",
    "csv": "",
    "json": "[]",
    "markdown": "|  |\n|  |",
    "latex": "\\begin{tabular}{}\n\\toprule\n \\\\\n\\midrule\n\\bottomrule\n\\end{tabular}",
}


@pytest.mark.parametrize("format_", table.FORMATS)
def test_no_rows(format_):
    """No rows are a table without rows in every format."""
    assert table.render_rows([], format_) == NO_ROWS[format_]


def test_show(capsys):
    """Rows go to stdout; where there are none a word does."""
    table.print_rows(ROWS)
    assert "eca" in capsys.readouterr().out
    table.print_rows([], empty="no runs yet")
    assert capsys.readouterr().out == "no runs yet\n"
