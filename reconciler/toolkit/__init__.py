"""AI Toolkit projects: their files read with places, what was provisioned for them found, a
document made of both.
"""
