"""Microsoft.Resources/deployments: template deployments and their what-if."""
