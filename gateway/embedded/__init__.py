"""The PostgreSQL that comes with the package."""
