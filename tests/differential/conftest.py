"""How many programs are tried: a few seconds' worth, always the same, unless ASYNCLOOP_DIFFERENTIAL says how many."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

sys.path.insert(0, str(Path(__file__).parent))  # the interpreters of programs, which can be run as scripts too

EXAMPLES = int(os.environ.get("ASYNCLOOP_DIFFERENTIAL", "0"))
settings.register_profile(
    "differential",
    max_examples=EXAMPLES or 40,
    derandomize=EXAMPLES == 0,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("differential")
