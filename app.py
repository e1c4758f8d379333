"""The app: `streamlit run app.py`. What it shows is in `explorer/ui/main.py` and `pages/`.

The page script lies elsewhere on purpose: a folder `pages/` beside a script that calls
`st.navigation` breaks a deep link that is the first request to a fresh server.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.middleware import Middleware

from explorer.ui.server.addresses import EmbedAddress
from explorer.ui.server.bursts import Bursts
from explorer.ui.server.gate import Gate
from explorer.ui.server.services import services, shut_down
from explorer.ui.server.shutdown import limit_wait_for_connections
from explorer.ui.server.unsent import keep_unsent_messages
from explorer.ui.warm_up import warm_up


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """Start reading run folders before the first visitor; on the way out stop that and every training."""
    limit_wait_for_connections()
    keep_unsent_messages()
    services()
    warm_up()
    try:
        yield
    finally:
        shut_down()


app = st.App(
    "explorer/ui/main.py",
    lifespan=lifespan,
    middleware=[Middleware(Gate), Middleware(EmbedAddress), Middleware(Bursts)],
)
