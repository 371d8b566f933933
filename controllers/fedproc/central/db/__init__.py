"""The central database: engine, schema, migrations, one repository per subject."""
