"""The CUDA ops take in C++ what their schemas say: arguments are boxed, and no compiler looks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from secateur.backends.cuda import _library

BIND = Path(__file__).parents[2] / "csrc" / "bind"
FILES = sorted(BIND.glob("cuda_*.cpp"))
TYPES = {
    "Tensor": "Tensor",
    "OptionalTensor": "Optional[Tensor]",
    "std::string": "str",
    "std::int64_t": "int",
    "bool": "bool",
    "Ints": "List[int]",
    "std::vector<std::int64_t>": "List[int]",
}
_BOUND = re.compile(r'm\.impl\("(?P<op>\w+)", TORCH_BOX\(&(?:\w+::)*(?P<function>\w+)\)\)')


def bound() -> dict[str, str]:
    """The parameters in C++ of each op, as they are written."""
    found = {}
    for file in FILES:
        text = file.read_text()
        for match in _BOUND.finditer(text):
            signature = rf"^[\w:<>, ]+ {match['function']}\(([^)]*)\)"
            parameters = re.search(signature, text, re.MULTILINE)
            assert parameters, f"{file.name} binds {match['op']} to a function it does not have"
            found[match["op"]] = parameters[1]
    return found


def test_every_schema_has_a_binding() -> None:
    text = Path(_library.__file__).read_text()
    assert set(bound()) >= set(re.findall(r'_DEFINED\.define\("(\w+)"', text))


@pytest.mark.parametrize("op", sorted(bound()))
def test_arguments_are_those_of_the_schema_in_its_order(op: str) -> None:
    schema = getattr(torch.ops.secateur, op).default._schema
    wanted = [(str(argument.type), argument.name) for argument in schema.arguments]
    written = [" ".join(each.split()).rsplit(" ", 1) for each in bound()[op].split(",")]
    assert [(TYPES[kind], name) for kind, name in written] == wanted
