"""Counts persons by tumour grade, and by grade and age: ``count.py TABLE_FOLDER OUTPUT_FOLDER``.

It joins no small groups, as a tool should, so that a site's rules have something to find.
"""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

source, output = Path(sys.argv[1]), Path(sys.argv[2])
rows = [row for table in sorted(source.rglob("*.csv")) for row in csv.DictReader(table.open(newline=""))]
grades = Counter(row["grade"] for row in rows)
cells = Counter((row["grade"], f"{int(float(row['age'])) // 10 * 10}s") for row in rows)

by_grade = [{"grade": grade, "persons": count} for grade, count in sorted(grades.items())]
by_age = [{"grade": grade, "age": age, "persons": count} for (grade, age), count in sorted(cells.items())]
(output / "by_grade.json").write_text(json.dumps({"counts": by_grade}))
(output / "by_grade_and_age.json").write_text(json.dumps({"counts": by_age}))
print(f"counted {len(rows)} persons")
