"""The tables of the index and their description."""

from pathlib import Path

import pytest

from explorer.records.tables import TABLES, Column
from explorer.store import Index, schema
from explorer.store.markdown import schema_markdown
from explorer.store.schema import data_tables, index_columns, schema_version

DOCS = Path(__file__).parents[2] / "docs" / "schema.md"


def test_the_document_is_current() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert text == schema_markdown(), "run: python -m explorer.store.markdown docs/schema.md"


@pytest.mark.parametrize("table", ["runs", *data_tables()])
def test_every_table_has_the_documented_columns_and_types(tmp_path: Path, table: str) -> None:
    with Index.open(tmp_path / "index.duckdb") as index, index.cursor() as cur:
        columns = [(name, kind) for name, kind, *_ in cur.execute(f"DESCRIBE {table}").fetchall()]
    assert columns == [(c.name, c.sql_type) for c in index_columns(table)]


@pytest.mark.parametrize("table", list(TABLES))
def test_recorded_tables_keep_their_columns(table: str) -> None:
    names = [c.name for c in index_columns(table)]
    assert names[: len(TABLES[table])] == [c.name for c in TABLES[table]]


def test_any_change_of_a_table_changes_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = schema_version()
    monkeypatch.setattr(schema, "RUNS", (*schema.RUNS, Column("extra", "BIGINT", "new")))
    assert schema_version() != before
