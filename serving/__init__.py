"""What runs inside every replica, next to vLLM. At run time it imports only what the stock vLLM
image ships.
"""

# How vLLM finds us, by group; pyproject.toml says the same for an installation, and a test compares
# the two.
ENTRY_POINTS = {
    "vllm.endpoint_plugins": {"moorage": "serving.plugin:register"},
    "vllm.general_plugins": {"moorage": "serving.every_process:register"},
}
