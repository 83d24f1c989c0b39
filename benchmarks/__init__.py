"""What trio_sse costs, beside its peers: README.md in this directory."""
