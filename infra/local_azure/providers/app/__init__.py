"""Microsoft.App: environments, container apps and their revisions, jobs, and what of them runs."""
