"""Files of experiments: entries, bytes, uploads, and who may fetch them."""
