import re
import time


def counts(output, who):
    """Return the items of each producer or consumer, as the example prints them."""
    return [int(count.replace(",", "")) for count in re.findall(rf"^  {who} \d+ +([\d,]+)$", output, re.MULTILINE)]


def test_every_item_is_consumed(example):
    output = example.run("producer_consumer.py", "--items", 2000, "--producers", 3, "--consumers", 4, "--pause", 0)
    assert counts(output, "producer") == [667, 667, 666]
    assert sum(counts(output, "consumer")) == 2000
    assert "Produced 2,000, consumed 2,000 in " in output


def test_the_queue_holds_fast_producers_back(example):
    output = example.run(
        "producer_consumer.py", "--items", 300, "--producers", 8, "--consumers", 1, "--queue-size", 5, "--pause", 0.0005
    )
    assert counts(output, "consumer") == [300]
    assert "at most 5 at once" in output


def test_more_consumers_than_items(example):
    output = example.run("producer_consumer.py", "--items", 1, "--consumers", 4, "--pause", 0)
    assert "Produced 1, consumed 1 in " in output


def test_impossible_numbers_are_refused(example):
    process = example.start("producer_consumer.py", "--consumers", 0)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.endswith("error: numbers must be at least 1, the pause not negative\n")


def test_ctrl_c_stops_producers_and_lets_consumers_finish(example):
    process = example.start("producer_consumer.py", "--items", 1_000_000, "--pause", 0.001)
    assert process.stdout.readline().startswith("3 producers, 5 consumers, 1,000,000 items")
    time.sleep(0.5)
    example.interrupt(process)
    output = example.finish(process)
    produced, consumed = sum(counts(output, "producer")), sum(counts(output, "consumer"))
    assert 0 < produced == consumed < 1_000_000
    assert "Stopped early" in output
