"""Provisioning files, the local Azure and deployment files."""
