"""Drawings kept from one bundle to the next: what is drawn again and what is not."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.export import kept
from explorer.export.converters import ConverterError, Converters
from explorer.export.drawing import Chart
from explorer.export.kept import KeptDrawings, digest_of
from explorer.export.orders import Order, OrderFiles
from explorer.export.settings import FigureSettings

FILES = OrderFiles(files={"svg": b"<svg/>", "png": b"\x89PNG"}, in_page="<svg></svg>")


def order(value: float = 1.0, mark: str = "bar", **settings: float) -> Order:
    vega = {"mark": mark, "data": {"values": [{"x": value}]}, "encoding": {"x": {"field": "x"}}}
    chart = Chart(key="one", subject="Loads", finding="They differ.", vega=vega)
    return Order(chart=chart, settings=FigureSettings(**settings), kinds=("svg", "png"))


def test_equal_orders_have_one_digest_and_others_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    one = order()
    others = [
        order(2.0),
        order(mark="line"),
        order(dpi=72),
        replace(one, kinds=("svg",)),
        replace(one, page=(one.chart, one.settings)),
        replace(one, chart=replace(one.chart, finding="They are equal.")),
    ]
    digests = {digest_of(each) for each in [one, order(), *others]}
    assert len(digests) == 1 + len(others)
    monkeypatch.setattr(kept, "_surroundings", lambda: b"another converter")
    assert digest_of(one) not in digests


def test_the_last_bit_of_a_mean_is_no_other_drawing() -> None:
    assert digest_of(order(3.5590277777777772)) == digest_of(order(3.559027777777778))
    assert digest_of(order(3.55902777777)) != digest_of(order(3.55902777778))


def test_a_digest_does_not_depend_on_the_names_of_data_sets_but_on_which_is_meant() -> None:
    def named(first: str, second: str, drawn: str) -> Order:
        vega = {"datasets": {first: [{"x": 1}], second: [{"x": 2}]}, "data": {"name": drawn}}
        return replace(order(), chart=replace(order().chart, vega=vega))

    a, b, c, d = (f"data-{letter * 32}" for letter in "abcd")
    assert digest_of(named(a, b, a)) == digest_of(named(c, d, c))
    assert digest_of(named(a, b, a)) != digest_of(named(a, b, b))


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    drawings = KeptDrawings(tmp_path / "index.drawings")
    assert drawings.is_empty
    drawings.put("a", FILES)
    drawings.save()
    again = KeptDrawings(tmp_path / "index.drawings")
    assert not again.is_empty
    assert again.get("a") == FILES
    assert again.get("b") is None


def test_drawings_that_were_used_longest_ago_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, clock = tmp_path / "index.drawings", iter(range(100))
    monkeypatch.setattr(kept.time, "time", lambda: float(next(clock)))
    size = kept._packed(FILES)[0]
    for name in ("a", "b"):
        drawings = KeptDrawings(path, most_bytes=2 * size)
        drawings.put(name, FILES)
        drawings.save()
    drawings = KeptDrawings(path, most_bytes=2 * size)
    assert drawings.get("a") == FILES
    drawings.put("c", FILES)
    drawings.save()
    assert [name for name in "abc" if KeptDrawings(path).get(name)] == ["a", "c"]


def test_a_damaged_file_is_as_good_as_none_and_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "index.drawings"
    path.write_bytes(b"no database, " * 500)
    drawings = KeptDrawings(path)
    assert drawings.get("a") is None
    drawings.put("a", FILES)
    drawings.save()
    drawings.save()
    assert KeptDrawings(path).get("a") == FILES


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    drawings = KeptDrawings(tmp_path / "nothing" / "index.drawings")
    drawings.put("a", FILES)
    drawings.save()
    assert drawings.get("a") is None


def test_another_export_that_holds_the_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "BUSY_S", 0.0)
    path = tmp_path / "index.drawings"
    first = KeptDrawings(path)
    first.put("a", FILES)
    first.save()
    with sqlite3.connect(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        drawings = KeptDrawings(path)
        drawings.put("b", FILES)
        drawings.save()
        assert drawings.get("a") is None
    assert KeptDrawings(path).get("a") == FILES


def test_a_drawing_that_is_kept_starts_no_process_and_is_equal(tmp_path: Path) -> None:
    path = tmp_path / "index.drawings"
    with Converters(KeptDrawings(path)) as converters:
        drawn = converters.draw(order()).result()
        with pytest.raises(ConverterError):
            converters.draw(order(mark="nonsense")).result()
        converters.keep()
    with Converters(KeptDrawings(path)) as converters:
        assert converters.draw(order()).result() == drawn
        assert not converters._workers
        with pytest.raises(ConverterError):
            converters.draw(order(mark="nonsense")).result()
        assert converters._workers
