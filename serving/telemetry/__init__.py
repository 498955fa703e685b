"""What a replica tells monitoring: Prometheus metrics and OpenTelemetry spans."""
