"""Counts rows at a site, or adds up what the sites counted: ``count.py count|add INPUT PARAMETERS OUTPUT``."""

import json
import sys
from pathlib import Path

act, source, parameters, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
header = json.loads(parameters.read_text())["header"]

if act == "count":
    tables = sorted(source.rglob("*.csv"))
    rows = sum(len(table.read_text().splitlines()) - int(header) for table in tables)
    answer = {"rows": rows}
else:
    answer = {"rows": sum(json.loads(path.read_text())["rows"] for path in source.rglob("count.json"))}

output.write_text(json.dumps(answer))
print(f"{act}: {answer['rows']} rows")
