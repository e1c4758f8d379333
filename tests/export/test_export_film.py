"""The animation: loads as they were counted, a step on every picture, a rest at the end."""

import io

import numpy as np
import pytest
from PIL import Image

from explorer.charts import scales, theme
from explorer.export import film
from explorer.export.film import Film


def made(steps: int = 120, experts: int = 4) -> Film:
    tokens = np.full((steps, experts), 10, dtype=np.int64)
    tokens[:, 0] = 40
    tokens[steps // 2 :, 1] = 0
    return Film(key="x", title="a <b> & c", subtitle="layer 0", steps=np.arange(steps), tokens=tokens)


def pictures(content: bytes) -> list[tuple[Image.Image, int]]:
    image = Image.open(io.BytesIO(content))
    frames = []
    for number in range(image.n_frames):
        image.seek(number)
        frames.append((image.convert("RGB"), image.info["duration"]))
    return frames


def test_it_loops_and_rests_at_its_end() -> None:
    content = film.gif(made())
    assert Image.open(io.BytesIO(content)).info["loop"] == 0
    frames = pictures(content)
    assert 40 <= len(frames) <= 60
    assert frames[-1][1] > 10 * frames[0][1]
    assert len(content) < 3_000_000


@pytest.mark.parametrize("steps", [1, 7, 120, 4000])
def test_pictures_are_spread_evenly_from_the_first_to_the_last_step(steps: int) -> None:
    columns = film.columns(made(steps))
    assert (columns[0], columns[-1]) == (0, steps - 1)
    assert len(columns) == min(steps, film.FRAMES)
    assert len(set(np.diff(columns))) <= 2


def close(one: tuple[int, ...], colour: str) -> bool:
    other = film._rgb(colour)
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 6


@pytest.mark.parametrize("dark", [False, True])
def test_colours_are_those_of_the_loads(dark: bool) -> None:
    last = pictures(film.gif(made(), dark=dark))[-1][0]
    row = (film.BOTTOM - film.TOP) // 4
    early, late = film.LEFT + 40, film.RIGHT - 60
    # Expert 0 has 40 of 70 tokens: 2.3 times its share; later 40 of 60.
    overloaded = film._colours(np.array([40 * 4 / 70]), dark, scales.stops())[0]
    colour = last.getpixel((early, film.TOP + row // 2))
    assert max(abs(int(a) - int(b)) for a, b in zip(colour, overloaded, strict=True)) <= 6
    assert close(last.getpixel((late, film.TOP + row + row // 2)), theme.DEAD.pick(dark))
    assert not close(last.getpixel((early, film.TOP + row + row // 2)), theme.DEAD.pick(dark))


def test_what_was_not_played_yet_is_blank() -> None:
    frames = pictures(film.gif(made()))
    middle = frames[len(frames) // 2][0]
    assert close(middle.getpixel((film.RIGHT - 20, film.TOP + 20)), theme.file_background(False))


def test_a_film_of_nothing_is_one_picture_that_says_so() -> None:
    empty = Film(key="x", title="t", subtitle="s", steps=np.array([], int), tokens=np.empty((0, 0), int))
    assert len(pictures(film.gif(empty))) == 1


def test_steps_in_which_nothing_was_routed_do_not_divide_by_zero() -> None:
    still = made(3)
    still.tokens[1] = 0
    assert still.ratios[1].tolist() == [0, 0, 0, 0]
    film.gif(still)
