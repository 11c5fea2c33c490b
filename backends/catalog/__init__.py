"""The catalog backend: the relational side, on SQLAlchemy."""
