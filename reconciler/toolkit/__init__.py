"""AI Toolkit projects: reads their files with line numbers, finds the resources that were
provisioned for them, and makes a document of both.
"""
