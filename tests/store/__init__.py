"""The store's promises, each on SQLite and on PostgreSQL."""
