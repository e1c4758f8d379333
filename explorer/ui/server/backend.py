"""Tell a page where its server is, so that it opens its connection at once.

Streamlit's page tries the addresses below which the server may be, the page's own first: on `/theory` it
asks for `/theory/_stcore/health`, is refused, waits, and asks again one level higher. It connects without
asking where the address is named, together with what the server would say about hosts.
"""

import json

import streamlit as st

# The page's own scripts are relative to the same address. What a host has set is kept.
_SCRIPT = """<script>window.__streamlit ??= {
  BACKEND_BASE_URL: new URL(".", location.href).href,
  HOST_CONFIG: %s,
};</script>"""


def script() -> bytes:
    """What the page runs before Streamlit's scripts."""
    origins = list(st.get_option("client.allowedOrigins"))
    return (_SCRIPT % json.dumps({"allowedOrigins": origins, "useExternalAuthToken": False})).encode()
