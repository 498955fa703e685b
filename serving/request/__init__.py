"""One request before vLLM has it and after: its routes, key, body and bounds, and the answers in
OpenAI's shape. Neither vLLM nor the share is needed here, so the gateway uses it too. gate.py and
exchange.py put it together.
"""
