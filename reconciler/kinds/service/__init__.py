"""The parts of `container_app`: what is written to Azure, how a rollout goes on, and what replicas
really do. Most are pure; `looks`, `cause`, `smoke`, `evaluation` and `endpoint` make requests.
"""
