"""Every method and argument of this Python's asyncio has a test that proves it."""

import importlib
import pathlib


def proofs():
    """The (method, argument) that the tests here are marked with; (method, "") for each method."""
    found = set()
    for path in pathlib.Path(__file__).parent.glob("test_*.py"):
        for test in vars(importlib.import_module(path.stem)).values():
            marks = list(getattr(test, "pytestmark", []))
            for mark in [mark for mark in marks if mark.name == "parametrize"]:
                marks += [inner for values in mark.args[1] for inner in getattr(values, "marks", ())]
            for mark in [mark for mark in marks if mark.name == "proves"]:
                method, arguments = (*mark.args, "")[:2]
                found |= {(method, argument) for argument in ["", *arguments.split()]}
    return found


def test_everything_has_a_proof():
    interface = importlib.import_module("interface").interface()
    wanted = {(method, argument) for method, names in interface.items() for argument in ["", *names]}
    assert sorted(wanted - proofs()) == []
