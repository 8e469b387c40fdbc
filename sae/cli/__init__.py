"""The `sae` command: one module per command, each thin."""
