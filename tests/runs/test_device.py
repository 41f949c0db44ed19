"""Devices by name: the one that is meant, or a short error."""

import pytest
import torch

from fcl.runs.device import torch_device


@pytest.mark.parametrize("name", ["hpu", "privateuseone", "vulkan", "xla", "meta", "gpu", "", "cpu ", "cuda:99", "mps"])
def test_a_device_that_is_not_there_is_one_short_line(name):
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has it")
    with pytest.raises(ValueError, match="cannot be used here.*; there are cpu") as caught:
        torch_device(name)
    assert repr(name) in str(caught.value) and len(str(caught.value)) < 350 and "\n" not in str(caught.value)


def test_a_device_that_is_there():
    assert torch_device("cpu") == torch_device(torch.device("cpu")) == torch.device("cpu")
    assert torch_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
