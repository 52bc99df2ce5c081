"""Reports: one module a format, all from the same Diagnosis. Nothing here judges."""
