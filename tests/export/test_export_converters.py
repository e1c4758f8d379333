"""Charts that other processes draw: an error or a dead process loses one chart and no other."""

import os
import signal
from dataclasses import replace

import pytest
from export_panels import panel

from explorer.export import drawing, figures
from explorer.export.converters import ConverterError, Converters, Order
from explorer.export.settings import FigureSettings

SETTINGS = FigureSettings(width_mm=85, dpi=72)


def order(subject: str = "MaxVio") -> Order:
    return Order(
        chart=figures.chart_of(panel(subject=subject), dark=False), settings=SETTINGS, kinds=("svg", "png")
    )


def test_answers_belong_to_their_orders() -> None:
    subjects = [f"Panel {number}" for number in range(5)]
    with Converters() as converters:
        futures = [converters.draw(order(subject)) for subject in subjects]
        answers = [future.result() for future in futures]
    for subject, answer in zip(subjects, answers, strict=True):
        here = drawing.draw(order(subject).chart, SETTINGS)
        assert answer.files["svg"].decode() == here.svg
        assert answer.files["png"] == drawing.convert(here, "png", 72)
        assert f'aria-label="{subject}"' in answer.in_page
        assert f">{subject}</text>" not in answer.in_page, "the page writes the title itself"


def test_a_chart_that_cannot_be_drawn_is_named_and_the_next_one_is_drawn() -> None:
    good = order()
    bad = replace(good, chart=replace(good.chart, vega={"mark": "nonsense"}))
    with Converters() as converters:
        with pytest.raises(ConverterError, match="Error"):
            converters.draw(bad).result()
        assert converters.draw(good).result().files["svg"].startswith(b"<svg")


@pytest.mark.parametrize("task", ["drawing", "converting"])
def test_a_process_that_dies_is_replaced(task: str) -> None:
    with Converters() as converters:
        process = getattr(converters, task).process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with pytest.raises(ConverterError, match="without a result"):
            converters.draw(order()).result()
        assert converters.draw(order()).result().files["svg"].startswith(b"<svg")


def test_the_drawing_process_converts_what_is_left() -> None:
    with Converters() as converters:
        os.kill(converters.converting.process.pid, signal.SIGSTOP)
        first, *others = [converters.draw(order(f"Panel {number}")) for number in range(3)]
        converters.share_rest()
        assert all(future.result(timeout=60).files["png"] for future in others)
        assert not first.done()
        os.kill(converters.converting.process.pid, signal.SIGCONT)
        assert first.result(timeout=60).files["png"]
        assert converters.draw(order()).result(timeout=60).files["png"], "an order after that"


def test_no_process_outlives_its_input() -> None:
    converters = Converters()
    processes = [converters.drawing.process, converters.converting.process]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    converters.close()
