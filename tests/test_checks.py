"""`gat.checks`: options are refused in words that name them."""

import pytest

from gat.checks import check_sizes, one_of
from gat.errors import InputError


def test_one_of_hands_back_what_is_known():
    assert one_of("form", "step", ("project", "step")) == "step"
    assert one_of("form", "step", {"project": 1, "step": 2}) == "step"
    assert one_of("concat", True, [True, False]) is True


@pytest.mark.parametrize("given", ["Step", 1, None, ["step"]], ids=repr)
def test_one_of_refuses_anything_else(given):
    with pytest.raises(InputError, match=r"form is .*; expected one of 'step', True"):
        one_of("form", given, ("step", True))


def test_sizes_are_refused_by_name():
    check_sizes(heads=1, edge_dim=None)
    with pytest.raises(InputError, match=r"^channels is 0; expected 1 or more$"):
        check_sizes(heads=1, channels=0)
