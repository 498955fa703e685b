"""The Azure Files data plane over plain directories; ARM's share records say which shares exist."""
