"""Health, metrics, the status API and the status page."""
