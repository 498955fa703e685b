"""The parts of preflight.py, each of which judges one side of an adapter's files or of its base
model's. Bounded, and without vLLM or a GPU; the reconciler reads weights and JSON with it too.
"""
