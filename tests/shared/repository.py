"""The programs of the folder tools, as modules."""

import importlib.util
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"


def load_tool(name):
    """Import tools/NAME.py. -> the module, which is not in sys.modules."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
