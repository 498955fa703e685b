"""The parts of `published_routes`: what a gateway should route, and what it reports and counts."""
