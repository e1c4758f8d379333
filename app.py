"""The app: `streamlit run app.py`. What it shows is in `explorer/ui/main.py` and `pages/`.

The page script lies elsewhere on purpose: a folder `pages/` beside a script that calls
`st.navigation` breaks a deep link that is the first request to a fresh server.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.middleware import Middleware

from explorer.config.server import Settings
from explorer.ui.server import connections, first_picture, first_visit
from explorer.ui.server.addresses import EmbedAddress
from explorer.ui.server.assets import Assets
from explorer.ui.server.bursts import Bursts
from explorer.ui.server.gate import Gate
from explorer.ui.server.preload import Preload
from explorer.ui.server.unsent import keep_unsent_messages
from explorer.ui.warm_up import WarmUp


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """Start reading run folders before the first visitor; on the way out stop that and every training.

    The server listens meanwhile: a browser loads its own files for as long as our libraries take.
    """
    connections.limit_wait()
    connections.send_at_once()
    keep_unsent_messages()
    # Read before the server listens, or a quick visitor would be missed.
    first_visit.begin(first_picture.read(Settings.from_environment()))
    warm_up = WarmUp()
    warm_up.start()
    try:
        yield
    finally:
        warm_up.close()


app = st.App(
    "explorer/ui/main.py",
    lifespan=lifespan,
    middleware=[Middleware(one) for one in (Gate, Assets, EmbedAddress, Bursts, Preload)],
)
