"""One module per family of formats; each lists its formats in FORMATS."""
