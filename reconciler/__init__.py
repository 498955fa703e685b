"""The daemon: desired state in, Azure calls out."""
