"""`schema`: a module of its own, since the tables are known without what reads them."""

import argparse
import json
from dataclasses import asdict

from explorer.records.tables import TABLES


def schema_command(options: argparse.Namespace) -> int:
    if options.json:
        print(
            json.dumps(
                {name: [asdict(column) for column in table] for name, table in TABLES.items()}, indent=1
            )
        )
        return 0
    for name, table in TABLES.items():
        print(f"\n{name}")
        for column in table:
            print(f"  {'*' if column.key else ' '} {column.name:<24} {column.sql_type:<10} {column.meaning}")
    print("\n* key. A row of step s holds the bias used in s; an evaluation at s follows s updates.")
    return 0
