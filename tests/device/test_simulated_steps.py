"""Training steps and evaluations of every mechanism on a simulated GPU: nothing waits, and nothing is launched anew."""

import json
from typing import Any

import pytest
import torch

from attncli import attention
from attncli.data.augmentation.crop_flip import send_to_device
from tests.device import contracts, cuda_runtime_stub
from tests.device.record_steps import LAUNCHES, VARIANTS, count_launches, record_in_process
from tests.device.simulated_device import require_device_guard, simulated_device

NAMES = [attention.NONE, *attention.mechanism_names(), *VARIANTS]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen, by name of the mechanism or variant."""
    require_device_guard()
    return record_in_process(tmp_path_factory.mktemp("stub"))


def test_backward_is_simulated_where_it_can_be(recorded: dict[str, Any]) -> None:
    """Where nothing is in the way of the stub, the steps are whole ones."""
    assert recorded["backward"] == (not cuda_runtime_stub.find_obstacle())


@pytest.mark.parametrize("name", NAMES)
def test_step_never_waits(name: str, recorded: dict[str, Any]) -> None:
    """A step, data included, has no wait, no blocking copy, no tensor on two devices, no broken contract."""
    step = recorded["records"][name]["step"]
    assert step["waits"] == step["mixed"] == step["breaches"] == {}
    assert {copy for copy in step["copies"] if not copy.startswith("pinned asynchronous")} == set()
    assert step["copies"], "the draws are made on the CPU"
    assert {copy for copy in step["copies"] if " at data/" not in copy} == set(), "a captured step would repeat it"


@pytest.mark.parametrize("name", NAMES)
def test_no_float64_on_the_device(name: str, recorded: dict[str, Any]) -> None:
    """Neither a step nor an evaluation makes float64 there: Apple's GPUs have none. (GradScaler does, with fp16.)"""
    ledgers = recorded["records"][name]
    doubles = {*ledgers["step"]["doubles"], *ledgers["evaluation"]["doubles"]}
    assert {entry for entry in doubles if "fp16" not in name} == set()


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_waits_at_its_end_only(name: str, recorded: dict[str, Any]) -> None:
    """The losses and the counts are read once, when everything is computed."""
    evaluation = recorded["records"][name]["evaluation"]
    assert list(evaluation["waits"].values()) == [1, 1]
    assert {copy for copy in evaluation["copies"] if not copy.startswith("pinned asynchronous")} == set()
    assert evaluation["mixed"] == evaluation["breaches"] == {}


def test_one_of_several_processes_keeps_the_contracts(recorded: dict[str, Any]) -> None:
    """Synchronised batch norm hands CUDA's kernels what they take, without a wait and in few launches."""
    if not recorded["backward"]:
        pytest.skip(cuda_runtime_stub.find_obstacle())
    records = recorded["records"]
    several, one = records["one of four"]["step"], records["none"]["step"]
    assert several["breaches"] == several["waits"] == {}
    norms = several["launches"]["batch_norm_elemt"]
    assert several["launches"]["batch_norm_backward_elemt"] == norms
    assert sum(several["launches"].values()) - sum(one["launches"].values()) <= 9 * norms


def test_launches_of_a_step(recorded: dict[str, Any]) -> None:
    """They are those of `launches.json`; `python -m tests.device.record_steps` writes it again after a change."""
    known = json.loads(LAUNCHES.read_text())
    counted = count_launches(recorded)
    if not recorded["backward"] or counted["torch"] != known["torch"]:
        pytest.skip("launches were counted with another release of torch, or there is no backward pass here")
    assert counted == known


def test_rule_book_knows_the_call_that_cuda_refuses() -> None:
    """Batch norm's backward kernel without saved statistics is a breach on the device, with them it is none."""
    backward = torch.ops.aten.native_batch_norm_backward.default
    for saved, problems in ((None, 1), (torch.ones(3), 0)):
        x, numbers = torch.ones(2, 3), torch.ones(3)
        call = (x, x, numbers, numbers, numbers, saved, saved, False, 1e-5, [True] * 3)
        assert len(list(contracts.find_breaches(backward, call, {}))) == problems


def test_simulation_sees_what_it_is_made_for() -> None:
    """A read, a pageable copy, float64, a tensor on two devices and a launch stand in the ledger."""
    with simulated_device() as (mode, accelerator):
        x = torch.ones(3, 4).to(accelerator.device, non_blocking=True)
        y = x.double() * 2
        float(y.sum())
        with pytest.raises(RuntimeError, match="two devices"):
            x + torch.ones(3, 4)
        assert x[:, 1:].shape == (3, 3)
    seen = {name: sum(counts.values()) for name, counts in mode.ledger.to_dict().items()}
    assert [entry.split(" at ")[0] for entry in mode.ledger.copies] == ["pageable asynchronous"]
    assert (seen["waits"], seen["mixed"], seen["doubles"]) == (1, 1, 3)
    assert mode.ledger.launches["mul"] == mode.ledger.launches["sum"] == 1
    assert "slice" not in mode.ledger.launches


def test_copies_to_other_devices_than_cuda_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only CUDA gets an asynchronous copy, from pinned memory; elsewhere the source may be gone before it is read."""
    calls = []
    monkeypatch.setattr(torch.Tensor, "to", lambda x, *args, **options: calls.append(options) or x)
    send_to_device(torch.ones(2), torch.device("mps"))
    assert calls == [{}]
