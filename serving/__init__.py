"""What runs inside every replica, next to vLLM. At run time it imports only what the stock vLLM image ships."""
