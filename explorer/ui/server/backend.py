"""Tell a page where its server is, so that it opens its connection at once.

Streamlit's page tries the addresses below which the server may be, the page's own first: on `/theory` it
requests `/theory/_stcore/health`, is refused, waits, and tries again one level higher. It connects at once
if the page states the address, along with the allowed hosts that it would otherwise ask for.
"""

import json

import streamlit as st

# The page's own scripts are relative to the same address. A value that a host has set is kept.
_SCRIPT = """<script>window.__streamlit ??= {
  BACKEND_BASE_URL: new URL(".", location.href).href,
  HOST_CONFIG: %s,
};</script>"""


def script() -> bytes:
    """The script that the page runs before Streamlit's."""
    origins = list(st.get_option("client.allowedOrigins"))
    return (_SCRIPT % json.dumps({"allowedOrigins": origins, "useExternalAuthToken": False})).encode()
