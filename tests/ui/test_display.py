"""Lecture mode, one panel alone, and what a wrong address is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from app_pages import Opener, words
from sentences import sentence

from explorer.charts.enlarge import IS_PHONE
from explorer.ui.server.addresses import with_true

ROOT = Path(__file__).parents[2]
PAGES = sorted(file.stem for file in (ROOT / "pages").glob("*.py"))


def styles(app: object) -> str:
    return "\n".join(str(block.proto.body) for block in app.get("html"))  # type: ignore[attr-defined]


def test_a_lecture_hides_the_controls_and_has_a_way_out(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", mode="lecture")
    assert "font-size: 21px" in styles(app)
    app.button(key="leave_lecture").click().run()
    assert "font-size: 21px" not in styles(app)
    assert app.session_state["mode"] == "normal"


def test_figures_are_larger_in_a_lecture(open_app: Opener, recorded: Path) -> None:
    usual = open_app(recorded, "compare").get("vega_lite_chart")[0].proto.spec
    large = open_app(recorded, "compare", mode="lecture").get("vega_lite_chart")[0].proto.spec
    assert usual != large
    assert json.loads(large)["config"]["axis"]["labelFontSize"] == {"expr": f"{IS_PHONE} ? 12 : 17"}


def test_an_unknown_mode_is_said(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", mode="party")
    assert sentence(
        "links.asks_for_choose", name="mode", value="party", choices="normal or lecture"
    ) in words(app)
    assert app.session_state["mode"] == "normal"


def test_one_panel_alone(open_app: Opener, recorded: Path) -> None:
    assert ".st-key-panel-compare-max-vio" in styles(open_app(recorded, "compare", panel="compare-max-vio"))


def test_a_panel_alone_explains_its_colours(open_app: Opener, recorded: Path) -> None:
    """On its page a legend stands beside all heatmaps; a slide has only this one."""
    keys = open_app(recorded, "compare").session_state["page_figures"].keys
    key = next(key for key in keys if key.startswith("compare-loads"))
    spec = open_app(recorded, "compare", panel=key).get("vega_lite_chart")[0].proto.spec
    assert "load, × uniform" in legends(json.loads(spec))


def legends(part: object) -> list[str]:
    """Titles of the legends in a chart."""
    if isinstance(part, list):
        return [title for one in part for title in legends(one)]
    if not isinstance(part, dict):
        return []
    own = part["legend"].get("title") if isinstance(part.get("legend"), dict) else None
    return [*([own] if own else []), *(title for one in part.values() for title in legends(one))]


def test_of_a_panel_that_the_page_lacks_one_sentence_says_so_above_the_usual_page(
    open_app: Opener, recorded: Path
) -> None:
    app = open_app(recorded, "compare", panel="compare-maxvio")
    (warning,) = [block.value for block in app.warning if "compare-maxvio" in block.value]
    assert sentence("links.unknown_panel", panel="compare-maxvio") in warning
    (similar,) = [block.value for block in app.markdown if "panel=compare-max-vio)" in block.value]
    assert similar.count("panel=") == 1, "the link replaces the unknown name"
    assert "st-key-panel" not in styles(app)
    # Heatmaps that follow the pointer, and not those of the files.
    assert not any("load, × uniform" in legends(json.loads(c.proto.spec)) for c in app.get("vega_lite_chart"))


def test_a_lecture_leaves_sections_closed(open_app: Opener, recorded: Path) -> None:
    def charts(**query: str) -> int:
        return len(open_app(recorded, "compare", **query).get("vega_lite_chart"))

    assert charts(mode="lecture") == charts()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("embed=1&panel=a", "embed=true&panel=a"),
        ("panel=a&embed=1&runs=x+y&runs=z", "panel=a&embed=true&runs=x+y&runs=z"),
        ("embed=true", None),
        ("embed=0", None),
        ("", None),
    ],
)
def test_the_short_form_of_embed_becomes_the_one_that_is_read(query: str, expected: str | None) -> None:
    assert with_true(query) == expected


NO_TORCH = """
import functools, sys
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)
app = AppTest.from_file("explorer/ui/main.py", default_timeout=240).run()
for page in ("compare", "replay", "train", "glossary"):
    app.switch_page(f"../../pages/{page}.py").run()
    assert not app.exception, app.exception
print("loaded:", *sorted({"torch", "tokenizers"} & set(sys.modules)))
sys.modules["torch"] = None
sys.modules["tokenizers"] = None
for page in sys.argv[1:]:
    app = AppTest.from_file("explorer/ui/main.py", default_timeout=240)
    app.query_params["mode"] = "lecture"
    if page != "overview":
        app.switch_page(f"../../pages/{page}.py")
    app.run()
    assert not app.exception, (page, app.exception)
    assert app.session_state["mode"] == "lecture"
    print(page)
from explorer.ui.server.services import shut_down
shut_down()
"""


def test_no_page_loads_torch_and_lectures_work_on_a_machine_without_it(
    recorded: Path, tmp_path: Path
) -> None:
    """In one process: what an import of torch left behind would be found before torch is taken away."""
    environment = {"EXPLORER_SHIPPED_RUNS": str(recorded), "EXPLORER_RUNS": str(tmp_path / "own")}
    environment |= {"EXPLORER_INDEX": str(tmp_path / "index.duckdb"), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, *PAGES],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loaded, *opened = done.stdout.splitlines()
    assert loaded.split() == ["loaded:"]
    assert opened == PAGES
