"""Who waits for whom: vLLM takes work first come, first served, so each key's large requests take
turns before it, and a small one never waits for all of another key's.
"""
