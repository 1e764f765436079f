"""Tells by the status and the output of a process whether something was wrong, and a name for what."""

import re
import signal
from dataclasses import dataclass

# What sanitizers, the C library and the interpreter print when they find a fault, likeliest first.
FAULTS = (
    r"ERROR: AddressSanitizer: ([\w-]+)",
    r"runtime error: (.+)",
    r"(Assertion `.+' failed)",
    r"Fatal Python error: (.+)",
    r"FINDING: (.+)",
    r"(SystemError: .+)",
    r"(Debug memory block at address)",
    r"(\(libev\) .+)",
)
FRAME = re.compile(r"#\d+ 0x[0-9a-f]+ (?:in )?(\w+) (?:\S*/)?src/(\S+?):\d+")


@dataclass
class Outcome:
    status: int | None  # as of os.waitstatus_to_exitcode(), None if it had to be killed
    output: str

    def fault(self):
        """A name for what was wrong, equal for equal faults as far as can be told; None if all was well."""
        for pattern in FAULTS:
            if found := re.search(pattern, self.output):
                frame = FRAME.search(self.output)
                name = re.sub(r"0x[0-9a-f]+|\d+", "N", found[1])[:80]
                return f"{name} in {frame[1]}" if frame else name
        if self.status is None:
            return "hang"
        if self.status < 0:
            return signal.Signals(-self.status).name
        return f"exit status {self.status}" if self.status else None
