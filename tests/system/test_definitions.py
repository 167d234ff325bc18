"""What a class takes is read from the files in which it and its bases are written, without running them."""

from pathlib import Path

import pytest

from attncli import attention, model, validation
from attncli.backbones.user_network_file import find_class_count
from attncli.errors import UserError
from attncli.measure.code_state import name_training_code
from attncli.system.definitions import find_definition, find_method, list_definitions, open_source, read_parameters

BLOCKS = '''
from torch import nn


class SE(nn.Module):
    """Squeezes."""

    def __init__(self, channels, reduction=4):
        super().__init__()
        self.fc = nn.Conv2d(channels, channels // reduction, 1)
        self.up = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x):
        return x * self.up(self.fc(x.mean((2, 3), keepdim=True))).sigmoid()


def build(num_classes, width=8):
    return None
'''
FORMS = {
    "a base by name": "from blocks import SE\nclass Mine(SE):\n    pass\n",
    "a base by another name": "from blocks import SE as Base\nclass Mine(Base):\n    pass\n",
    "a base of a module": "import blocks\nclass Mine(blocks.SE):\n    pass\n",
    "a base of a renamed module": "import blocks as b\nclass Mine(b.SE):\n    pass\n",
    "a base of a star": "from blocks import *\nclass Mine(SE):\n    pass\n",
    "a base of a base": "from more import Other\nclass Mine(Other):\n    pass\n",
    "an imported class": "from blocks import SE as Mine\n",
    "all values passed on": (
        "from blocks import SE\nclass Mine(SE):\n"
        "    def __init__(self, *args, **kwargs):\n        super().__init__(*args, **kwargs)\n"
    ),
    "options passed on": (
        "from blocks import SE\nclass Mine(SE):\n"
        "    def __init__(self, channels, **kwargs):\n        super().__init__(channels, **kwargs)\n"
    ),
}


def write_project(tmp_path: Path, text: str) -> Path:
    """A file beside the modules that it imports."""
    (tmp_path / "blocks.py").write_text(BLOCKS)
    (tmp_path / "more.py").write_text("import blocks\n\n\nclass Other(blocks.SE):\n    pass\n")
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_a_class_takes_what_its_imported_base_takes(tmp_path: Path, form: str) -> None:
    """It is built at each width with the option of the base."""
    path = write_project(tmp_path, FORMS[form])
    mechanism = attention.describe_mechanism(f"{path}:Mine")
    assert (mechanism.arguments, list(mechanism.options)) == ({"channels": "channels"}, ["reduction"])
    recipe = validation.read(
        None, ["model.options.reduction=2"], {"model.backbone": "resnet20", "model.attn": f"{path}:Mine"}
    )
    net = model.build(recipe, model.InputSpec(10, (16, 16)))
    counts = [sum(p.numel() for p in module.parameters()) for module in model.find_mechanisms(net).values()]
    assert counts == [c * c + c + c // 2 for c in (16, 32, 64) for _ in range(3)]


NOT_PASSED = {
    "**kwargs are not passed on": "    def __init__(self, channels, **kwargs):\n        super().__init__(channels)\n",
    "values are its own": "    def __init__(self, c, **kwargs):\n        super().__init__(c, 2)\n",
}


@pytest.mark.parametrize("text", NOT_PASSED.values(), ids=NOT_PASSED)
def test_an_option_that_does_not_reach_the_base_is_none(tmp_path: Path, text: str) -> None:
    """Setting it would do nothing, so it is unknown."""
    path = write_project(tmp_path, f"from blocks import SE\nclass Mine(SE):\n{text}")
    assert list(attention.describe_mechanism(f"{path}:Mine").options) == []


def test_a_required_value_of_the_base_that_the_class_sets_is_not_asked_for(tmp_path: Path) -> None:
    """It takes `width` and passes it on as the base's `channels`."""
    text = "    def __init__(self, width, **kwargs):\n        super().__init__(width, **kwargs)\n"
    path = write_project(tmp_path, f"from blocks import SE\nclass Mine(SE):\n{text}")
    found = find_definition(open_source(path), "Mine")
    assert found is not None
    assert [p.name for p in read_parameters(found)] == ["width", "reduction"]


def test_a_missing_or_circular_import_defines_nothing(tmp_path: Path) -> None:
    """Files that import a name from each other, and a module that is nowhere."""
    path = write_project(
        tmp_path, "from other import X\nfrom nowhere import Y\nimport gone\nclass Z(gone.Base): pass\n"
    )
    (tmp_path / "other.py").write_text("from mine import X\n")
    file = open_source(path)
    assert find_definition(file, "X") is None
    assert find_definition(file, "Y") is None
    found = find_definition(file, "Z")
    assert found is not None
    assert find_method(found, "__init__") is None


def test_a_broken_module_is_told_by_its_own_line(tmp_path: Path) -> None:
    """Reading passes over it; importing names the line."""
    path = write_project(tmp_path, "from broken import Base\nclass Mine(Base):\n    pass\n")
    (tmp_path / "broken.py").write_text("def (:\n")
    with pytest.raises(UserError) as caught:
        attention.load(f"{path}:Mine")
    assert "mine.py, line 1" in caught.value.problem


def test_a_network_takes_the_number_of_classes_of_its_base(tmp_path: Path) -> None:
    """As mechanisms do; an imported function too."""
    text = "from blocks import build\nfrom nets import Net\nclass Mine(Net):\n    pass\n"
    path = write_project(tmp_path, text)
    (tmp_path / "nets.py").write_text("class Net:\n    def __init__(self, n_classes=10):\n        pass\n")
    assert find_class_count(f"{path}:Mine") == "n_classes"
    assert find_class_count(f"{path}:build") == "num_classes"


def test_a_name_defined_twice_is_listed_once(tmp_path: Path) -> None:
    """In the order of the first definitions."""
    path = write_project(tmp_path, "class B: pass\nclass A: pass\nclass B: pass\ndef _f(): pass\ndef g(): pass\n")
    assert list_definitions(open_source(path).tree) == ["B", "A", "g"]


@pytest.mark.parametrize(("encoding", "first_line"), [("utf-8-sig", ""), ("latin-1", "# -*- coding: latin-1 -*-\n")])
def test_a_file_is_read_in_the_encoding_that_python_reads(tmp_path: Path, encoding: str, first_line: str) -> None:
    """With the mark of Windows, or a first line that says it: for the network, and for the name of its code."""
    path = tmp_path / "mine.py"
    path.write_bytes(f"{first_line}# für alle\n{BLOCKS}".encode(encoding))
    recipe = validation.read(values={"model.backbone": "resnet20", "model.attn": f"{path}:SE"})
    net = model.build(recipe, model.InputSpec(10, (32, 32)))
    assert any(type(module).__name__ == "SE" for module in net.modules())
    code = name_training_code(recipe)
    path.write_text(BLOCKS)
    assert name_training_code(recipe) == code  # which comments do not change


@pytest.mark.parametrize("content", [b"# -*- coding: nonsense -*-\n", b"x = '\xff'\n"])
def test_a_file_in_no_encoding_is_refused(tmp_path: Path, content: bytes) -> None:
    """In one line, as any text that is not Python."""
    (tmp_path / "mine.py").write_bytes(content)
    with pytest.raises(UserError, match="not valid Python"):
        validation.read(values={"model.backbone": "resnet20", "model.attn": str(tmp_path / "mine.py")})
