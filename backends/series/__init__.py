"""The series backends: where readings are kept and read back."""
