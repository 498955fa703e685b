"""What commands print: widths, colours and control characters, the line that says what a command
speaks of, and JSON for programs.
"""
