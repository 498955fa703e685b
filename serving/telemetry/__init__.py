"""The telemetry of a replica: Prometheus metrics and OpenTelemetry spans."""
