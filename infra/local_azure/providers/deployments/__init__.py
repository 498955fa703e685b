"""Microsoft.Resources/deployments: templates and what comes of them."""
