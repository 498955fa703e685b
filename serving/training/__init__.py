"""LoRA fine-tuning with transformers and peft; never imported in a replica."""
