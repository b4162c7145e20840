"""The Gradio app over runs on disk."""
