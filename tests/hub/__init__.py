"""What a hub promises: publishing, resuming, slow consumers, access."""
