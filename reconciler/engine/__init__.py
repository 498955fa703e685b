"""The generic level-triggered loop. It knows nothing of Azure; `external` is the contract kinds
implement.
"""
