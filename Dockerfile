# A read-only app with the shipped runs and without PyTorch; docs/hosting.md explains it.
#
#     docker build -t moe-explorer . && docker run -p 8501:8501 moe-explorer
ARG BASE=python:3.12-slim
FROM ${BASE}

# Its own user, with a home for the index of the runs.
RUN useradd --create-home --uid 10001 explorer
WORKDIR /srv/explorer
COPY requirements-app.txt ./
# What only developers of the packages need is left out: their tests, headers, notebook
# extensions and network protocols, and pip. The space saved offsets the bytecode below.
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --no-compile -r requirements-app.txt \
    && find /opt/venv -type d \( -name tests -o -name include -o -name labextension -o -path /opt/venv/share \) \
        -prune -exec rm -r {} + \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -r pip pip-* pyarrow/*flight* pyarrow/*s3* pyarrow/libarrow_python*.so pyarrow/*.so.*.*.* \
        pydeck/nbextension/static plotly/package_data/widgetbundle.js
COPY . ./
RUN install --directory --owner explorer runs
# Bytecode for everything the server loads; without it, a start takes 3.7 s more of processor time. Only root may
# write it.
RUN /opt/venv/bin/python -c "from explorer.ui import warm_up; warm_up.compile_all()" 2>/dev/null

USER explorer
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
# The index is built here, so that the first visitor does not wait for it.
RUN python -m explorer export --view overview --list >/dev/null

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen('http://127.0.0.1:8501/' + (os.environ.get('STREAMLIT_SERVER_BASE_URL_PATH', '').strip('/') + '/_stcore/health').lstrip('/'), timeout=4)"]
ENTRYPOINT ["python", "-m", "explorer", "app", "--port", "8501", "--address", "0.0.0.0", "--read-only"]
# Replace this where browsers use another name: --allow-host lab.example.org, or --behind-proxy X-Forwarded-Host.
CMD ["--allow-host", "localhost"]
