"""Facts of fonts in figures: characters that the main font lacks come from another font, or are named once."""

import warnings

from matplotlib import font_manager

from attncli.report import fonts, style


def draw(path, *names):
    """A figure with names of classes on an axis, as the confusion matrix has them."""
    with style.saved_figure(path, 2, 2, "title") as figure:
        axes = figure.subplots()
        axes.set_yticks(range(len(names)), names)


def test_missing_characters_are_named_once(tmp_path, monkeypatch, capsys):
    """No font with a character: one line on stderr names it, once, and nothing is warned of with source lines."""
    monkeypatch.setattr(fonts, "list_fonts", list)
    monkeypatch.setattr(fonts, "_reported", set())
    fonts.choose_families.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        draw(tmp_path / "a.png", "猫", "dog", "é")
        draw(tmp_path / "b.png", "猫")
    fonts.choose_families.cache_clear()
    assert [str(w.message) for w in caught if "Glyph" in str(w.message)] == []
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "猫" in lines[0]
    assert "é" not in lines[0]


def test_another_font_of_the_machine_is_used():
    """A character that the main font lacks is drawn with a font that has it."""
    main, other = (font_manager.get_font(font_manager.findfont(name)) for name in (fonts.MAIN_FONT, "STIXGeneral"))
    code = min(set(other.get_charmap()) - set(main.get_charmap()) - set(range(0xE000, 0xF900)))
    characters = fonts.find_missing_characters(f"a{chr(code)}")
    assert characters == {chr(code)}
    families, uncovered = fonts.choose_families(characters)
    assert families
    assert not uncovered


def test_a_dollar_is_no_formula(tmp_path):
    """Names with $ are drawn as they are: as a formula this one would raise an error."""
    draw(tmp_path / "a.png", r"a$\b$", "b$")
    assert (tmp_path / "a.png").stat().st_size > 0
