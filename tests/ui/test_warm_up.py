"""What the server prepares before the first visit is what the first page asks for."""

from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from conftest import Opener

from explorer.figures import balance
from explorer.ui import warm_up


def test_the_first_page_finds_its_picture_prepared(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_app(recorded, "glossary")
    st.cache_resource.clear()
    thread = warm_up.warm_up()
    thread.join(60)
    assert not thread.is_alive()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the picture is drawn again")

    monkeypatch.setattr(balance.story, "story", refuse)
    app = open_app(recorded)
    assert not app.exception
    assert len(app.get("vega_lite_chart")) == 1
