"""Fair queueing between keys. vLLM takes work first come, first served; so the large requests of
each key wait for each other before vLLM, and a small request never waits for all requests of
another key.
"""
