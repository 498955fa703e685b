"""The resource types, one file each; `catalogue` has the table of them."""
