"""The detector judges gifts. It calls nobody: facts come in, a decision goes out."""
