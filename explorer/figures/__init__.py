"""One function per question: an open store, arms and settings in, a panel out. Knows no Streamlit."""
