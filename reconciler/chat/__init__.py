"""The chat page: what `moorage chat` serves to a browser. Gradio is imported by `page` alone."""
