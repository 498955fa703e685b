"""What Moorage corrects in vLLM itself, one file for each defect. every_process.py puts them in
place in every process of vLLM.
"""
