"""What a Python process of the tests imports as it starts, under `pytest --accelerate`."""

import asyncloop

asyncloop.accelerate()
