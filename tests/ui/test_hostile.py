"""Names and addresses that mean harm, and folders that change under a page: text stays text, rows stay."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from app_pages import Opener, arm_info, words
from store_runs import write_run

from explorer.ui.server.services import services

ATTACKS = (
    "x'; DROP TABLE runs; --",
    "none-seed0' OR '1'='1",
    "../../../../etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "<script>document.title='gone'</script>",
    "<img src=x onerror=\"document.title='gone'\">",
    "\x00\x1b[2J",
    "{{7*7}}${7*7}",
)


def test_an_address_is_never_sql_markup_or_a_path(open_app: Opener, recorded: Path) -> None:
    links = [("compare", {"runs": ["none-seed0", *ATTACKS]})]
    links += [("replay", {"run": attack, "layer": attack}) for attack in ATTACKS]
    for page, query in links:
        app = open_app(recorded, page, **query)
        assert not app.exception, query
        assert not any("<img src=x" in html.proto.body for html in app.get("html")), query
        assert "root:x" not in words(app)
    with services().index.cursor() as cur:
        assert cur.execute("SELECT count(*) FROM runs").fetchone() == (8,)


def test_a_run_s_own_words_are_shown_as_text(open_app: Opener, tmp_path: Path) -> None:
    markup = "<img src=x onerror=\"document.title='gone'\">"
    info = arm_info("none", 0) | {"balancer_label": markup, "name": markup}
    del info["seed"]
    write_run(tmp_path / "own", "hostile", steps=12, corpus={"name": markup, "digest": markup}, **info)
    for page in ("overview", "compare", "replay"):
        app = open_app(None, page)
        assert not app.exception
        assert not any("<img" in html.proto.body for html in app.get("html")), page
        assert not any(element.allow_html and "<img" in element.value for element in app.markdown), page


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        services().ingest.wake()
        assert time.monotonic() < end
        time.sleep(0.02)


def known() -> set[str]:
    """The runs of the index."""
    with services().index.cursor() as cur:
        return {run_id for (run_id,) in cur.execute("SELECT run_id FROM runs").fetchall()}


def test_folders_that_are_copied_renamed_and_deleted_while_a_page_shows_them(
    open_app: Opener, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    for name in ("first", "second"):
        info = arm_info("none", 0)
        del info["seed"]
        write_run(own, name, steps=12, **info)
    app = open_app(None, "replay", run="first", step=5)
    assert not app.exception
    rows = counted("first")

    shutil.copytree(own / "first", own / "a copy")
    before = services().ingest.rounds
    until(lambda: services().ingest.rounds >= before + 2)
    assert not app.run().exception
    assert counted("first") == rows

    (own / "first").rename(own / "elsewhere")
    until(lambda: "first" not in known())
    assert not app.run().exception

    shutil.rmtree(own)
    until(lambda: not known())
    assert not app.run().exception


def counted(run_id: str) -> int:
    with services().index.cursor() as cur:
        row = cur.execute("SELECT count(*) FROM expert_loads WHERE run_id = ?", [run_id]).fetchone()
    assert row is not None
    return int(row[0])
