"""The only package that imports azure.*: clients, inventory, operations, errors, files."""
