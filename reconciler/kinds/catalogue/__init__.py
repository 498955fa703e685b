"""The parts of `adapter_catalogue`: canaries, former sets of adapters, and a catalogue as people
see it.
"""
